//! From what is and what should be to the actions in between. Equal means no action.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{Action, Change, Delivered, Plan, Step, Waiting};
use crate::deployment::generations::Attached;
use crate::deployment::{Desired, NetworkRef, Objects, OwnService, Target, network_refs};
use crate::ownership;
use crate::problem::{Effect, Problem, Severity, Subject};
use crate::swarm::{Labels, Service, SwarmIndex};
use crate::units::{Cluster, TaskId};

mod garbage;
mod rolls;
mod scale;
mod service;

pub(crate) use rolls::looked_at;
use service::ServiceDiff;

/// What is remembered of each service's updates, by the service's name.
pub type Attempts = BTreeMap<String, Attempt>;

/// What is remembered of a service's updates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attempt {
    /// The last one that was planned: what a failed one is compared with.
    pub planned: Option<Planned>,
    /// The one that is under way.
    pub rolling: Option<Rolling>,
    /// What Swarm said when the last one that was planned failed, if the number of tasks was changed since: then Swarm says
    /// nothing of it any more.
    pub failed: Option<String>,
}

/// An update that was planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What the service should have become.
    pub target: Target,
    /// When, as Swarm says, the update began that stood on the service when it was planned.
    pub before: Option<jiff::Timestamp>,
    /// The networks and secrets of applications that were new in it.
    pub added: BTreeSet<Attached>,
}

/// An update that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rolling {
    /// When it began, as Swarm says: which one it is. Swarm's clock is not ours, so how long it takes is counted by ours.
    pub began: Option<jiff::Timestamp>,
    /// Whether it is a rollback. Swarm may give it the time of the update that it takes back.
    pub back: bool,
    /// Whether a task came up since it was first seen: then what it asks for works.
    pub proven: bool,
    /// When it was first seen, or when a task came up last since then; later by the time in which nobody looked.
    pub moved: jiff::Timestamp,
    /// When it was looked at last.
    pub seen: jiff::Timestamp,
    /// How long before that it was looked at: passes over a large Swarm lie far apart.
    pub apart: jiff::SignedDuration,
    /// The tasks that have been seen up.
    pub up: BTreeSet<TaskId>,
}

/// Plans for all service clusters: what is between core and the others first, then clusters that are gone, then the others by name, then
/// what nobody needs any more.
pub fn diff(snapshot: &SwarmIndex<'_>, desired: &Desired, attempts: &Attempts) -> (Plan, Attempts, Vec<Problem>) {
    let mut plan = Plan::default();
    let mut problems = Vec::new();
    let mut next = Attempts::new();
    plan.steps.extend(control_networks(snapshot, &desired.networks));
    plan.steps.extend(attach_core(snapshot, desired));
    problems.extend(not_attached(snapshot, desired));
    plan.steps.extend(removed_services(snapshot, desired));
    for (cluster, objects) in &desired.clusters {
        let mut failed = false;
        for wanted in objects.services() {
            let attempt = attempts.get(&wanted.name);
            let (steps, outcome) = ServiceDiff { snapshot, cluster, wanted, attempt }.plan();
            failed |= outcome.problem.is_some();
            plan.steps.extend(steps);
            problems.extend(outcome.problem);
            plan.waiting.extend(outcome.waiting.map(|reason| Waiting { cluster: cluster.clone(), reason }));
            let delivered = outcome.delivered.map(|revision| Delivered { cluster: cluster.clone(), revision });
            plan.delivered.extend(delivered);
            next.insert(wanted.name.clone(), outcome.attempt);
        }
        if !failed {
            let unused = garbage::of_cluster(snapshot, cluster, objects, &plan.steps);
            plan.steps.extend(unused);
        }
    }
    let orphans = garbage::orphans(snapshot, desired, &plan.steps);
    plan.steps.extend(orphans);
    (plan, next, problems)
}

/// Plans for one service alone. The second value is what is in the way, the third what has to end first.
pub fn one_service(snapshot: &SwarmIndex<'_>, wanted: &OwnService) -> (Vec<Step>, Option<Problem>, Option<String>) {
    let cluster = Cluster::default();
    let (steps, outcome) = ServiceDiff { snapshot, cluster: &cluster, wanted, attempt: None }.plan();
    (steps, outcome.problem, outcome.waiting)
}

pub(crate) fn control_networks(snapshot: &SwarmIndex<'_>, networks: &BTreeMap<String, Labels>) -> Vec<Step> {
    let missing = networks.iter().filter(|(name, _)| !snapshot.networks.iter().any(|network| network.name == **name));
    let step = |(name, labels): (&String, &Labels)| Step {
        cluster: ownership::cluster_of(labels),
        action: Action::CreateNetwork { name: name.clone(), labels: labels.clone() },
        reason: "core and those who talk to it need it".to_owned(),
        restarts_tasks: false,
    };
    missing.map(step).collect()
}

