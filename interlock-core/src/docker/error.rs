//! What can go wrong with an engine, sorted by what to do about it.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

/// An error of some library below.
pub(super) type BoxError = Box<dyn StdError + Send + Sync>;

/// Why a call failed. The text names the object; the source, where there is one, is not repeated in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The endpoint's address is not one.
    #[error("the Docker endpoint {url} {wrong}")]
    Endpoint {
        /// The endpoint.
        url: String,
        /// What is wrong with it and what would be right.
        wrong: String,
    },
    /// The TLS files do not work.
    #[error("TLS for the Docker endpoint {url}: {wrong}")]
    Tls {
        /// The endpoint.
        url: String,
        /// What is wrong.
        wrong: String,
        /// The reason.
        #[source]
        source: BoxError,
    },
    /// Nobody listens at the endpoint.
    #[error("no Docker engine answers at {url}")]
    Unreachable {
        /// The endpoint.
        url: String,
        /// The reason.
        #[source]
        source: BoxError,
    },
    /// The socket is there, but this user may not use it.
    #[error("no permission for the Docker socket {url}: run as root, or as a member of the group that owns it")]
    Permission {
        /// The endpoint.
        url: String,
        /// The reason.
        #[source]
        source: BoxError,
    },
    /// The engine is not part of a Swarm, or a worker.
    #[error(
        "the engine at {url} is no Swarm manager ({state}): connect to a manager, or make this node one with \
         `docker swarm init` or `docker node promote`"
    )]
    NotAManager {
        /// The endpoint.
        url: String,
        /// What it is instead.
        state: String,
    },
    /// No API version is known to both sides.
    #[error("the engine at {url} speaks Docker API {oldest} to {newest}; {ours} is needed")]
    ApiVersion {
        /// The endpoint.
        url: String,
        /// The oldest version it speaks.
        oldest: String,
        /// The newest version it speaks.
        newest: String,
        /// The versions that would do.
        ours: String,
    },
    /// An identity has to be issued, and nothing is here to sign it.
    #[error(
        "{object}: no authority is here to sign it; `interlock install` sets up a core that has it (or mount the secret          com.docker.interlock.authority in core as interlock-authority)"
    )]
    NoAuthority {
        /// What was to be created.
        object: String,
    },
    /// An identity could not be issued.
    #[error("{object}: no certificate could be issued")]
    Authority {
        /// What was to be created.
        object: String,
        /// The reason.
        #[source]
        source: BoxError,
    },
    /// The whole answer did not come in time. A write may have happened all the same.
    #[error("{object}: the engine did not answer within {limit:?}")]
    Deadline {
        /// What was read or written.
        object: String,
        /// How long it had.
        limit: Duration,
    },
    /// The connection broke in the middle. A write may have happened all the same.
    #[error("{object}: the connection to the engine broke")]
    Broken {
        /// What was read or written.
        object: String,
        /// The reason.
        #[source]
        source: BoxError,
    },
    /// The engine said no.
    #[error("{object}: the engine answered {status}: {message}")]
    Refused {
        /// What was read or written.
        object: String,
        /// The HTTP status.
        status: u16,
        /// The engine's words.
        message: String,
    },
    /// The engine's answer is not what this API is known to answer.
    #[error("{object}: the engine's answer is not understood")]
    Answer {
        /// What was read.
        object: String,
        /// The reason.
        #[source]
        source: serde_json::Error,
    },
    /// The plan was made from a state that is no longer the one that was read.
    #[error("{object}: {what}")]
    Stale {
        /// What was to be written.
        object: String,
        /// How the two differ.
        what: String,
    },
    /// A config object with this name exists, but with other content or without our ownership label.
    #[error("{object}: exists already, and {what}")]
    Foreign {
        /// What was to be created.
        object: String,
        /// What is different.
        what: String,
    },
}

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    /// Something changed since it was read: read again and plan again.
    Conflict,
    /// The engine is busy, has no leader, or broke off: wait. Whether a write happened is not known, so read before anything else.
    Unavailable,
    /// The object, or one that it refers to, does not exist any more: read again.
    Gone,
    /// The object cannot be removed yet. No harm: a later plan does.
    InUse,
    /// It is larger than the Swarm can hold. The same call will fail again.
    TooLarge,
    /// The same call will fail again, for some other reason.
    Permanent,
    /// The engine does not manage a Swarm (any more).
    NotAManager,
    /// No engine answers. Nothing was sent.
    Unreachable,
    /// This user may not talk to the engine.
    Permission,
}

