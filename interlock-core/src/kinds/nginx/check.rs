//! The proxy's own checker, on files that no proxy has yet.
//!
//! `nginx -t` does nearly all that a start does: it binds listeners, creates folders, opens logs and reads certificates. As it
//! shall need no right to do so and leave nothing behind, it gets a copy of the files in a private folder (see [`copy`]).

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::process::Command;

use super::check_output::{self, is_exhausted};
use crate::kinds::File;
use crate::kinds::process::{self, Ended, Unfinished};
use crate::units::ProxyVersion;

mod copy;

use copy::Copy;

/// Where programs are looked for. The environment is not asked: a library does not read it.
const FOLDERS: &[&str] =
    &["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/nginx/sbin"];

/// How long a check may take, unless it is said otherwise.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// An nginx that checks files.
///
/// It runs with an empty environment, limited memory and for 10 s at most, and ends with all that it started. It needs no network and
/// no rights, and it sees no secrets: certificates stand in for them.
#[derive(Debug)]
pub struct Checker {
    program: PathBuf,
    version: ProxyVersion,
    limit: Duration,
    /// Kinds of temporary files that it was built with.
    temp_paths: Vec<&'static str>,
    /// The module for `stream`, if it is one of its own.
    stream_module: Option<PathBuf>,
    certificate: String,
    key: String,
}

/// Why there is no checker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckerError {
    /// There is no such program.
    #[error("there is no program {0}")]
    Missing(String),
    /// It does not say its version as nginx does.
    #[error("{program} is no nginx: {wrong}")]
    Unknown {
        /// Where it is.
        program: String,
        /// What is wrong.
        wrong: String,
    },
    /// No stand-in for certificates could be made.
    #[error("a certificate for checks cannot be made: {0}")]
    Certificate(String),
}

/// Why files did not pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The checker refuses them. What it said, with the paths that the files will have, and without anything that it quotes from other
    /// files.
    #[error("{0}")]
    Refused(String),
    /// It ran out of time, of memory or of something else, or it was ended. That may be for the files, or for the machine.
    #[error("the checker came to no result: {0}")]
    Exhausted(String),
    /// It did not come to a result for a reason that is not in the files.
    #[error("the checker came to no result: {0}")]
    Failed(String),
}

impl Checker {
    /// Finds a program by its path, or by its name in the usual folders, and asks for its version.
    ///
    /// # Errors
    ///
    /// When there is none, or when it is no nginx.
    pub async fn find(program: &str) -> Result<Self, CheckerError> {
        let candidates: Vec<_> = match program.contains('/') {
            true => vec![PathBuf::from(program)],
            false => FOLDERS.iter().map(|folder| Path::new(folder).join(program)).collect(),
        };
        let found = candidates.into_iter().find(|path| path.is_file());
        let program = found.ok_or_else(|| CheckerError::Missing(program.to_owned()))?;
        let unknown = |wrong: String| CheckerError::Unknown { program: program.display().to_string(), wrong };
        let mut command = Command::new(&program);
        command.arg("-V");
        let Ended { said, .. } = process::run(command, TIME_LIMIT).await.map_err(|error| unknown(error.to_string()))?;
        let version =
            ProxyVersion::in_output(&said).ok_or_else(|| unknown("it does not say its version".to_owned()))?;
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["check.invalid".to_owned()])
            .map_err(|error| CheckerError::Certificate(error.to_string()))?;
        Ok(Self {
            version,
            limit: TIME_LIMIT,
            temp_paths: ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .into_iter()
                .filter(|kind| !said.contains(&format!("--without-http_{kind}_module")))
                .collect(),
            stream_module: stream_module(&said),
            certificate: cert.pem(),
            key: signing_key.serialize_pem(),
            program,
        })
    }

    /// With another limit for the time that a check may take. The default is 10 s.
    #[must_use]
    pub fn with_time_limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// The version of the program.
    pub fn version(&self) -> ProxyVersion {
        self.version
    }

    /// Checks files. Nothing of that is left when it returns or is dropped.
    ///
    /// # Errors
    ///
    /// When the files are refused, or when that cannot be told.
    pub async fn check(&self, files: &[File]) -> Result<(), CheckError> {
        let copy = Copy::of(self, files).map_err(CheckError::Failed)?;
        let mut command = Command::new(&self.program);
        command.args(["-e", "stderr", "-q", "-t", "-c"]).arg(copy.main()).arg("-g").arg(copy.globals());
        command.current_dir(copy.folder());
        let ended = process::run(command, self.limit).await.map_err(|error| match error {
            Unfinished::NotStarted(_) => CheckError::Failed(error.to_string()),
            Unfinished::TooLong(_) | Unfinished::Killed(_) => CheckError::Exhausted(error.to_string()),
        })?;
        if ended.well {
            return Ok(());
        }
        let reason = check_output::of_copy(&ended.said, |text| copy.put_back(text), files);
        Err(if is_exhausted(&ended.said) { CheckError::Exhausted(reason) } else { CheckError::Refused(reason) })
    }
}

/// Debian builds `stream` as a module. Modules are the image's, so it is not for a rendered file to load them.
fn stream_module(said: &str) -> Option<PathBuf> {
    if !said.contains("--with-stream=dynamic") {
        return None;
    }
    let folder = said.split_whitespace().find_map(|word| word.strip_prefix("--modules-path="));
    let module = Path::new(folder.unwrap_or("/usr/lib/nginx/modules")).join("ngx_stream_module.so");
    module.is_file().then_some(module)
}
