//! The life of a task (docker-facts, section 3).

use super::objects::{Gate, Json, Task};
use super::{Swarm, TaskState, Timer, spec};
use crate::script::{Fate, TaskView};
use std::time::Duration;

impl Swarm {
    /// A new task of a service, without addresses or a node; a global one has its node from the start.
    pub(super) fn new_task(
        &mut self,
        service: &str,
        slot: u64,
        node: Option<String>,
        desired: TaskState,
    ) -> Option<String> {
        let spec = self.services.get(service)?.spec.clone();
        let meta = self.new_meta();
        let id = meta.id.clone();
        let task = Task {
            service_id: service.to_owned(),
            slot,
            node_id: node.clone(),
            desired,
            state: TaskState::New,
            status_at: meta.created,
            message: "created",
            err: None,
            exit_code: 0,
            attachments: Vec::new(),
            ports: Vec::new(),
            spec,
            due: None,
            dying: None,
            gate: None,
            released: false,
            final_in_slot: false,
            json: Json::default(),
            meta,
        };
        self.services.get_mut(service)?.tasks.insert(id.clone());
        if let Some(node) = node {
            self.by_node.entry(node).or_default().insert(id.clone());
        }
        self.tasks.insert(id.clone(), task);
        self.without_address.insert(id.clone());
        Some(id)
    }

    /// Changes what Swarm wants of a task; never backwards.
    pub(super) fn desire(&mut self, id: &str, desired: TaskState) {
        let now = self.timestamp();
        let Some(task) = self.tasks.get_mut(id).filter(|t| t.desired < desired) else { return };
        task.desired = desired;
        task.gate = None;
        Self::touch(&mut self.index, now, &mut task.meta);
        task.json.forget();
        self.gated.remove(id);
        if desired > TaskState::Complete {
            self.pending.remove(id);
            self.without_address.remove(id);
            let unassigned = self.tasks.get(id).is_some_and(|t| t.state < TaskState::Assigned);
            if unassigned {
                self.release_task(id);
                if desired == TaskState::Remove {
                    self.delete_task(id);
                    return;
                }
            } else if desired == TaskState::Remove && self.tasks.get(id).is_some_and(|t| t.state > TaskState::Running) {
                self.delete_task(id);
                return;
            }
        }
        self.kick(id);
    }

    /// Wants the task running only after `delay`, and after `after_task` has stopped if there is one (at most a minute later).
    pub(super) fn start_later(&mut self, id: &str, delay: Duration, after_task: Option<String>) {
        let not_before = self.now + delay;
        let at_latest = not_before + Duration::from_secs(60);
        if let Some(task) = self.tasks.get_mut(id) {
            task.gate = Some(Gate { not_before, after_task: after_task.clone(), at_latest });
        }
        self.gated.insert(id.to_owned());
        if !delay.is_zero() {
            self.set_timer(not_before, Timer::Gate(id.to_owned()));
        }
        if after_task.is_some() {
            self.set_timer(at_latest, Timer::Gate(id.to_owned()));
        }
    }

    pub(super) fn open_gates(&mut self) -> bool {
        let open: Vec<_> = self.gated.iter().filter(|id| self.gate_is_open(id)).cloned().collect();
        for id in &open {
            self.gated.remove(id);
            self.desire(id, TaskState::Running);
        }
        !open.is_empty()
    }

    fn gate_is_open(&self, id: &str) -> bool {
        let Some(gate) = self.tasks.get(id).and_then(|t| t.gate.as_ref()) else { return true };
        let stopped = gate.after_task.as_ref().and_then(|old| self.tasks.get(old)).is_none_or(|old| {
            let node_is_down = old.node_id.as_ref().is_none_or(|n| self.nodes.get(n).is_none_or(|n| n.state == "down"));
            old.state > TaskState::Running || node_is_down
        });
        self.now >= gate.not_before && (stopped || self.now >= gate.at_latest)
    }

