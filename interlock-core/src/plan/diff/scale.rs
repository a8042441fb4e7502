//! The number of a service's tasks, which is changed while everything else waits.
//!
//! Swarm replaces no task for it, and a roll that waits for a task that no node can take ends by it. An update makes
//! today's spec the previous one, though, which Swarm goes back to: so none is made from a spec that may be bad.

use serde_json::{Value, json};

use super::service::ServiceDiff;
use super::{Attempt, label_change};
use crate::deployment;
use crate::ownership;
use crate::plan::{Change, Step};
use crate::swarm::{Mode, Service, UpdateState};

impl ServiceDiff<'_> {
    /// Changes the number of tasks alone, where `changes` ask for that and everything else has to wait.
    pub(super) fn scaled(&self, service: &Service, changes: &[Change], attempt: &mut Attempt) -> Option<Step> {
        let change = changes.iter().find(|change| is_of_replicas(change))?;
        let state = service.update.as_ref().map(|update| update.state);
        match state {
            Some(UpdateState::Paused) => return self.paused(service),
            Some(UpdateState::Updating) if !attempt.rolling.as_ref().is_some_and(|rolling| rolling.proven) => {
                return None;
            }
            _ => {}
        }
        if let Some(failed) = service.update.as_ref().filter(|update| update.state.failed()) {
            if self.hangs_back(service) {
                // It was the lack of nodes that failed.
                attempt.planned = None;
            } else {
                attempt.failed = Some(failed.message.clone());
            }
        }
        let labels = self.applied(service).map(|applied| label_change(ownership::APPLIED.to_owned(), &applied));
        let changes = labels.into_iter().chain([change.clone()]).collect();
        Some(self.update_step(service, changes))
    }

    /// Whether the service asks for more tasks than nodes can take.
    pub(super) fn lacks_nodes(&self, service: &Service) -> bool {
        let most = self.wanted.most;
        matches!((service.spec.mode, most), (Mode::Replicated(asked), Some(most)) if asked > most)
    }

    /// Whether a rollback waits for tasks that no node can take.
    pub(super) fn hangs_back(&self, service: &Service) -> bool {
        let is_back = service.update.as_ref().is_some_and(|update| update.state == UpdateState::RollbackStarted);
        is_back && self.lacks_nodes(service)
    }

    /// Somebody may have asked for more tasks than nodes can take: that is set right, unless `changes` do so anyway.
    pub(super) fn fewer_tasks(&self, service: &Service, changes: &[Change]) -> Option<Change> {
        let most = self.wanted.most.filter(|_| self.lacks_nodes(service))?;
        if changes.iter().any(is_of_replicas) {
            return None;
        }
        let path = deployment::path_of(deployment::REPLICAS)?;
        let summary = format!("{}: {most}, as no more nodes can take one", deployment::REPLICAS);
        Some(Change { path, value: Some(json!(most)), summary })
    }

    /// What was applied, once the number of tasks is.
    fn applied(&self, service: &Service) -> Option<String> {
        let field = self.wanted.fields.get(deployment::REPLICAS)?;
        let text = service.spec.labels.get(ownership::APPLIED)?;
        let mut applied: Value = serde_json::from_str(text).ok()?;
        applied.as_object_mut()?.insert(deployment::REPLICAS.to_owned(), json!(field.fingerprint()));
        Some(applied.to_string())
    }
}

fn is_of_replicas(change: &Change) -> bool {
    deployment::path_of(deployment::REPLICAS).is_some_and(|path| change.path == path)
}
