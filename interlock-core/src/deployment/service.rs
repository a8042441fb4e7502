//! A service of our own as it should be, and what it mounts.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::AGENT_FILE;
use super::fields::{Field, REPLICAS, USER};
use crate::kinds::Manifest;
use crate::ownership;
use crate::proxy_config::Revision;
use crate::swarm::{ConfigMount, Labels, Service, SwarmIndex};
use crate::units::{Cluster, NetworkId, SecretId};
use crate::units::{Role, hash};

/// A service of our own as it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnService {
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// The longest that replacing one task may take, in seconds.
    pub seconds_per_task: u64,
    /// What the settings ask for, by field name.
    pub fields: BTreeMap<String, Field>,
    /// More labels that are always ours.
    pub labels: Labels,
    /// What it mounts and is attached to. Without it what is deployed stays.
    pub content: Result<Content, NoContent>,
    /// Whether it is tried although an update to it failed.
    pub again: bool,
    /// The most tasks that it may ask for, whoever asks: that many nodes can take one. `None` for any number. With none it
    /// stays as it is: Swarm would end what runs and start nothing.
    pub most: Option<u64>,
}

/// Names for what a service should become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// For what the settings say of it.
    settings: String,
    /// For what it mounts and is attached to; `None` where that was not known.
    content: Option<String>,
}

impl Target {
    /// Whether both ask for the same service, as far as both say.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let contents = self.content.as_ref().zip(other.content.as_ref());
        self.settings == other.settings && contents.is_none_or(|(one, other)| one == other)
    }
}

/// Why there is no rendering of the current revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoContent {
    /// It is on its way, as far as one knows: what replaces tasks waits, as they would be replaced for it once more.
    OnTheWay,
    /// It was refused, or the extension is silent.
    Missing,
}

/// What a service's tasks need.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// The revision that its configs hold; `None` of a service that holds none.
    pub revision: Option<Revision>,
    /// The networks it is attached to, sorted by name.
    pub networks: Vec<NetworkRef>,
    /// The config objects, in the order of their mount paths.
    pub configs: Vec<ConfigFile>,
    /// Config objects of somebody else's that stay mounted.
    pub kept: Vec<ConfigMount>,
    /// The identity that it shows to core, if it talks to core.
    pub identity: Option<IdentitySecret>,
    /// The secrets that its routes need, sorted by name.
    pub secrets: Vec<RouteSecret>,
    /// Whether core sends newer revisions to the running tasks, so that the mounted one is for a start without core alone.
    pub hitless: bool,
}

/// A network that a service is attached to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NetworkRef {
    /// Its name.
    pub name: String,
    /// Its id; `None` of one that the same plan creates.
    pub id: Option<NetworkId>,
}

/// A config object and where it is mounted.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigFile {
    /// Its name, which contains a hash of its data.
    pub name: String,
    /// The file's path in the task's file system.
    pub target: String,
    /// Its data.
    pub data: ConfigData,
    /// Its labels.
    pub labels: Labels,
    /// What it is compared by, where parts of its data are not worth a roll. Otherwise its name is.
    pub essence: Option<String>,
    /// The one that is mounted today, if it is another with the same essence: it stays until tasks are replaced anyway.
    pub today: Option<String>,
}

/// What a config object of ours holds.
#[derive(Debug, Clone, PartialEq)]
pub enum ConfigData {
    /// This text.
    Text(String),
    /// A manifest, which the authority signs when the object is created.
    Manifest(Manifest),
}

/// A secret that routes need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSecret {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: SecretId,
}

/// A secret with a certificate and its key, which new tasks get: core's is the authority's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentitySecret {
    /// Its name.
    pub name: String,
    /// Its id; `None` of one that the same plan creates.
    pub id: Option<SecretId>,
    /// The good one that the service shows today, if this is another: it stays until tasks are replaced anyway.
    pub today: Option<SecretId>,
}

impl OwnService {
    /// Whether the service that has this one's name is this one of ours.
    pub fn owns(&self, snapshot: &SwarmIndex<'_>, service: &Service) -> bool {
        ownership::is_ours_of_type(snapshot, service, ownership::type_label(self.role))
    }

