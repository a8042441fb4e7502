//! Running a program that may misbehave: what it reads is made of other people's labels.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// How much of what it says is kept.
const MOST_SAID: u64 = 64 << 10;
/// How much address space it may have. nginx takes 300 to 500 MiB for 10,000 hosts, half of them with paths of their own.
const MOST_MEMORY: u64 = 1 << 30;

/// How a program ended.
pub(super) struct Ended {
    /// Whether its exit code is 0.
    pub(super) well: bool,
    /// What it wrote to its standard error.
    pub(super) said: String,
}

/// Why it did not end by itself.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfinished {
    #[error("it cannot be started: {0}")]
    NotStarted(#[source] std::io::Error),
    #[error("it did not end within {0:?}")]
    TooLong(Duration),
    #[error("it was ended by {0}")]
    Killed(String),
}

/// Runs a program with an empty environment, for as long as `limit` at most. Whatever it started ends with it.
///
/// # Errors
///
/// When it did not end by itself.
pub(super) async fn run(mut command: Command, limit: Duration) -> Result<Ended, Unfinished> {
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(Unfinished::NotStarted)?;
    let group = Group(child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)));
    group.restrict(limit);
    let mut said = Vec::new();
    let ends = async {
        if let Some(stderr) = child.stderr.take() {
            stderr.take(MOST_SAID).read_to_end(&mut said).await.map_err(Unfinished::NotStarted)?;
        }
        child.wait().await.map_err(Unfinished::NotStarted)
    };
    let status = tokio::time::timeout(limit, ends).await.map_err(|_| Unfinished::TooLong(limit))??;
    match status.code() {
        Some(code) => Ok(Ended { well: code == 0, said: String::from_utf8_lossy(&said).into_owned() }),
        None => Err(Unfinished::Killed(status.to_string())),
    }
}

/// A process with all that it starts. They end with the value.
struct Group(Option<Pid>);

impl Group {
    /// Limits what it may use. This sets the limits of the child from outside, right after its start: between fork and exec only unsafe
    /// code could, and a program that does it (`prlimit`) is not in every image. What runs before that is the beginning of the program.
    fn restrict(&self, time: Duration) {
        #[cfg(target_os = "linux")]
        if let Some(pid) = self.0 {
            use rustix::process::{Resource, Rlimit, prlimit};
            for (resource, most) in
                [(Resource::As, MOST_MEMORY), (Resource::Cpu, time.as_secs().max(1)), (Resource::Core, 0)]
            {
                let limit = Rlimit { current: Some(most), maximum: Some(most) };
                // It may have ended already, and without a limit the time of the whole still counts.
                let _ = prlimit(Some(pid), resource, limit);
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (time, MOST_MEMORY);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Most often nothing is left of it.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
