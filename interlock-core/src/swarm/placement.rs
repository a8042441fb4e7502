//! Where Swarm could put tasks: placement constraints as its scheduler reads them.
//!
//! Swarm takes a service's new constraints to its running tasks, too, and ends those on nodes that do not meet them, before it knows
//! whether others would. So constraints that no node meets must not get there.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::swarm::{Labels, Node, Platform, Role};

/// Whether some node of the Swarm, whatever its state is now, meets all of these constraints.
pub(crate) fn is_possible<'c>(nodes: &[Node], constraints: impl Iterator<Item = &'c str> + Clone) -> bool {
    nodes.is_empty() || nodes.iter().any(|node| constraints.clone().all(|one| meets(node, one)))
}

/// Whether a node meets a constraint. What this version cannot judge is left to Swarm.
pub(crate) fn meets(node: &Node, constraint: &str) -> bool {
    let (key, wanted, equal) = match (constraint.split_once("=="), constraint.split_once("!=")) {
        (Some((key, value)), _) => (key, value, true),
        (_, Some((key, value))) => (key, value, false),
        _ => return true,
    };
    let (key, wanted) = (key.trim(), wanted.trim());
    let is = |value: &str| value.eq_ignore_ascii_case(wanted);
    let labelled = |labels: &Labels, name: &str| is(labels.get(name).map_or("", String::as_str));
    let platform = |of: fn(&Platform) -> &str| node.platform.as_ref().map(|platform| is(of(platform)));
    let lower = key.to_ascii_lowercase();
    let matches = match lower.as_str() {
        "node.id" => Some(is(node.id.as_str())),
        "node.hostname" => Some(is(&node.hostname)),
        "node.role" => Some(is(match node.role {
            Role::Manager => "manager",
            Role::Worker => "worker",
        })),
        "node.ip" => node.address.map(|address| is_within(address, wanted)),
        "node.platform.os" => platform(|platform| &platform.os),
        // `amd64` and `x86_64` are one to Swarm, and it knows more such names.
        "node.platform.arch" => None,
        _ if lower.starts_with("node.labels.") => Some(labelled(&node.labels, &key["node.labels.".len()..])),
        _ if lower.starts_with("engine.labels.") => Some(labelled(&node.engine_labels, &key["engine.labels.".len()..])),
        _ => None,
    };
    matches.is_none_or(|matches| matches == equal)
}

fn is_within(address: IpAddr, wanted: &str) -> bool {
    match wanted.parse::<IpNet>() {
        Ok(network) => network.contains(&address),
        Err(_) => wanted.parse().is_ok_and(|wanted: IpAddr| wanted == address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Node {
        serde_json::from_value(serde_json::json!({
            "id": "n1", "hostname": "Worker-1", "role": "worker", "address": "10.0.0.7",
            "labels": { "region": "us-east" }, "engine_labels": { "disk": "ssd" }, "platform": { "os": "linux", "arch": "x86_64" },
        }))
        .expect("a node")
    }

    #[test]
    fn constraints_are_read_as_swarm_reads_them() {
        for met in [
            "node.labels.region==us-east",
            "node.labels.region == US-East",
            "node.labels.region!=us-west",
            "node.labels.other!=x",
            "node.role==worker",
            "node.hostname==worker-1",
            "node.ip==10.0.0.0/24",
            "node.ip!=10.0.1.0/24",
            "engine.labels.disk==ssd",
            "node.platform.os==linux",
            "node.platform.arch==amd64",
            "node.of.a.later.version==x",
        ] {
            assert!(meets(&node(), met), "{met}");
        }
        for unmet in [
            "node.labels.region==us-west",
            "node.labels.other==x",
            "node.role!=worker",
            "node.id==n2",
            "node.ip==10.0.1.0/24",
            "engine.labels.disk!=ssd",
            "node.platform.os==windows",
        ] {
            assert!(!meets(&node(), unmet), "{unmet}");
        }
    }

    #[test]
    fn one_node_has_to_meet_them_all() {
        let other = Node { labels: [("zone".to_owned(), "b".to_owned())].into(), ..node() };
        let nodes = [node(), other];
        let possible = |constraints: &[&str]| is_possible(&nodes, constraints.iter().copied());
        assert!(possible(&[]) && possible(&["node.labels.zone==b", "node.role==worker"]));
        assert!(!possible(&["node.labels.zone==b", "node.labels.region==us-east"]));
    }
}
