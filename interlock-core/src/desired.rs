//! The Docker objects that should exist: for each service cluster one proxy service and the config objects that it mounts.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::hash;
use crate::model::Model;
use crate::names::{Cluster, NetworkId};
use crate::ownership;
use crate::problem::{Effect, Problem, Severity, Subject};
use crate::proxy_config::{Generation, ProxyConfig, Revision};
use crate::render::{File, Rendering};
use crate::settings::{Extension, Settings};
use crate::snapshot::{Availability, Labels, NodeState, Role, Snapshot};

mod agent_file;
mod fields;

pub use agent_file::{AgentFile, PATH as AGENT_FILE};
pub use fields::Field;
pub(crate) use fields::path_of;

/// What should exist, by service cluster.
pub type Desired = BTreeMap<Cluster, Proxy>;

/// A proxy service as it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Proxy {
    /// Its name.
    pub name: String,
    /// How many tasks it should have.
    pub replicas: u64,
    /// The longest that replacing one task may take, in seconds.
    pub seconds_per_task: u64,
    /// What the settings ask for, by field name.
    pub fields: BTreeMap<String, Field>,
    /// What it serves; `None` keeps what is deployed, as there is no rendering of the current revision.
    pub content: Option<Content>,
}

/// What a proxy service serves, and what it needs for that.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// The revision.
    pub revision: Revision,
    /// The networks it is attached to.
    pub networks: BTreeSet<NetworkId>,
    /// The config objects, in the order of their mount paths.
    pub configs: Vec<ConfigFile>,
}

/// A config object and where it is mounted.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigFile {
    /// Its name, which contains a hash of its data.
    pub name: String,
    /// The file's path in the proxy's file system.
    pub target: String,
    /// Its data.
    pub data: String,
    /// Its labels.
    pub labels: Labels,
}

/// The networks that a service cluster's proxies need: those of its routes, or those that the settings fix.
pub fn networks(
    snapshot: &Snapshot,
    model: &Model,
    cluster: &Cluster,
    extension: &Extension,
) -> (BTreeSet<NetworkId>, Vec<Problem>) {
    let Some(fixed) = &extension.networks else { return (model.networks(cluster), Vec::new()) };
    let mut ids = BTreeSet::new();
    let mut problems = Vec::new();
    for name in fixed {
        match snapshot.networks.iter().find(|network| network.name == *name || network.id.as_str() == name) {
            Some(network) => {
                ids.insert(network.id.clone());
            }
            None => problems.push(Problem {
                severity: Severity::Warning,
                subject: Subject::Cluster(cluster.clone()),
                label: None,
                value: None,
                wrong: format!("Networks of the settings names {name}, and there is no such network"),
                right: format!(
                    "create it with `docker network create --driver overlay {name}`, or take it out of the settings"
                ),
                effect: Effect::Ignored,
            }),
        }
    }
    (ids, problems)
}

/// The proxy service of one service cluster.
pub fn proxy(
    snapshot: &Snapshot,
    extension: &Extension,
    networks: BTreeSet<NetworkId>,
    rendered: Option<(&ProxyConfig, &[File])>,
) -> Proxy {
    let content = rendered.map(|(config, files)| Content {
        revision: config.revision.clone(),
        networks,
        configs: files.iter().map(|file| config_file(config, file)).collect(),
    });
    Proxy {
        name: extension.proxy_service_name.clone(),
        replicas: extension.proxy_replicas,
        seconds_per_task: extension.proxy_stop_grace_period.as_secs() + extension.proxy_update_delay.as_secs() + 60,
        fields: fields::of(extension, has_active_worker(snapshot)),
        content,
    }
}

/// The files of a rendering, if it is one of this config.
pub fn usable<'a>(config: &ProxyConfig, rendering: Option<&'a Rendering>) -> Option<&'a [File]> {
    let rendering = rendering.filter(|rendering| rendering.revision == config.revision)?;
    rendering.result.as_deref().ok()
}

fn config_file(config: &ProxyConfig, file: &File) -> ConfigFile {
    let slug = config.cluster.slug();
    let hash = hash::hex16(file.content.as_bytes());
    let part = if file.part.is_empty() { String::new() } else { format!(".{}", file.part) };
    ConfigFile {
        name: format!("{}{slug}.{hash}{part}", ownership::CONFIG_PREFIX),
        target: file.path.clone(),
        data: file.content.clone(),
        labels: Labels::from([
            (ownership::OWNER.to_owned(), ownership::OWNER_VALUE.to_owned()),
            (ownership::CLUSTER.to_owned(), config.cluster.as_str().to_owned()),
            (ownership::REVISION.to_owned(), config.revision.to_string()),
        ]),
    }
}

/// Whether proxies can run on workers. Managers that hear from nobody for a moment do not change the answer.
fn has_active_worker(snapshot: &Snapshot) -> bool {
    let active = |state: NodeState| !matches!(state, NodeState::Down | NodeState::Disconnected);
    snapshot
        .nodes
        .iter()
        .any(|node| node.role == Role::Worker && node.availability == Availability::Active && active(node.state))
}

impl Proxy {
    /// The labels that are always interlock's own.
    pub fn own_labels(&self, cluster: &Cluster) -> Labels {
        let applied: BTreeMap<&str, String> =
            self.fields.iter().map(|(name, field)| (name.as_str(), field.fingerprint())).collect();
        let mut labels = Labels::from([
            (ownership::OWNER.to_owned(), ownership::OWNER_VALUE.to_owned()),
            (ownership::CLUSTER.to_owned(), cluster.as_str().to_owned()),
            (ownership::TYPE.to_owned(), ownership::TYPE_PROXY.to_owned()),
            (ownership::APPLIED.to_owned(), json!(applied).to_string()),
        ]);
        if let Some(content) = &self.content {
            labels.insert(ownership::REVISION.to_owned(), content.revision.to_string());
        }
        labels
    }

    /// A name for all of this: equal ones ask for the same service.
    pub(crate) fn fingerprint(&self) -> String {
        let fields: BTreeMap<_, _> = self.fields.iter().map(|(name, field)| (name, field.fingerprint())).collect();
        let content = self.content.as_ref().map(|content| {
            let configs: Vec<_> = content.configs.iter().map(|config| (&config.name, &config.target)).collect();
            json!([content.networks, configs])
        });
        hash::hex16(json!([self.name, fields, content]).to_string().as_bytes())
    }
}

/// The generation of a service cluster's proxies.
pub fn generation(networks: &BTreeSet<NetworkId>) -> Generation {
    Generation::of(networks, &BTreeSet::new())
}

/// The clusters of the settings with their extensions.
pub fn clusters(settings: &Settings) -> impl Iterator<Item = (Cluster, &Extension)> {
    settings.extensions.iter().filter_map(|(name, extension)| Some((name.parse().ok()?, extension)))
}

/// References to config objects in the Docker API's shape. An object that does not exist yet has no id.
pub(crate) fn config_refs(configs: &[ConfigFile], id_of: impl Fn(&str) -> Option<String>) -> Value {
    let refs = configs.iter().map(|config| {
        let mut reference = json!({
            "ConfigName": config.name,
            "File": { "Name": config.target, "UID": "0", "GID": "0", "Mode": 0o444 },
        });
        if let Some(id) = id_of(&config.name) {
            reference["ConfigID"] = Value::String(id);
        }
        reference
    });
    Value::Array(refs.collect())
}
