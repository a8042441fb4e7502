//! Updates that are under way, that take too long, and that failed.
//!
//! The last known good is the previous spec that Swarm keeps. An update makes today's spec the previous one, so none is ever made from a spec
//! that did not work: what stalled or was paused is taken back first.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::service::ServiceDiff;
use super::{Attempts, Rolling, started_at};
use crate::deployment::{self, AgentFile, ConfigFile};
use crate::ownership;
use crate::plan::{Action, Change, Step};
use crate::problem::{Effect, Problem, Severity, Subject, said};
use crate::swarm::{Config, Mode, Service, Task, UpdateState};
use crate::units::Role;

impl ServiceDiff<'_> {
    /// One roll at a time: what changes during one goes into the next. A roll or a rollback in which no task comes up for
    /// longer than one can need is not waited for, since Swarm itself sets no limit.
    pub(super) fn still_rolling(&self, service: &Service) -> Option<String> {
        service.update.as_ref().filter(|update| update.state.in_progress())?;
        if self.is_late(service) || self.hangs_back(service) {
            return None;
        }
        let so_far = self.so_far(service).unwrap_or_default();
        Some(format!("service {} is still being updated{so_far}", self.wanted.name))
    }

    /// How many tasks are new, for people, where that shows in what they mount.
    fn so_far(&self, service: &Service) -> Option<String> {
        let Mode::Replicated(all) = service.spec.mode else { return None };
        if service.previous.as_ref()?.configs == service.spec.configs {
            return None;
        }
        let is_new = |task: &&Task| service.spec.configs.iter().all(|config| task.configs.contains(&config.id));
        let tasks = self.snapshot.tasks_of(&service.id).filter(|task| task.serves());
        Some(format!(" ({} of {all} tasks are new)", tasks.filter(is_new).count()))
    }

    /// Ends a roll in which no task comes up for longer than one can need: no node meets a constraint, an image cannot be had, a port is taken.
    pub(super) fn stalled(&self, service: &Service) -> Option<Step> {
        let update = service.update.as_ref().filter(|update| update.state == UpdateState::Updating)?;
        service.previous.as_ref()?;
        if !self.is_late(service) {
            return None;
        }
        let began = update.started_at.map(|began| format!(" since {began:.0}")).unwrap_or_default();
        let why = if self.lacks_nodes(service) { ", it asks for more tasks than nodes can take" } else { "" };
        Some(self.roll_back(service, format!("its update has been under way{began}{why}, and is taken back")))
    }

    /// Takes a failed update back that Swarm left where it was, before another one is made.
    pub(super) fn paused(&self, service: &Service) -> Option<Step> {
        service.update.as_ref().filter(|update| update.state == UpdateState::Paused)?;
        service.previous.as_ref()?;
        Some(self.roll_back(service, "its last update failed, and is taken back before the next".to_owned()))
    }

    fn roll_back(&self, service: &Service, reason: String) -> Step {
        let action = Action::RollBackService {
            id: service.id.clone(),
            name: self.wanted.name.clone(),
            version: service.version,
        };
        self.step(action, reason, true)
    }

    /// The update that is under way, and when it last came on. How many tasks there are does not matter: somebody may have scaled the service.
    pub(super) fn rolling(&self, service: &Service) -> Option<Rolling> {
        let update = service.update.as_ref().filter(|update| update.state.in_progress())?;
        let known = self.attempt.and_then(|attempt| attempt.rolling.as_ref());
        let back = update.state == UpdateState::RollbackStarted;
        let known = known.filter(|rolling| rolling.began == update.started_at && rolling.back == back);
        let tasks = self.snapshot.tasks_of(&service.id).filter(|task| task.serves());
        let mut up: BTreeSet<_> = tasks.map(|task| task.id.clone()).collect();
        let seen = self.snapshot.observed_at;
        let (mut moved, mut apart, mut proven) = (seen, SignedDuration::ZERO, false);
        if let Some(known) = known {
            (apart, proven) = (known.apart, known.proven);
            match up.is_subset(&known.up) {
                true => moved = known.moved,
                false => proven = true,
            }
            up.extend(known.up.iter().cloned());
        }
        Some(Rolling { began: update.started_at, back, proven, moved, seen, apart, up })
    }

    fn is_late(&self, service: &Service) -> bool {
        let moved = self.rolling(service).map(|rolling| rolling.moved);
        let since = moved.map(|moved| self.snapshot.observed_at.duration_since(moved)).unwrap_or_default();
        // Somebody may have given the service more time than the settings do.
        let live = service.spec.seconds_between_tasks.saturating_add(deployment::SECONDS_TO_START);
        let longest =
            if self.lacks_nodes(service) { SECONDS_WITHOUT_NODES } else { live.max(self.wanted.seconds_per_task) };
        since > SignedDuration::from_secs(i64::try_from(longest).unwrap_or(i64::MAX))
    }

    /// An update that Swarm took back is not tried again until the inputs ask for something else.
    pub(super) fn failed_before(&self, service: &Service, changes: &[Change]) -> Option<Problem> {
        if self.wanted.again {
            return None;
        }
        let planned = self.attempt.and_then(|attempt| attempt.planned.as_ref());
        if let Some(said) = self.attempt.and_then(|attempt| attempt.failed.as_ref()) {
            let was_tried = planned.is_some_and(|planned| planned.target.is_like(&self.wanted.target()));
            return was_tried.then(|| self.failed(service, said));
        }
        // Whoever installs core again wants it tried again.
        let update =
            service.update.as_ref().filter(|update| update.state.failed() && self.wanted.role != Role::Core)?;
        let planned = planned.filter(|planned| planned.before != update.started_at);
        let was_tried = match planned {
            Some(planned) => planned.target.is_like(&self.wanted.target()),
            None => self.content_was_tried(service, changes),
        };
        let is_left_paused = changes.is_empty() && update.state == UpdateState::Paused;
        (was_tried || is_left_paused).then(|| self.failed(service, &update.message))
    }

    /// An update that Swarm is taking back failed. Whoever installs core waits until that is over, and tries again.
    pub(super) fn taken_back(&self, service: &Service) -> Option<Problem> {
        let update = service.update.as_ref().filter(|update| update.state == UpdateState::RollbackStarted)?;
        if self.wanted.role == Role::Core {
            return None;
        }
        Some(self.failed(service, &update.message))
    }

    /// Says why an update did not work: what a task says, or else `why`.
    pub(super) fn failed(&self, service: &Service, why: &str) -> Problem {
        let of_service = self.snapshot.tasks_of(&service.id);
        let task_error = of_service.map(|task| task.error.as_str()).find(|error| !error.is_empty());
        Problem::new(
            Severity::Error,
            Subject::Cluster(self.cluster.clone()),
            format!("the last update of service {} failed ({})", self.wanted.name, said(task_error.unwrap_or(why))),
            format!(
                "see `docker service ps {}`; the next change of labels or settings is tried again",
                self.wanted.name
            ),
            Effect::Kept,
        )
    }

    /// Whether the wanted configs existed already when the failed update began, are not in use now, and the settings of the service are the
    /// same: then it was with them that it failed. This is all that a fresh process can know. With an image that was mended they have not been
    /// tried.
    fn content_was_tried(&self, service: &Service, changes: &[Change]) -> bool {
        let (Ok(content), Some(began)) = (&self.wanted.content, started_at(service)) else { return false };
        let touches = |key: &str| changes.iter().any(|change| change.path.last().is_some_and(|last| last == key));
        let differs = touches("Configs") && !touches(ownership::APPLIED);
        let existed = |wanted: &ConfigFile| {
            let like = |config: &&Config| match &wanted.essence {
                Some(essence) => AgentFile::essence_of(&config.data).as_ref() == Some(essence),
                None => config.name == wanted.name,
            };
            self.snapshot.configs.iter().filter(like).any(|config| config.created_at <= began)
        };
        differs && content.configs.iter().all(existed)
    }
}

