//! From the API's answers to the snapshot: small, total, and only the parts that decisions depend on.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::Value;

use super::wire::{self, Word};
use crate::ownership;
use crate::problem;
use crate::swarm;
use crate::swarm::{
    Availability, Config, ConfigMount, Mode, Network, Node, NodeState, Platform, PublishMode, PublishedPort, Role,
    Secret, Service, ServiceSpec, Task, TaskNetwork, TaskState, UpdateStatus, VirtualIp,
};
use crate::units::{ConfigId, NetworkId, NodeId, SecretId, ServiceId, TaskId};

/// How many labels in the wrong place are named.
const MOST_MISPLACED: usize = 8;

type Decoded<T> = Result<T, serde_json::Error>;

/// A service, and of ours the whole spec as the engine wrote it.
pub(super) struct ReadService {
    pub(super) service: Service,
    pub(super) spec: Option<Value>,
}

/// The answer of `/services`.
pub(super) fn services(json: &[u8]) -> Decoded<Vec<ReadService>> {
    let mut services: Vec<_> = serde_json::from_slice::<Vec<wire::Service<'_>>>(json)?
        .into_iter()
        .map(convert_service)
        .collect::<Decoded<_>>()?;
    services.sort_by(|a, b| a.service.id.cmp(&b.service.id));
    Ok(services)
}

/// The answer of `/services/ID`.
pub(super) fn service(json: &[u8]) -> Decoded<ReadService> {
    convert_service(serde_json::from_slice(json)?)
}

fn convert_service(service: wire::Service<'_>) -> Decoded<ReadService> {
    let wire::Service { id, version, created_at, spec: raw, previous_spec, endpoint, update_status } = service;
    let spec = convert_spec(serde_json::from_str(raw.get())?);
    let previous = match previous_spec {
        Some(previous) => Some(convert_spec(serde_json::from_str(previous.get())?)),
        None => None,
    };
    let whole = if ownership::is_ours(&spec.labels) { Some(serde_json::from_str(raw.get())?) } else { None };
    let virtual_ips = endpoint
        .virtual_ips
        .into_iter()
        .filter_map(|ip| Some(VirtualIp { network: NetworkId::new(ip.network), address: address(&ip.address)? }));
    let service = Service {
        id: ServiceId::new(id),
        version: version.index,
        created_at: created(&created_at),
        spec,
        previous,
        virtual_ips: virtual_ips.collect(),
        update: convert_update(update_status),
    };
    Ok(ReadService { service, spec: whole })
}

fn convert_spec(spec: wire::Spec) -> ServiceSpec {
    let wire::Spec { name, labels: labels_of_service, task_template, mode, endpoint_spec, networks, update_config } =
        spec;
    let wire::TaskTemplate { container_spec, networks: of_tasks } = task_template;
    let networks = if of_tasks.is_empty() { networks } else { of_tasks };
    // Interlock 1 had its labels on containers.
    let mut of_both = container_spec.labels.0;
    let is_misplaced = |key: &&String| swarm::is_for_services(key) && !labels_of_service.0.contains_key(*key);
    let misplaced = of_both.keys().filter(is_misplaced).take(MOST_MISPLACED).map(|key| problem::said(key)).collect();
    of_both.retain(|key, _| key.starts_with("interlock."));
    of_both.extend(labels_of_service.0);
    let is_core =
        ownership::is_ours(&of_both) && of_both.get(ownership::TYPE).is_some_and(|it| it == ownership::TYPE_CORE);
    // After the last task Swarm waits twice: the delay, and then as long once more to see whether the task stays up.
    let delays = update_config.delay.saturating_mul(2);
    let aliases = networks.iter().filter(|network| !network.aliases.is_empty());
    let aliases = aliases.map(|network| (NetworkId::new(network.target.clone()), network.aliases.clone())).collect();
    let put_off = container_spec.stop_grace_period.saturating_add(delays) / 1_000_000_000;
    ServiceSpec {
        name,
        seconds_between_tasks: if ownership::is_ours(&of_both) { u64::try_from(put_off).unwrap_or(0) } else { 0 },
        labels: of_both,
        mode: match (mode.replicated, mode.global) {
            (Some(replicated), _) => Mode::Replicated(replicated.replicas.unwrap_or(1)),
            (None, Some(_)) => Mode::Global,
            (None, None) => Mode::Job,
        },
        aliases,
        misplaced,
        image: Some(container_spec.image).filter(|_| is_core),
        hostname: Some(container_spec.hostname).filter(|hostname| !hostname.is_empty()),
        networks: networks.into_iter().map(|network| NetworkId::new(network.target)).collect(),
        ports: ports(endpoint_spec),
        configs: container_spec.configs.into_iter().map(config_mount).collect(),
        secrets: container_spec.secrets.into_iter().map(|secret| SecretId::new(secret.id)).collect(),
    }
}

