//! Why the command ends without success.

use std::error::Error as StdError;
use std::process::ExitCode;

/// A failure with its exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Wrong usage, or a settings or state file that is unreadable or invalid: exit 2, nothing was touched.
    Input {
        /// What was being read.
        what: String,
        /// All that is wrong, each with its place.
        wrong: Vec<String>,
    },
    /// Something went wrong while working: exit 1.
    Work(Box<dyn StdError>),
}

impl Failure {
    pub(crate) fn input(what: impl Into<String>, wrong: impl ToString) -> Self {
        Self::Input { what: what.into(), wrong: vec![wrong.to_string()] }
    }

    pub(crate) fn code(&self) -> ExitCode {
        match self {
            Self::Input { .. } => ExitCode::from(2),
            Self::Work(_) => ExitCode::FAILURE,
        }
    }

    /// The message, one line each, the chain of reasons spelt out once.
    pub(crate) fn lines(&self) -> Vec<String> {
        match self {
            Self::Input { what, wrong } => wrong.iter().map(|wrong| format!("{what}: {wrong}")).collect(),
            Self::Work(error) => {
                let mut line = error.to_string();
                let mut source = error.source();
                while let Some(reason) = source {
                    let reason_text = reason.to_string();
                    if !line.contains(&reason_text) {
                        line = format!("{line}: {reason_text}");
                    }
                    source = reason.source();
                }
                vec![line]
            }
        }
    }
}

impl<E: StdError + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Work(Box::new(error))
    }
}
