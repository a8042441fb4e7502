//! Keeps as many tasks as a service asks for: replicated by slot, global by node.

use super::objects::{Slot, Task, slot_of};
use super::schedule::meets_constraints;
use super::spec::{Mode, nanos};
use super::{Swarm, TaskState};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

impl Swarm {
    /// Adds and removes tasks until the number is right, then lets the updater see to what is outdated.
    pub(super) fn reconcile(&mut self, id: &str) {
        let Some(service) = self.services.get(id) else { return };
        let mode = Mode::of(&service.spec);
        match mode {
            Mode::Replicated(replicas) | Mode::ReplicatedJob(replicas) => self.reconcile_replicated(id, replicas, mode),
            Mode::Global | Mode::GlobalJob => self.reconcile_global(id, mode),
        }
        if !mode.job() {
            self.start_updater(id);
        }
    }

    fn reconcile_replicated(&mut self, id: &str, replicas: u64, mode: Mode) {
        let slots = self.live_slots(id);
        let have = slots.len() as u64;
        if have > replicas {
            let mut order: Vec<_> = slots.iter().map(|(slot, tasks)| (self.any_running(tasks), slot.clone())).collect();
            order.sort_by(|a, b| (a.0, std::cmp::Reverse(&a.1)).cmp(&(b.0, std::cmp::Reverse(&b.1))));
            for (_, slot) in order.into_iter().take((have - replicas) as usize) {
                for task in &slots[&slot] {
                    self.desire(task, TaskState::Remove);
                }
            }
        }
        let desired = if mode.job() { TaskState::Complete } else { TaskState::Running };
        let done = self.services.get(id).map_or(0, |s| if mode.job() { self.completed(&s.tasks) } else { 0 });
        let mut number = 0;
        for _ in have + done..replicas {
            number += 1;
            while slots.contains_key(&Slot::Number(number)) {
                number += 1;
            }
            self.new_task(id, number, None, desired);
        }
    }

    fn reconcile_global(&mut self, id: &str, mode: Mode) {
        let slots = self.live_slots(id);
        let Some(spec) = self.services.get(id).map(|s| s.spec.clone()) else { return };
        let desired = if mode.job() { TaskState::Complete } else { TaskState::Running };
        let nodes: Vec<String> = self.nodes.keys().cloned().collect();
        for node in nodes {
            let there = slots.get(&Slot::Node(node.clone()));
            let fits = self.nodes.get(&node).is_some_and(|n| meets_constraints(&spec, n));
            let valid = self.node_is_valid(&node);
            if valid && !fits {
                for task in there.into_iter().flatten() {
                    self.desire(task, TaskState::Shutdown);
                }
            }
            let open = self.nodes.get(&node).is_some_and(|n| n.state == "ready" && n.availability() == "active");
            if open && fits && there.is_none() {
                self.new_task(id, 0, Some(node), desired);
            }
        }
    }

    fn completed(&self, tasks: &std::collections::BTreeSet<String>) -> u64 {
        tasks.iter().filter(|id| self.tasks.get(*id).is_some_and(|t| t.state == TaskState::Complete)).count() as u64
    }

    fn any_running(&self, tasks: &[String]) -> bool {
        tasks.iter().any(|id| self.tasks.get(id).is_some_and(|t| t.state == TaskState::Running))
    }

    /// The tasks that are wanted, by slot. A slot whose last task ended for good counts too: it is not filled again until an update outdates it.
    pub(super) fn live_slots(&self, id: &str) -> BTreeMap<Slot, Vec<String>> {
        let mut slots: BTreeMap<Slot, Vec<String>> = BTreeMap::new();
        let Some(service) = self.services.get(id) else { return slots };
        let tasks = || service.tasks.iter().filter_map(|id| self.tasks.get(id));
        for task in tasks().filter(|t| t.wanted()) {
            slots.entry(slot_of(task)).or_default().push(task.meta.id.clone());
        }
        for task in tasks().filter(|t| t.final_in_slot && t.desired != TaskState::Remove) {
            let newer = |t: &Task| slot_of(t) == slot_of(task) && t.meta.created > task.meta.created;
            if !tasks().any(newer) {
                slots.entry(slot_of(task)).or_insert_with(|| vec![task.meta.id.clone()]);
            }
        }
        slots
    }

