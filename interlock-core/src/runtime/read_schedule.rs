//! What has to be read, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// What can be read by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Everything.
    All,
    /// Services that something happened to, with their tasks.
    Services,
    /// Which tasks are on nodes that something happened to.
    NodeTasks,
    /// The nodes.
    Nodes,
    /// The networks.
    Networks,
    /// Our config objects.
    Configs,
    /// What may be known of the secrets.
    Secrets,
}

/// At most one read of a kind is on its way, and no kind keeps the engine busy for more than a fifth of the time.
#[derive(Debug, Default)]
pub(super) struct ReadSchedule {
    reads: BTreeMap<Kind, Read>,
    /// Until everything was read once, no other read begins.
    rests: bool,
}

#[derive(Debug, Default)]
struct Read {
    wanted: Option<Instant>,
    under_way: bool,
    not_before: Option<Instant>,
}

impl Read {
    fn start(&self) -> Option<Instant> {
        let wanted = self.wanted.filter(|_| !self.under_way)?;
        Some(self.not_before.map_or(wanted, |earliest| earliest.max(wanted)))
    }
}

impl ReadSchedule {
    const REST: u32 = 4;
    /// An engine that hung for a while and is well again shall not be left alone for a multiple of that while.
    const LONGEST_REST: Duration = Duration::from_secs(1);

    /// This kind shall be read, at this time or before.
    pub(super) fn want(&mut self, kind: Kind, at: Instant) {
        let wanted = &mut self.reads.entry(kind).or_default().wanted;
        *wanted = Some(wanted.map_or(at, |earlier| earlier.min(at)));
    }

    /// Nothing shall be read until this time, and then everything before anything else.
    pub(super) fn rest_until(&mut self, at: Instant) {
        self.rests = true;
        self.reads.entry(Kind::All).or_default().wanted = Some(at);
    }

    /// Whether a rest is not over.
    pub(super) fn rests(&self) -> bool {
        self.rests
    }

    /// Everything was read.
    pub(super) fn awake(&mut self) {
        self.rests = false;
    }

    /// Kinds that may be read, with the time.
    fn starts(&self) -> impl Iterator<Item = (Kind, Instant)> {
        let allowed = |kind: &Kind| !self.rests || *kind == Kind::All;
        let reads = self.reads.iter().filter(move |(kind, _)| allowed(kind));
        reads.filter_map(|(kind, read)| Some((*kind, read.start()?)))
    }

    /// What to read now. Each of these is under way from now on.
    pub(super) fn start(&mut self, now: Instant) -> Vec<Kind> {
        let kinds: Vec<_> = self.starts().filter(|(_, start)| *start <= now).map(|(kind, _)| kind).collect();
        for kind in &kinds {
            let read = self.reads.entry(*kind).or_default();
            read.wanted = None;
            read.under_way = true;
        }
        kinds
    }

    /// A read came back.
    pub(super) fn done(&mut self, kind: Kind, now: Instant, took: Duration) {
        let read = self.reads.entry(kind).or_default();
        read.under_way = false;
        read.not_before = Some(now + took.saturating_mul(Self::REST).min(Self::LONGEST_REST));
    }

    /// When [`ReadSchedule::start`] has something.
    pub(super) fn next(&self) -> Option<Instant> {
        self.starts().map(|(_, start)| start).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn one_read_of_a_kind_is_under_way_at_most() {
        let start = Instant::now();
        let mut schedule = ReadSchedule::default();
        schedule.want(Kind::Networks, start + ms(10));
        schedule.want(Kind::Networks, start);
        assert_eq!(schedule.start(start), [Kind::Networks]);
        schedule.want(Kind::Networks, start);
        assert_eq!((schedule.start(start), schedule.next()), (vec![], None));
        schedule.done(Kind::Networks, start + ms(5), ms(5));
        assert_eq!(schedule.next(), Some(start + ms(25)), "a fifth of the time");
        assert_eq!(schedule.start(start + ms(24)), []);
        assert_eq!(schedule.start(start + ms(25)), [Kind::Networks]);
        schedule.done(Kind::Networks, start, ms(20_000));
        schedule.want(Kind::Networks, start);
        assert_eq!(schedule.next(), Some(start + ms(1000)), "but a hang is not multiplied");
    }

    #[test]
    fn after_a_rest_everything_is_read() {
        let start = Instant::now();
        let mut schedule = ReadSchedule::default();
        schedule.want(Kind::All, start);
        assert_eq!(schedule.start(start), [Kind::All]);
        schedule.want(Kind::Secrets, start);
        schedule.rest_until(start + ms(100));
        assert_eq!(schedule.next(), None, "the pass is still under way");
        schedule.done(Kind::All, start, ms(0));
        assert_eq!(schedule.start(start + ms(99)), []);
        assert_eq!(schedule.start(start + ms(100)), [Kind::All]);
        schedule.awake();
        assert_eq!(schedule.start(start + ms(100)), [Kind::Secrets]);
    }
}
