//! Child processes, and the duties of the first process of a container: whoever is left by their parents is ours to reap.

use std::collections::BTreeSet;
use std::io;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use tokio::process::{ChildStderr, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

/// The processes that we started and wait for ourselves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Children(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    pids: Mutex<BTreeSet<i32>>,
    /// Strangers may have ended behind a process that was waited for.
    one_less: Notify,
}

impl Children {
    fn known(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.0.pids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a process. It is killed when the value goes away before it has ended.
    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        // Locked until it is known: otherwise the end of a process that is very short could be reaped as a stranger's.
        let mut known = self.known();
        let process = command.kill_on_drop(true).spawn()?;
        let pid = process.id().and_then(|id| i32::try_from(id).ok()).unwrap_or_default();
        known.insert(pid);
        drop(known);
        Ok(Child { process, entry: Entry { pid, children: self.clone() } })
    }

    /// Reaps strangers for ever. Only for the first process of a container.
    pub(crate) async fn reap(self) -> io::Result<()> {
        let mut ended = signal(SignalKind::child())?;
        loop {
            self.reap_strangers();
            tokio::select! {
                _ = ended.recv() => {}
                () = self.0.one_less.notified() => {}
            }
        }
    }

    fn reap_strangers(&self) {
        let known = self.known();
        // A look at who ended leaves it a zombie. When it is one that we wait for, others behind it have to wait for the next time.
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while let Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) = waitid(Id::All, look) {
            if known.contains(&pid.as_raw()) || waitpid(pid, Some(WaitPidFlag::WNOHANG)).is_err() {
                break;
            }
        }
    }
}

/// A process that we started.
#[derive(Debug)]
pub(crate) struct Child {
    // In this order: a process that was killed with the value may be reaped as a stranger.
    process: tokio::process::Child,
    entry: Entry,
}

#[derive(Debug)]
struct Entry {
    pid: i32,
    children: Children,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.children.known().remove(&self.pid);
        self.children.0.one_less.notify_one();
    }
}

impl Child {
    /// The process's id; valid until it was waited for.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.entry.pid)
    }

    /// Waits for its end. May be called again, and given up.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.process.wait().await
    }

    /// Whether it has ended. Its process id is of no use any more then.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// What it writes to standard error, when that is a pipe.
    pub(crate) fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.process.stderr.take()
    }
}
