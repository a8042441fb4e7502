//! The parts of the Docker API's answers that are read, as serde sees them.
//!
//! Everything else in an answer is skipped while parsing: nobody's environment, commands or mounts are ever held. What a newer
//! engine may add stays harmless: unknown fields are skipped, unknown words become `Unknown`, `null` stands for "nothing". Only an
//! object without its id is an error, because then the answer is not what we believe it is.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::swarm::{Availability, Labels, NodeState, PublishMode, TaskState, UpdateState, is_read};

/// `null` and an absent field both mean the default.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Version {
    #[serde(default)]
    pub(super) version: String,
    #[serde(default)]
    pub(super) api_version: String,
    #[serde(default, rename = "MinAPIVersion")]
    pub(super) min_api_version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Info {
    #[serde(default, deserialize_with = "nullable")]
    pub(super) swarm: InfoSwarm,
    #[serde(default)]
    pub(super) logging_driver: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
pub(super) struct InfoSwarm {
    #[serde(default)]
    pub(super) local_node_state: String,
    #[serde(default)]
    pub(super) control_available: bool,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) cluster: InfoCluster,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
pub(super) struct InfoCluster {
    #[serde(default, deserialize_with = "nullable")]
    pub(super) default_addr_pool: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Container {
    pub(super) config: ContainerConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ContainerConfig {
    pub(super) labels: ContainerLabels,
}

#[derive(Deserialize)]
pub(super) struct ContainerLabels {
    #[serde(rename = "com.docker.swarm.service.id", default)]
    pub(super) service: String,
}

/// What an engine says when it refuses.
#[derive(Deserialize)]
pub(super) struct Message {
    pub(super) message: String,
}

/// A service. Its specs stay unparsed: of our own services the whole one is kept, of the others only what [`Spec`] has.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Service<'a> {
    #[serde(rename = "ID")]
    pub(super) id: String,
    pub(super) version: ObjectVersion,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) created_at: String,
    #[serde(borrow)]
    pub(super) spec: &'a RawValue,
    #[serde(borrow, default)]
    pub(super) previous_spec: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) endpoint: Endpoint,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) update_status: UpdateStatus,
}

