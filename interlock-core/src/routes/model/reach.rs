//! How proxies get to a service's tasks: by an overlay network, or by ports on the nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::Refusal;
use super::attach::{Facts, Ground, Unfit};
use crate::ownership;
use crate::ownership::core_name::Claims;
use crate::settings::{self, Extension, Settings};
use crate::swarm::{Network, PublishMode, STACK_LABEL, Secret, Service, SwarmIndex, Task};
use crate::units::{Cluster, NetworkId, NetworkName, NodeId, Port, ServiceId, overlap};

/// How proxies reach a service's tasks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// At their addresses on this overlay network.
    Network(NetworkId),
    /// At the ports that they have on their nodes.
    HostPort,
}

/// The snapshot with the look-ups that reading needs.
pub(super) struct World<'a> {
    pub(super) settings: &'a Settings,
    pub(super) own_secrets: BTreeSet<&'a str>,
    pub(super) secrets: BTreeMap<&'a str, &'a Secret>,
    networks: BTreeMap<&'a NetworkId, &'a Network>,
    nodes: BTreeMap<&'a NodeId, IpAddr>,
    index: &'a SwarmIndex<'a>,
    /// Who goes by core's name, by network.
    claims: &'a Claims<'a>,
    /// The networks of the proxies that follow core, by the service's name.
    attached: BTreeMap<&'a str, &'a [NetworkId]>,
    pub(super) ground: Ground<'a>,
    /// The subnets of the routing mesh, as far as they are known.
    mesh: Vec<IpNet>,
}

impl<'a> World<'a> {
    pub(super) fn new(
        snapshot: &'a SwarmIndex<'a>,
        settings: &'a Settings,
        claims: &'a Claims<'a>,
        facts: &'a Facts,
    ) -> Self {
        let ours = ownership::core_networks(settings, snapshot);
        let attachable = snapshot
            .networks
            .iter()
            .filter(|network| network.driver == "overlay" && !network.ingress && !ours.contains(&network.id));
        Self {
            settings,
            own_secrets: snapshot
                .secrets
                .iter()
                .filter(|s| ownership::is_ours(&s.labels) || s.name.starts_with(ownership::SECRET_PREFIX))
                .map(|s| s.name.as_str())
                .collect(),
            secrets: snapshot.secrets.iter().map(|secret| (secret.name.as_str(), secret)).collect(),
            networks: attachable.map(|network| (&network.id, network)).collect(),
            nodes: snapshot.nodes.iter().filter_map(|node| Some((&node.id, node.address?))).collect(),
            index: snapshot,
            claims,
            attached: facts.ours().map(|service| (&*service.spec.name, &*service.spec.networks)).collect(),
            ground: Ground::of(snapshot, settings, facts),
            mesh: snapshot.networks.iter().filter(|it| it.ingress).flat_map(|it| it.subnets.clone()).collect(),
        }
    }

    /// Whether proxies see who a client is. By the routing mesh all clients have addresses of the mesh, and somebody there has to be believed.
    pub(super) fn shows_clients(&self, extension: &Extension) -> bool {
        let is_of_mesh = |trusted: &IpNet| self.mesh.is_empty() || self.mesh.iter().any(|mesh| overlap(trusted, mesh));
        extension.publish_mode == settings::PublishMode::Host || extension.trusted_proxies.iter().any(is_of_mesh)
    }

    /// Why proxies must not be attached to a network that they do not have yet.
    pub(super) fn unfit(
        &self,
        cluster: &Cluster,
        extension: &Extension,
        network: &NetworkId,
        service: &ServiceId,
    ) -> Option<Unfit> {
        let network = self.networks.get(network)?;
        self.ground.unfit(cluster, extension, network, service)
    }

    pub(super) fn network_name(&self, id: &NetworkId) -> &str {
        self.networks.get(id).map_or("?", |network| &network.name)
    }

    /// Whether the network is one of those that the settings list by name or id.
    pub(super) fn is_one_of(&self, id: &NetworkId, listed: &[String]) -> bool {
        listed.iter().any(|name| name == id.as_str() || name == self.network_name(id))
    }

