//! Rolling updates (docker-facts, section 4): the state machine of swarmkit's updater.

use super::objects::{Slot, Task, UpdateStatus, Updater, Worker, slot_of};
use super::schedule::meets_constraints;
use super::spec::{FailureAction, UpdateConfig};
use super::{Swarm, TaskState, Timer};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

impl Swarm {
    /// Looks for outdated slots. A running update goes on if the spec is still the one it works on, and is replaced otherwise.
    pub(super) fn start_updater(&mut self, id: &str) {
        let Some(service) = self.services.get(id) else { return };
        if service.updater.as_ref().is_some_and(|u| Arc::ptr_eq(&u.spec, &service.spec)) {
            return;
        }
        let state = service.update_status.as_ref().map(|s| s.state);
        let spec = service.spec.clone();
        let slots = self.live_slots(id);
        let dirty: VecDeque<Slot> = slots
            .into_iter()
            .filter(|(_, tasks)| tasks.len() > 1 || tasks.iter().any(|t| self.is_outdated(&spec, t)))
            .map(|(slot, _)| slot)
            .collect();
        let Some(service) = self.services.get_mut(id) else { return };
        service.updater = None;
        self.updating.remove(id);
        if matches!(state, Some("paused" | "rollback_paused")) {
            return;
        }
        if dirty.is_empty() {
            if matches!(state, Some("updating" | "rollback_started")) {
                self.complete(id);
            }
            return;
        }
        let rollback = state == Some("rollback_started");
        let config = UpdateConfig::of(spec.get(if rollback { "RollbackConfig" } else { "UpdateConfig" }));
        let workers = if config.parallelism == 0 { dirty.len() } else { config.parallelism };
        service.updater = Some(Updater {
            spec,
            config,
            rollback,
            outdated: dirty.len(),
            queue: dirty,
            workers: vec![Worker::Idle; workers],
            updated: BTreeMap::new(),
            ended: Vec::new(),
            failed: BTreeSet::new(),
            monitor_until: None,
        });
        self.updating.insert(id.to_owned());
        if state.is_none() {
            self.set_update_status(id, "updating", "update in progress".into(), false);
        }
    }

    /// Outdated: the whole task template or the endpoint spec differs. Placement alone does not count while it is still satisfied.
    fn is_outdated(&self, spec: &Arc<Value>, task: &str) -> bool {
        let Some(task) = self.tasks.get(task) else { return false };
        if Arc::ptr_eq(spec, &task.spec) {
            return false;
        }
        let (new, old) = (&spec["TaskTemplate"], &task.spec["TaskTemplate"]);
        if new.get("Placement") != old.get("Placement") {
            let node = task.node_id.as_ref().and_then(|n| self.nodes.get(n));
            if same_but_placement(new, old) && node.is_some_and(|n| meets_constraints(spec, n)) {
                return false;
            }
        }
        new != old || spec.get("EndpointSpec") != task.spec.get("EndpointSpec")
    }

    pub(super) fn run_updaters(&mut self) -> bool {
        let mut changed = false;
        for id in self.updating.clone() {
            // The updater is taken out while it acts on the Swarm, and put back unless it is over.
            let Some(mut updater) = self.services.get_mut(&id).and_then(|s| s.updater.take()) else {
                changed |= self.updating.remove(&id);
                continue;
            };
            let before = self.index;
            let goes_on = self.step_updater(&id, &mut updater);
            changed |= before != self.index;
            match self.services.get_mut(&id) {
                Some(service) if goes_on => service.updater = Some(updater),
                _ => {
                    self.updating.remove(&id);
                    changed = true;
                }
            }
        }
        changed
    }

    fn step_updater(&mut self, id: &str, updater: &mut Updater) -> bool {
        self.note_started(updater);
        for ended in std::mem::take(&mut updater.ended) {
            if self.failure_acts(id, updater, &ended) {
                return false;
            }
        }
        for n in 0..updater.workers.len() {
            self.step_worker(id, updater, n);
        }
        let idle = updater.workers.iter().all(|w| matches!(w, Worker::Idle));
        if !idle || !updater.queue.is_empty() {
            return true;
        }
        match updater.monitor_until {
            None => {
                let UpdateConfig { monitor, delay, .. } = updater.config;
                let period = if delay >= monitor { delay + Duration::from_secs(1) } else { monitor };
                updater.monitor_until = Some(self.now + period);
                self.set_timer(self.now + period, Timer::Updater(id.to_owned()));
                true
            }
            Some(until) if self.now < until => true,
            Some(_) => {
                self.complete(id);
                false
            }
        }
    }

    fn note_started(&self, updater: &mut Updater) {
        for (id, since) in &mut updater.updated {
            if since.is_none() && self.tasks.get(id).is_none_or(|t| t.state >= TaskState::Running) {
                *since = Some(self.now);
            }
        }
    }

