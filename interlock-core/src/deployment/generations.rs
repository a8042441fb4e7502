//! What proxy tasks can serve: the networks and secrets that they have decide it, and only new tasks can have others.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::ownership;
use crate::proxy_config::Generation;
use crate::settings::Extension;
use crate::swarm::{Service, ServiceSpec, SwarmIndex, Task, UpdateState};
use crate::units::{Cluster, NetworkId, SecretId, SecretName};

mod restrict;
mod rolls;

pub use restrict::{Certificates, Shown};
pub(crate) use restrict::{servable, shown};
use rolls::QUIET_FOR;
pub use rolls::{Added, Roll, Rolls};
pub(crate) use rolls::{Admitted, Needs};

/// The names of the secrets that the tasks of each generation have, as far as they exist.
pub type SecretNames = BTreeMap<(Cluster, Generation), BTreeSet<SecretName>>;

/// The networks and secrets of applications that a proxy task has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Attachments {
    /// The networks by which it reaches tasks.
    pub networks: BTreeSet<NetworkId>,
    /// The certificates and keys that it has.
    pub secrets: BTreeSet<SecretId>,
}

impl Attachments {
    /// The name for this.
    pub fn generation(&self) -> Generation {
        Generation::of(&self.networks, &self.secrets)
    }

    /// The names of its secrets, as far as they exist.
    pub(crate) fn secret_names(&self, snapshot: &SwarmIndex<'_>) -> BTreeSet<SecretName> {
        let mine = snapshot.secrets.iter().filter(|secret| self.secrets.contains(&secret.id));
        mine.filter_map(|secret| secret.name.parse().ok()).collect()
    }

    /// What a spec's tasks have, without what is there for core's sake.
    fn of(snapshot: &SwarmIndex<'_>, cluster: &Cluster, spec: &ServiceSpec) -> Self {
        let control = ownership::proxy_network(cluster);
        let ours =
            |id: &NetworkId| snapshot.networks.iter().any(|network| network.id == *id && network.name == control);
        let identity = |id: &SecretId| {
            let known = snapshot.secrets.iter().find(|secret| secret.id == *id);
            known.is_some_and(|secret| secret.name.starts_with(ownership::IDENTITY_PREFIX))
        };
        Self {
            networks: spec.networks.iter().filter(|id| !ours(id)).cloned().collect(),
            secrets: spec.secrets.iter().filter(|id| !identity(id)).cloned().collect(),
        }
    }
}

/// Since when nobody but the proxies uses something that they have.
pub type Idle = BTreeMap<(Cluster, Attached), Timestamp>;

/// Something that proxies have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attached {
    /// A network, which other services may use, too.
    Network(NetworkId),
    /// A secret, which a route needs or not.
    Secret(SecretId),
}

/// How long what nobody else uses stays attached. Its owner may want to remove it (`docker stack rm`), and cannot while
/// proxies use it.
const IDLE: SignedDuration = SignedDuration::from_secs(8);

/// What the tasks of a service cluster's proxies have and shall have.
#[derive(Debug, Clone, PartialEq)]
pub struct Generations {
    /// What new tasks shall have.
    pub wanted: Attachments,
    /// For what to render: what is wanted and, where running tasks follow core, what they have.
    pub live: BTreeSet<Attachments>,
    /// What tasks have that run: they started with all of it.
    pub running: BTreeSet<Attachments>,
    /// What to remember.
    pub idle: Idle,
    /// What to remember of rolls, once there is a service.
    pub roll: Option<Roll>,
    /// Of what is needed, what new tasks get now.
    pub(crate) admitted: Admitted,
    /// When time alone changes this.
    pub(crate) next: Option<Timestamp>,
}

/// What decides, besides what is on the Swarm.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a, 'm> {
    /// Networks to which proxies would not be attached today.
    pub(crate) unwanted: &'a BTreeSet<NetworkId>,
    /// Which services need what.
    pub(crate) needs: &'a Needs<'m>,
    /// The secrets that routes name, with a running task or without.
    pub(crate) named: &'a BTreeSet<SecretId>,
    /// Since when what is there is not used.
    pub(crate) idle: &'a Idle,
    /// What is remembered of rolls.
    pub(crate) roll: Option<&'a Roll>,
    /// The last update that was planned.
    pub(crate) planned: Option<&'a Added>,
}

