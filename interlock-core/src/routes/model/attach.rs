//! Which networks proxies may be attached to. The network is its owner's, and all proxies get its addresses and the
//! routes to them: one that has somebody else's addresses, or none left, would take what works from everybody.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;

use super::Refusal;
use crate::labels;
use crate::ownership;
use crate::problem::{Effect, Problem, Severity, Subject, shown};
use crate::settings::{Extension, Settings};
use crate::swarm::index::{Changes, Entry, Key, SwarmIndex};
use crate::swarm::{Mode, Network, Service};
use crate::units::{Cluster, NetworkId, NetworkName, ServiceId, overlap};

/// Why proxies must not be attached to a network. Its subnet comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It is new, and its addresses are not known yet.
    Unknown,
    /// It lies outside of the pools from which networks come.
    OutsidePools(IpNet, Vec<IpNet>),
    /// It has a node's address in it: answers to that node would go astray.
    HasNode(IpNet, String, IpAddr),
    /// It has addresses of a trusted proxy.
    HasTrusted(IpNet, IpNet),
    /// It has addresses that an older service lets in.
    HasClients(IpNet, String, IpNet),
    /// It has so many addresses, and so many are needed.
    TooSmall(IpNet, u128, u128),
}

impl Unfit {
    fn wrong(&self) -> String {
        match self {
            Self::Unknown => "Swarm has not reported its subnet yet".to_owned(),
            Self::OutsidePools(subnet, pools) => {
                let pools = pools.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                format!("{subnet} lies outside the address pools of networks ({pools})")
            }
            Self::HasNode(subnet, node, address) => {
                format!("{subnet} contains {address}, the address of node {}", shown(node))
            }
            Self::HasTrusted(subnet, trusted) => format!("{subnet} overlaps with {trusted} of TrustedProxies"),
            Self::HasClients(subnet, service, allowed) => {
                format!("{subnet} overlaps with {allowed}, which service {} allows by its label", shown(service))
            }
            Self::TooSmall(subnet, size, needed) => {
                format!("{subnet} has {size} addresses, but the network needs {needed} with the proxies on it")
            }
        }
    }

    fn right(&self) -> &'static str {
        match self {
            Self::Unknown => "wait for the next pass of core; if this lasts, see `docker network inspect`",
            Self::OutsidePools(..) => {
                "create the network without --subnet, or add the subnet to NetworkPools of the settings"
            }
            Self::HasNode(..) | Self::HasTrusted(..) | Self::HasClients(..) => {
                "create the network with another subnet, best without --subnet"
            }
            Self::TooSmall(..) => "create the network with a larger subnet, or run fewer tasks on it",
        }
    }

    /// For the service that needs the network.
    pub(super) fn refusal(&self, network: &str, label: Option<&NetworkName>) -> Refusal {
        let wrong = format!("its network {} cannot be attached to the proxies: {}", shown(network), self.wrong());
        match label {
            Some(label) => {
                let wrong = format!("cannot be attached to the proxies: {}", self.wrong());
                Refusal::new(wrong, self.right()).about("network", label.as_str())
            }
            None => Refusal::new(wrong, self.right()),
        }
    }
}

/// The widest network, in bits of prefix, that an `allow` claims for clients. A wider one says "inside" and names
/// nobody.
const fn widest_claim(network: &IpNet) -> u8 {
    match network {
        IpNet::V4(_) => 16,
        IpNet::V6(_) => 48,
    }
}

/// Clients' addresses that a service lets in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Allows {
    service: Arc<Service>,
    network: IpNet,
}

/// What services say that matters for others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    ours: BTreeMap<Key, Arc<Service>>,
    allows: BTreeMap<Key, Vec<Allows>>,
}

impl Facts {
    /// Of these services.
    pub(super) fn renew(&mut self, changes: &Changes) {
        for entry in &changes.gone {
            let key = Key::of(&entry.service);
            self.ours.remove(&key);
            self.allows.remove(&key);
        }
        for Entry { service, .. } in changes.come.iter().map(Arc::as_ref) {
            if ownership::is_ours(&service.spec.labels) {
                self.ours.insert(Key::of(service), Arc::clone(service));
            }
            let allowed = labels::allowed(&service.spec.labels).into_iter();
            let narrow = allowed.filter(|network| network.prefix_len() >= widest_claim(network));
            let allows: Vec<_> = narrow.map(|network| Allows { service: Arc::clone(service), network }).collect();
            if !allows.is_empty() {
                self.allows.insert(Key::of(service), allows);
            }
        }
    }

