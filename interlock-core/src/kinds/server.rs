//! What the servers of all kinds of proxies have in common: what they are given, and what they say.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::File;
use crate::proxy_config::Revision;

/// Files that a proxy could run.
#[derive(Debug, Clone)]
pub(crate) struct FileSet {
    /// Its name; unknown for what Docker mounts until the proxy says it.
    pub(crate) revision: Option<Revision>,
    pub(crate) hash: String,
    /// The first is the one that the proxy is started with.
    pub(crate) files: Arc<[File]>,
}

impl FileSet {
    /// A name for a folder or a file: `0123456789abcdef-01234567`.
    pub(crate) fn name(&self) -> String {
        let hash = self.hash.get(..8).unwrap_or(&self.hash);
        match &self.revision {
            Some(revision) => format!("{revision}-{hash}"),
            None => format!("boot-{hash}"),
        }
    }

    /// Whether a proxy would read the same. The order of the files makes no difference to it.
    pub(crate) fn is_same<'a>(&'a self, other: &'a Self) -> bool {
        let by_path = |set: &'a Self| -> BTreeMap<&'a str, &'a str> {
            set.files.iter().map(|file| (file.path.as_str(), &*file.content)).collect()
        };
        self.hash == other.hash || (self.files.len() == other.files.len() && by_path(self) == by_path(other))
    }
}

/// Why a configuration is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unserved {
    /// The proxy's own checker refuses it, and would again.
    Refused(String),
    /// Something came in between: the next attempt may go well.
    Failed(String),
}

impl Unserved {
    /// What is told of it.
    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Refused(message) | Self::Failed(message) => message,
        }
    }

    pub(crate) fn with(self, change: impl Fn(&str) -> String) -> Self {
        match self {
            Self::Refused(message) => Self::Refused(change(&message)),
            Self::Failed(message) => Self::Failed(change(&message)),
        }
    }
}

/// How many tasks that do not accept connections are reported at most.
pub const MOST_UNREACHABLE: usize = 1024;

/// A task that does not accept a proxy's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnreachableTask {
    pub(crate) address: SocketAddr,
    /// Whether connections are refused; otherwise nothing answers.
    pub(crate) refuses: bool,
    /// Whether that has gone on for so long that even one of several tasks counts.
    pub(crate) is_lasting: bool,
}
