//! nginx's processes, as `/proc` shows them.
//!
//! A reload leaves the workers of before to finish their connections. Each such set of workers is an old generation; too many of
//! them, with the memory of each, are what a burst of changes and a few long connections would otherwise leave.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::time::{Duration, Instant};

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

/// Workers that a reload left.
#[derive(Debug)]
struct Old {
    workers: BTreeSet<Process>,
    /// For how long they took connections: the longer, the more of them they may have, and the older.
    took: Duration,
}

/// The old generations of workers, the oldest first.
#[derive(Debug)]
pub(super) struct Generations {
    old: VecDeque<Old>,
    /// Since when today's workers take connections.
    since: Instant,
    /// For how long those before them did.
    took: Duration,
    /// How many generations were ended in a row, and when the last one was.
    ended: u32,
    last_ended: Option<Instant>,
}

impl Default for Generations {
    fn default() -> Self {
        Self { old: VecDeque::new(), since: Instant::now(), took: Duration::ZERO, ended: 0, last_ended: None }
    }
}

impl Generations {
    /// How many may live. Beyond them one is ended.
    pub(super) const MOST: usize = 8;
    /// After so long without one that was ended, all is as in the beginning.
    const QUIET: Duration = Duration::from_secs(300);

    /// Others take connections from now on.
    pub(super) fn renewed(&mut self) {
        self.took = self.since.elapsed();
        self.since = Instant::now();
    }

    /// Looks at which workers only finish what they have: those not seen before are one more old generation.
    pub(super) fn observe(&mut self, master: Pid) {
        let known: BTreeSet<_> = self.old.iter().flat_map(|old| &old.workers).copied().collect();
        self.add(finishing(master).difference(&known).copied().collect());
    }

    /// The workers that a master left when it was killed take no new connections and finish what they have, so that the next master
    /// gets their port.
    pub(super) fn adopt(&mut self, dead_master: Pid) {
        let orphans = accepting(dead_master);
        finish(&orphans);
        self.renewed();
        self.observe(dead_master);
        self.add(orphans);
    }

    /// In a burst of reloads it is the burst's own generations that are ended. Those who were connected before it notice nothing.
    fn add(&mut self, workers: BTreeSet<Process>) {
        self.old.push_back(Old { workers, took: self.took });
        self.forget_dead();
        while self.old.len() > Self::MOST {
            let spans: Vec<_> = self.old.iter().map(|old| old.took).collect();
            let Some(old) = self.old.remove(shortest(&spans)) else { return };
            tracing::warn!(
                workers = old.workers.len(),
                "more than {} reloads with open connections: the workers that took connections for {} are ended",
                Self::MOST,
                humantime::format_duration(Duration::from_millis(old.took.as_millis().try_into().unwrap_or(u64::MAX)))
            );
            self.ended = if self.is_quiet() { 1 } else { self.ended.saturating_add(1) };
            self.last_ended = Some(Instant::now());
            for worker in old.workers {
                worker.signal(Signal::SIGTERM);
            }
        }
    }

    fn is_quiet(&self) -> bool {
        self.last_ended.is_none_or(|last| last.elapsed() >= Self::QUIET)
    }

    /// How long a reload that would end one waits for it to end by itself: the longer, the more were ended lately, up to eight times as long.
    pub(super) fn pace(&self, shortest: Duration) -> Duration {
        let ended = if self.is_quiet() { 0 } else { self.ended };
        shortest.saturating_mul(1 << ended.min(3))
    }

    fn forget_dead(&mut self) {
        for old in &mut self.old {
            old.workers.retain(|worker| worker.lives());
        }
        self.old.retain(|old| !old.workers.is_empty());
    }

    /// Whether another generation would end one.
    pub(super) fn are_many(&mut self) -> bool {
        self.forget_dead();
        self.old.len() >= Self::MOST
    }

    /// Whether no old worker lives.
    pub(super) fn are_gone(&mut self) -> bool {
        self.forget_dead();
        self.old.is_empty()
    }

    /// Ends all at once: by SIGTERM, or by SIGKILL if they do not follow it.
    pub(super) fn end(&self, signal: Signal) {
        self.old.iter().flat_map(|old| &old.workers).for_each(|worker| worker.signal(signal));
    }
}

/// Where the shortest stands; of equal ones the first.
fn shortest(spans: &[Duration]) -> usize {
    spans.iter().enumerate().min_by_key(|(_, span)| **span).map_or(0, |(n, _)| n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h8_a_burst_ends_its_own_generations() {
        let seconds = |all: &[u64]| all.iter().map(|s| Duration::from_secs(*s)).collect::<Vec<_>>();
        assert_eq!(shortest(&seconds(&[7200, 1, 3, 2])), 1);
        assert_eq!(shortest(&seconds(&[7200, 60, 60, 60])), 1, "the oldest of those alike");
        assert_eq!(shortest(&seconds(&[1, 7200])), 0);
    }

    #[test]
    fn h8_reloads_that_end_connections_become_rare() {
        let base = Duration::from_secs(5);
        let ended = |ended| Generations { ended, last_ended: Some(Instant::now()), ..Generations::default() };
        let paces: Vec<_> = (0..6).map(|n| ended(n).pace(base).as_secs()).collect();
        assert_eq!(paces, [5, 10, 20, 40, 40, 40]);
        assert_eq!(Generations::default().pace(base), base);
    }
}
