//! What extensions and agents need to talk to core: a network, an identity, and where core is.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::{IdentitySecret, NetworkRef, Role, clusters, strangers};
use crate::core_name::{self, any_core};
use crate::names::Cluster;
use crate::ownership;
use crate::problem::{Effect, Problem, Severity, Subject};
use crate::settings::{Extension, Settings};
use crate::snapshot::{Labels, Secret, Snapshot};

/// What all peers of core need.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Control {
    /// Networks by name, with the labels that they are created with.
    pub networks: BTreeMap<String, Labels>,
    /// What each peer gets.
    pub peers: BTreeMap<(Cluster, Role), Peer>,
}

/// What one extension, or the proxies of one service cluster, get.
#[derive(Debug, Clone, PartialEq)]
pub struct Peer {
    /// The network that it shares with core.
    pub network: NetworkRef,
    /// The certificate that it shows.
    pub identity: IdentitySecret,
    /// Where core is: a name and a port.
    pub core: String,
    /// Where its tasks are on that network now.
    pub addresses: Vec<SocketAddr>,
}

impl Control {
    pub(super) fn peer(&self, cluster: &Cluster, role: Role) -> Option<&Peer> {
        self.peers.get(&(cluster.clone(), role))
    }
}

/// Decides what peers of core get. Without an authority nobody gets anything, and is told.
/// `issues`: whether identities can be made now.
pub fn control(snapshot: &Snapshot, settings: &Settings, issues: bool) -> (Control, Vec<Problem>) {
    let mut control = Control::default();
    let mut problems = Vec::new();
    for (cluster, extension) in clusters(settings) {
        for role in roles(extension) {
            let Some(authority) = authority(snapshot) else {
                problems.push(no_authority(&cluster, role));
                continue;
            };
            let name = network_name(&cluster, role);
            let id = snapshot.networks.iter().find(|network| network.name == name).map(|network| network.id.clone());
            let peer = Peer {
                network: NetworkRef { name: name.clone(), id: id.clone() },
                identity: identity(snapshot, (&cluster, role), service_name(extension, role), authority, issues),
                core: core_name::address(snapshot, settings),
                addresses: id.map(|id| core_name::addresses(snapshot, settings, &id)).unwrap_or_default(),
            };
            control.networks.insert(name, network_labels(&cluster, role));
            control.peers.insert((cluster.clone(), role), peer);
        }
    }
    problems.extend(not_attached(snapshot, &control));
    problems.extend(strangers::problems(snapshot, &control));
    problems.extend(core_name::problems(snapshot, settings));
    problems.extend(not_on_the_swarm(snapshot, settings, &control));
    (control, problems)
}

/// Which of a service cluster's services talk to core.
fn roles(extension: &Extension) -> impl Iterator<Item = Role> {
    let renders = extension.image.is_some().then_some(Role::Extension);
    renders.into_iter().chain(extension.hitless_service_update.then_some(Role::Proxy))
}

fn service_name(extension: &Extension, role: Role) -> &str {
    match role {
        Role::Core => ownership::CORE_SERVICE,
        Role::Extension => &extension.service_name,
        Role::Proxy => &extension.proxy_service_name,
    }
}

/// The network of a peer: one for all extensions, and one for each service cluster's proxies, which face the internet.
fn network_name(cluster: &Cluster, role: Role) -> String {
    match role {
        Role::Core | Role::Extension => ownership::CONTROL_NETWORK.to_owned(),
        Role::Proxy => ownership::proxy_network(cluster),
    }
}

fn network_labels(cluster: &Cluster, role: Role) -> Labels {
    let mut labels = Labels::from([(ownership::OWNER.to_owned(), ownership::OWNER_VALUE.to_owned())]);
    if role == Role::Proxy {
        labels.insert(ownership::CLUSTER.to_owned(), cluster.to_string());
    }
    labels
}

/// All networks that core shares with others, by name, with the labels that they are created with. That of extensions is always one.
pub(super) fn core_networks(settings: &Settings) -> BTreeMap<String, Labels> {
    let always = (ownership::CONTROL_NETWORK.to_owned(), network_labels(&Cluster::default(), Role::Core));
    let hitless = clusters(settings).filter(|(_, extension)| extension.hitless_service_update);
    let proxies =
        hitless.map(|(cluster, _)| (network_name(&cluster, Role::Proxy), network_labels(&cluster, Role::Proxy)));
    proxies.chain([always]).collect()
}

fn authority(snapshot: &Snapshot) -> Option<&Secret> {
    let secrets = snapshot.secrets.iter();
    secrets
        .filter(|secret| ownership::is_ours(&secret.labels))
        .find(|secret| secret.name == ownership::AUTHORITY_SECRET)
}