/// Core is attached to the networks of all that talk to it. That replaces core's own task: whoever follows it keeps what it has. What failed
/// is not tried again: a core that Swarm put back knows nothing of it and would be replaced without end.
fn attach_core(snapshot: &SwarmIndex<'_>, desired: &Desired) -> Option<Step> {
    let core = crate::ownership::core_name::core_service(snapshot)?;
    if core.update.as_ref().is_some_and(|update| update.state.in_progress() || update.state.failed()) {
        return None;
    }
    let mut missing = missing_networks(snapshot, core, desired);
    // One that cannot be made must not keep core from the others.
    if missing.iter().any(|network| network.id.is_some()) {
        missing.retain(|network| network.id.is_some());
    }
    if missing.is_empty() {
        return None;
    }
    let names = missing.iter().map(|network| network.name.as_str()).collect::<Vec<_>>().join(", ");
    let has = core.spec.networks.iter().map(|id| NetworkRef { name: id.to_string(), id: Some(id.clone()) });
    let all: Vec<_> = has.chain(missing).collect();
    let change = Change {
        path: ["TaskTemplate", "Networks"].map(str::to_owned).to_vec(),
        value: Some(network_refs(&all)),
        summary: format!("networks attached: {names}"),
    };
    Some(Step {
        cluster: None,
        reason: change.summary.clone(),
        action: Action::UpdateService {
            id: core.id.clone(),
            name: core.spec.name.clone(),
            version: core.version,
            changes: vec![change],
        },
        restarts_tasks: true,
    })
}

fn missing_networks(snapshot: &SwarmIndex<'_>, core: &Service, desired: &Desired) -> Vec<NetworkRef> {
    let id_of =
        |name: &str| snapshot.networks.iter().find(|network| network.name == name).map(|network| network.id.clone());
    let wanted = desired.networks.keys().map(|name| NetworkRef { name: name.clone(), id: id_of(name) });
    wanted.filter(|network| network.id.as_ref().is_none_or(|id| !core.spec.networks.contains(id))).collect()
}

/// Core's last update failed, and service clusters wait for it to be attached.
fn not_attached(snapshot: &SwarmIndex<'_>, desired: &Desired) -> Vec<Problem> {
    let failed = |core: &&Service| core.update.as_ref().is_some_and(|update| update.state.failed());
    let Some(core) = crate::ownership::core_name::core_service(snapshot).filter(failed) else { return Vec::new() };
    let missing = missing_networks(snapshot, core, desired);
    let of_cluster = |(cluster, objects): (&Cluster, &Objects)| {
        // The one network that belongs to no service cluster is that of all extensions.
        let needs = |network: &&NetworkRef| match desired.networks.get(&network.name).and_then(ownership::cluster_of) {
            Some(of) => of == *cluster,
            None => objects.extension.is_some(),
        };
        let names: Vec<_> = missing.iter().filter(needs).map(|network| network.name.as_str()).collect();
        (!names.is_empty()).then(|| core_failed(cluster, core, &names.join(", ")))
    };
    desired.clusters.iter().filter_map(of_cluster).collect()
}

fn core_failed(cluster: &Cluster, core: &Service, networks: &str) -> Problem {
    let name = &core.spec.name;
    Problem::new(
        Severity::Error,
        Subject::Cluster(cluster.clone()),
        format!("the last update of service {name} failed, and it is not attached to networks {networks}"),
        format!(
            "see `docker service ps {name}`, then run `interlock install` again, or `docker service update --network-add`"
        ),
        Effect::Kept,
    )
}

/// Our services that the settings do not have any more.
fn removed_services(snapshot: &SwarmIndex<'_>, desired: &Desired) -> Vec<Step> {
    let wanted: BTreeSet<_> =
        desired.clusters.values().flat_map(|objects| &objects.names).map(String::as_str).collect();
    let ours = |service: &&Service| ownership::is_our_proxy(service) || ownership::is_our_extension(snapshot, service);
    let mut gone: Vec<_> = snapshot.labelled().filter(ours).collect();
    gone.retain(|service| !wanted.contains(service.spec.name.as_str()));
    gone.retain(|service| !desired.newest.wants_service(&service.spec.name));
    gone.retain(|service| !garbage::is_new(snapshot, Some(service.created_at)));
    gone.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
    let step = |service: &Service| Step {
        cluster: ownership::cluster_of(&service.spec.labels),
        action: Action::RemoveService { id: service.id.clone(), name: service.spec.name.clone() },
        reason: "no extension of the settings has it any more".to_owned(),
        restarts_tasks: true,
    };
    gone.into_iter().map(step).collect()
}

/// The change of a label.
fn label_change(key: String, value: &str) -> Change {
    Change { path: vec!["Labels".to_owned(), key], value: Some(json!(value)), summary: String::new() }
}

/// When the service's last update began.
fn started_at(service: &Service) -> Option<jiff::Timestamp> {
    service.update.as_ref().and_then(|update| update.started_at)
}