    /// Sets the timer for the task's next step by itself, if there is one.
    pub(super) fn kick(&mut self, id: &str) {
        let Some(task) = self.tasks.get(id).filter(|t| t.dying.is_none() || !t.wanted()) else { return };
        let due = self.next_step(task).map(|delay| self.now + delay);
        if let Some(task) = self.tasks.get_mut(id) {
            task.due = due;
        }
        if let Some(at) = due {
            self.set_timer(at, Timer::Task(id.to_owned()));
        }
    }

    fn next_step(&self, task: &Task) -> Option<Duration> {
        let timing = &self.timing;
        if task.state == TaskState::New {
            return (!self.without_address.contains(&task.meta.id) && task.wanted()).then_some(timing.step);
        }
        let node = task.node_id.as_ref().and_then(|id| self.nodes.get(id))?;
        if !node.responds() || task.state > TaskState::Running {
            return None;
        }
        if !task.wanted() {
            return Some(if task.state >= TaskState::Starting { timing.stop } else { timing.step });
        }
        match task.state {
            TaskState::Assigned | TaskState::Accepted => Some(timing.step),
            TaskState::Preparing => Some(timing.prepare),
            TaskState::Ready => (task.desired >= TaskState::Running).then_some(timing.step),
            TaskState::Starting => match self.fate(task) {
                Some(Fate::NeverStart) => None,
                Some(Fate::StartAfter(delay)) => Some(delay),
                Some(Fate::FailOnStart { .. }) => Some(timing.start),
                _ => Some(spec::first_probe(&task.spec).unwrap_or(timing.start)),
            },
            TaskState::Running => match self.fate(task) {
                Some(Fate::FailAfter { delay, .. }) => Some(delay),
                _ => None,
            },
            _ => None,
        }
    }

    fn fate(&self, task: &Task) -> Option<Fate> {
        if self.script.has_no_fates() {
            return None;
        }
        let service = self.services.get(&task.service_id)?;
        let node = task.node_id.as_ref().and_then(|id| self.nodes.get(id));
        let refs = task.spec["TaskTemplate"]["ContainerSpec"]["Configs"].as_array();
        let configs = refs.into_iter().flatten().filter_map(|r| self.config_data(super::text(r, "ConfigID"))).collect();
        self.script.fate(&TaskView {
            service: service.name(),
            spec: &task.spec,
            configs,
            node: node.map(|n| n.hostname.as_str()).unwrap_or_default(),
            slot: task.slot,
        })
    }

    pub(super) fn task_is_due(&mut self, id: &str) {
        let Some(task) = self.tasks.get(id).filter(|t| t.due.is_some_and(|due| due <= self.now)) else { return };
        if let Some((code, why)) = task.dying.clone().filter(|_| task.wanted()) {
            return self.end_task(id, TaskState::Failed, code, Some(why));
        }
        if task.state == TaskState::New {
            self.set_state(id, TaskState::Pending, "pending task scheduling");
            self.pending.insert(id.to_owned());
            return;
        }
        if !task.wanted() {
            let code = if task.state >= TaskState::Starting { 137 } else { -1 };
            return self.end_task(id, TaskState::Shutdown, code, None);
        }
        match (task.state, self.fate(task)) {
            (TaskState::Assigned, _) => self.set_state(id, TaskState::Accepted, "accepted"),
            (TaskState::Accepted, _) => self.set_state(id, TaskState::Preparing, "preparing"),
            (TaskState::Preparing, Some(Fate::Reject { why })) => self.end_task(id, TaskState::Rejected, -1, Some(why)),
            (TaskState::Preparing, _) => self.set_state(id, TaskState::Ready, "prepared"),
            (TaskState::Ready, _) => self.set_state(id, TaskState::Starting, "starting"),
            (TaskState::Starting, Some(Fate::FailOnStart { exit })) => self.fail(id, exit),
            (TaskState::Starting, _) => self.set_state(id, TaskState::Running, "started"),
            (TaskState::Running, Some(Fate::FailAfter { exit, .. })) => self.fail(id, exit),
            _ => {}
        }
    }