    /// Services that are labelled as ours.
    pub(super) fn ours(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.ours.values()
    }

    /// What services let in.
    pub(super) fn allows(&self) -> impl Iterator<Item = &Allows> {
        self.allows.values().flatten()
    }
}

/// Verdicts about networks, by the service cluster whose proxies would have them.
pub(super) type Verdicts = BTreeMap<(Cluster, NetworkId), Option<Unfit>>;

/// What is known of addresses.
pub(super) struct Ground<'a> {
    snapshot: &'a SwarmIndex<'a>,
    facts: &'a Facts,
    settings: &'a Settings,
    pools: &'a [IpNet],
    /// The networks that a service cluster's proxies have: what runs is taken away for no other reason than that nobody
    /// needs it.
    attached: BTreeMap<Cluster, BTreeSet<&'a NetworkId>>,
    known: RefCell<Verdicts>,
}

impl<'a> Ground<'a> {
    pub(super) fn of(snapshot: &'a SwarmIndex<'a>, settings: &'a Settings, facts: &'a Facts) -> Self {
        let pools = match settings.network_pools.as_slice() {
            [] => snapshot.engine.address_pools(),
            pools => pools,
        };
        let attached = settings.clusters().map(|(cluster, extension)| {
            let proxies = proxies(snapshot, extension);
            (cluster, proxies.into_iter().flat_map(|service| &service.spec.networks).collect())
        });
        Self { snapshot, facts, settings, pools, attached: attached.collect(), known: RefCell::default() }
    }

    /// What is known by now of the networks that were asked about.
    pub(super) fn verdicts(self) -> Verdicts {
        self.known.into_inner()
    }

    /// Whether these verdicts still hold. Then they are known.
    pub(super) fn holds(&self, verdicts: &Verdicts) -> bool {
        let verdict = |(cluster, network): &(Cluster, NetworkId)| {
            let extension = self.settings.extension(cluster.as_str())?;
            let network = self.snapshot.networks.iter().find(|it| it.id == *network)?;
            let is_attached = self.attached.get(cluster).is_some_and(|has| has.contains(&network.id));
            (!is_attached).then(|| self.verdict(extension, network))
        };
        let hold = verdicts.iter().all(|(key, known)| verdict(key).as_ref() == Some(known));
        if hold {
            self.known.borrow_mut().clone_from(verdicts);
        }
        hold
    }

    fn verdict(&self, extension: &Extension, network: &Network) -> Option<Unfit> {
        self.misplaced(extension, network).or_else(|| self.too_small(extension, network))
    }

    /// Why the proxies must not be attached to a network for a service. One that the settings list is the operator's,
    /// and one that they have stays.
    pub(super) fn unfit(
        &self,
        cluster: &Cluster,
        extension: &Extension,
        network: &Network,
        service: &ServiceId,
    ) -> Option<Unfit> {
        if extension.networks.is_some() || self.attached.get(cluster).is_some_and(|has| has.contains(&network.id)) {
            return None;
        }
        let key = (cluster.clone(), network.id.clone());
        if let Some(known) = self.known.borrow().get(&key) {
            return known.clone().or_else(|| self.has_clients(network, service));
        }
        let unfit = self.verdict(extension, network);
        self.known.borrow_mut().insert(key, unfit.clone());
        unfit.or_else(|| self.has_clients(network, service))
    }

    /// Why a network is not where networks of applications are.
    fn misplaced(&self, extension: &Extension, network: &Network) -> Option<Unfit> {
        // Lists are read at different moments. What an engine tells of networks it tells of all that have a task with
        // an address; older state files know of none.
        if network.subnets.is_empty()
            && !self.snapshot.engine.address_pools.is_empty()
            && self.snapshot.addresses_on(&network.id).0 > 0
        {
            return Some(Unfit::Unknown);
        }
        network.subnets.iter().find_map(|subnet| {
            if !self.pools.iter().any(|pool| pool.contains(subnet)) {
                return Some(Unfit::OutsidePools(*subnet, self.pools.to_vec()));
            }
            let nodes = self.snapshot.nodes.iter().filter_map(|node| Some((node, node.address?)));
            let mut inside: Vec<_> = nodes.filter(|(_, address)| subnet.contains(address)).collect();
            inside.sort_by_key(|(_, address)| *address);
            if let Some((node, address)) = inside.first() {
                return Some(Unfit::HasNode(*subnet, node.hostname.clone(), *address));
            }
            // One that has a whole pool in it names nobody; the settings are warned about.
            let names = |trusted: &&IpNet| !self.pools.iter().any(|pool| trusted.contains(pool));
            let mut trusted = extension.trusted_proxies.iter().filter(names);
            let trusted = trusted.find(|trusted| overlap(trusted, subnet))?;
            Some(Unfit::HasTrusted(*subnet, *trusted))
        })
    }

