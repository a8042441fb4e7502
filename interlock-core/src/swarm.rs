//! What is on the Swarm, as a value.
//!
//! A [`Snapshot`] is read as a whole or not at all, and it is what state files and fixtures hold: `interlock snapshot` writes
//! one, `--state` reads one. Such files get shared, so nothing enters a snapshot that an owner would not want to show. Of labels it holds
//! only those in the namespaces that interlock reads. It holds names on networks, and nobody's environment, commands, mounts or secret
//! contents. Of a task that does not run it holds what Swarm says of it, which may name an image, a command or a folder.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::units::{Cluster, ConfigId, Fingerprint, NetworkId, NodeId, SecretId, ServiceId, TaskId};

pub mod index;
pub(crate) mod placement;
pub mod state;

pub use index::SwarmIndex;

/// Labels by key, restricted to [`is_read`] keys. A service's are also those under `interlock.` in its container spec.
pub type Labels = BTreeMap<String, String>;

/// Whether labels under this key enter a snapshot. All others are never read.
pub fn is_read(key: &str) -> bool {
    key.starts_with("com.docker.lb.")
        || key.starts_with("com.docker.interlock.")
        || key.starts_with("com.docker.ucp.mesh.http")
        || key.starts_with("interlock.")
        || key == STACK_LABEL
        || key == "type"
}

/// Whether a label under this key may ask for routes.
pub fn names_routes(key: &str) -> bool {
    is_for_services(key) || key.starts_with("interlock.")
}

/// Whether labels under this key mean something on services alone. Those of Interlock 1 were on containers.
pub fn is_for_services(key: &str) -> bool {
    key.starts_with("com.docker.lb.") || key.starts_with("com.docker.ucp.mesh.http")
}

/// The label by which `docker stack deploy` marks what belongs to a stack.
pub const STACK_LABEL: &str = "com.docker.stack.namespace";

/// Everything that decisions depend on, as it was at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// When the read began, by the reader's clock. The only time there is for decisions.
    #[schemars(with = "String")]
    pub observed_at: Timestamp,
    /// The engine that was asked.
    #[serde(default)]
    pub engine: Engine,
    /// All nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Node>,
    /// All networks of scope `swarm`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Network>,
    /// All services, ours included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Arc<Service>>,
    /// Tasks that Swarm wants ready or running, and all tasks of our own services. Of a labelled service that lacks tasks also the one
    /// that ended last with a reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<Arc<Task>>,
    /// Config objects that carry our ownership label, and templates of operators' own, with their data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<Config>,
    /// All secrets, without their contents, which the API does not give out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    /// The service that core itself is a task of, if that is known: how its peers find it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<ServiceId>,
    /// The authority that whoever read this holds: identities were verified by it, and it can sign others. Without one nothing was
    /// verified, and what services have stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<Fingerprint>,
}

impl Snapshot {
    /// A Swarm with nothing on it.
    pub fn empty(observed_at: Timestamp) -> Self {
        Self {
            observed_at,
            engine: Engine::default(),
            nodes: Vec::new(),
            networks: Vec::new(),
            services: Vec::new(),
            tasks: Vec::new(),
            configs: Vec::new(),
            secrets: Vec::new(),
            core: None,
            authority: None,
        }
    }

    /// Its services.
    pub fn services(&self) -> impl DoubleEndedIterator<Item = &Service> + ExactSizeIterator + Clone {
        self.services.iter().map(Arc::as_ref)
    }

    /// Its tasks.
    pub fn tasks(&self) -> impl DoubleEndedIterator<Item = &Task> + ExactSizeIterator + Clone {
        self.tasks.iter().map(Arc::as_ref)
    }
}

/// The engine that answered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// Its version, for example `20.10.24`. Empty when unknown.
    #[serde(default)]
    pub version: String,
    /// The API version in use, for example `1.41`. Empty when unknown.
    #[serde(default)]
    pub api_version: String,
    /// How many bytes one config object may hold, if it is known to differ from [`Engine::DEFAULT_CONFIG_LIMIT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_limit: Option<usize>,
    /// From where the Swarm takes the subnets of its networks. Empty when unknown, as in older state files: then
    /// [`Engine::DEFAULT_ADDRESS_POOL`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub address_pools: Vec<IpNet>,
    /// What becomes of logs unless a service says otherwise, for example `json-file`, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_driver: Option<String>,
}