/// For so long a roll that asks for more tasks than nodes can take may show no new task.
const SECONDS_WITHOUT_NODES: u64 = 15;

/// The least time between two looks at a roll that counts in full: passes take time, too.
const LOOK: SignedDuration = SignedDuration::from_secs(15);
/// The longest time between two passes, however large the Swarm.
const LONGEST: SignedDuration = SignedDuration::from_secs(60);

/// What is remembered of updates, for a look at this time. Between two looks no more counts than lies between two passes that go well: a Swarm
/// without a leader starts no task, and an engine that hangs shows none, so a good roll would be late at once when that is over.
pub(crate) fn looked_at(attempts: &Attempts, now: Timestamp, poll_interval: Duration) -> Attempts {
    let between_passes = SignedDuration::try_from(poll_interval.saturating_mul(2)).unwrap_or(SignedDuration::MAX);
    let mut attempts = attempts.clone();
    for rolling in attempts.values_mut().filter_map(|attempt| attempt.rolling.as_mut()) {
        let apart = now.duration_since(rolling.seen);
        let unseen = apart.saturating_sub(between_passes.max(LOOK).max(rolling.apart + rolling.apart));
        if unseen.is_positive() {
            rolling.moved = rolling.moved.checked_add(unseen).unwrap_or(now).min(now);
        }
        rolling.apart = apart.clamp(SignedDuration::ZERO, LONGEST);
    }
    attempts
}