#[derive(Deserialize)]
pub(super) struct ObjectVersion {
    #[serde(rename = "Index")]
    pub(super) index: u64,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Endpoint {
    #[serde(rename = "VirtualIPs", deserialize_with = "nullable")]
    pub(super) virtual_ips: Vec<VirtualIp>,
}

#[derive(Deserialize)]
pub(super) struct VirtualIp {
    #[serde(rename = "NetworkID", default)]
    pub(super) network: String,
    #[serde(rename = "Addr", default)]
    pub(super) address: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct UpdateStatus {
    #[serde(deserialize_with = "nullable")]
    pub(super) state: Word<UpdateState>,
    #[serde(deserialize_with = "nullable")]
    pub(super) started_at: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) message: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Spec {
    #[serde(deserialize_with = "nullable")]
    pub(super) name: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) labels: ReadLabels,
    #[serde(deserialize_with = "nullable")]
    pub(super) task_template: TaskTemplate,
    #[serde(deserialize_with = "nullable")]
    pub(super) mode: Mode,
    #[serde(deserialize_with = "nullable")]
    pub(super) endpoint_spec: EndpointSpec,
    /// Where API versions before 1.44 also allowed them.
    #[serde(deserialize_with = "nullable")]
    pub(super) networks: Vec<Attachment>,
    #[serde(deserialize_with = "nullable")]
    pub(super) update_config: UpdateConfig,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct UpdateConfig {
    /// In nanoseconds.
    #[serde(deserialize_with = "nullable")]
    pub(super) delay: i64,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct TaskTemplate {
    #[serde(deserialize_with = "nullable")]
    pub(super) container_spec: ContainerSpec,
    #[serde(deserialize_with = "nullable")]
    pub(super) networks: Vec<Attachment>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ContainerSpec {
    #[serde(deserialize_with = "nullable")]
    pub(super) labels: ReadLabels,
    #[serde(deserialize_with = "nullable")]
    pub(super) configs: Vec<ConfigReference>,
    #[serde(deserialize_with = "nullable")]
    pub(super) secrets: Vec<SecretReference>,
    #[serde(deserialize_with = "nullable")]
    pub(super) hostname: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) image: String,
    /// In nanoseconds.
    #[serde(deserialize_with = "nullable")]
    pub(super) stop_grace_period: i64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct ConfigReference {
    #[serde(rename = "ConfigID", deserialize_with = "nullable")]
    pub(super) id: String,
    #[serde(rename = "ConfigName", deserialize_with = "nullable")]
    pub(super) name: String,
    #[serde(rename = "File", deserialize_with = "nullable")]
    pub(super) file: File,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct File {
    #[serde(deserialize_with = "nullable")]
    pub(super) name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct SecretReference {
    #[serde(rename = "SecretID", deserialize_with = "nullable")]
    pub(super) id: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Attachment {
    #[serde(deserialize_with = "nullable")]
    pub(super) target: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) aliases: Vec<String>,
}

/// One of the keys is there. Jobs and modes that a newer engine has leave both empty.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Mode {
    pub(super) replicated: Option<Replicated>,
    pub(super) global: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Replicated {
    #[serde(default)]
    pub(super) replicas: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct EndpointSpec {
    #[serde(deserialize_with = "nullable")]
    pub(super) ports: Vec<Port>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Port {
    #[serde(deserialize_with = "nullable")]
    pub(super) protocol: Cow<'static, str>,
    #[serde(deserialize_with = "nullable")]
    pub(super) target_port: u32,
    #[serde(deserialize_with = "nullable")]
    pub(super) published_port: u32,
    #[serde(deserialize_with = "nullable")]
    pub(super) publish_mode: Word<PublishMode>,
}

/// A task. Its spec stays unparsed, since only our own services' is of interest.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Task<'a> {
    #[serde(rename = "ID")]
    pub(super) id: String,
    /// Empty for a container that was attached to a network by hand.
    #[serde(rename = "ServiceID", default)]
    pub(super) service: String,
    #[serde(rename = "NodeID", default)]
    pub(super) node: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) desired_state: Word<TaskState>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) status: TaskStatus,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) networks_attachments: Vec<TaskAttachment>,
    #[serde(borrow, default)]
    pub(super) spec: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct TaskStatus {
    #[serde(deserialize_with = "nullable")]
    pub(super) state: Word<TaskState>,
    #[serde(deserialize_with = "nullable")]
    pub(super) timestamp: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) err: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) port_status: EndpointSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TaskAttachment {
    #[serde(default, deserialize_with = "nullable")]
    pub(super) network: Id,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) addresses: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Id {
    #[serde(rename = "ID")]
    pub(super) id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Network {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) scope: String,
    #[serde(default)]
    pub(super) driver: String,
    #[serde(default)]
    pub(super) ingress: bool,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) labels: ReadLabels,
    #[serde(default)]
    pub(super) created: String,
    #[serde(default, rename = "IPAM", deserialize_with = "nullable")]
    pub(super) ipam: Ipam,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Ipam {
    #[serde(default, deserialize_with = "nullable")]
    pub(super) config: Vec<IpamConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct IpamConfig {
    #[serde(default)]
    pub(super) subnet: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Node {
    #[serde(rename = "ID")]
    pub(super) id: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) spec: NodeSpec,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) description: NodeDescription,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) status: NodeStatus,
    #[serde(default)]
    pub(super) manager_status: Option<ManagerStatus>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct NodeSpec {
    pub(super) role: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) labels: Labels,
    #[serde(deserialize_with = "nullable")]
    pub(super) availability: Word<Availability>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct NodeDescription {
    pub(super) hostname: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) engine: NodeEngine,
    pub(super) platform: Option<NodePlatform>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct NodeEngine {
    #[serde(deserialize_with = "nullable")]
    pub(super) labels: Labels,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct NodePlatform {
    #[serde(rename = "OS")]
    pub(super) os: String,
    pub(super) architecture: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct NodeStatus {
    #[serde(deserialize_with = "nullable")]
    pub(super) state: Word<NodeState>,
    pub(super) addr: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ManagerStatus {
    #[serde(default)]
    pub(super) addr: String,
}

/// A config object or a secret. Secrets have no data here: the API does not give it out.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Stored<'a> {
    #[serde(rename = "ID")]
    pub(super) id: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) created_at: String,
    #[serde(borrow)]
    pub(super) spec: StoredSpec<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StoredSpec<'a> {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) labels: ReadLabels,
    /// Base64.
    #[serde(borrow, default)]
    pub(super) data: Option<Cow<'a, str>>,
}

/// Labels in the namespaces that are read. The others are skipped while parsing.
#[derive(Default)]
pub(super) struct ReadLabels(pub(super) Labels);

impl<'de> Deserialize<'de> for ReadLabels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OnlyRead;
        impl<'de> Visitor<'de> for OnlyRead {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut labels = Labels::new();
                while let Some(key) = map.next_key::<Key<'de>>()? {
                    if is_read(&key.0) {
                        labels.insert(key.0.into_owned(), map.next_value()?);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(labels)
            }
        }
        deserializer.deserialize_map(OnlyRead).map(Self)
    }
}

/// A key that is copied only when it has to be.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// A word out of a list that may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word<T> {
    /// There is none.
    Absent,
    /// One that is known, or the variant that stands for all others.
    Is(T),
}

#[expect(clippy::derivable_impls, reason = "a derived one would ask for T: Default")]
impl<T> Default for Word<T> {
    fn default() -> Self {
        Self::Absent
    }
}

/// The words of an enumeration of the API.
pub(super) trait Words: Sized {
    fn from_word(word: &str) -> Self;
}

impl<'de, T: Words> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key = Key::deserialize(deserializer)?;
        Ok(if key.0.is_empty() { Self::Absent } else { Self::Is(T::from_word(&key.0)) })
    }
}

