//! Setting interlock up on a Swarm, and taking it away: plans like all others, made from what is there.

use std::collections::BTreeSet;

use crate::deployment;
use crate::ownership;
use crate::ownership::acting;
use crate::plan::{self, Action, Plan, Step, Waiting};
use crate::problem::{Effect, Problem, Severity, Subject};
use crate::settings::Settings;
use crate::swarm::index::Directory;
use crate::swarm::{Labels, Mode, Service, Snapshot, SwarmIndex};
use crate::units::{Cluster, Fingerprint};

mod pending;

pub use pending::{Pending, failed, not_running, pending, refused};

/// What `interlock install` shall set up.
#[derive(Debug, Clone, PartialEq)]
pub struct Core {
    /// The name of core's service.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Its settings.
    pub settings: Settings,
    /// The text that they were read from.
    pub text: String,
}

/// A core that is on the Swarm already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deployed<'a> {
    /// The name of its service.
    pub name: &'a str,
    /// The text of its settings, if `install` made them.
    pub settings: Option<&'a str>,
    /// Its image, likewise.
    pub image: Option<&'a str>,
    /// Whether it is to have tasks.
    pub works: bool,
}

/// The core that is there: the service that mounts the authority, whatever its name. Of several the one that acts.
pub fn deployed(snapshot: &Snapshot) -> Option<Deployed<'_>> {
    let directory = Directory::of(snapshot);
    let acts = acting::candidates(&SwarmIndex::new(snapshot, &directory)).first().map(|service| service.id.clone());
    let acts = acts.and_then(|id| snapshot.services().find(|service| service.id == id));
    let service = acts.or_else(|| cores(snapshot).min_by_key(|service| &service.spec.name))?;
    let mounted = service.spec.configs.iter().find(|mount| mount.name.starts_with(ownership::SETTINGS_PREFIX));
    let config = mounted.and_then(|mount| snapshot.configs.iter().find(|config| config.id == mount.id));
    let settings = config.filter(|config| ownership::is_ours(&config.labels)).map(|config| config.data.as_str());
    Some(Deployed { name: &service.spec.name, settings, image: service.spec.image.as_deref(), works: works(service) })
}

fn cores(snapshot: &Snapshot) -> impl Iterator<Item = &Service> {
    snapshot.services().filter(|service| ownership::has_authority(snapshot, service))
}

fn works(service: &Service) -> bool {
    service.spec.mode != Mode::Replicated(0)
}

/// What is missing of core: networks, the authority, the settings as a config object, the service. What is in the way is a problem, and
/// then nothing is done. `adopts` is the authority that may be there without a core that has it.
pub fn install(snapshot: &Snapshot, core: &Core, adopts: Option<&Fingerprint>) -> (Plan, Option<Problem>) {
    let directory = Directory::of(snapshot);
    let snapshot = &SwarmIndex::new(snapshot, &directory);
    let Core { name, image, settings, text } = core;
    let wanted = deployment::core(snapshot, name, image, settings, text);
    let has_it = |service: &Service| service.spec.name == *name && wanted.owns(snapshot, service);
    if let Some(problem) = another(snapshot, name).or_else(|| unproven(snapshot, adopts, has_it)) {
        return (Plan::default(), Some(problem));
    }
    let (steps, problem, waiting) = plan::one_service(snapshot, &wanted);
    if problem.is_some() {
        return (Plan::default(), problem);
    }
    let mut plan =
        Plan { steps: plan::control_networks(snapshot, &deployment::core_networks(settings)), ..Plan::default() };
    plan.steps.extend(steps);
    plan.waiting.extend(waiting.map(|reason| Waiting { cluster: Cluster::default(), reason }));
    if plan.waiting.is_empty() {
        let unused = unused_settings(snapshot, &wanted);
        plan.steps.extend(unused);
    }
    (plan, None)
}

/// A core that has another name: two of them would change each other's work for ever.
fn another(snapshot: &SwarmIndex<'_>, name: &str) -> Option<Problem> {
    let service = acting::candidates(snapshot).into_iter().find(|service| service.spec.name != name)?;
    let there = &service.spec.name;
    let right = match ownership::is_core(snapshot, service) {
        true => format!("to update that core, add --name {there}"),
        false => {
            format!("it was deployed by hand: update it the same way, or remove it with `docker service rm {there}`")
        }
    };
    Some(Problem::new(
        Severity::Error,
        Subject::Cluster(Cluster::default()),
        format!("core already runs as service {there}; a Swarm has only one core"),
        right,
        Effect::Kept,
    ))
}

/// An authority that is there already and that nothing shows to be interlock's own. Whoever may create secrets could have made it, and would
/// then speak for core. It counts if the operator names it, or if core has it already.
fn unproven(snapshot: &Snapshot, adopts: Option<&Fingerprint>, is_core: impl Fn(&Service) -> bool) -> Option<Problem> {
    let secret = snapshot.secrets.iter().find(|secret| secret.name == ownership::AUTHORITY_SECRET)?;
    let says = secret.labels.get(ownership::FINGERPRINT).map(|says| says.parse::<Fingerprint>());
    let is_named = adopts.is_some_and(|adopts| says.as_ref().is_some_and(|says| says.as_ref() == Ok(adopts)));
    let mounts = |service: &&Service| service.spec.secrets.contains(&secret.id);
    if is_named || snapshot.services().filter(mounts).any(is_core) {
        return None;
    }
    let name = ownership::AUTHORITY_SECRET;
    let made_here = match (adopts, says) {
        (Some(adopts), _) => format!("check the fingerprint: {adopts} is not that of the secret"),
        (None, Some(Ok(says))) => {
            format!("if an earlier install printed this fingerprint, add --adopt-authority {says}")
        }
        (None, _) => "it has no fingerprint label, so interlock did not make it".to_owned(),
    };
    Some(Problem::new(
        Severity::Error,
        Subject::Cluster(Cluster::default()),
        format!("secret {name} exists already, and nothing proves that interlock made it"),
        format!("{made_here}; otherwise remove it: `docker secret rm {name}`"),
        Effect::Kept,
    ))
}

