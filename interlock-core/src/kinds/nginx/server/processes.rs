//! nginx's processes, as `/proc` shows them.
//!
//! A reload leaves the workers of before to finish their connections. Each such set of workers is an old generation; too many of
//! them, with the memory of each, are what a burst of changes and a few long connections would otherwise leave.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
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
    /// With the bytes of memory of each, as of when it was left.
    workers: BTreeMap<Process, u64>,
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
    /// How much memory old workers may take together, in bytes.
    room: u64,
}

impl Generations {
    /// So many may live whatever memory they take.
    pub(super) const FEW: usize = 8;

    /// `room`: how much memory old workers may take together beyond a [few](Self::FEW) generations, in bytes.
    pub(super) fn new(room: u64) -> Self {
        Self { old: VecDeque::new(), since: Instant::now(), took: Duration::ZERO, room }
    }

    /// Others take connections from now on.
    pub(super) fn renewed(&mut self) {
        self.took = self.since.elapsed();
        self.since = Instant::now();
    }

    /// Looks at which workers only finish what they have: those not seen before are one more old generation.
    pub(super) fn observe(&mut self, master: Pid) {
        let known: BTreeSet<_> = self.old.iter().flat_map(|old| old.workers.keys()).copied().collect();
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

    /// Ends generations only when there is no room for all: in a burst of reloads those of the burst itself. Those who were connected
    /// before it notice nothing.
    fn add(&mut self, workers: BTreeSet<Process>) {
        let workers = workers.into_iter().map(|worker| (worker, memory(worker))).collect();
        self.old.push_back(Old { workers, took: self.took });
        self.forget_dead();
        while self.old.len() > Self::FEW && self.memory() > self.room {
            let spans: Vec<_> = self.old.iter().map(|old| old.took).collect();
            let Some(old) = self.old.remove(shortest(&spans)) else { return };
            let took = Duration::from_millis(old.took.as_millis().try_into().unwrap_or(u64::MAX));
            tracing::warn!(
                workers = old.workers.len(),
                room = self.room,
                took = %humantime::format_duration(took),
                "old workers ended: memory limit reached"
            );
            for worker in old.workers.into_keys() {
                worker.signal(Signal::SIGTERM);
            }
        }
    }

    /// How many bytes old workers take.
    pub(super) fn memory(&self) -> u64 {
        self.old.iter().flat_map(|old| old.workers.values()).sum()
    }

    /// How long the next reload waits, so that old workers end by themselves and changes become one: not at all while they have taken less than half
    /// of their room. Beyond that it is longer the less is left, up to 128 times the `shortest`, so that the other half lasts
    /// for the hour after which NGINX ends them itself.
    pub(super) fn pause(&mut self, shortest: Duration) -> Option<Duration> {
        self.forget_dead();
        if self.old.len() < Self::FEW {
            return None;
        }
        steps(self.memory(), self.room).map(|steps| shortest.saturating_mul(1 << steps))
    }

    fn forget_dead(&mut self) {
        for old in &mut self.old {
            old.workers.retain(|worker, _| worker.lives());
        }
        self.old.retain(|old| !old.workers.is_empty());
    }

    /// Whether no old worker lives.
    pub(super) fn are_gone(&mut self) -> bool {
        self.forget_dead();
        self.old.is_empty()
    }

    /// Ends all at once: by SIGTERM, or by SIGKILL if they do not follow it.
    pub(super) fn end(&self, signal: Signal) {
        self.old.iter().flat_map(|old| old.workers.keys()).for_each(|worker| worker.signal(signal));
    }
}

/// In which sixteenth of the room beyond its half this is, up to 7.
fn steps(used: u64, room: u64) -> Option<u32> {
    let beyond = used.checked_sub(room / 2).filter(|beyond| *beyond > 0)?;
    let sixteenths = beyond.saturating_mul(16).checked_div(room).unwrap_or(7).min(7);
    u32::try_from(sixteenths).ok()
}

/// Where the shortest stands; of equal ones the first.
fn shortest(spans: &[Duration]) -> usize {
    spans.iter().enumerate().min_by_key(|(_, span)| **span).map_or(0, |(n, _)| n)
}

/// The memory that a process has for itself, and its share of what it has with others, in bytes. Old kernels do not tell.
fn memory(process: Process) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", process.pid)).unwrap_or_default();
    let kilobytes = text.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.parse().ok());
    kilobytes.unwrap_or(0_u64).saturating_mul(1024)
}

/// How much memory old workers may take together, in bytes, unless it is said otherwise.
pub(crate) fn room() -> u64 {
    const LEAST: u64 = 512 << 20;
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes =
        meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    let machine = kilobytes.unwrap_or(0_u64).saturating_mul(1024);
    let room = LEAST.max(machine / 16);
    limit().map_or(room, |limit| room.min(limit / 2))
}

/// The memory that this container may take, in bytes, if that is limited.
fn limit() -> Option<u64> {
    let paths = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let said = paths.iter().find_map(|path| fs::read_to_string(path).ok())?;
    // Without a limit: `max`, or nearly 2^63.
    said.trim().parse().ok().filter(|limit| *limit < 1 << 50)
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
    fn h8_reloads_become_rare_before_there_is_no_room() {
        const ROOM: u64 = 1600;
        let steps: Vec<_> = [0, 800, 801, 900, 1000, 1499, 1500, 9999].map(|used| steps(used, ROOM)).into();
        assert_eq!(steps, [None, None, Some(0), Some(1), Some(2), Some(6), Some(7), Some(7)]);
        assert_eq!((super::steps(1, 0), super::steps(0, 0)), (Some(7), None));
        assert_eq!(Generations::new(0).pause(Duration::from_secs(5)), None, "there is none");
    }
}