impl Words for TaskState {
    fn from_word(word: &str) -> Self {
        match word {
            "new" => Self::New,
            // Engines have used both names for this state.
            "pending" | "allocated" => Self::Pending,
            "assigned" => Self::Assigned,
            "accepted" => Self::Accepted,
            "preparing" => Self::Preparing,
            "ready" => Self::Ready,
            "starting" => Self::Starting,
            "running" => Self::Running,
            "complete" => Self::Complete,
            "shutdown" => Self::Shutdown,
            "failed" => Self::Failed,
            "rejected" => Self::Rejected,
            "remove" => Self::Remove,
            "orphaned" => Self::Orphaned,
            _ => Self::Unknown,
        }
    }
}

impl Words for UpdateState {
    fn from_word(word: &str) -> Self {
        match word {
            "updating" => Self::Updating,
            "paused" => Self::Paused,
            "completed" => Self::Completed,
            "rollback_started" => Self::RollbackStarted,
            "rollback_paused" => Self::RollbackPaused,
            "rollback_completed" => Self::RollbackCompleted,
            _ => Self::Unknown,
        }
    }
}

impl Words for Availability {
    fn from_word(word: &str) -> Self {
        match word {
            "active" => Self::Active,
            "pause" => Self::Pause,
            "drain" => Self::Drain,
            _ => Self::Unknown,
        }
    }
}

impl Words for NodeState {
    fn from_word(word: &str) -> Self {
        match word {
            "ready" => Self::Ready,
            "down" => Self::Down,
            "disconnected" => Self::Disconnected,
            _ => Self::Unknown,
        }
    }
}

impl Words for PublishMode {
    fn from_word(word: &str) -> Self {
        match word {
            "host" => Self::Host,
            _ => Self::Ingress,
        }
    }
}