    /// Replaces a task that ended, or whose node is gone, as the restart policy says: default any, after 5 s.
    pub(super) fn restart(&mut self, id: &str) {
        let Some(task) = self.tasks.get(id).filter(|t| t.wanted()) else { return };
        let policy = &task.spec["TaskTemplate"]["RestartPolicy"];
        let (state, exit, slot) = (task.state, task.exit_code, task.slot);
        let delay = nanos(&policy["Delay"]).unwrap_or(Duration::from_secs(5));
        let again = match policy["Condition"].as_str().unwrap_or("any") {
            "none" => state <= TaskState::Running,
            "on-failure" => state != TaskState::Complete || exit != 0,
            _ => task.desired != TaskState::Complete || state != TaskState::Complete,
        };
        let attempts = policy["MaxAttempts"].as_u64().filter(|n| *n > 0);
        let service = task.service_id.clone();
        let used_up = attempts.is_some_and(|max| self.failures_in_slot(id) > max);
        let node = task.node_id.clone();
        let drained = node.as_ref().and_then(|n| self.nodes.get(n)).is_some_and(|n| n.availability() == "drain");
        let wait_for =
            (state <= TaskState::Running && node.as_ref().is_some_and(|n| !self.is_down(n))).then(|| id.to_owned());
        let next_desired = task.desired;
        self.desire(id, TaskState::Shutdown);
        let mode = self.services.get(&service).map(|s| Mode::of(&s.spec));
        let Some(mode) = mode.filter(|_| again && !used_up) else {
            if let Some(task) = self.tasks.get_mut(id) {
                task.final_in_slot = true;
            }
            return self.forget_history(id);
        };
        let place = node.filter(|n| mode.global() && self.node_is_valid(n));
        if mode.global() && place.is_none() {
            return;
        }
        if let Some(new) = self.new_task(&service, slot, place, TaskState::Ready) {
            let delay = if drained { Duration::ZERO } else { delay };
            self.start_later(&new, delay, wait_for);
            if next_desired == TaskState::Complete
                && let Some(task) = self.tasks.get_mut(&new)
            {
                task.desired = TaskState::Complete;
            }
        }
        self.forget_history(id);
    }

    fn is_down(&self, node: &str) -> bool {
        self.nodes.get(node).is_none_or(|n| n.state == "down")
    }

