//! How many nodes can take a proxy that publishes its ports on its node.
//!
//! Each such proxy needs a node of its own. A task that no node can take stays pending, and Swarm waits for it without a
//! limit: a roll that reaches it never ends, and neither does the rollback. So core asks for no more proxies than nodes
//! can take.

use std::collections::BTreeSet;

use crate::ownership;
use crate::problem::{Effect, Problem, Severity, Subject, shown};
use crate::settings::{Extension, PublishMode, Settings};
use crate::swarm::placement;
use crate::swarm::{Availability, Node, NodeState, PublishMode as PortMode, Service, ServiceSpec, SwarmIndex, Task};
use crate::units::Cluster;

/// The nodes of a service cluster's proxies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Room {
    /// How many proxies the settings ask for.
    asked: u64,
    /// How many nodes can take one; `None` where a node takes any number, or where the nodes are not known.
    nodes: Option<u64>,
    /// Why others cannot, for people; sorted.
    unfit: Vec<String>,
}

/// How many reasons a problem lists.
const MOST_REASONS: usize = 5;

/// Counts the nodes that can take a proxy of this service cluster.
pub(crate) fn room(snapshot: &SwarmIndex<'_>, extension: &Extension) -> Room {
    let asked = extension.proxy_replicas;
    if extension.publish_mode != PublishMode::Host || snapshot.nodes.is_empty() {
        return Room { asked, nodes: None, unfit: Vec::new() };
    }
    let constraints = super::fields::proxy_constraints(extension, super::has_active_worker(snapshot));
    let own = snapshot.named(&extension.proxy_service_name).filter(|service| ownership::is_ours(&service.spec.labels));
    let ports = [extension.published_port, extension.published_ssl_port];
    let (mut nodes, mut unfit) = (0, BTreeSet::new());
    let candidates = snapshot.nodes.iter();
    for node in candidates.filter(|node| constraints.iter().all(|constraint| placement::meets(node, constraint))) {
        match why_not(snapshot, node, own, ports) {
            None => nodes += 1,
            Some(why) => {
                unfit.insert(why);
            }
        }
    }
    Room { asked, nodes: Some(nodes), unfit: unfit.into_iter().collect() }
}

/// Why this node cannot take a proxy now.
fn why_not(snapshot: &SwarmIndex<'_>, node: &Node, own: Option<&Service>, ports: [u16; 2]) -> Option<String> {
    let here = |task: &&Task| task.node.as_ref() == Some(&node.id) && !task.state.is_terminal();
    let has_one = own.is_some_and(|own| snapshot.tasks_of(&own.id).any(|task| here(&task)));
    let name = shown(&node.hostname);
    match (node.state, node.availability) {
        (NodeState::Down | NodeState::Disconnected, _) => return Some(format!("node {name} is down")),
        (_, Availability::Drain) => return Some(format!("node {name} is drained")),
        // It keeps the proxy that it has.
        (_, Availability::Pause) if !has_one => return Some(format!("node {name} is paused")),
        _ => {}
    }
    let takes = |service: &&Service| {
        own.is_none_or(|own| own.id != service.id) && ports.into_iter().any(|port| claims(&service.spec, port))
    };
    let is_here = |service: &&Service| snapshot.tasks_of(&service.id).any(|task| here(&task));
    let service = snapshot.with_host_ports().filter(takes).find(is_here)?;
    let port = ports.into_iter().find(|port| claims(&service.spec, *port)).unwrap_or_default();
    Some(format!("service {} has port {port} of node {name}", shown(&service.spec.name)))
}

fn claims(spec: &ServiceSpec, port: u16) -> bool {
    spec.ports.iter().any(|claimed| claimed.mode == PortMode::Host && claimed.published == port)
}

impl Room {
    /// How many proxies there shall be: at least one where one is asked for, so that Swarm starts it when a node is free.
    pub(crate) fn replicas(&self) -> u64 {
        self.nodes.map_or(self.asked, |nodes| nodes.max(1).min(self.asked))
    }

    /// The most proxies that may be asked for; `None` for any number.
    pub(crate) fn most(&self) -> Option<u64> {
        self.nodes
    }

    /// The problem if there are fewer nodes than proxies asked for. Constraints that no node meets are another one.
    pub(crate) fn problem(&self, cluster: &Cluster) -> Option<Problem> {
        let (nodes, asked) = (self.nodes?, self.asked);
        if nodes >= asked || (nodes == 0 && self.unfit.is_empty()) {
            return None;
        }
        let few = match nodes {
            0 => "no node can take one".to_owned(),
            1 => "only 1 node can take one".to_owned(),
            _ => format!("only {nodes} nodes can take one"),
        };
        let mut why = self.unfit.iter().take(MOST_REASONS).cloned().collect::<Vec<_>>().join(", ");
        if self.unfit.len() > MOST_REASONS {
            why.push_str(&format!(", and {} more", self.unfit.len() - MOST_REASONS));
        }
        let why = if why.is_empty() { why } else { format!(" ({why})") };
        let lower = if nodes > 0 { format!("set ProxyReplicas = {nodes}, ") } else { String::new() };
        Some(Problem::new(
            if nodes == 0 { Severity::Error } else { Severity::Warning },
            Subject::Cluster(cluster.clone()),
            format!(
                "with PublishMode = \"host\" each proxy needs a node of its own: {asked} are asked for and {few}{why}"
            ),
            format!("{lower}free or add a node, or set PublishMode = \"ingress\""),
            if nodes == 0 { Effect::Kept } else { Effect::Served },
        ))
    }
}

/// The problems of all service clusters of the settings whose proxies lack nodes.
pub fn lack_of_nodes(snapshot: &SwarmIndex<'_>, settings: &Settings) -> Vec<Problem> {
    let clusters = settings.clusters();
    clusters.filter_map(|(cluster, extension)| room(snapshot, extension).problem(&cluster)).collect()
}
