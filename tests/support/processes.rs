//! Processes, as `/proc` shows them, and signals to them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

pub fn kill(signal: &str, pid: i32) {
    let status = Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

/// Kills a process and all that it started, also what has a process group of its own: as a container ends with its first process.
pub fn kill_with_descendants(first: i32) {
    // Nobody starts another one meanwhile.
    stop(first);
    let group = |pid| Stat::of(pid).map(|stat| stat.group);
    let all: Vec<_> = [first].into_iter().chain(descendants(first)).collect();
    let own = group(i32::try_from(std::process::id()).unwrap()).unwrap();
    let groups: BTreeSet<_> = all.iter().filter_map(|pid| group(*pid)).collect();
    assert!(!groups.contains(&own), "the first process has no group of its own");
    groups.into_iter().for_each(kill_group);
    super::agent::eventually("the end of all processes", || !all.iter().any(|pid| lives(*pid)));
}

/// Kills a process group, if there is one.
pub fn kill_group(group: i32) {
    let group = format!("-{group}");
    Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status().unwrap();
}

/// Stops a process with all its threads.
pub fn stop(pid: i32) {
    kill("-STOP", pid);
    let threads = || std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let is_stopped = |stat: &str| Stat::parse(stat).is_none_or(|stat| stat.state == "T");
    super::agent::eventually("a process that is stopped", || {
        threads().all(|thread| std::fs::read_to_string(thread.path().join("stat")).is_ok_and(|stat| is_stopped(&stat)))
    });
}

/// Whether SIGHUP was sent to a process that has not got to it yet.
pub fn has_pending_hangup(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    pending.is_some_and(|signals| u64::from_str_radix(signals.trim(), 16).unwrap() & 1 == 1)
}

/// nginx's masters whose configuration is below a folder.
pub fn masters(folder: &Path) -> Vec<i32> {
    let is_master = |title: &str| title.contains("nginx: master process") && title.contains(folder.to_str().unwrap());
    pids().filter(|pid| is_master(&title(*pid))).collect()
}

/// How many workers of a master finish what they have.
pub fn old_workers(master: i32) -> usize {
    workers(master, |does| does == " is shutting down").len()
}

/// The workers of a master that take connections.
pub fn accepting_workers(master: i32) -> Vec<i32> {
    workers(master, str::is_empty)
}

/// Workers by what nginx writes into their titles.
fn workers(master: i32, wanted: impl Fn(&str) -> bool) -> Vec<i32> {
    let is_wanted = |pid: &i32| {
        let title = title(*pid);
        let does = title.split_once("worker process").map(|(_, does)| does.trim_end_matches(['\0', ' ']));
        does.is_some_and(&wanted) && Stat::of(*pid).is_some_and(|stat| stat.parent == master)
    };
    pids().filter(is_wanted).collect()
}

fn descendants(ancestor: i32) -> Vec<i32> {
    let children: Vec<_> = pids().filter(|pid| Stat::of(*pid).is_some_and(|stat| stat.parent == ancestor)).collect();
    children.iter().flat_map(|child| [*child].into_iter().chain(descendants(*child))).collect()
}

/// A zombie does not live: nothing is left of it but its id.
fn lives(pid: i32) -> bool {
    Stat::of(pid).is_some_and(|stat| stat.state != "Z")
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn title(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

struct Stat {
    state: String,
    parent: i32,
    group: i32,
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name in parentheses may hold anything.
        let mut fields = text.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?.to_owned();
        Some(Self { state, parent: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
    }
}
