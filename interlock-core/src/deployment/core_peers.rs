//! What extensions and agents need to talk to core: a network, an identity, and where core is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::{AGENT_FILE, AgentFile, EXTENSION_FILE, ExtensionFile, IdentitySecret, NetworkRef, strangers};
use crate::ownership;
use crate::ownership::core_name::{self, any_core};
use crate::problem::{Effect, Problem, Severity, Subject, shown};
use crate::settings::{Extension, Settings};
use crate::swarm::{Holder, Labels, Secret, Service, SwarmIndex};
use crate::units::{Cluster, Fingerprint, Role};

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
    /// The authority that core is of: the peer follows no other. `None` only where nobody knows it, and nothing is made.
    pub authority: Option<Fingerprint>,
    /// Where its tasks are on that network now.
    pub addresses: Vec<SocketAddr>,
}

impl Control {
    pub(super) fn peer(&self, cluster: &Cluster, role: Role) -> Option<&Peer> {
        self.peers.get(&(cluster.clone(), role))
    }
}

/// Decides what peers of core get. Without an authority on the Swarm nobody gets anything, and that is reported.
pub fn control(snapshot: &SwarmIndex<'_>, settings: &Settings) -> (Control, Vec<Problem>) {
    let mut control = Control::default();
    let mut problems = Vec::new();
    for (cluster, extension) in settings.clusters() {
        for role in roles(extension) {
            if !snapshot.secrets.iter().any(ownership::is_authority) {
                problems.push(no_authority(&cluster, role));
                continue;
            }
            let holder = match role {
                Role::Core | Role::Extension => Holder::Extension,
                Role::Proxy => Holder::Proxy,
            };
            let service = snapshot.named(service_name(extension, role));
            let name = network_name(&cluster, role);
            let id = snapshot.networks.iter().find(|network| network.name == name).map(|network| network.id.clone());
            let peer = Peer {
                network: NetworkRef { name: name.clone(), id: id.clone() },
                identity: identity(snapshot, (&cluster, holder), service),
                core: core_name::address(snapshot, settings),
                authority: snapshot.authority.clone().or_else(|| deployed_authority(snapshot, service?)),
                addresses: id.map(|id| core_name::addresses(snapshot, settings, &id)).unwrap_or_default(),
            };
            control.networks.insert(name, network_labels(&cluster, role));
            control.peers.insert((cluster.clone(), role), peer);
        }
    }
    problems.extend(not_attached(snapshot, &control));
    problems.extend(strangers::problems(snapshot, &control.networks));
    problems.extend(core_name::problems(snapshot, settings));
    problems.extend(not_on_the_swarm(snapshot, settings, &control));
    problems.extend(planted(snapshot));
    problems.extend(unsigned(snapshot, settings));
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
    let hitless = settings.clusters().filter(|(_, extension)| extension.hitless_service_update);
    let proxies =
        hitless.map(|(cluster, _)| (network_name(&cluster, Role::Proxy), network_labels(&cluster, Role::Proxy)));
    proxies.chain([always]).collect()
}

/// The identity that a service's new tasks shall have: another one than those of before, so that a node that lost its proxy loses its identity
/// with the next roll. It is the newest that there is, if the service did not show it yet; else one that has to be made. What the service
/// shows stays until there is a roll, as long as today's authority signed it.
///
/// What is not proven is none, whatever its name and labels say.
fn identity(
    snapshot: &SwarmIndex<'_>,
    (cluster, holder): (&Cluster, Holder),
    service: Option<&Service>,
) -> IdentitySecret {
    let role = match holder {
        Holder::Extension => Role::Extension,
        Holder::Proxy => Role::Proxy,
    };
    let prefix = format!("{}{role}.{}.", ownership::IDENTITY_PREFIX, cluster.slug());
    let numbered = |secret: &Secret| -> Option<u32> { secret.name.strip_prefix(&prefix)?.parse().ok() };
    let is_ours = |secret: &Secret| {
        let proven = ownership::identity_of(snapshot, secret);
        proven.is_some_and(|it| it.holder == holder && it.cluster == *cluster)
    };
    let mut usable: Vec<_> = snapshot
        .secrets
        .iter()
        .filter(|secret| is_ours(secret))
        .filter_map(|secret| Some((numbered(secret)?, secret)))
        .collect();
    usable.sort_by_key(|(number, _)| *number);
    let is_mounted = |secret: &Secret| service.is_some_and(|service| service.spec.secrets.contains(&secret.id));
    let existing =
        |secret: &Secret, today| IdentitySecret { name: secret.name.clone(), id: Some(secret.id.clone()), today };
    let today = usable.iter().map(|(_, secret)| *secret).rfind(|secret| is_mounted(secret));
    let newest = usable.last().map(|(_, secret)| *secret);
    match (today, newest) {
        (Some(today), _) if snapshot.authority.is_none() => existing(today, None),
        (Some(today), Some(newest)) if today.id != newest.id => existing(newest, Some(today.id.clone())),
        (None, Some(newest)) if snapshot.authority.is_some() => existing(newest, None),
        (today, _) => {
            // Somebody may have taken the next names. There are more than can be taken.
            let taken: BTreeSet<_> = snapshot.secrets.iter().filter_map(numbered).collect();
            let after = usable.last().map_or(0, |(number, _)| *number);
            let next = (1..=u32::MAX).map(|step| after.wrapping_add(step)).find(|number| !taken.contains(number));
            let name = format!("{prefix}{}", next.unwrap_or(after));
            IdentitySecret { name, id: None, today: today.map(|today| today.id.clone()) }
        }
    }
}

