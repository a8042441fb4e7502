//! What nobody needs any more.
//!
//! Whatever a spec, a previous spec or a live task refers to stays: Swarm starts tasks from it, and goes back to it. Anybody's spec counts: who may
//! create services may mount what is ours, and Swarm would refuse to remove it, again and again.
//!
//! What is new stays, too: somebody may have made it for a service that comes next. So does what the newest settings on
//! the Swarm want, which a core with older ones does not know.

use std::cell::LazyCell;
use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::deployment::{Desired, Objects};
use crate::ownership;
use crate::plan::{Action, Step};
use crate::swarm::{Config, Secret, Service, ServiceSpec, Snapshot, SwarmIndex};
use crate::units::{Cluster, ServiceId};

/// For so long after it was made an object is new.
const NEW: SignedDuration = SignedDuration::from_secs(60);

/// Whether something was made a moment ago. A time far ahead says that clocks differ, and nothing of the age.
pub(super) fn is_new(snapshot: &SwarmIndex<'_>, created: Option<Timestamp>) -> bool {
    created.is_some_and(|created| snapshot.observed_at.duration_since(created).abs() < NEW)
}

/// The objects of one service cluster that are not used and shall not be, once these steps are done.
pub(super) fn of_cluster(snapshot: &SwarmIndex<'_>, cluster: &Cluster, objects: &Objects, steps: &[Step]) -> Vec<Step> {
    let services: Vec<_> = snapshot
        .labelled()
        .filter(|service| ownership::is_ours(&service.spec.labels) && objects.names.contains(&service.spec.name))
        .collect();
    // While a service is being updated its tasks are of two kinds, and nothing is certain.
    if services.iter().any(|service| service.update.as_ref().is_some_and(|update| update.state.in_progress())) {
        return Vec::new();
    }
    let updated: BTreeSet<_> = steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::UpdateService { id, .. } => Some(id),
            _ => None,
        })
        .collect();
    // An update makes today's spec the previous one. Without an update the previous one stays, and a rollback needs what it names.
    let previous = services.iter().filter(|service| !updated.contains(&service.id)).filter_map(|s| s.previous.as_ref());
    let specs: Vec<_> = services.iter().map(|service| &service.spec).chain(previous).collect();
    let ids: BTreeSet<_> = services.iter().map(|service| &service.id).collect();
    let mut unused = unused_configs(snapshot, cluster, objects, &services, &specs);
    unused.extend(unused_identities(snapshot, cluster, objects, &specs));
    if unused.is_empty() {
        return unused;
    }
    let others = of_others(snapshot, &ids, steps);
    unused.retain(|step| !mounted(&others, step));
    unused
}

/// The specs, those of before too, of all services but these, and but those that the steps remove.
fn of_others<'a>(snapshot: &'a SwarmIndex<'a>, these: &BTreeSet<&ServiceId>, steps: &[Step]) -> Vec<&'a ServiceSpec> {
    let goes = |service: &Service| {
        steps.iter().any(|step| matches!(&step.action, Action::RemoveService { id, .. } if *id == service.id))
    };
    let others = snapshot.services().filter(|service| !these.contains(&service.id) && !goes(service));
    others.flat_map(|service| [Some(&service.spec), service.previous.as_ref()]).flatten().collect()
}

/// Whether one of these specs mounts what a step removes.
fn mounted(specs: &[&ServiceSpec], step: &Step) -> bool {
    specs.iter().any(|spec| match &step.action {
        Action::RemoveConfig { id, .. } => spec.configs.iter().any(|config| config.id == *id),
        Action::RemoveSecret { id, .. } => spec.secrets.contains(id),
        _ => false,
    })
}

fn unused_configs(
    snapshot: &SwarmIndex<'_>,
    cluster: &Cluster,
    objects: &Objects,
    services: &[&Service],
    specs: &[&ServiceSpec],
) -> Vec<Step> {
    let mut keep: BTreeSet<_> =
        specs.iter().flat_map(|spec| &spec.configs).map(|config| config.name.as_str()).collect();
    let wanted = objects.services().filter_map(|service| service.content.as_ref().ok());
    keep.extend(wanted.flat_map(|content| &content.configs).map(|config| config.name.as_str()));
    let tasks = services.iter().flat_map(|service| snapshot.tasks_of(&service.id));
    let live = tasks.filter(|task| !task.state.is_terminal());
    let live: BTreeSet<_> = live.flat_map(|task| &task.configs).collect();
    let mine = |config: &&Config| ownership::cluster_of(&config.labels).as_ref() == Some(cluster);
    let unused = |config: &&Config| !keep.contains(config.name.as_str()) && !live.contains(&config.id);
    let configs = sorted_configs(snapshot).into_iter().filter(mine).filter(unused);
    let configs = configs.filter(|config| !is_new(snapshot, Some(config.created_at)));
    configs.map(remove_config).collect()
}