    /// The labels that are always interlock's own.
    pub fn own_labels(&self, cluster: &Cluster) -> Labels {
        let applied: BTreeMap<&str, String> =
            self.fields.iter().map(|(name, field)| (name.as_str(), field.fingerprint())).collect();
        let mut labels = self.labels.clone();
        labels.extend([
            (ownership::OWNER.to_owned(), ownership::OWNER_VALUE.to_owned()),
            (ownership::CLUSTER.to_owned(), cluster.as_str().to_owned()),
            (ownership::TYPE.to_owned(), ownership::type_label(self.role).to_owned()),
            (ownership::APPLIED.to_owned(), json!(applied).to_string()),
        ]);
        if let Some(revision) = self.content.as_ref().ok().and_then(|content| content.revision.as_ref()) {
            labels.insert(ownership::REVISION.to_owned(), revision.to_string());
        }
        labels
    }

    /// Names for all of this: equal ones ask for the same service. What core sends to running tasks is no part of it, and
    /// neither is the number of tasks: other routes or more tasks do not make an image work that did not.
    pub(crate) fn target(&self) -> Target {
        let fields = self.fields.iter().filter(|(name, _)| *name != REPLICAS);
        let fields: BTreeMap<_, _> = fields.map(|(name, field)| (name, field.fingerprint())).collect();
        let hash = |value: Value| hash::hex16(value.to_string().as_bytes());
        let content = self.content.as_ref().ok().map(|content| {
            let counts = |config: &&ConfigFile| !content.hitless || config.target == AGENT_FILE;
            let configs = content.configs.iter().filter(counts);
            let configs: Vec<_> =
                configs.map(|config| (config.essence.as_ref().unwrap_or(&config.name), &config.target)).collect();
            let networks: Vec<_> = content.networks.iter().map(|network| &network.name).collect();
            let secrets: Vec<_> = content.secrets.iter().map(|secret| &secret.name).collect();
            hash(json!([networks, configs, content.identity.as_ref().map(|identity| &identity.name), secrets]))
        });
        Target { settings: hash(json!([self.name, fields])), content }
    }
}

/// References to config objects in the Docker API's shape. An object that does not exist yet has no id.
pub(crate) fn config_refs(content: &Content, id_of: impl Fn(&str) -> Option<String>) -> Value {
    let reference = |name: &str, target: &str, id: Option<String>| {
        let mut reference =
            json!({ "ConfigName": name, "File": { "Name": target, "UID": "0", "GID": "0", "Mode": 0o444 } });
        if let Some(id) = id {
            reference["ConfigID"] = Value::String(id);
        }
        reference
    };
    let ours = content.configs.iter().map(|config| reference(&config.name, &config.target, id_of(&config.name)));
    let kept = content.kept.iter();
    let kept = kept.map(|kept| reference(&kept.name, &kept.target, Some(kept.id.as_str().to_owned())));
    Value::Array(ours.chain(kept).collect())
}

/// References to networks in the Docker API's shape. One that does not exist yet is named.
pub(crate) fn network_refs(networks: &[NetworkRef]) -> Value {
    let targets = networks.iter().map(|NetworkRef { name, id }| match id {
        Some(id) => json!({ "Target": id }),
        None => json!({ "Target": name }),
    });
    Value::Array(targets.collect())
}

/// References to secrets in the Docker API's shape: to the identity, for the user that a service of this role runs as, and to those that
/// routes need, as files of the same names. One that does not exist yet has no id.
pub(crate) fn secret_refs(role: Role, content: &Content) -> Value {
    let (path, user) = match role {
        Role::Core => (ownership::AUTHORITY_PATH, 0),
        Role::Extension | Role::Proxy => (ownership::IDENTITY_PATH, USER),
    };
    let reference = |name: &str, id: Option<&SecretId>, file: &str, user: u32, mode: u32| {
        let (uid, gid) = (user.to_string(), user.to_string());
        let mut reference =
            json!({ "SecretName": name, "File": { "Name": file, "UID": uid, "GID": gid, "Mode": mode } });
        if let Some(id) = id {
            reference["SecretID"] = json!(id);
        }
        reference
    };
    let target = path.rsplit('/').next().unwrap_or(path);
    let identity = content.identity.iter();
    let identity = identity.map(|identity| reference(&identity.name, identity.id.as_ref(), target, user, 0o400));
    // In images of others, workers run as a user that we do not know, and read these.
    let (user, mode) = if content.identity.is_some() { (USER, 0o400) } else { (0, 0o444) };
    let routes = content.secrets.iter();
    let routes = routes.map(|secret| reference(&secret.name, Some(&secret.id), &secret.name, user, mode));
    Value::Array(identity.chain(routes).collect())
}
