//! Which node a pending task goes to.

use super::objects::{Node, Task};
use super::{Swarm, TaskState, spec, text};
use serde_json::Value;

/// Why a node is not suitable, in the order in which Swarm looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unfit {
    NotAvailable,
    Constraints,
    HostPort,
    MaxReplicas,
}

impl Swarm {
    /// Tries every pending task; those without a suitable node stay pending and say why.
    pub(super) fn schedule_pending(&mut self) -> bool {
        let mut changed = false;
        for id in self.pending.clone() {
            changed |= self.schedule(&id);
        }
        changed
    }

    fn schedule(&mut self, id: &str) -> bool {
        let Some(task) = self.tasks.get(id) else { return self.pending.remove(id) };
        let candidates = self.nodes.values().filter(|n| task.node_id.as_ref().is_none_or(|own| *own == n.meta.id));
        let judged: Vec<_> = candidates.map(|node| (node, self.unfit(task, node))).collect();
        let best = judged.iter().filter(|(_, unfit)| unfit.is_none()).min_by_key(|(node, _)| self.load(task, node));
        let Some(node) = best.map(|(node, _)| node.meta.id.clone()) else {
            let why = explain(judged.iter().filter_map(|(_, unfit)| *unfit));
            return self.leave_pending(id, why);
        };
        self.pending.remove(id);
        self.by_node.entry(node.clone()).or_default().insert(id.to_owned());
        if let Some(task) = self.tasks.get_mut(id) {
            task.node_id = Some(node);
        }
        self.set_state(id, TaskState::Assigned, "scheduler assigned task to node");
        true
    }

    fn leave_pending(&mut self, id: &str, why: String) -> bool {
        let now = self.timestamp();
        let Some(task) = self.tasks.get_mut(id).filter(|t| t.err.as_ref() != Some(&why)) else { return false };
        task.err = Some(why);
        Self::touch(&mut self.index, now, &mut task.meta);
        task.json.forget();
        false
    }

    /// Fewest tasks of the same service first, then fewest tasks.
    fn load(&self, task: &Task, node: &Node) -> (usize, usize) {
        let tasks = self.by_node.get(&node.meta.id);
        let own = self.on_node(task, node).count();
        (own, tasks.map_or(0, std::collections::BTreeSet::len))
    }

    fn on_node<'s>(&'s self, task: &'s Task, node: &'s Node) -> impl Iterator<Item = &'s Task> {
        let peers = self.services.get(&task.service_id).into_iter().flat_map(|s| s.tasks.iter());
        peers
            .filter_map(|id| self.tasks.get(id))
            .filter(|t| t.node_id.as_ref() == Some(&node.meta.id) && t.wanted() && t.meta.id != task.meta.id)
    }

    fn unfit(&self, task: &Task, node: &Node) -> Option<Unfit> {
        if node.state != "ready" || node.availability() != "active" {
            return Some(Unfit::NotAvailable);
        }
        if !meets_constraints(&task.spec, node) {
            return Some(Unfit::Constraints);
        }
        if !self.host_ports_are_free(task, node) {
            return Some(Unfit::HostPort);
        }
        let max = task.spec["TaskTemplate"]["Placement"]["MaxReplicas"].as_u64().filter(|max| *max > 0);
        if max.is_some_and(|max| self.on_node(task, node).count() as u64 >= max) {
            return Some(Unfit::MaxReplicas);
        }
        None
    }

    /// A port is taken until the container that has it is gone, whatever is wanted of it.
    fn host_ports_are_free(&self, task: &Task, node: &Node) -> bool {
        let mut wanted =
            spec::ports_of_mode(&task.spec, "host").filter(|p| p.get("PublishedPort").is_some()).peekable();
        if wanted.peek().is_none() {
            return true;
        }
        let key = |p: &Value| (p["PublishedPort"].as_u64(), text(p, "Protocol").to_owned());
        let wanted: Vec<_> = wanted.map(key).collect();
        let others = self.by_node.get(&node.meta.id).into_iter().flatten().filter_map(|id| self.tasks.get(id));
        others
            .filter(|t| t.meta.id != task.meta.id && t.state >= TaskState::Assigned && t.state <= TaskState::Running)
            .all(|t| spec::ports_of_mode(&t.spec, "host").all(|p| !wanted.contains(&key(p))))
    }
}

