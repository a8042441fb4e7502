//! When to do things: small values that are told the time and never look at a clock.

use std::time::Duration;

use tokio::time::Instant;

/// How long Swarm may take to begin an update that it was told of. Until then it shows none, and the tasks of before look as they should.
pub(super) const BEGIN: Duration = Duration::from_secs(1);

/// Gathers changes that come together. The first one after a calm time counts at once, later ones when there was quiet for a
/// moment, and under an endless stream of them at least every [`Debounce::LONGEST`].
#[derive(Debug, Default)]
pub(super) struct Debounce {
    /// The first and the last change that nothing was done about yet.
    pending: Option<(Instant, Instant)>,
    /// When changes were last acted upon.
    fired: Option<Instant>,
}

impl Debounce {
    pub(super) const QUIET: Duration = Duration::from_millis(50);
    pub(super) const LONGEST: Duration = Duration::from_millis(500);

    /// Something changed.
    pub(super) fn changed(&mut self, now: Instant) {
        let first = self.pending.map_or(now, |(first, _)| first);
        self.pending = Some((first, now));
    }

    /// Something came that is to be acted upon at once.
    pub(super) fn now(&mut self, now: Instant) {
        self.changed(now);
        self.fired = None;
    }

    /// When to act; `None` when nothing changed.
    pub(super) fn due(&self) -> Option<Instant> {
        let (first, last) = self.pending?;
        let calm = self.fired.is_none_or(|fired| first >= fired + Self::QUIET);
        if calm { Some(first) } else { Some((last + Self::QUIET).min(first + Self::LONGEST)) }
    }

    /// All changes so far are acted upon now.
    pub(super) fn fired(&mut self, now: Instant) {
        self.pending = None;
        self.fired = Some(now);
    }
}

/// How often everything is read: as often as the settings say, but never so often that it takes more than 2 % of a processor.
#[derive(Debug)]
pub(super) struct Pace {
    poll: Duration,
    /// How long our processors were busy reading, and at most thinking about what was read.
    reading: Duration,
    thinking: Duration,
    /// The whole time of the last pass, and of the one before.
    elapsed: (Duration, Duration),
}

impl Pace {
    /// A seventy-fifth, not a fiftieth: what receiving the bytes costs is not in the measured times.
    const SHARE: u32 = 75;
    /// What the engine does for us meanwhile costs it as well, so that the whole time of a pass counts. But an engine that is slow
    /// because it is ill shall not make us look away for long, and not at all when it is slow only once.
    const LONGEST_FOR_ELAPSED: Duration = Duration::from_secs(60);

    pub(super) fn new(poll: Duration) -> Self {
        Self { poll, reading: Duration::ZERO, thinking: Duration::ZERO, elapsed: (Duration::ZERO, Duration::ZERO) }
    }

    /// A pass was made: how long it took in all, and how long our processors were busy with it.
    pub(super) fn passed(&mut self, elapsed: Duration, busy: Duration) {
        self.elapsed = (elapsed, self.elapsed.0);
        self.reading = busy;
        self.thinking = Duration::ZERO;
    }

    /// Thinking about what was read belongs to the pass.
    pub(super) fn thought(&mut self, busy: Duration) {
        self.thinking = self.thinking.max(busy);
    }

    /// How long to wait after a pass until the next.
    pub(super) fn interval(&self) -> Duration {
        let (last, before) = self.elapsed;
        let elapsed = last.min(before);
        let for_elapsed = elapsed.saturating_mul(Self::SHARE).min(Self::LONGEST_FOR_ELAPSED);
        self.poll.max((self.reading + self.thinking).saturating_mul(Self::SHARE)).max(for_elapsed)
    }
}

/// How long reads have failed. What is decided then is decided on an old copy, and where there is another core it knows more.
#[derive(Debug)]
pub(super) struct Sight {
    patience: Duration,
    /// When proxies have to be told next.
    failing: Option<Instant>,
    is_lost: bool,
}