/// What is missing for those who deploy core by hand: the network between core and extensions, those of hitless proxies, the authority.
/// `adopts` as for [`install`].
pub fn authority(snapshot: &Snapshot, settings: &Settings, adopts: Option<&Fingerprint>) -> (Plan, Option<Problem>) {
    let directory = Directory::of(snapshot);
    let snapshot = &SwarmIndex::new(snapshot, &directory);
    if let Some(problem) = unproven(snapshot, adopts, |_| true) {
        return (Plan::default(), Some(problem));
    }
    let mut steps = plan::control_networks(snapshot, &deployment::core_networks(settings));
    if !snapshot.secrets.iter().any(|secret| secret.name == ownership::AUTHORITY_SECRET) {
        steps.push(step(
            Action::CreateAuthority { name: ownership::AUTHORITY_SECRET.to_owned() },
            "it signs the certificates of extensions and proxies",
        ));
    }
    (Plan { steps, ..Plan::default() }, None)
}

/// Removes what is ours: services, config objects, secrets and networks with our ownership label and names. The authority stays when
/// `keep_authority` says so. A core that somebody deployed by hand is in the way: it would make anew what is removed.
pub fn uninstall(snapshot: &Snapshot, keep_authority: bool) -> (Plan, Option<Problem>) {
    if let Some(problem) = core_by_hand(snapshot) {
        return (Plan::default(), Some(problem));
    }
    let why = "interlock is uninstalled";
    let ours = |labels: &Labels| ownership::is_ours(labels);
    // Core first: it would make anew what is removed.
    let mut services: Vec<_> = snapshot
        .services()
        .filter_map(|service| {
            let core = ownership::is_core(snapshot, service);
            let other = ownership::is_our_proxy(service) || ownership::is_our_extension(snapshot, service);
            (core || other).then_some((!core, &service.spec.name, &service.id))
        })
        .collect();
    services.sort();
    let mut steps: Vec<_> = services
        .into_iter()
        .map(|(_, name, id)| step(Action::RemoveService { id: id.clone(), name: name.clone() }, why))
        .collect();
    let config_names = [ownership::CONFIG_PREFIX, ownership::SETTINGS_PREFIX];
    for config in snapshot.configs.iter().filter(|config| ours(&config.labels)) {
        if config_names.iter().any(|prefix| config.name.starts_with(prefix)) {
            steps.push(step(Action::RemoveConfig { id: config.id.clone(), name: config.name.clone() }, why));
        }
    }
    for secret in snapshot.secrets.iter().filter(|secret| ours(&secret.labels)) {
        let authority = secret.name == ownership::AUTHORITY_SECRET && !keep_authority;
        if authority || secret.name.starts_with(ownership::IDENTITY_PREFIX) {
            steps.push(step(Action::RemoveSecret { id: secret.id.clone(), name: secret.name.clone() }, why));
        }
    }
    for network in snapshot.networks.iter().filter(|network| ours(&network.labels)) {
        if network.name == ownership::CONTROL_NETWORK || network.labels.contains_key(ownership::CLUSTER) {
            steps.push(step(Action::RemoveNetwork { id: network.id.clone(), name: network.name.clone() }, why));
        }
    }
    (Plan { steps, ..Plan::default() }, None)
}

fn core_by_hand(snapshot: &Snapshot) -> Option<Problem> {
    let by_hand =
        |service: &&Service| ownership::has_authority(snapshot, service) && !ownership::is_core(snapshot, service);
    let name = snapshot.services().filter(by_hand).map(|service| &service.spec.name).min()?;
    Some(Problem::new(
        Severity::Error,
        Subject::Cluster(Cluster::default()),
        format!("service {name} is a core deployed by hand: it would recreate the removed objects"),
        format!("remove the service first: `docker service rm {name}`"),
        Effect::Kept,
    ))
}

/// Settings that nobody mounts, neither now nor before, and core not from now on.
fn unused_settings(snapshot: &Snapshot, wanted: &deployment::OwnService) -> Vec<Step> {
    let specs = snapshot.services().flat_map(|service| [Some(&service.spec), service.previous.as_ref()]).flatten();
    let mut keep: BTreeSet<_> = specs.flat_map(|spec| &spec.configs).map(|config| config.name.as_str()).collect();
    let content = wanted.content.iter().flat_map(|content| &content.configs);
    keep.extend(content.map(|config| config.name.as_str()));
    let settings = snapshot.configs.iter().filter(|config| config.name.starts_with(ownership::SETTINGS_PREFIX));
    let unused = settings.filter(|config| ownership::is_ours(&config.labels) && !keep.contains(config.name.as_str()));
    unused
        .map(|config| {
            let action = Action::RemoveConfig { id: config.id.clone(), name: config.name.clone() };
            step(action, "no core uses these settings any more")
        })
        .collect()
}

fn step(action: Action, reason: &str) -> Step {
    Step { cluster: None, action, reason: reason.to_owned(), restarts_tasks: false }
}