    /// Ended tasks of the same slot and spec.
    fn failures_in_slot(&self, id: &str) -> u64 {
        let Some(task) = self.tasks.get(id) else { return 0 };
        let peers = self.services.get(&task.service_id).into_iter().flat_map(|s| s.tasks.iter());
        let same =
            |t: &&Task| slot_of(t) == slot_of(task) && Arc::ptr_eq(&t.spec, &task.spec) && t.state > TaskState::Running;
        peers.filter_map(|id| self.tasks.get(id)).filter(same).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use crate::{Swarm, TaskState};
    use std::time::Duration;

    #[test]
    fn a_service_reaches_its_replicas_with_addresses_on_its_network() {
        let mut swarm = Swarm::three_nodes().overlay("demo");
        swarm.service("shop").network("demo").replicas(3).create();
        assert!(swarm.settle());
        let mut addresses: Vec<_> =
            swarm.running("shop").iter().map(|t| t.attachments[0].addresses[0].clone()).collect();
        addresses.sort();
        assert_eq!(addresses, ["10.0.1.3/24", "10.0.1.4/24", "10.0.1.5/24"]);
    }

    #[test]
    fn scaling_down_wants_a_task_removed_at_once_and_stops_it_later() {
        let mut swarm = Swarm::three_nodes();
        swarm.service("shop").replicas(3).create();
        swarm.settle();
        swarm.scale("shop", 1);
        swarm.tick(Duration::from_millis(1));
        assert_eq!(swarm.running("shop").len(), 1);
        let leaving = swarm.tasks_of("shop").iter().filter(|t| t.desired == TaskState::Remove).count();
        assert_eq!((leaving, swarm.tasks_of("shop").len()), (2, 3));
        swarm.tick(Duration::from_secs(1));
        assert_eq!(swarm.tasks_of("shop").len(), 1);
    }

    #[test]
    fn a_failed_task_is_replaced_in_its_slot_after_the_restart_delay() {
        let mut swarm = Swarm::three_nodes();
        swarm.service("shop").create();
        swarm.settle();
        swarm.fail_one("shop");
        swarm.tick(Duration::from_secs(4));
        let next = swarm.tasks_of("shop").into_iter().find(|t| t.wanted()).unwrap();
        assert_eq!((next.slot, next.desired, next.state), (1, TaskState::Ready, TaskState::Ready));
        swarm.tick(Duration::from_secs(2));
        assert_eq!(swarm.running("shop").len(), 1);
    }

    #[test]
    fn a_global_service_follows_the_nodes() {
        let mut swarm = Swarm::three_nodes();
        swarm.service("agent").global().create();
        swarm.settle();
        assert_eq!(swarm.running("agent").len(), 3);
        assert!(swarm.running("agent").iter().all(|t| t.slot == 0));
        swarm.add_node("node4", "worker");
        swarm.settle();
        assert_eq!(swarm.running("agent").len(), 4);
        swarm.edit_node("node4", |spec| spec["Availability"] = "drain".into());
        swarm.settle();
        assert_eq!(swarm.running("agent").len(), 3);
    }

    #[test]
    fn a_task_on_a_lost_node_is_wanted_shutdown_while_its_state_stays_running() {
        let mut swarm = Swarm::three_nodes();
        swarm.service("shop").replicas(3).create();
        swarm.settle();
        swarm.set_node_state("node3", "down");
        swarm.settle();
        let lost = |swarm: &Swarm| {
            let tasks = swarm.tasks_of("shop");
            tasks.iter().filter(|t| t.desired == TaskState::Shutdown && t.state == TaskState::Running).count()
        };
        assert_eq!((swarm.running("shop").len(), lost(&swarm)), (3, 1));
        swarm.set_node_state("node3", "ready");
        swarm.settle();
        assert_eq!((swarm.running("shop").len(), lost(&swarm)), (3, 0));
    }

    #[test]
    fn an_unknown_node_loses_nothing() {
        let mut swarm = Swarm::three_nodes();
        swarm.service("shop").replicas(3).create();
        swarm.settle();
        for node in ["node1", "node2", "node3"] {
            swarm.set_node_state(node, "unknown");
        }
        swarm.tick(Duration::from_secs(60));
        assert_eq!(swarm.running("shop").len(), 3);
    }

    #[test]
    fn a_task_that_may_not_restart_is_replaced_only_by_an_update() {
        let mut swarm = Swarm::three_nodes();
        let never = serde_json::json!({ "Condition": "none" });
        swarm.service("shop").with(|spec| spec["TaskTemplate"]["RestartPolicy"] = never).create();
        swarm.settle();
        swarm.fail_one("shop");
        swarm.edit_service("shop", |spec| spec["Labels"]["n"] = "2".into()).unwrap();
        swarm.settle();
        assert_eq!((swarm.tasks_of("shop").len(), swarm.running("shop").len()), (1, 0));
        swarm.edit_service("shop", |spec| spec["TaskTemplate"]["ForceUpdate"] = 1.into()).unwrap();
        swarm.settle();
        assert_eq!(swarm.running("shop").len(), 1);
    }

    #[test]
    fn restarts_end_after_the_allowed_attempts() {
        let mut swarm = Swarm::three_nodes();
        let policy = serde_json::json!({ "Condition": "any", "Delay": 1_000_000_000, "MaxAttempts": 2 });
        swarm.script.fate_of("shop", crate::script::Fate::FailOnStart { exit: 2 });
        swarm.service("shop").with(|spec| spec["TaskTemplate"]["RestartPolicy"] = policy).create();
        assert!(swarm.settle());
        assert_eq!(swarm.tasks_of("shop").len(), 3);
    }

    #[test]
    fn five_dead_tasks_are_remembered_per_slot() {
        let mut swarm = Swarm::three_nodes();
        swarm.service("shop").create();
        for _ in 0..9 {
            swarm.settle();
            swarm.fail_one("shop");
        }
        swarm.settle();
        assert_eq!(swarm.tasks_of("shop").len(), 5);
    }
}