impl Error {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Endpoint { .. } | Self::Tls { .. } | Self::ApiVersion { .. } | Self::Foreign { .. } => {
                ErrorKind::Permanent
            }
            Self::Answer { .. } | Self::NoAuthority { .. } | Self::Authority { .. } => ErrorKind::Permanent,
            Self::Unreachable { .. } => ErrorKind::Unreachable,
            Self::Permission { .. } => ErrorKind::Permission,
            Self::NotAManager { .. } => ErrorKind::NotAManager,
            Self::Deadline { .. } | Self::Broken { .. } => ErrorKind::Unavailable,
            Self::Refused { status, message, .. } => classify(*status, message),
            Self::Stale { .. } => ErrorKind::Conflict,
        }
    }

    /// A stream ended that should have gone on.
    pub(crate) fn ended(object: &str) -> Self {
        let source = io::Error::from(io::ErrorKind::UnexpectedEof);
        Self::Broken { object: object.to_owned(), source: source.into() }
    }

    /// Sorts an error of the connection: not made, not allowed, or broken in the middle.
    pub(super) fn connection(url: &str, object: &str, error: hyper_util::client::legacy::Error) -> Self {
        let url = url.to_owned();
        if !error.is_connect() {
            return Self::Broken { object: object.to_owned(), source: error.into() };
        }
        if has_io_kind(&error, io::ErrorKind::PermissionDenied) {
            return Self::Permission { url, source: error.into() };
        }
        Self::Unreachable { url, source: error.into() }
    }

    /// Sorts an error that bollard answered.
    pub(super) fn bollard(url: &str, object: &str, error: bollard::errors::Error) -> Self {
        use bollard::errors::Error as Bollard;
        let object = object.to_owned();
        match error {
            Bollard::DockerResponseServerError { status_code: status, message } => {
                Self::Refused { object, status, message }
            }
            Bollard::HyperLegacyError { err } => Self::connection(url, &object, err),
            other => Self::Broken { object, source: other.into() },
        }
    }
}

pub(super) fn has_io_kind(error: &(dyn StdError + 'static), kind: io::ErrorKind) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == kind) {
            return true;
        }
        next = error.source();
    }
    false
}

/// Sorts an engine's answer by status and by text: engines answer 500 for nearly everything, version conflicts included.
fn classify(status: u16, message: &str) -> ErrorKind {
    let has = |text: &str| message.contains(text);
    if has("update out of sequence") {
        ErrorKind::Conflict
    } else if has("message is too large")
        || has("larger than max")
        || has("larger than 0 and less than")
        || status == 413
    {
        ErrorKind::TooLarge
    } else if has("not a swarm manager") || has("not part of a swarm") || has("swarm is encrypted") {
        ErrorKind::NotAManager
    } else if has("is in use by") {
        ErrorKind::InUse
    } else if status == 404 || has(" not found") {
        ErrorKind::Gone
    } else if status == 409 {
        ErrorKind::Conflict
    } else if status == 403 || status == 401 {
        ErrorKind::Permission
    } else if status == 501 || (status < 500 && status != 408 && status != 429) {
        ErrorKind::Permanent
    } else {
        // No leader, no quorum, a deadline inside the engine, or something new: all of them may pass.
        ErrorKind::Unavailable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_sorted_by_status_and_text() {
        use ErrorKind::{Conflict, Gone, InUse, NotAManager, Permanent, TooLarge, Unavailable};
        let table = [
            (500, "rpc error: code = Unknown desc = update out of sequence", Conflict),
            (500, "rpc error: code = DeadlineExceeded desc = context deadline exceeded", Unavailable),
            (500, "rpc error: code = Unknown desc = The swarm does not have a leader.", Unavailable),
            (500, "rpc error: code = Aborted desc = node lost leader status", Unavailable),
            (500, "something nobody has seen yet", Unavailable),
            (500, "rpc error: code = Unknown desc = raft: raft message is too large and can't be sent", TooLarge),
            (500, "grpc: received message larger than max (5000000 vs. 4194304)", TooLarge),
            (400, "config data must be larger than 0 and less than 1024000 bytes", TooLarge),
            (409, "rpc error: code = AlreadyExists desc = config a already exists", Conflict),
            (409, "rpc error: code = AlreadyExists desc = name conflicts with an existing object", Conflict),
            (400, "config 'a' is in use by the following service: b", InUse),
            (400, "rpc error: code = InvalidArgument desc = config not found: a", Gone),
            (400, "rpc error: code = InvalidArgument desc = secret not found: a", Gone),
            (500, "network shop_default not found", Gone),
            (404, "service shop not found", Gone),
            (503, "This node is not a swarm manager. Use \"docker swarm init\" to join", NotAManager),
            (503, "This node is not part of a swarm", NotAManager),
            (501, "service mode change is not allowed", Permanent),
            (400, "invalid reference format", Permanent),
        ];
        for (status, message, kind) in table {
            assert_eq!(classify(status, message), kind, "{status} {message}");
        }
    }

    #[test]
    fn a_text_never_repeats_its_source() {
        let source: BoxError = "connection refused".into();
        let error = Error::Unreachable { url: "tcp://h:1".to_owned(), source };
        assert!(!error.to_string().contains("refused"));
        assert!(error.source().is_some());
    }
}