fn unused_identities(
    snapshot: &SwarmIndex<'_>,
    cluster: &Cluster,
    objects: &Objects,
    specs: &[&ServiceSpec],
) -> Vec<Step> {
    let used: BTreeSet<_> = specs.iter().flat_map(|spec| &spec.secrets).collect();
    let wanted = objects.services().filter_map(|service| service.content.as_ref().ok()?.identity.as_ref());
    let wanted: BTreeSet<_> = wanted.map(|identity| identity.name.as_str()).collect();
    let unused = |secret: &Secret| {
        let is_used = used.contains(&secret.id) || wanted.contains(secret.name.as_str());
        !is_used && !is_new(snapshot, secret.created_at)
    };
    let mine = sorted_identities(snapshot).into_iter().filter(|(of, secret)| *of == cluster && unused(secret));
    mine.map(|(of, secret)| remove_identity(of, secret)).collect()
}

/// The objects of service clusters that the settings do not have any more, and networks that nobody needs.
pub(super) fn orphans(snapshot: &SwarmIndex<'_>, desired: &Desired, steps: &[Step]) -> Vec<Step> {
    let is_gone = |cluster: &Cluster| !desired.clusters.contains_key(cluster) && !desired.newest.wants_cluster(cluster);
    let gone = |labels: &crate::swarm::Labels| {
        ownership::cluster_of(labels).map_or(!desired.newest.is_unknown, |cluster| is_gone(&cluster))
    };
    let others = LazyCell::new(|| of_others(snapshot, &BTreeSet::new(), steps));
    let configs = sorted_configs(snapshot).into_iter().filter(|config| gone(&config.labels));
    let configs = configs.filter(|config| !is_new(snapshot, Some(config.created_at)));
    let identities = sorted_identities(snapshot).into_iter();
    let identities = identities.filter(|(cluster, secret)| is_gone(cluster) && !is_new(snapshot, secret.created_at));
    configs
        .map(remove_config)
        .chain(identities.map(|(cluster, secret)| remove_identity(cluster, secret)))
        .filter(|step| !mounted(&others, step))
        .chain(unused_networks(snapshot, desired))
        .collect()
}

/// Proxies' control networks that no service is attached to.
fn unused_networks(snapshot: &SwarmIndex<'_>, desired: &Desired) -> impl Iterator<Item = Step> {
    let mut unused: Vec<_> = snapshot
        .networks
        .iter()
        .filter(|network| ownership::is_ours(&network.labels) && network.labels.contains_key(ownership::CLUSTER))
        .filter(|network| {
            !desired.networks.contains_key(&network.name) && snapshot.on_network(&network.id).next().is_none()
        })
        .filter(|network| !desired.newest.wants_network(&network.name) && !is_new(snapshot, network.created_at))
        .collect();
    unused.sort_by(|a, b| a.name.cmp(&b.name));
    unused.into_iter().map(|network| Step {
        cluster: ownership::cluster_of(&network.labels),
        action: Action::RemoveNetwork { id: network.id.clone(), name: network.name.clone() },
        reason: "no proxies that follow core need it any more".to_owned(),
        restarts_tasks: false,
    })
}

fn sorted_configs(snapshot: &Snapshot) -> Vec<&Config> {
    let ours =
        |config: &&Config| ownership::is_ours(&config.labels) && config.name.starts_with(ownership::CONFIG_PREFIX);
    let mut configs: Vec<_> = snapshot.configs.iter().filter(ours).collect();
    configs.sort_by(|a, b| a.name.cmp(&b.name));
    configs
}

/// The identities that are proven to be ours, with their service clusters. What only claims to be one is somebody else's.
fn sorted_identities(snapshot: &Snapshot) -> Vec<(&Cluster, &Secret)> {
    let secrets = snapshot.secrets.iter();
    let mut secrets: Vec<_> = secrets.filter_map(|secret| Some((&secret.identity.as_ref()?.cluster, secret))).collect();
    secrets.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
    secrets
}

fn remove_config(config: &Config) -> Step {
    Step {
        cluster: ownership::cluster_of(&config.labels),
        action: Action::RemoveConfig { id: config.id.clone(), name: config.name.clone() },
        reason: "nothing refers to it any more".to_owned(),
        restarts_tasks: false,
    }
}

fn remove_identity(cluster: &Cluster, secret: &Secret) -> Step {
    Step {
        cluster: Some(cluster.clone()),
        action: Action::RemoveSecret { id: secret.id.clone(), name: secret.name.clone() },
        reason: "no service shows it any more".to_owned(),
        restarts_tasks: false,
    }
}