fn config_mount(reference: wire::ConfigReference) -> ConfigMount {
    ConfigMount { id: ConfigId::new(reference.id), name: reference.name, target: reference.file.name }
}

/// Ports of TCP: no other protocol is routed, and a UDP port with the same number is another one.
fn ports(spec: wire::EndpointSpec) -> Vec<PublishedPort> {
    let ports = spec.ports.into_iter().filter(|port| matches!(&*port.protocol, "tcp" | "")).filter_map(|port| {
        Some(PublishedPort {
            target: u16::try_from(port.target_port).ok()?,
            published: u16::try_from(port.published_port).ok()?,
            mode: port.publish_mode.or(PublishMode::Ingress),
        })
    });
    ports.collect()
}

fn convert_update(status: wire::UpdateStatus) -> Option<UpdateStatus> {
    let wire::UpdateStatus { state, started_at, message } = status;
    match state {
        Word::Absent => None,
        Word::Is(state) => Some(UpdateStatus { state, started_at: time(&started_at), message }),
    }
}

/// The answer of `/tasks`. Configs are kept of those services' tasks for which `ours` says so.
pub(super) fn tasks(json: &[u8], ours: impl Fn(&str) -> bool) -> Decoded<Vec<Task>> {
    let tasks: Vec<wire::Task<'_>> = serde_json::from_slice(json)?;
    // A container that was attached to a network by hand is a task of no service.
    let of_services = tasks.into_iter().filter(|task| !task.service.is_empty());
    let mut tasks: Vec<_> = of_services
        .map(|task| {
            let ours = ours(&task.service);
            convert_task(task, ours)
        })
        .collect::<Decoded<_>>()?;
    tasks.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(tasks)
}

fn convert_task(task: wire::Task<'_>, ours: bool) -> Decoded<Task> {
    let wire::Task { id, service, node, desired_state, status, networks_attachments, spec } = task;
    let template: wire::TaskTemplate = match spec {
        Some(spec) if ours => serde_json::from_str(spec.get())?,
        _ => wire::TaskTemplate::default(),
    };
    let networks = networks_attachments.into_iter().map(|attachment| TaskNetwork {
        network: NetworkId::new(attachment.network.id),
        addresses: attachment.addresses.iter().filter_map(|text| address(text)).collect(),
    });
    let (desired, state) = (desired_state.or(TaskState::Unknown), status.state.or(TaskState::Unknown));
    Ok(Task {
        id: TaskId::new(id),
        service: ServiceId::new(service),
        node: (!node.is_empty()).then(|| NodeId::new(node)),
        desired,
        state,
        networks: networks.collect(),
        host_ports: ports(status.port_status).into_iter().map(on_host).collect(),
        configs: template.container_spec.configs.into_iter().map(|config| ConfigId::new(config.id)).collect(),
        error: problem::said(&status.err),
        ended_at: if state.is_terminal() { time(&status.timestamp) } else { None },
    })
}

/// Of tasks that ended, of each service the last one that says why. Nothing is at its addresses any more.
pub(super) fn ended(json: &[u8]) -> Decoded<Vec<Task>> {
    let mut newest: BTreeMap<ServiceId, Task> = BTreeMap::new();
    for task in tasks(json, |_| false)? {
        let is_newer = |known: &Task| (task.ended_at, &task.id) > (known.ended_at, &known.id);
        if task.state.is_terminal() && !task.error.is_empty() && newest.get(&task.service).is_none_or(is_newer) {
            newest.insert(
                task.service.clone(),
                Task { node: None, networks: Vec::new(), host_ports: Vec::new(), ..task },
            );
        }
    }
    Ok(newest.into_values().collect())
}

/// A task has ports of its own on its node only in host mode, whatever the status says or leaves out.
fn on_host(port: PublishedPort) -> PublishedPort {
    PublishedPort { mode: PublishMode::Host, ..port }
}

/// The answer of `/networks`.
pub(super) fn networks(json: &[u8]) -> Decoded<Vec<Network>> {
    let networks = serde_json::from_slice::<Vec<wire::Network>>(json)?.into_iter();
    let networks = networks.filter(|network| network.scope == "swarm").map(|network| {
        let wire::Network { id, name, scope: _, driver, ingress, labels, created, ipam } = network;
        // What cannot be read is not known, and nobody is refused for it.
        let subnets = ipam.config.iter().filter_map(|config| subnet(&config.subnet)).collect();
        Network { id: NetworkId::new(id), name, driver, ingress, labels: labels.0, subnets, created_at: time(&created) }
    });
    let mut networks: Vec<_> = networks.collect();
    networks.sort_by(|a, b| a.id.cmp(&b.id));
    // A network that this node's containers use is there twice: as the Swarm's, and as the engine's own, which is as old as its use here.
    networks.dedup_by(|second, first| {
        let same = second.id == first.id;
        if same {
            first.created_at = first.created_at.into_iter().chain(second.created_at).min();
            if first.subnets.is_empty() {
                first.subnets = std::mem::take(&mut second.subnets);
            }
        }
        same
    });
    Ok(networks)
}

