//! Updates that are under way, that take too long, and that failed.
//!
//! The last known good is the previous spec that Swarm keeps. An update makes today's spec the previous one, so none is ever made from a spec
//! that did not work: what stalled or was paused is taken back first.

use jiff::SignedDuration;

use super::Rolling;
use super::service::{ServiceDiff, same_configs};
use crate::desired::Role;
use crate::plan::{Action, Step};
use crate::problem::{Effect, Problem, Severity, Subject, said};
use crate::snapshot::{Service, UpdateState};

impl ServiceDiff<'_> {
    /// One roll at a time: what changes during one goes into the next. A roll that takes far longer than its tasks can need is
    /// not waited for, since Swarm itself sets no limit.
    pub(super) fn still_rolling(&self, service: &Service) -> Option<String> {
        let update = service.update.as_ref().filter(|update| update.state.in_progress())?;
        if update.state == UpdateState::Updating && self.is_late(service) {
            return None;
        }
        Some(format!("service {} is still being updated", self.wanted.name))
    }

    /// Ends a roll that takes far longer than its tasks can need: no node meets a constraint, an image cannot be had, a port is taken.
    pub(super) fn stalled(&self, service: &Service) -> Option<Step> {
        let update = service.update.as_ref().filter(|update| update.state == UpdateState::Updating)?;
        service.previous.as_ref()?;
        if !self.is_late(service) {
            return None;
        }
        let began = update.started_at.map(|began| format!(" since {began:.0}")).unwrap_or_default();
        Some(self.roll_back(service, format!("its update has been under way{began}, and is taken back")))
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

    /// The update that is under way, and since when we know.
    pub(super) fn rolling(&self, service: &Service) -> Option<Rolling> {
        let update = service.update.as_ref().filter(|update| update.state.in_progress())?;
        let known = self.attempt.and_then(|attempt| attempt.rolling.as_ref());
        let known = known.filter(|rolling| rolling.began == update.started_at);
        Some(known.cloned().unwrap_or(Rolling { began: update.started_at, seen: self.snapshot.observed_at }))
    }

    fn is_late(&self, service: &Service) -> bool {
        let patience = self.wanted.replicas.max(1).saturating_mul(self.wanted.seconds_per_task);
        let seen = self.rolling(service).map(|rolling| rolling.seen);
        let since = seen.map(|seen| self.snapshot.observed_at.duration_since(seen)).unwrap_or_default();
        since > SignedDuration::from_secs(i64::try_from(patience).unwrap_or(i64::MAX))
    }

    /// An update that Swarm took back is not tried again until the inputs ask for something else.
    pub(super) fn failed_before(&self, service: &Service, nothing_to_change: bool) -> Option<Problem> {
        // Whoever installs core again wants it tried again.
        let update =
            service.update.as_ref().filter(|update| update.state.failed() && self.wanted.role != Role::Core)?;
        let planned = self.attempt.and_then(|attempt| attempt.planned.as_ref());
        let tried_by_us = planned
            .is_some_and(|planned| planned.target == self.wanted.fingerprint() && planned.before != update.started_at);
        if !(tried_by_us
            || self.content_was_tried(service)
            || (nothing_to_change && update.state == UpdateState::Paused))
        {
            return None;
        }
        Some(self.failed(service, &update.message))
    }

    /// Says why an update did not work: what a task says, or else `why`.
    pub(super) fn failed(&self, service: &Service, why: &str) -> Problem {
        let of_service = self.snapshot.tasks.iter().filter(|task| task.service == service.id);
        let task_error = of_service.map(|task| task.error.as_str()).find(|error| !error.is_empty());
        Problem {
            severity: Severity::Error,
            subject: Subject::Cluster(self.cluster.clone()),
            label: None,
            value: None,
            wrong: format!(
                "the last update of service {} failed ({})",
                self.wanted.name,
                said(task_error.unwrap_or(why))
            ),
            right: format!(
                "see `docker service ps {}`; the next change of labels or settings is tried again",
                self.wanted.name
            ),
            effect: Effect::Kept,
        }
    }

    /// Whether the wanted configs existed already when the failed update began, and are not in use now: then it was with them
    /// that it failed. This is all that a fresh process can know.
    fn content_was_tried(&self, service: &Service) -> bool {
        let (Some(content), Some(began)) = (&self.wanted.content, started_at(service)) else { return false };
        let differs = !same_configs(service, content);
        let existed =
            |name: &str| self.snapshot.configs.iter().any(|config| config.name == name && config.created_at <= began);
        differs && content.configs.iter().all(|config| existed(&config.name))
    }
}

/// When the service's last update began.
pub(super) fn started_at(service: &Service) -> Option<jiff::Timestamp> {
    service.update.as_ref().and_then(|update| update.started_at)
}
