//! nginx's processes, as `/proc` shows them.
//!
//! A reload leaves the workers of before to finish their connections. Each such set of workers is an old generation; too many of
//! them, with the memory of each, are what a burst of changes and a few long connections would otherwise leave.

use std::collections::{BTreeSet, VecDeque};
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process. The time when it was started tells it from a later one with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Process {
    pid: i32,
    started: u64,
}

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Accepting,
    Finishing,
}

/// The workers of a master that take new connections.
pub(super) fn accepting(master: Pid) -> BTreeSet<Process> {
    workers(master, Phase::Accepting)
}

/// Whether a master has made workers that are not ready yet.
pub(super) fn is_starting(master: Pid) -> bool {
    workers(master, Phase::Starting).iter().any(|child| child.pid != master.as_raw())
}

/// Those that only finish what they have.
fn finishing(master: Pid) -> BTreeSet<Process> {
    workers(master, Phase::Finishing)
}

/// Has workers take no new connections, and end when they have finished what they have.
pub(super) fn finish<'a>(workers: impl IntoIterator<Item = &'a Process>) {
    workers.into_iter().for_each(|worker| worker.signal(Signal::SIGQUIT));
}

/// A master's process group is its own. Its workers are found by that, also when the master itself is gone.
fn workers(master: Pid, wanted: Phase) -> BTreeSet<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeSet::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| phase(*pid) == Some(wanted))
        .filter_map(|pid| {
            let stat = Stat::of(pid)?;
            (stat.group == master.as_raw()).then_some(Process { pid, started: stat.started })
        })
        .collect()
}

/// nginx and its relatives write into their title what a process does: `nginx: worker process is shutting down`. A new worker has its
/// master's title until it is ready.
fn phase(pid: i32) -> Option<Phase> {
    let title = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let title = String::from_utf8_lossy(&title);
    if title.contains(": master process") {
        return Some(Phase::Starting);
    }
    let (_, does) = title.split_once(": worker process")?;
    Some(if does.starts_with(" is shutting down") { Phase::Finishing } else { Phase::Accepting })
}

struct Stat {
    state: String,
    group: i32,
    started: u64,
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything.
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<_> = rest.split(' ').collect();
        Some(Self {
            state: (*fields.first()?).to_owned(),
            group: fields.get(2)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

impl Process {
    fn lives(self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.started == self.started && stat.state != "Z")
    }

    fn signal(self, signal: Signal) {
        if self.lives() {
            // It may have ended since.
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }
}

/// The old generations of workers, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Generations(VecDeque<BTreeSet<Process>>);

impl Generations {
    /// How many may live. Beyond them the oldest is ended.
    pub(super) const MOST: usize = 8;

    /// Looks at which workers only finish what they have: those not seen before are one more old generation.
    pub(super) fn observe(&mut self, master: Pid) {
        let known: BTreeSet<_> = self.0.iter().flatten().copied().collect();
        self.add(finishing(master).difference(&known).copied().collect());
    }

    /// The workers that a master left when it was killed take no new connections and finish what they have, so that the next master
    /// gets their port.
    pub(super) fn adopt(&mut self, dead_master: Pid) {
        let orphans = accepting(dead_master);
        finish(&orphans);
        self.observe(dead_master);
        self.add(orphans);
    }

    fn add(&mut self, workers: BTreeSet<Process>) {
        self.0.push_back(workers);
        self.forget_dead();
        while self.0.len() > Self::MOST {
            let oldest = self.0.pop_front().unwrap_or_default();
            tracing::warn!(
                workers = oldest.len(),
                "more than {} reloads with open connections: the oldest workers are ended",
                Self::MOST
            );
            for worker in oldest {
                worker.signal(Signal::SIGTERM);
            }
        }
    }

    fn forget_dead(&mut self) {
        for generation in &mut self.0 {
            generation.retain(|worker| worker.lives());
        }
        self.0.retain(|generation| !generation.is_empty());
    }

    /// Whether another generation would end the oldest.
    pub(super) fn are_many(&mut self) -> bool {
        self.forget_dead();
        self.0.len() >= Self::MOST
    }

    /// Whether no old worker lives.
    pub(super) fn are_gone(&mut self) -> bool {
        self.forget_dead();
        self.0.is_empty()
    }

    /// Ends all at once: by SIGTERM, or by SIGKILL if they do not follow it.
    pub(super) fn end(&self, signal: Signal) {
        self.0.iter().flatten().for_each(|worker| worker.signal(signal));
    }
}