    /// Clients of others may be there. Of the network and of the service that lets them in, the older decides.
    fn has_clients(&self, network: &Network, service: &ServiceId) -> Option<Unfit> {
        let is_older = |than: Timestamp| network.created_at.is_none_or(|created| than < created);
        let others =
            self.facts.allows().filter(|claim| claim.service.id != *service && is_older(claim.service.created_at));
        let taken = |claim: &&Allows| network.subnets.iter().any(|subnet| overlap(subnet, &claim.network));
        let claim = others.filter(taken).min_by_key(|claim| (claim.service.created_at, &claim.service.spec.name))?;
        let subnet = network.subnets.iter().find(|subnet| overlap(subnet, &claim.network))?;
        Some(Unfit::HasClients(*subnet, claim.service.spec.name.clone(), claim.network))
    }

    /// Each task has an address there, each service a virtual one, and each node with a task one for balancing.
    fn too_small(&self, extension: &Extension, network: &Network) -> Option<Unfit> {
        let subnet = *network.subnets.iter().find(|subnet| matches!(subnet, IpNet::V4(_)))?;
        // What is taken counts, not what somebody asks for.
        let (tasks, services) = self.snapshot.addresses_on(&network.id);
        let (tasks, services) = (tasks as u128, services as u128);
        let nodes = self.snapshot.nodes.len() as u128;
        let deployed = proxies(self.snapshot, extension).map_or(0, |service| match service.spec.mode {
            Mode::Replicated(tasks) => u128::from(tasks),
            Mode::Global => nodes,
            Mode::Job => 0,
        });
        let proxies = deployed.max(u128::from(extension.proxy_replicas));
        // And the virtual address of the proxies' own service.
        let needed = services + tasks + proxies + 1 + nodes.min(tasks + proxies);
        // Without that of the network itself, of broadcasts and of the gateway.
        let size = (1_u128 << (subnet.max_prefix_len() - subnet.prefix_len())).saturating_sub(3);
        (needed > size).then_some(Unfit::TooSmall(subnet, size, needed))
    }
}

/// The service of a service cluster's proxies.
fn proxies<'a>(index: &SwarmIndex<'a>, extension: &Extension) -> Option<&'a Service> {
    index.named(&extension.proxy_service_name).filter(|service| ownership::is_ours(&service.spec.labels))
}

/// Networks that proxies have and would not be given today, and trust in whoever runs an application.
pub(crate) fn doubts(snapshot: &SwarmIndex<'_>, settings: &Settings) -> Vec<Problem> {
    let facts = Facts::default();
    let ground = Ground::of(snapshot, settings, &facts);
    let mut problems = Vec::new();
    for (cluster, extension) in settings.clusters() {
        for trusted in &extension.trusted_proxies {
            let Some(pool) = ground.pools.iter().find(|pool| trusted.contains(*pool)) else { continue };
            problems.push(Problem::new(
                Severity::Warning,
                Subject::Cluster(cluster.clone()),
                format!("TrustedProxies {trusted} contains the address pool {pool} of application networks"),
                "write the addresses of the balancers in front of the proxies",
                Effect::Served,
            ));
        }
    }
    for (cluster, extension) in settings.clusters().filter(|(_, extension)| extension.networks.is_none()) {
        let control = ownership::proxy_network(&cluster);
        let has = |network: &&Network| {
            network.name != control && ground.attached.get(&cluster).is_some_and(|has| has.contains(&network.id))
        };
        for network in snapshot.networks.iter().filter(has) {
            let unfit = ground.misplaced(extension, network).filter(|unfit| *unfit != Unfit::Unknown);
            let Some(unfit) = unfit else { continue };
            problems.push(Problem::new(
                Severity::Warning,
                Subject::Cluster(cluster.clone()),
                format!("attached network {}: {}", shown(&network.name), unfit.wrong()),
                format!("{}; core attaches no new network like it", unfit.right()),
                Effect::Kept,
            ));
        }
    }
    problems
}