impl Engine {
    /// The largest config object that engines since 2022 accept, in bytes: one less than 1000 KiB.
    pub const DEFAULT_CONFIG_LIMIT: usize = 1_023_999;

    /// The address pool of a Swarm that was made without `--default-addr-pool`: 10.0.0.0/8.
    pub const DEFAULT_ADDRESS_POOL: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8));

    /// From where the Swarm takes the subnets of its networks.
    pub fn address_pools(&self) -> &[IpNet] {
        if self.address_pools.is_empty() { &[Self::DEFAULT_ADDRESS_POOL] } else { &self.address_pools }
    }

    /// The largest config object that this engine accepts, in bytes.
    pub fn config_limit(&self) -> usize {
        self.config_limit.unwrap_or(Self::DEFAULT_CONFIG_LIMIT)
    }
}

/// A node of the Swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// The host name it reported.
    pub hostname: String,
    /// Manager or worker.
    pub role: Role,
    /// Whether it takes tasks.
    #[serde(default)]
    pub availability: Availability,
    /// Whether managers hear from it. Advisory: all nodes are `unknown` for some seconds while a leader is elected.
    #[serde(default)]
    pub state: NodeState,
    /// The address that managers see it at; for a manager whose own is unspecified or loopback, its manager address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Its labels, by which operators place services.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// The labels of its engine.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub engine_labels: Labels,
    /// What it runs on, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// What a node runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Platform {
    /// Like `linux`.
    pub os: String,
    /// Like `x86_64`.
    pub arch: String,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Takes part in the raft group.
    Manager,
    /// Runs tasks only.
    Worker,
}

/// Whether a node takes tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// It takes tasks.
    #[default]
    Active,
    /// It keeps its tasks and takes no more.
    Pause,
    /// It gives its tasks up.
    Drain,
    /// A value that a newer engine has.
    Unknown,
}

/// What managers know of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It sends heartbeats.
    #[default]
    Ready,
    /// It stopped sending them.
    Down,
    /// It left.
    Disconnected,
    /// Not known, or a value that a newer engine has.
    Unknown,
}

/// A network that spans the Swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Its id.
    pub id: NetworkId,
    /// Its full name, a stack's prefix included.
    pub name: String,
    /// Its driver, `overlay` for those that a proxy can be attached to.
    pub driver: String,
    /// Whether it is the routing mesh's own network, which no service can be attached to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ingress: bool,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// Its subnets. Empty when they are not known: older state files have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub subnets: Vec<IpNet>,
    /// When it was created, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub created_at: Option<Timestamp>,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its id.
    pub id: ServiceId,
    /// Its version index: an update made against another one is refused.
    pub version: u64,
    /// When it was created. The older of two services decides where they disagree.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
    /// What it should be.
    pub spec: ServiceSpec,
    /// What it should have been before the last update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<ServiceSpec>,
    /// Its virtual IPs, none in DNS round robin mode.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub virtual_ips: Vec<VirtualIp>,
    /// How the last update of its tasks went, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdateStatus>,
}

/// The parts of a service's spec that matter for routing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// Its name.
    pub name: String,
    /// Labels of the service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// How many tasks it has.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: Mode,
    /// Networks it is attached to, by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<NetworkId>,
    /// Names that its tasks have besides its own, by the network on which Docker's resolver answers for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<NetworkId, Vec<String>>,
    /// The host name of its tasks, if one was asked for; it may hold templates of Swarm's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Ports it publishes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PublishedPort>,
    /// Config objects mounted in its tasks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<ConfigMount>,
    /// Secrets mounted in its tasks, by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretId>,
    /// The keys of labels of interlock's that its containers have and the service has not: somebody wrote them in the wrong place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub misplaced: Vec<String>,
    /// Of core's own service: its image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Of our own services: how long an update may wait until the next task or its end, the time that an old task has to end included.
    #[serde(default, skip_serializing_if = "is_default")]
    pub seconds_between_tasks: u64,
}

/// How many tasks a service has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// As many as asked for.
    Replicated(u64),
    /// One on each node.
    Global,
    /// Runs to completion (`replicated-job`, `global-job`), or a mode that a newer engine has: never routed.
    Job,
}

impl Default for Mode {
    fn default() -> Self {
        Self::Replicated(1)
    }
}

/// A port that a service publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishedPort {
    /// The port inside.
    pub target: u16,
    /// The port outside, 0 while Docker has not chosen one.
    #[serde(default)]
    pub published: u16,
    /// By the routing mesh, or on each task's node.
    pub mode: PublishMode,
}

