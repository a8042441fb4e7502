//! One read, from its ticket to its answer.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tokio::time::Instant;

use super::read_schedule::Kind;
use super::swarm_copy::{List, Ticket};
use crate::docker::{Client, Error, Observation, ServiceView};
use crate::proxy_config::template;
use crate::swarm::{Config, Task};
use crate::units::{NodeId, ServiceId};

/// An answer, and what it answers.
pub(super) struct Answer {
    pub(super) kind: Kind,
    pub(super) ticket: Ticket,
    pub(super) sent: Instant,
    pub(super) reply: Result<Reply, Error>,
}

/// What was found.
pub(super) enum Reply {
    All(Box<Observation>),
    /// With config objects, if a template is mounted in one of them: it has to be here together with the mount.
    Services(BTreeSet<ServiceId>, BTreeMap<ServiceId, ServiceView>, Option<Vec<Config>>),
    NodeTasks(BTreeSet<NodeId>, Vec<Task>),
    List(List),
}

/// Reads what is asked for. Of the sets only the one that belongs to the kind is used.
pub(super) async fn read(
    client: Client,
    kind: Kind,
    ticket: Ticket,
    services: BTreeSet<ServiceId>,
    nodes: BTreeSet<NodeId>,
    templates: BTreeSet<String>,
    clock: fn() -> Timestamp,
) -> Answer {
    let sent = Instant::now();
    let reply = match kind {
        Kind::All => client.observe(clock()).await.map(|all| Reply::All(Box::new(all))),
        Kind::Services => read_services(&client, services, templates).await,
        Kind::NodeTasks => client.observe_node_tasks(&nodes).await.map(|tasks| Reply::NodeTasks(nodes, tasks)),
        Kind::Nodes => client.observe_nodes().await.map(|nodes| Reply::List(List::Nodes(nodes))),
        Kind::Networks => client.observe_networks().await.map(|networks| Reply::List(List::Networks(networks))),
        Kind::Configs => client.observe_configs(&templates).await.map(|configs| Reply::List(List::Configs(configs))),
        Kind::Secrets => client.observe_secrets().await.map(|secrets| Reply::List(List::Secrets(secrets))),
    };
    Answer { kind, ticket, sent, reply }
}

async fn read_services(
    client: &Client,
    services: BTreeSet<ServiceId>,
    mut templates: BTreeSet<String>,
) -> Result<Reply, Error> {
    let views = client.observe_services(&services).await?;
    let mounted = template::mounted(views.values().map(|view| &view.service));
    let configs = if mounted.is_empty() {
        None
    } else {
        templates.extend(mounted);
        Some(client.observe_configs(&templates).await?)
    };
    Ok(Reply::Services(services, views, configs))
}
