//! Whether the core or the extension of a container lives: a socket at which it answers while it works.
//!
//! It answers in turns with its work, on the same task. So a process that is stopped, or whose loop is stuck, does not answer, and
//! Swarm replaces it. One that waits does: for Docker or for core, since another in its place could do no more, and for its own threads.

use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;

use crate::args::AliveArgs;
use crate::failure::Failure;

const ANSWER: &[u8] = b"alive\n";
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long nothing is accepted after that failed, as when there are too many open files.
const PAUSE: Duration = Duration::from_secs(1);

/// Where a process answers that it lives; nowhere without a path. The file goes with the value.
#[derive(Debug)]
pub(crate) struct Liveness(Option<(UnixListener, PathBuf)>);

impl Liveness {
    /// Begins to listen. Has to be called in a runtime.
    ///
    /// # Errors
    ///
    /// When the socket cannot be made there, or is another process's.
    pub(crate) fn at(args: &AliveArgs) -> Result<Self, Failure> {
        let Some(path) = &args.health_socket else { return Ok(Self(None)) };
        let wrong = |error: io::Error| Failure::input(format!("--health-socket {}", path.display()), error);
        if UnixStream::connect(path).is_ok() {
            return Err(wrong(io::Error::other("another process answers there")));
        }
        // One that was killed leaves it.
        if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
            std::fs::remove_file(path).map_err(wrong)?;
        }
        let listener = UnixListener::bind(path).map_err(wrong)?;
        Ok(Self(Some((listener, path.clone()))))
    }

    /// The same where nobody else answers; else nowhere. For what ends by itself.
    pub(crate) fn where_free(args: &AliveArgs) -> Self {
        Self::at(args).unwrap_or(Self(None))
    }

    /// Does some work, and answers meanwhile.
    pub(crate) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let Some((listener, _)) = &self.0 else { return work.await };
        loop {
            let accepted = tokio::select! {
                biased;
                done = &mut work => return done,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                // So few bytes always have room in a new connection.
                Ok((mut stream, _)) => drop(stream.write_all(ANSWER).await),
                Err(error) => {
                    tracing::warn!("health checks get no answer: {error}");
                    tokio::select! {
                        done = &mut work => return done,
                        () = tokio::time::sleep(PAUSE) => {}
                    }
                }
            }
        }
    }
}

impl Drop for Liveness {
    fn drop(&mut self) {
        if let Some((_, path)) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Asks the process of this container, as Docker's health check.
///
/// # Errors
///
/// When there is no answer within 2 s.
pub(crate) fn ask(args: &AliveArgs) -> Result<ExitCode, Failure> {
    let Some(path) = &args.health_socket else {
        return Err(Failure::input("--health-socket", "is missing: where core or an extension answers"));
    };
    answer(path).map_err(|source| Silent { path: path.clone(), source })?;
    Ok(ExitCode::SUCCESS)
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
#[error("nobody answers at {}", path.display())]
struct Silent {
    path: PathBuf,
    source: io::Error,
}

fn answer(path: &Path) -> io::Result<()> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = [0; ANSWER.len()];
    stream.read_exact(&mut answer)?;
    if answer == ANSWER { Ok(()) } else { Err(io::Error::other("it answers something else")) }
}