    fn step_worker(&mut self, id: &str, updater: &mut Updater, n: usize) {
        if let Worker::Starting { task, slot } = updater.workers[n].clone() {
            let state = self.tasks.get(&task).map_or(TaskState::Remove, |t| t.state);
            if state < TaskState::Running {
                return;
            }
            if updater.config.start_first && state == TaskState::Running {
                self.stop_others(id, &slot, &task);
            }
            updater.workers[n] = Worker::Delay(self.now + updater.config.delay);
            if !updater.config.delay.is_zero() {
                self.set_timer(self.now + updater.config.delay, Timer::Updater(id.to_owned()));
            }
        }
        if let Worker::Delay(until) = updater.workers[n] {
            if self.now < until {
                return;
            }
            updater.workers[n] = Worker::Idle;
        }
        while let Some(slot) = updater.queue.pop_front() {
            if let Some(task) = self.update_slot(id, updater, &slot) {
                updater.updated.insert(task.clone(), None);
                updater.workers[n] = Worker::Starting { task, slot };
                return;
            }
        }
    }

    /// The new task of the slot; none if an up-to-date one is there already, or the slot is gone.
    fn update_slot(&mut self, id: &str, updater: &Updater, slot: &Slot) -> Option<String> {
        let tasks = self.live_slots(id).remove(slot)?;
        let clean: Vec<_> = tasks.iter().filter(|t| !self.is_outdated(&updater.spec, t)).cloned().collect();
        let running = clean.iter().find(|t| self.tasks.get(*t).is_some_and(|t| t.desired == TaskState::Running));
        if let Some(existing) = running.or(clean.first()) {
            self.stop_others(id, slot, existing);
            if self.tasks.get(existing).is_some_and(|t| t.gate.is_none()) {
                self.desire(existing, TaskState::Running);
            }
            return None;
        }
        let (number, node) = match slot {
            Slot::Number(number) => (*number, None),
            Slot::Node(node) => (0, Some(node.clone())),
        };
        let new = self.new_task(id, number, node, TaskState::Ready)?;
        if updater.config.start_first {
            self.start_later(&new, Duration::ZERO, None);
        } else {
            let old = tasks.first().cloned();
            self.stop_others(id, slot, &new);
            self.start_later(&new, Duration::ZERO, old);
        }
        Some(new)
    }

    fn stop_others(&mut self, id: &str, slot: &Slot, keep: &str) {
        let Some(service) = self.services.get(id) else { return };
        let tasks = service.tasks.iter().filter_map(|id| self.tasks.get(id));
        let others = tasks.filter(|t| t.wanted() && t.meta.id != keep && slot_of(t) == *slot);
        for other in others.map(|t: &Task| t.meta.id.clone()).collect::<Vec<_>>() {
            self.desire(&other, TaskState::Shutdown);
        }
    }

    /// True if the failure paused the update or began a rollback.
    fn failure_acts(&mut self, id: &str, updater: &mut Updater, task: &str) -> bool {
        let UpdateConfig { monitor, max_failure_ratio, action, .. } = updater.config;
        let Some(since) = updater.updated.get(task) else { return false };
        let late = since.is_some_and(|since| self.now.saturating_sub(since) > monitor);
        if action == FailureAction::Continue || late || !updater.failed.insert(task.to_owned()) {
            return false;
        }
        if updater.failed.len() as f64 / updater.outdated as f64 <= max_failure_ratio {
            return false;
        }
        let because = format!("due to failure or early termination of task {task}");
        match (action, updater.rollback) {
            (FailureAction::Rollback, false) => self.roll_back(id, format!("update rolled back {because}")),
            (_, true) => self.set_update_status(id, "rollback_paused", format!("rollback paused {because}"), false),
            (_, false) => self.set_update_status(id, "paused", format!("update paused {because}"), false),
        }
        true
    }

    /// Automatic: PreviousSpec is null afterwards. Without one the update just stops.
    fn roll_back(&mut self, id: &str, message: String) {
        let Some(service) = self.services.get_mut(id) else { return };
        let Some(previous) = service.previous_spec.take() else { return };
        service.spec = previous;
        self.set_update_status(id, "rollback_started", message, false);
        self.allocate_and_write(id);
        self.dirty.insert(id.to_owned());
    }

    fn complete(&mut self, id: &str) {
        let state = self.services.get(id).and_then(|s| s.update_status.as_ref()).map(|s| s.state);
        match state {
            None => {}
            Some("rollback_started") => {
                self.set_update_status(id, "rollback_completed", "rollback completed".into(), true)
            }
            Some(_) => self.set_update_status(id, "completed", "update completed".into(), true),
        }
    }

    /// Every change of the status is a write: a new version of the service.
    fn set_update_status(&mut self, id: &str, state: &'static str, message: String, over: bool) {
        let now = self.timestamp();
        let Some(service) = self.services.get_mut(id) else { return };
        let old = service.update_status.take();
        let mut attributes = Vec::new();
        attributes.extend(old.as_ref().map(|s| ("updatestate.old", s.state.to_owned())));
        attributes.push(("updatestate.new", state.to_owned()));
        let started_at = old.map_or(now, |s| s.started_at);
        service.update_status = Some(UpdateStatus { state, started_at, completed_at: over.then_some(now), message });
        self.write_service(id, &attributes);
    }
}

fn same_but_placement(a: &Value, b: &Value) -> bool {
    let without = |v: &Value| {
        let mut v = v.clone();
        v.as_object_mut().and_then(|members| members.remove("Placement"));
        v
    };
    without(a) == without(b)
}

#[cfg(test)]
mod tests;