/// The answer of `/nodes`.
pub(super) fn nodes(json: &[u8]) -> Decoded<Vec<Node>> {
    let nodes = serde_json::from_slice::<Vec<wire::Node>>(json)?.into_iter().map(|node| {
        let wire::Node { id, spec, description, status, manager_status } = node;
        Node {
            id: NodeId::new(id),
            hostname: description.hostname,
            role: if spec.role == "manager" { Role::Manager } else { Role::Worker },
            availability: spec.availability.or(Availability::Unknown),
            state: status.state.or(NodeState::Unknown),
            address: node_address(&status.addr, manager_status.as_ref().map(|manager| manager.addr.as_str())),
            labels: spec.labels,
            engine_labels: description.engine.labels,
            platform: description
                .platform
                .map(|wire::NodePlatform { os, architecture }| Platform { os, arch: architecture }),
        }
    });
    let mut nodes: Vec<_> = nodes.collect();
    nodes.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(nodes)
}

/// The first address that other nodes can reach: a manager sees itself at 0.0.0.0 or 127.0.0.1.
fn node_address(seen: &str, manager: Option<&str>) -> Option<IpAddr> {
    let from_manager = || manager?.parse::<SocketAddr>().ok().map(|address| address.ip());
    let reachable = |ip: &IpAddr| !ip.is_unspecified() && !ip.is_loopback();
    address(seen).filter(reachable).or_else(|| from_manager().filter(reachable))
}

/// The answer of `/configs`: those that carry our ownership label.
pub(super) fn configs(json: &[u8]) -> Decoded<Vec<Config>> {
    let configs = serde_json::from_slice::<Vec<wire::Stored<'_>>>(json)?.into_iter().map(convert_config);
    let mut configs: Vec<_> = configs.filter(|config| ownership::is_ours(&config.labels)).collect();
    configs.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(configs)
}

/// The answer of `/configs/NAME`.
pub(super) fn config(json: &[u8]) -> Decoded<Config> {
    serde_json::from_slice(json).map(convert_config)
}

fn convert_config(config: wire::Stored<'_>) -> Config {
    let wire::Stored { id, created_at, spec: wire::StoredSpec { name, labels, data } } = config;
    // What we wrote is base64 of UTF-8. Anything else is not what we wrote, and then differs from what is wanted, as it should.
    let data = STANDARD.decode(data.as_deref().unwrap_or_default().as_bytes()).unwrap_or_default();
    let data = String::from_utf8(data).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Config { id: ConfigId::new(id), name, created_at: created(&created_at), labels: labels.0, data }
}

/// The answer of `/secrets`.
pub(super) fn secrets(json: &[u8]) -> Decoded<Vec<Secret>> {
    let mut secrets: Vec<_> =
        serde_json::from_slice::<Vec<wire::Stored<'_>>>(json)?.into_iter().map(convert_secret).collect();
    secrets.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(secrets)
}

/// The answer of `/secrets/NAME`.
pub(super) fn secret(json: &[u8]) -> Decoded<Secret> {
    serde_json::from_slice(json).map(convert_secret)
}

fn convert_secret(secret: wire::Stored<'_>) -> Secret {
    let wire::Stored { id, created_at, spec: wire::StoredSpec { name, labels, data: _ } } = secret;
    Secret { id: SecretId::new(id), name, labels: labels.0, created_at: time(&created_at), identity: None }
}

impl<T> Word<T> {
    fn or(self, absent: T) -> T {
        match self {
            Self::Absent => absent,
            Self::Is(word) => word,
        }
    }
}

/// `10.0.1.2/24` or `10.0.1.2`.
fn address(text: &str) -> Option<IpAddr> {
    text.split_once('/').map_or(text, |(address, _)| address).parse().ok()
}

/// `10.0.1.0/24`. Docker lets a subnet have bits behind its prefix.
pub(super) fn subnet(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().map(|net| net.trunc())
}

/// A time, unless it is Go's zero time, which means that there is none.
fn time(text: &str) -> Option<Timestamp> {
    const ZERO: i64 = -62_135_596_800;
    text.parse::<Timestamp>().ok().filter(|time| time.as_second() != ZERO)
}

/// When an object was created. Age decides between claims, so one whose age is not known counts as the youngest.
fn created(text: &str) -> Timestamp {
    time(text).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
