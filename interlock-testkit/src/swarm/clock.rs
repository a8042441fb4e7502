//! Virtual time.

use super::Swarm;
use jiff::Timestamp;
use std::time::Duration;

/// How long things take, in virtual time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two states of a task that needs no work.
    pub step: Duration,
    /// Pulling the image.
    pub prepare: Duration,
    /// From *starting* to *running* without a health check; with one, its first probe counts instead.
    pub start: Duration,
    /// From the wish to stop until the container is gone: an overlay address stays taken that long.
    pub stop: Duration,
    /// How much virtual time [`Swarm::settle`] spends at most: a task that crashes for ever never settles.
    pub settle_at_most: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            step: Duration::from_millis(10),
            prepare: Duration::from_millis(100),
            start: Duration::from_millis(300),
            stop: Duration::from_millis(200),
            settle_at_most: Duration::from_secs(600),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Task(String),
    Gate(String),
    Updater(String),
}

/// The first moment of virtual time: 2026-01-01T00:00:00Z.
const EPOCH_SECONDS: i64 = 1_767_225_600;

impl Swarm {
    /// The virtual time that has passed.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Lets virtual time pass, with everything that becomes due in it, in order.
    pub fn tick(&mut self, duration: Duration) {
        let target = self.now + duration;
        while self.step_until(target) {}
        self.now = target;
        self.work();
    }

    /// Lets virtual time pass until nothing is left to happen. False if that was not reached within
    /// [`Timing::settle_at_most`].
    pub fn settle(&mut self) -> bool {
        let target = self.now + self.timing.settle_at_most;
        while self.step_until(target) {}
        self.timers.is_empty()
    }

    /// Does what is due now, then goes to the next timer if it is not after `target`.
    fn step_until(&mut self, target: Duration) -> bool {
        self.work();
        while self.timers.first().is_some_and(|(at, timer)| self.is_stale(*at, timer)) {
            self.timers.pop_first();
        }
        let Some((at, _)) = self.timers.first() else { return false };
        if *at > target {
            return false;
        }
        self.now = self.now.max(*at);
        while self.timers.first().is_some_and(|(at, _)| *at <= self.now) {
            if let Some((_, Timer::Task(id))) = self.timers.pop_first() {
                self.task_is_due(&id);
            }
        }
        true
    }

    /// Everything that the orchestrator, the scheduler and the updaters do without time passing.
    fn work(&mut self) {
        loop {
            let mut changed = false;
            while let Some(id) = self.dirty.pop_first() {
                self.reconcile(&id);
                changed = true;
            }
            changed |= self.give_addresses();
            changed |= self.open_gates();
            changed |= self.run_updaters();
            changed |= self.schedule_pending();
            if !changed {
                return;
            }
        }
    }

    /// A timer whose purpose is gone.
    fn is_stale(&self, at: Duration, timer: &Timer) -> bool {
        match timer {
            Timer::Task(id) => self.tasks.get(id).is_none_or(|t| t.due != Some(at)),
            Timer::Gate(id) => !self.gated.contains(id),
            Timer::Updater(id) => !self.updating.contains(id),
        }
    }

    pub(super) fn set_timer(&mut self, at: Duration, timer: Timer) {
        self.timers.insert((at, timer));
    }

    pub(super) fn timestamp(&self) -> Timestamp {
        let nanos = i128::from(EPOCH_SECONDS) * 1_000_000_000 + self.now.as_nanos() as i128;
        Timestamp::from_nanosecond(nanos).unwrap_or(Timestamp::MAX)
    }
}