fn explain(unfit: impl Iterator<Item = Unfit>) -> String {
    let unfit: Vec<_> = unfit.collect();
    let mut parts = Vec::new();
    for reason in [Unfit::NotAvailable, Unfit::Constraints, Unfit::HostPort, Unfit::MaxReplicas] {
        let count = unfit.iter().filter(|u| **u == reason).count();
        let nodes = if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") };
        if count > 0 {
            let text = match reason {
                Unfit::NotAvailable => format!("{nodes} not available for new tasks"),
                Unfit::Constraints => format!("scheduling constraints not satisfied on {nodes}"),
                Unfit::HostPort => format!("host-mode port already in use on {nodes}"),
                Unfit::MaxReplicas => "max replicas per node limit exceed".to_owned(),
            };
            parts.push((count, text));
        }
    }
    parts.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let parts: Vec<_> = parts.into_iter().map(|(_, text)| text).collect();
    if parts.is_empty() { "no suitable node".to_owned() } else { format!("no suitable node ({})", parts.join("; ")) }
}

/// `node.role`, `node.id`, `node.hostname` and `node.labels.*`, with `==` and `!=`.
pub(super) fn meets_constraints(spec: &Value, node: &Node) -> bool {
    let constraints = spec["TaskTemplate"]["Placement"]["Constraints"].as_array();
    constraints.into_iter().flatten().filter_map(Value::as_str).all(|constraint| {
        let (key, value, equal) = match (constraint.split_once("=="), constraint.split_once("!=")) {
            (Some((key, value)), _) => (key, value, true),
            (None, Some((key, value))) => (key, value, false),
            (None, None) => return false,
        };
        let key = key.trim();
        let actual = match key {
            "node.role" => text(&node.spec, "Role"),
            "node.id" => &node.meta.id,
            "node.hostname" => &node.hostname,
            _ => key.strip_prefix("node.labels.").map(|label| text(&node.spec["Labels"], label)).unwrap_or_default(),
        };
        actual.eq_ignore_ascii_case(value.trim()) == equal
    })
}

#[cfg(test)]
mod tests {
    use crate::{Swarm, TaskState};

    #[test]
    fn replicas_are_spread_over_the_nodes() {
        let mut swarm = Swarm::three_nodes();
        swarm.service("shop").replicas(3).create();
        swarm.settle();
        let mut nodes: Vec<_> = swarm.running("shop").iter().map(|t| t.node_id.clone()).collect();
        nodes.sort();
        nodes.dedup();
        assert_eq!(nodes.len(), 3);
    }

    #[test]
    fn a_host_port_is_used_once_per_node_and_what_is_too_much_stays_pending() {
        let mut swarm = Swarm::three_nodes();
        swarm.service("proxy").publish_host(8080, 80).replicas(4).create();
        swarm.settle();
        assert_eq!(swarm.running("proxy").len(), 3);
        let tasks = swarm.tasks_of("proxy");
        let waiting = tasks.iter().find(|t| t.state == TaskState::Pending).unwrap();
        assert_eq!(waiting.err.as_deref(), Some("no suitable node (host-mode port already in use on 3 nodes)"));
    }

    #[test]
    fn constraints_choose_the_node_and_a_label_may_come_later() {
        let mut swarm = Swarm::three_nodes();
        swarm.service("front").constraint("node.labels.edge==yes").create();
        swarm.service("boss").constraint("node.role==manager").create();
        swarm.settle();
        let why = swarm.tasks_of("front")[0].err.clone();
        assert_eq!(why.as_deref(), Some("no suitable node (scheduling constraints not satisfied on 3 nodes)"));
        assert_eq!(swarm.running("boss").len(), 1);
        swarm.edit_node("node2", |spec| spec["Labels"]["edge"] = "yes".into());
        swarm.settle();
        let node = swarm.running("front")[0].node_id.clone();
        assert_eq!(node, Some(swarm.node_id("node2").unwrap()));
    }
}