/// Decides what proxies shall be attached to. Classic delivery replaces them for every change anyway and has exactly what is
/// needed. Where it does not, a network stays until nothing else uses it and a secret until no route names it, for a while, or until
/// something that is missing replaces them. What is `unwanted` goes at once if no route needs it.
pub(crate) fn decide(
    snapshot: &SwarmIndex<'_>,
    cluster: &Cluster,
    extension: &Extension,
    needed: Attachments,
    known: Known<'_, '_>,
) -> Generations {
    let service =
        snapshot.named(&extension.proxy_service_name).filter(|service| ownership::is_ours(&service.spec.labels));
    let Some(service) = service else {
        let live = BTreeSet::from([needed.clone()]);
        let (running, idle, admitted) = (BTreeSet::new(), Idle::new(), Admitted::default());
        return Generations { live, wanted: needed, running, idle, roll: None, admitted, next: None };
    };
    let hitless = extension.hitless_service_update;
    let deployed = Attachments::of(snapshot, cluster, &service.spec);
    let previous = service.previous.as_ref().map(|spec| Attachments::of(snapshot, cluster, spec));
    let now = snapshot.observed_at;
    let mut roll = Roll::looked(known.roll, service, &deployed, previous.as_ref(), known.planned, known.needs, now);
    let admitted = roll.admit(service, hitless, &needed, known.needs, now);
    let needed = admitted.needed.clone();
    if !hitless {
        let live = BTreeSet::from([needed.clone()]);
        let (running, idle) = (BTreeSet::new(), Idle::new());
        return Generations { live, wanted: needed, running, idle, roll: Some(roll), admitted, next: None };
    }
    let rolling = service.update.as_ref().is_some_and(|update| update.state.in_progress());
    let mut live = BTreeSet::from([deployed.clone()]);
    // An update that is paused leaves tasks of both kinds, too.
    if rolling || service.update.as_ref().is_some_and(|update| update.state == UpdateState::Paused) {
        live.extend(previous);
    }
    let (wanted, idle) = wanted(snapshot, (cluster, extension), &admitted, &deployed, known);
    if !rolling {
        live.insert(wanted.clone());
    }
    let specs = [Some(&service.spec), service.previous.as_ref()].into_iter().flatten();
    let running =
        specs.filter(|spec| runs(snapshot, service, spec)).map(|spec| Attachments::of(snapshot, cluster, spec));
    let next = idle.values().map(|since| since.checked_add(IDLE).unwrap_or(now)).chain(admitted.next);
    let next = next.filter(|next| *next > now).min();
    Generations { wanted, live, running: running.collect(), idle, roll: Some(roll), admitted, next }
}

/// Whether a task of a service serves that was started with this spec. Its agent's file, a config object, says what it has.
fn runs(snapshot: &SwarmIndex<'_>, service: &Service, spec: &ServiceSpec) -> bool {
    let has_all = |task: &Task| spec.configs.iter().all(|config| task.configs.contains(&config.id));
    snapshot.tasks_of(&service.id).any(|task| task.serves() && has_all(task))
}

fn wanted(
    snapshot: &SwarmIndex<'_>,
    (cluster, extension): (&Cluster, &Extension),
    admitted: &Admitted,
    deployed: &Attachments,
    known: Known<'_, '_>,
) -> (Attachments, Idle) {
    let Known { unwanted, idle: before, named, .. } = known;
    let needed = &admitted.needed;
    let is_used = |id: &NetworkId| {
        let others =
            |service: &Service| !ownership::is_ours(&service.spec.labels) && service.spec.networks.contains(id);
        snapshot.on_network(id).any(others)
    };
    let fixed = extension.networks.is_some();
    let lonely = |id: &&NetworkId| !is_used(id) || fixed || unwanted.contains(*id);
    let networks = deployed.networks.difference(&needed.networks).filter(lonely).cloned().map(Attached::Network);
    let secrets = deployed.secrets.difference(&needed.secrets).filter(|id| !named.contains(*id));
    let secrets = secrets.cloned().map(Attached::Secret);
    let now = snapshot.observed_at;
    let idle: Idle = networks
        .chain(secrets)
        .map(|attached| {
            let key = (cluster.clone(), attached);
            let since = before.get(&key).copied().unwrap_or(now);
            (key, since)
        })
        .collect();
    let replaced_anyway =
        !needed.networks.is_subset(&deployed.networks) || !needed.secrets.is_subset(&deployed.secrets);
    let for_long = |since: &Timestamp, time| !admitted.rests && now.duration_since(*since) >= time;
    let is_due = idle.values().any(|since| for_long(since, IDLE));
    let goes = |attached: Attached| {
        // What the settings do not list goes at once, and where proxies would not be attached.
        let unwanted = matches!(&attached, Attached::Network(id) if fixed || unwanted.contains(id));
        let at_once = replaced_anyway || unwanted;
        match idle.get(&(cluster.clone(), attached)) {
            // What has been idle for a moment goes along with what is due.
            Some(since) => at_once || (is_due && for_long(since, QUIET_FOR)),
            None => false,
        }
    };
    let networks = deployed.networks.iter().filter(|id| !goes(Attached::Network((*id).clone())));
    let secrets = deployed.secrets.iter().filter(|id| !goes(Attached::Secret((*id).clone())));
    let wanted = Attachments {
        networks: needed.networks.iter().chain(networks).cloned().collect(),
        secrets: needed.secrets.iter().chain(secrets).cloned().collect(),
    };
    (wanted, idle)
}
