//! What is missing until the extensions and proxies of an installation serve.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use crate::deployment;
use crate::deployment::options_in_force;
use crate::deployment::shortages;
use crate::ownership;
use crate::problem::{Problem, shown};
use crate::settings::Settings;
use crate::swarm::index::Directory;
use crate::swarm::{Mode, Service, Snapshot, SwarmIndex, Task};

/// Something that has to happen first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// A phrase.
    pub what: String,
    /// Whether it is certain. What a service was last given is compared with what this program would give it, and core may be of
    /// another version.
    pub is_certain: bool,
}

/// What is missing until all extensions and proxies of these settings serve, with Swarm's reasons.
pub fn pending(snapshot: &Snapshot, settings: &Settings) -> Vec<Pending> {
    let directory = Directory::of(snapshot);
    let snapshot = &SwarmIndex::new(snapshot, &directory);
    let mut pending = Vec::new();
    for (name, applied) in deployment::applied(snapshot, settings) {
        let certain = |what: String| Pending { what, is_certain: true };
        let Some(service) = snapshot.named(&name) else {
            pending.push(certain(format!("service {} is not there yet", shown(&name))));
            continue;
        };
        pending.extend(not_running(snapshot, service).map(certain));
        let has = service.spec.labels.get(ownership::APPLIED).and_then(|text| serde_json::from_str::<Value>(text).ok());
        let has = has.as_ref().and_then(Value::as_object);
        if !applied.iter().all(|(field, hash)| has.is_some_and(|has| has.get(field).is_some_and(|it| it == hash))) {
            let what = format!("service {} does not have its settings yet", shown(&name));
            pending.push(Pending { what, is_certain: false });
        }
    }
    for (cluster, extension) in settings.clusters() {
        if options_in_force::verdict(snapshot, extension).is_none() {
            let what = format!("the options of service cluster {} were not checked yet", cluster.title());
            pending.push(Pending { what, is_certain: false });
        }
    }
    pending
}

/// The options of these settings that a proxy's checker refused.
pub fn refused(snapshot: &Snapshot, settings: &Settings) -> Option<Problem> {
    let directory = Directory::of(snapshot);
    let snapshot = &SwarmIndex::new(snapshot, &directory);
    settings.clusters().find_map(|(cluster, extension)| options_in_force::refusal(snapshot, &cluster, extension))
}

/// A service of ours whose update failed and that is not being updated any more, with the reason, unless the update is one of those that
/// began before.
pub fn failed(snapshot: &Snapshot, settings: &Settings, before: &BTreeSet<Timestamp>) -> Option<(String, String)> {
    let directory = Directory::of(snapshot);
    let snapshot = &SwarmIndex::new(snapshot, &directory);
    let names: BTreeSet<_> = deployment::applied(snapshot, settings).into_iter().map(|(name, _)| name).collect();
    snapshot.services().filter(|service| names.contains(&service.spec.name)).find_map(|service| {
        let update = service.update.as_ref().filter(|it| it.state.failed() && !it.state.in_progress())?;
        let is_new = update.started_at.is_some_and(|began| !before.contains(&began));
        let reason = || {
            shortages::reason(service, &tasks(snapshot, service))
                .map_or_else(|| shown(&update.message), |it| it.text().to_owned())
        };
        is_new.then(|| (service.spec.name.clone(), reason()))
    })
}

fn tasks<'a>(snapshot: &'a Snapshot, service: &Service) -> Vec<&'a Task> {
    snapshot.tasks().filter(|task| task.service == service.id).collect()
}

/// Which tasks of a service of ours do not run what they should, as a phrase.
pub fn not_running(snapshot: &Snapshot, service: &Service) -> Option<String> {
    let name = shown(&service.spec.name);
    let tasks = tasks(snapshot, service);
    let reason = shortages::reason(service, &tasks).map(|reason| format!(" ({})", reason.text())).unwrap_or_default();
    let wanted: Vec<_> = tasks.iter().filter(|task| task.is_wanted()).collect();
    let has_all = |task: &Task| service.spec.configs.iter().all(|config| task.configs.contains(&config.id));
    let ready = wanted.iter().filter(|task| task.serves() && has_all(task)).count();
    let all = match service.spec.mode {
        Mode::Replicated(replicas) => usize::try_from(replicas).unwrap_or(usize::MAX),
        Mode::Global | Mode::Job => wanted.len().max(1),
    };
    if service.update.as_ref().is_some_and(|update| update.state.in_progress()) {
        return Some(format!("service {name} is being updated: {ready} of {all} tasks run what they should{reason}"));
    }
    let is_settled = ready == all && wanted.len() <= all;
    (!is_settled).then(|| format!("service {name}: {ready} of {all} tasks run what they should{reason}"))
}