    pub(super) fn reach(&self, service: &Service, label: Option<&NetworkName>, port: Port) -> Result<Reach, Refusal> {
        let mut own: Vec<&Network> =
            service.spec.networks.iter().filter_map(|id| self.networks.get(id).copied()).collect();
        own.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        own.dedup();
        let names = || own.iter().map(|network| network.name.as_str()).collect::<Vec<_>>().join(", ");
        let host_port = |p: &crate::swarm::PublishedPort| p.mode == PublishMode::Host && p.target == port.get();
        match (label, own.as_slice()) {
            (Some(label), []) => Err(Refusal::new(
                "names a network, but the service is on no overlay network",
                "attach the service to one",
            )
            .about("network", label.as_str())),
            (Some(label), _) => match named(label.as_str(), &own, service).as_slice() {
                [network] => Ok(Reach::Network(network.id.clone())),
                [] => Err(Refusal::new("is not an overlay network of the service", format!("use one of: {}", names()))
                    .about("network", label.as_str())),
                _ => Err(Refusal::new(
                    "matches several networks of the service",
                    format!("use a full name: {}", names()),
                )
                .about("network", label.as_str())),
            },
            (None, [network]) => Ok(Reach::Network(network.id.clone())),
            (None, []) if service.spec.ports.iter().any(host_port) => Ok(Reach::HostPort),
            (None, []) => Err(Refusal::new(
                "it is on no overlay network",
                format!("attach the service to one, or publish port {port} with mode=host"),
            )),
            (None, _) => Err(Refusal::new(
                format!("it is on several networks: {}", names()),
                "set com.docker.lb.network to the one that the proxies should use",
            )),
        }
    }

    /// Whether proxies that follow core may be on the network by which they reach this service. Where somebody has core's name they are not
    /// attached. Where they are already, nobody else's route is taken away for it.
    pub(super) fn may_attach(&self, extension: &Extension, service: &Service, reach: &Reach) -> Result<(), Refusal> {
        let Reach::Network(network) = reach else { return Ok(()) };
        if !extension.hitless_service_update {
            return Ok(());
        }
        let attached = self.attached.get(&*extension.proxy_service_name);
        let is_attached = attached.is_some_and(|networks| networks.contains(network));
        let claims = self.claims.get(network).into_iter().flatten();
        let Some(claim) = claims.min_by_key(|claim| !claim.is_of(service)) else { return Ok(()) };
        if is_attached && !claim.is_of(service) {
            return Ok(());
        }
        let name = self.network_name(network);
        let mut right = claim.right(name);
        if !claim.is_of(service) {
            right += ", or move this service to another network";
        }
        Err(Refusal::new(format!("proxies reach it over network {name}, where {}", claim.wrong()), right))
    }

    /// The addresses of the tasks that serve, sorted. A task without an address there yet is none of them.
    pub(super) fn targets(&self, service: &Service, reach: &Reach, port: Port) -> Vec<SocketAddr> {
        let tasks = self.index.tasks_of(&service.id).filter(|task| task.serves());
        let mut targets: Vec<_> = tasks.filter_map(|task| self.target(task, reach, port)).collect();
        targets.sort_unstable();
        targets.dedup();
        targets
    }

    fn target(&self, task: &Task, reach: &Reach, port: Port) -> Option<SocketAddr> {
        match reach {
            Reach::Network(id) => {
                let attached = task.networks.iter().find(|network| network.network == *id)?;
                // Of a task with addresses of both kinds, the IPv4 one: what all proxies can reach.
                let address = attached.addresses.iter().min_by_key(|address| (address.is_ipv6(), **address))?;
                Some(SocketAddr::new(*address, port.get()))
            }
            Reach::HostPort => {
                let published = task.host_ports.iter().find(|p| p.target == port.get() && p.published != 0)?.published;
                Some(SocketAddr::new(*self.nodes.get(task.node.as_ref()?)?, published))
            }
        }
    }
}

/// The networks that a label may mean: the one with exactly this name, else those with this name inside a stack.
fn named<'a>(label: &str, own: &[&'a Network], service: &Service) -> Vec<&'a Network> {
    if let Some(exact) = own.iter().find(|network| network.name == label) {
        return vec![exact];
    }
    let short = |network: &&&Network| {
        let stack = service.spec.labels.get(STACK_LABEL).or_else(|| network.labels.get(STACK_LABEL));
        stack.is_some_and(|stack| {
            network.name.strip_prefix(stack.as_str()).and_then(|rest| rest.strip_prefix('_')) == Some(label)
        })
    };
    own.iter().filter(short).copied().collect()
}