    fn fail(&mut self, id: &str, exit: i64) {
        self.end_task(id, TaskState::Failed, exit, Some(format!("task: non-zero exit ({exit})")));
    }

    pub(super) fn set_state(&mut self, id: &str, state: TaskState, message: &'static str) {
        let now = self.timestamp();
        let Some(task) = self.tasks.get_mut(id).filter(|t| t.state < state) else { return };
        task.state = state;
        task.status_at = now;
        task.message = message;
        task.err = None;
        task.due = None;
        if state == TaskState::Running {
            task.ports = host_ports(task);
        }
        Self::touch(&mut self.index, now, &mut task.meta);
        task.json.forget();
        self.kick(id);
    }

    /// The container is gone.
    pub(super) fn end_task(&mut self, id: &str, state: TaskState, exit_code: i64, err: Option<String>) {
        let message = match state {
            TaskState::Shutdown => "shutdown",
            TaskState::Complete => "finished",
            TaskState::Rejected => "preparing",
            _ => "started",
        };
        self.set_state(id, state, message);
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.exit_code = exit_code;
        task.err = err;
        task.dying = None;
        let (service, wanted, remove) = (task.service_id.clone(), task.wanted(), task.desired == TaskState::Remove);
        self.release_task(id);
        if let Some(updater) = self.services.get_mut(&service).and_then(|s| s.updater.as_mut()) {
            updater.task_ended(id);
        }
        if remove {
            self.delete_task(id);
        } else if wanted {
            self.restart(id);
        } else {
            self.forget_history(id);
        }
    }

    pub(super) fn delete_task(&mut self, id: &str) {
        self.release_task(id);
        let Some(task) = self.tasks.remove(id) else { return };
        self.index += 1;
        if let Some(service) = self.services.get_mut(&task.service_id) {
            service.tasks.remove(id);
        }
        if let Some(tasks) = task.node_id.as_ref().and_then(|node| self.by_node.get_mut(node)) {
            tasks.remove(id);
        }
        for set in [&mut self.gated, &mut self.pending, &mut self.without_address] {
            set.remove(id);
        }
    }

    /// Keeps the newest few dead tasks of a slot.
    pub(super) fn forget_history(&mut self, id: &str) {
        let Some(task) = self.tasks.get(id) else { return };
        let Some(service) = self.services.get(&task.service_id) else { return };
        let peers = service.tasks.iter().filter_map(|id| self.tasks.get(id));
        let same_slot = |t: &&Task| t.slot == task.slot && (t.slot > 0 || t.node_id == task.node_id);
        let dead = |t: &&Task| t.state > TaskState::Running || !t.wanted() && t.state < TaskState::Assigned;
        let all: Vec<_> = peers.filter(same_slot).collect();
        let attempts = task.spec["TaskTemplate"]["RestartPolicy"]["MaxAttempts"].as_u64().filter(|n| *n > 0);
        let keep = attempts.map_or(self.task_history, |n| n as usize + 1);
        let spare = all.len().saturating_sub(keep);
        let mut old: Vec<_> = all.into_iter().filter(dead).map(|t| (t.status_at, t.meta.id.clone())).collect();
        old.sort();
        for (_, id) in old.into_iter().take(spare) {
            self.delete_task(&id);
        }
    }
}

fn host_ports(task: &Task) -> Vec<serde_json::Value> {
    let mut ports: Vec<_> = spec::ports_of_mode(&task.spec, "host").cloned().collect();
    for (n, port) in ports.iter_mut().enumerate() {
        if port.get("PublishedPort").is_none() {
            port["PublishedPort"] = (32_768 + n as u64 + super::mix(task.meta.version) % 20_000).into();
        }
    }
    ports
}
