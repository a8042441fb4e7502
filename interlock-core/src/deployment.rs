//! The Docker objects that should exist: for each service cluster a proxy service, with an image of its own an extension service, and
//! the networks, identities and config objects that they need.

use std::collections::{BTreeMap, BTreeSet};

use crate::ownership::core_name;
use crate::problem::{Effect, Problem, Severity, Subject};
use crate::routes::model::Model;
use crate::settings::{Extension, Settings};
use crate::swarm::{Availability, Labels, NodeState, Role as NodeRole, Secret, SwarmIndex};
use crate::units::{Cluster, NetworkId, SecretId, SecretName};

mod agent_file;
mod core;
mod core_peers;
mod extension;
mod fields;
pub mod generations;
mod hardening;
mod newest;
pub mod options_in_force;
mod proxy;
mod room;
mod service;
pub(crate) mod shortages;
mod strangers;

pub use agent_file::{AgentFile, EXTENSION_FILE, ExtensionFile, MANIFEST_FILE, PATH as AGENT_FILE};
pub use core::{core, core_networks};
pub use core_peers::{Control, control};
pub use extension::extension;
pub use fields::Field;
pub(crate) use fields::{REPLICAS, path_of};
pub use newest::Newest;
pub use proxy::proxy;
pub use room::lack_of_nodes;
pub(crate) use room::room;
pub use service::{
    ConfigData, ConfigFile, Content, IdentitySecret, NetworkRef, NoContent, OwnService, RouteSecret, Target,
};
pub(crate) use service::{config_refs, network_refs, secret_refs};

/// The services of extensions and proxies that the settings ask for, with what each of their fields is to be.
pub(crate) fn applied(snapshot: &SwarmIndex<'_>, settings: &Settings) -> Vec<(String, BTreeMap<String, String>)> {
    let core = core_name::address(snapshot, settings);
    let hashes = |fields: BTreeMap<String, Field>| -> BTreeMap<_, _> {
        fields.into_iter().map(|(name, field)| (name, field.fingerprint())).collect()
    };
    let services = settings.clusters().flat_map(|(cluster, extension)| {
        let renders = extension.image.is_some();
        let renders = renders.then(|| (extension.service_name.clone(), hashes(fields::extension(extension, &core))));
        let replicas = room(snapshot, extension).replicas();
        let proxies = fields::proxy(&cluster, extension, has_active_worker(snapshot), replicas);
        renders.into_iter().chain([(extension.proxy_service_name.clone(), hashes(proxies))])
    });
    services.collect()
}

/// The longest that a new task may take until it runs, its image included.
pub(crate) const SECONDS_TO_START: u64 = 120;

/// What should exist.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Desired {
    /// Networks between core and others, by name, with their labels. One that exists already is used as it is.
    pub networks: BTreeMap<String, Labels>,
    /// The objects of each service cluster.
    pub clusters: BTreeMap<Cluster, Objects>,
    /// What the newest settings on the Swarm want, if these are others.
    pub newest: Newest,
}

/// The objects of one service cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Objects {
    /// The names that the settings give to its services, those included that cannot be made now.
    pub names: BTreeSet<String>,
    /// The extension service; `None` where core renders.
    pub extension: Option<OwnService>,
    /// The proxy service; `None` as long as something that it needs is missing.
    pub proxy: Option<OwnService>,
}

impl Objects {
    /// Its services, in the order in which they are made: without an extension there is nothing for a proxy to serve.
    pub fn services(&self) -> impl Iterator<Item = &OwnService> {
        self.extension.iter().chain(&self.proxy)
    }
}

/// The networks that a service cluster's proxies need: those of its routes, or those that the settings fix.
pub fn networks(
    snapshot: &SwarmIndex<'_>,
    model: &Model,
    cluster: &Cluster,
    extension: &Extension,
) -> (BTreeSet<NetworkId>, Vec<Problem>) {
    let Some(fixed) = &extension.networks else { return (model.networks(cluster), Vec::new()) };
    let mut ids = BTreeSet::new();
    let mut problems = Vec::new();
    for name in fixed {
        match snapshot.networks.iter().find(|network| network.name == *name || network.id.as_str() == name) {
            Some(network) => {
                ids.insert(network.id.clone());
            }
            None => problems.push(Problem::new(
                Severity::Warning,
                Subject::Cluster(cluster.clone()),
                format!("setting Networks names {name}, which does not exist"),
                format!(
                    "create it with `docker network create --driver overlay {name}`, or remove it from the settings"
                ),
                Effect::Ignored,
            )),
        }
    }
    (ids, problems)
}

/// The secrets that the proxies of a service cluster need for its routes.
pub fn secrets(snapshot: &SwarmIndex<'_>, model: &Model, cluster: &Cluster) -> BTreeSet<SecretId> {
    ids(snapshot, &model.secrets(cluster))
}

/// The secrets that routes of a service cluster name, with a running task or without.
pub(crate) fn named_secrets(snapshot: &SwarmIndex<'_>, model: &Model, cluster: &Cluster) -> BTreeSet<SecretId> {
    ids(snapshot, &model.named_secrets(cluster))
}

fn ids(snapshot: &SwarmIndex<'_>, names: &BTreeSet<&SecretName>) -> BTreeSet<SecretId> {
    if names.is_empty() {
        return BTreeSet::new();
    }
    let is_one = |secret: &&Secret| names.iter().any(|name| name.as_str() == secret.name);
    snapshot.secrets.iter().filter(is_one).map(|secret| secret.id.clone()).collect()
}

/// Whether proxies can run on workers. Managers that hear from nobody for a moment do not change the answer.
fn has_active_worker(snapshot: &SwarmIndex<'_>) -> bool {
    let active = |state: NodeState| !matches!(state, NodeState::Down | NodeState::Disconnected);
    snapshot
        .nodes
        .iter()
        .any(|node| node.role == NodeRole::Worker && node.availability == Availability::Active && active(node.state))
}