/// The identity that a service's new tasks shall have: another one than those of before, so that a node that lost its proxy loses its identity
/// with the next roll. It is the newest that there is, if the service did not show it yet; else one that has to be made. What the service
/// shows stays until there is a roll, as long as today's authority signed it.
fn identity(
    snapshot: &Snapshot,
    (cluster, role): (&Cluster, Role),
    service: &str,
    authority: &Secret,
    issues: bool,
) -> IdentitySecret {
    let signer = authority.labels.get(ownership::FINGERPRINT);
    let prefix = format!("{}{role}.{}.", ownership::IDENTITY_PREFIX, cluster.slug());
    let numbered = |secret: &Secret| -> Option<u32> { secret.name.strip_prefix(&prefix)?.parse().ok() };
    let of_peer = snapshot.secrets.iter().filter(|secret| ownership::is_ours(&secret.labels));
    let mut all: Vec<_> = of_peer.filter_map(|secret| Some((numbered(secret)?, secret))).collect();
    all.sort_by_key(|(number, _)| *number);
    let valid = |secret: &&Secret| {
        secret.labels.get(ownership::AUTHORITY) == signer && secret.labels.contains_key(ownership::FINGERPRINT)
    };
    let mounted = snapshot.services.iter().find(|known| known.spec.name == service).map(|known| &known.spec.secrets);
    let is_mounted = |secret: &&&Secret| mounted.is_some_and(|mounted| mounted.contains(&secret.id));
    let usable: Vec<&Secret> = all.iter().map(|(_, secret)| *secret).filter(valid).collect();
    let existing =
        |secret: &Secret, today| IdentitySecret { name: secret.name.clone(), id: Some(secret.id.clone()), today };
    let today = usable.iter().rfind(is_mounted).copied();
    let newest = usable.last().copied();
    match (today, newest) {
        (Some(today), _) if !issues => existing(today, None),
        (Some(today), Some(newest)) if today.id != newest.id => existing(newest, Some(today.id.clone())),
        (None, Some(newest)) => existing(newest, None),
        (today, _) => {
            let next = all.last().map_or(1, |(number, _)| number.saturating_add(1));
            IdentitySecret { name: format!("{prefix}{next}"), id: None, today: today.map(|today| today.id.clone()) }
        }
    }
}

fn no_authority(cluster: &Cluster, role: Role) -> Problem {
    Problem {
        severity: Severity::Error,
        subject: Subject::Cluster(cluster.clone()),
        label: None,
        value: None,
        wrong: match role {
            Role::Core | Role::Extension => {
                "its extension has an Image, and there is no authority to identify it by".to_owned()
            }
            Role::Proxy => {
                "HitlessServiceUpdate is on, and there is no authority to identify its proxies by".to_owned()
            }
        },
        right: "run `interlock install --ca-only` once on a manager".to_owned(),
        effect: Effect::Kept,
    }
}

/// Peers find core by its service. One that runs outside of the Swarm they do not find.
fn not_on_the_swarm(snapshot: &Snapshot, settings: &Settings, control: &Control) -> Vec<Problem> {
    if settings.endpoint_override.is_some() || snapshot.core.is_some() || any_core(snapshot).is_some() {
        return Vec::new();
    }
    let problem = |(cluster, role): &(Cluster, Role)| Problem {
        severity: Severity::Warning,
        subject: Subject::Cluster(cluster.clone()),
        label: None,
        value: None,
        wrong: format!("core is no service of this Swarm, so that its {role} cannot find it"),
        right: "run `interlock install`, or set EndpointOverride to an address at which it reaches core".to_owned(),
        effect: Effect::Kept,
    };
    control.peers.keys().map(problem).collect()
}

/// A core that was deployed by hand has to be attached by hand, too.
fn not_attached(snapshot: &Snapshot, control: &Control) -> Vec<Problem> {
    let Some(core) = any_core(snapshot).filter(|service| !ownership::is_ours(&service.spec.labels)) else {
        return Vec::new();
    };
    let missing = control.peers.iter().filter(|(_, peer)| match &peer.network.id {
        Some(id) => !core.spec.networks.contains(id),
        None => true,
    });
    let problem = |((cluster, _), peer): (&(Cluster, Role), &Peer)| Problem {
        severity: Severity::Error,
        subject: Subject::Cluster(cluster.clone()),
        label: None,
        value: None,
        wrong: format!("core's service {} is not attached to network {}", core.spec.name, peer.network.name),
        right: format!("run `docker service update --network-add {} {}`", peer.network.name, core.spec.name),
        effect: Effect::Kept,
    };
    missing.map(problem).collect()
}
