//! A running nginx.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep, timeout_at};

use super::health;
use super::processes::{self, Process};
use crate::kinds::reaper::Child;
use crate::proxy_config::Revision;

/// How often in a row nginx has to say over new connections that it serves a revision.
const IN_A_ROW: u32 = 3;
/// How often it is looked and asked.
const INTERVAL: Duration = Duration::from_millis(2);

/// A running nginx.
#[derive(Debug)]
pub(super) struct Master {
    child: Child,
    pub(super) since: Instant,
}

/// Why a configuration does not serve.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotServing {
    #[error("nginx ended: {0}")]
    Ended(String),
    #[error("nginx did not take it within {0}: {1}")]
    Late(humantime::FormattedDuration, String),
}

impl Master {
    pub(super) fn new(child: Child) -> Self {
        Self { child, since: Instant::now() }
    }

    pub(super) fn pid(&self) -> Pid {
        self.child.pid()
    }

    /// Waits until it has ended. May be given up, and called again.
    pub(super) async fn ended(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => told(status),
            Err(error) => error.to_string(),
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        // It may have ended by itself; that is noticed elsewhere.
        let _ = kill(self.pid(), signal);
    }

    /// Whether it has ended, as far as that is known at this moment.
    pub(super) fn has_ended(&mut self) -> bool {
        self.child.has_ended()
    }

    /// Kills it and all its workers.
    pub(super) fn kill(&self) {
        let _ = killpg(self.pid(), Signal::SIGKILL);
    }

    /// The workers that take new connections.
    pub(super) fn workers(&self) -> BTreeSet<Process> {
        processes::accepting(self.pid())
    }

    /// Waits until new workers serve: no worker of `before` takes connections any more, and nginx says `revision` (any, for `None`) over
    /// new connections several times in a row. Answers the revision that it says.
    ///
    /// nginx starts the new workers, sleeps for 100 ms with its signals blocked, and only then has the old ones finish
    /// (`ngx_master_process_cycle`). Until then both take connections, and while there are few of them mostly the old ones get them. So
    /// the old ones are told here as soon as there are as many new ones. All share the same listening sockets, so that no connection is
    /// lost. nginx's own word comes afterwards and changes nothing, and makes the master expect their end. Where there shall be fewer
    /// workers than before, it is left to nginx.
    pub(super) async fn serves(
        &mut self,
        health: SocketAddr,
        revision: Option<&Revision>,
        before: &BTreeSet<Process>,
        limit: Duration,
    ) -> Result<String, NotServing> {
        let deadline = Instant::now() + limit;
        let pid = self.pid();
        let mut last = "no answer".to_owned();
        let confirmed = async {
            let mut in_a_row = 0;
            let mut told = before.is_empty();
            loop {
                let workers = processes::accepting(pid);
                let is_ready = !processes::is_starting(pid);
                if !told && is_ready && workers.difference(before).count() >= before.len() {
                    processes::finish(workers.intersection(before));
                    told = true;
                }
                match health::ask(health).await {
                    Ok(said) if revision.is_some_and(|revision| revision.as_str() != said) => {
                        in_a_row = 0;
                        last = format!("it serves {}", crate::problem::shown(&said));
                    }
                    Ok(said) => {
                        let new_alone = is_ready && !workers.is_empty() && workers.is_disjoint(before);
                        in_a_row = if new_alone { in_a_row + 1 } else { 0 };
                        if in_a_row >= IN_A_ROW {
                            return said;
                        }
                        if new_alone {
                            continue;
                        }
                        last = "workers of before still take connections".to_owned();
                    }
                    Err(unwell) => {
                        in_a_row = 0;
                        last = unwell.to_string();
                    }
                }
                sleep(INTERVAL).await;
            }
        };
        tokio::select! {
            biased;
            ended = self.child.wait() => {
                Err(NotServing::Ended(ended.map_or_else(|error| error.to_string(), told)))
            }
            said = timeout_at(deadline, confirmed) => {
                said.map_err(|_| NotServing::Late(humantime::format_duration(limit), last))
            }
        }
    }
}

/// Nothing is left running by an agent that ends without order. The workers of a master that was waited for are not its own any more.
impl Drop for Master {
    fn drop(&mut self) {
        if !self.child.has_ended() {
            self.kill();
        }
    }
}

fn told(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "nobody knows why".to_owned(),
    }
}