impl Sight {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, failing: None, is_lost: false }
    }

    /// A read failed. What counts is the first after all was read.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failing.get_or_insert(now + self.patience);
    }

    /// All was read.
    pub(super) fn regained(&mut self) {
        self.failing = None;
        self.is_lost = false;
    }

    /// When it is lost, or was for another while.
    pub(super) fn due(&self) -> Option<Instant> {
        self.failing
    }

    /// Whether it is lost now, or was for another while.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        let due = self.failing.is_some_and(|due| due <= now);
        if due {
            self.failing = Some(now + self.patience);
            self.is_lost = true;
        }
        due
    }

    /// Whether it was lost and not regained.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_first_change_counts_at_once() {
        let start = Instant::now();
        let mut debounce = Debounce::default();
        assert_eq!(debounce.due(), None);
        debounce.changed(start);
        assert_eq!(debounce.due(), Some(start));
        debounce.fired(start);
        assert_eq!(debounce.due(), None);
        // Long after, again at once.
        debounce.changed(start + ms(400));
        assert_eq!(debounce.due(), Some(start + ms(400)));
    }

    #[test]
    fn later_changes_wait_for_quiet() {
        let start = Instant::now();
        let mut debounce = Debounce::default();
        debounce.changed(start);
        debounce.fired(start);
        debounce.changed(start + ms(10));
        assert_eq!(debounce.due(), Some(start + ms(60)));
        debounce.changed(start + ms(40));
        assert_eq!(debounce.due(), Some(start + ms(90)));
    }

    #[test]
    fn an_endless_stream_of_changes_does_not_starve_it() {
        let start = Instant::now();
        let mut debounce = Debounce::default();
        let mut fired = Vec::new();
        for step in 0..3000 {
            let now = start + ms(step);
            debounce.changed(now);
            if debounce.due().is_some_and(|due| due <= now) {
                debounce.fired(now);
                fired.push(step);
            }
        }
        assert_eq!(fired[0], 0);
        let longest = fired.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(longest <= Some(501), "{fired:?}");
        assert!(fired.len() < 10, "{fired:?}");
    }

    #[test]
    fn passes_cost_at_most_a_fiftieth() {
        let mut pace = Pace::new(Duration::from_secs(3));
        assert_eq!(pace.interval(), Duration::from_secs(3));
        pace.passed(ms(20), ms(5));
        assert_eq!(pace.interval(), Duration::from_secs(3));
        pace.passed(Duration::from_secs(20), ms(5));
        assert_eq!(pace.interval(), Duration::from_secs(3), "slow once is an accident");
        pace.passed(ms(600), ms(5));
        assert_eq!(pace.interval(), Duration::from_secs(45), "the engine's work counts");
        pace.passed(Duration::from_secs(20), ms(200));
        pace.passed(Duration::from_secs(20), ms(200));
        assert_eq!(pace.interval(), Duration::from_secs(60), "but an ill engine is not left alone");
        pace.passed(Duration::from_secs(20), ms(400));
        pace.thought(ms(1500));
        assert_eq!(pace.interval(), ms(142_500));
    }

    #[test]
    fn sight_is_lost_when_reads_have_failed_for_a_while() {
        let start = Instant::now();
        let mut sight = Sight::new(ms(1000));
        assert!(!sight.take_due(start) && sight.due().is_none());
        sight.failed(start);
        sight.failed(start + ms(900));
        assert!(!sight.take_due(start + ms(999)) && !sight.is_lost());
        sight.regained();
        sight.failed(start + ms(1000));
        assert!(!sight.take_due(start + ms(1999)), "it could read meanwhile");
        assert!(sight.take_due(start + ms(2000)) && sight.is_lost());
        assert!(!sight.take_due(start + ms(2999)) && sight.is_lost(), "told for now");
        assert!(sight.take_due(start + ms(3000)), "and again");
        sight.regained();
        assert!(!sight.is_lost() && sight.due().is_none());
    }
}