/// How a port is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PublishMode {
    /// On every node, by the routing mesh.
    Ingress,
    /// On the nodes of the tasks.
    Host,
}

/// A config object in a task's file system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigMount {
    /// The object's id.
    pub id: ConfigId,
    /// The object's name.
    pub name: String,
    /// The file's path in the task.
    pub target: String,
}

/// A service's virtual IP on one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VirtualIp {
    /// The network.
    pub network: NetworkId,
    /// The address on it.
    pub address: IpAddr,
}

/// How a service's last update went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateStatus {
    /// Where it is.
    pub state: UpdateState,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub started_at: Option<Timestamp>,
    /// What Swarm says about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Where an update of a service's tasks is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpdateState {
    /// Tasks are being replaced.
    Updating,
    /// It failed, and Swarm waits for somebody.
    Paused,
    /// All tasks were replaced.
    Completed,
    /// It failed, and the old spec is being restored.
    RollbackStarted,
    /// The restoring failed as well.
    RollbackPaused,
    /// The old spec is back.
    RollbackCompleted,
    /// A value that a newer engine has.
    Unknown,
}

impl UpdateState {
    /// Whether the last update did not hold.
    pub fn failed(self) -> bool {
        matches!(self, Self::Paused | Self::RollbackStarted | Self::RollbackPaused | Self::RollbackCompleted)
    }

    /// Whether tasks are being replaced right now.
    pub fn in_progress(self) -> bool {
        matches!(self, Self::Updating | Self::RollbackStarted)
    }
}

/// A task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Its service.
    pub service: ServiceId,
    /// Where it runs, once assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// What Swarm wants it to be.
    pub desired: TaskState,
    /// What its node last said it is.
    pub state: TaskState,
    /// Its addresses, one entry a network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<TaskNetwork>,
    /// Ports that it has on its node (`mode=host`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_ports: Vec<PublishedPort>,
    /// Of our own services' tasks: the config objects it was started with, by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<ConfigId>,
    /// Why it waits or ended, in Swarm's words: at most 300 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// When it ended, if it did and that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub ended_at: Option<Timestamp>,
}

impl Task {
    /// Whether requests may be sent to it: Swarm reports it running (with a health check: healthy) and wants it running.
    pub fn serves(&self) -> bool {
        self.desired == TaskState::Running && self.state == TaskState::Running
    }

    /// Whether Swarm wants it to run, now or soon.
    pub fn is_wanted(&self) -> bool {
        matches!(self.desired, TaskState::Ready | TaskState::Running)
    }
}

/// A task's addresses on one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskNetwork {
    /// The network.
    pub network: NetworkId,
    /// The addresses, without a mask.
    pub addresses: Vec<IpAddr>,
}

/// The life of a task, in order. A task never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are Swarm's own")]
pub enum TaskState {
    New,
    Pending,
    Assigned,
    Accepted,
    Preparing,
    Ready,
    Starting,
    Running,
    Complete,
    Shutdown,
    Failed,
    Rejected,
    Remove,
    Orphaned,
    /// A value that a newer engine has: treated as not running.
    Unknown,
}

impl TaskState {
    /// Whether the task will never run again.
    pub fn is_terminal(self) -> bool {
        self > Self::Running && self != Self::Unknown
    }
}

/// A config object of ours, or a template of an operator's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its id.
    pub id: ConfigId,
    /// Its name. Of ours it contains a hash of the content.
    pub name: String,
    /// When it was created.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// Its content.
    pub data: String,
}

/// What may be known of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// Its id.
    pub id: SecretId,
    /// Its name.
    pub name: String,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// When it was created, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub created_at: Option<Timestamp>,
    /// Whose identity it holds, where the authority's signature says so. Names, labels and numbers prove nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
}

/// An identity that the authority vouches for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// What its holder is.
    pub holder: Holder,
    /// The holder's service cluster.
    #[schemars(with = "String")]
    pub cluster: Cluster,
    /// The certificate's fingerprint.
    pub fingerprint: Fingerprint,
}

/// Who has an identity to show to core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// An extension.
    Extension,
    /// The proxies of a service cluster.
    Proxy,
}

impl From<Holder> for crate::units::Role {
    fn from(holder: Holder) -> Self {
        match holder {
            Holder::Extension => Self::Extension,
            Holder::Proxy => Self::Proxy,
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