/// The authority that stands in the file of a service's tasks: what a process that holds none leaves there.
fn deployed_authority(snapshot: &SwarmIndex<'_>, service: &Service) -> Option<Fingerprint> {
    let data = |target: &str| {
        let mount = service.spec.configs.iter().find(|mount| mount.target == target)?;
        snapshot.configs.iter().find(|config| config.id == mount.id).map(|config| config.data.as_str())
    };
    let of_agent = || AgentFile::from_toml(data(AGENT_FILE)?).ok()?.authority;
    let of_extension = || Some(ExtensionFile::from_toml(data(EXTENSION_FILE)?).ok()?.authority);
    of_agent().or_else(of_extension)
}

/// Without the authority nothing can be signed, and proxies that follow core start with nothing else: what is deployed stays.
fn unsigned(snapshot: &SwarmIndex<'_>, settings: &Settings) -> Vec<Problem> {
    if snapshot.authority.is_some() || !snapshot.secrets.iter().any(ownership::is_authority) {
        return Vec::new();
    }
    let hitless = settings.clusters().filter(|(_, extension)| extension.hitless_service_update);
    let problem = |(cluster, _)| {
        Problem::new(
            Severity::Warning,
            Subject::Cluster(cluster),
            "HitlessServiceUpdate is on, but this run does not have the authority that signs proxies' configurations"
                .to_owned(),
            "leave this service cluster to the running core, or pass the authority with --authority",
            Effect::Kept,
        )
    };
    hitless.map(problem).collect()
}

/// How many secrets of others a problem names.
const MOST_NAMED: usize = 3;

/// Secrets that carry interlock's labels and that interlock did not make. They get nobody in, and are not removed.
fn planted(snapshot: &SwarmIndex<'_>) -> Option<Problem> {
    snapshot.authority.as_ref()?;
    let claims = |secret: &&Secret| ownership::claimed_identity(secret).is_some() && secret.identity.is_none();
    let mut names: Vec<_> = snapshot.secrets.iter().filter(claims).map(|secret| shown(&secret.name)).collect();
    names.sort();
    let more = names.len().saturating_sub(MOST_NAMED);
    names.truncate(MOST_NAMED);
    let first = names.first()?.clone();
    let and_more = if more == 0 { String::new() } else { format!(" and {more} more") };
    Some(Problem::new(
        Severity::Warning,
        Subject::Cluster(Cluster::default()),
        format!(
            "secrets carry interlock's labels, but its authority did not sign them: {}{and_more}",
            names.join(", ")
        ),
        format!("find out who created them, and run `docker secret rm {first}`"),
        Effect::Ignored,
    ))
}

fn no_authority(cluster: &Cluster, role: Role) -> Problem {
    Problem::new(
        Severity::Error,
        Subject::Cluster(cluster.clone()),
        match role {
            Role::Core | Role::Extension => {
                "its extension has an Image, but no authority exists to sign its identity".to_owned()
            }
            Role::Proxy => {
                "HitlessServiceUpdate is on, but no authority exists to sign the identity of its proxies".to_owned()
            }
        },
        "run `interlock install --ca-only` once on a manager",
        Effect::Kept,
    )
}

/// Peers find core by its service. One that runs outside of the Swarm they do not find.
fn not_on_the_swarm(snapshot: &SwarmIndex<'_>, settings: &Settings, control: &Control) -> Vec<Problem> {
    if settings.endpoint_override.is_some() || snapshot.core.is_some() || any_core(snapshot).is_some() {
        return Vec::new();
    }
    let problem = |(cluster, role): &(Cluster, Role)| {
        Problem::new(
            Severity::Warning,
            Subject::Cluster(cluster.clone()),
            format!("core does not run as a service of this Swarm, so its {role} cannot find core"),
            format!("run `interlock install`, or set EndpointOverride to an address at which its {role} reaches core"),
            Effect::Kept,
        )
    };
    control.peers.keys().map(problem).collect()
}

/// A core that was deployed by hand has to be attached by hand, too.
fn not_attached(snapshot: &SwarmIndex<'_>, control: &Control) -> Vec<Problem> {
    let Some(core) = any_core(snapshot).filter(|service| !ownership::is_ours(&service.spec.labels)) else {
        return Vec::new();
    };
    let missing = control.peers.iter().filter(|(_, peer)| match &peer.network.id {
        Some(id) => !core.spec.networks.contains(id),
        None => true,
    });
    let problem = |((cluster, _), peer): (&(Cluster, Role), &Peer)| {
        Problem::new(
            Severity::Error,
            Subject::Cluster(cluster.clone()),
            format!("core's service {} is not attached to network {}", core.spec.name, peer.network.name),
            format!("run `docker service update --network-add {} {}`", peer.network.name, core.spec.name),
            Effect::Kept,
        )
    };
    missing.map(problem).collect()
}
