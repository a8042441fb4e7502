//! What has to be done: a list of Docker actions, each with every decision made and a reason that a person can read.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::kinds::Manifest;
use crate::proxy_config::Revision;
use crate::swarm::{Holder, Labels};
use crate::units::{Cluster, ConfigId, NetworkId, SecretId, ServiceId};

mod diff;
mod text;

pub use diff::{Attempt, Attempts, Planned, Rolling, diff, one_service};
pub(crate) use diff::{control_networks, looked_at};

/// Docker actions in the order in which they are safe: create, point the service at it, remove what is unused.
#[must_use = "a plan does nothing until it is applied"]
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Plan {
    /// The steps, grouped by service cluster. A failed step stops its own cluster's remaining steps, not the others'.
    pub steps: Vec<Step>,
    /// Service clusters that get no steps now, because something has to end first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Waiting>,
    /// Revisions that running proxies get from core, without a step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delivered: Vec<Delivered>,
}

/// A revision that running proxies get from core.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// The service cluster.
    pub cluster: Cluster,
    /// The revision.
    pub revision: Revision,
}

/// A service cluster for which nothing is done now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// The service cluster.
    pub cluster: Cluster,
    /// What has to end first, as a phrase.
    pub reason: String,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// One call of the Docker API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// The service cluster it is for; `None` for what is core's own, or nobody's any more: where that fails it holds up no service cluster.
    pub cluster: Option<Cluster>,
    /// The call.
    #[serde(flatten)]
    pub action: Action,
    /// Why, as a phrase: `its configuration changed: shop.example.com was added`.
    pub reason: String,
    /// Whether Swarm replaces running proxy tasks because of it.
    pub restarts_tasks: bool,
}

/// A call of the Docker API with all of its arguments.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Create a config object. One that exists already under this name with the same data counts as created.
    CreateConfig {
        /// Its name, with a hash of its data.
        name: String,
        /// Its labels.
        labels: Labels,
        /// Its data.
        data: String,
    },
    /// Create a config object with a manifest. The authority signs it when this is carried out, and the signature stands beside it.
    CreateManifest {
        /// Its name, with a hash of the manifest.
        name: String,
        /// Its labels.
        labels: Labels,
        /// The manifest.
        manifest: Manifest,
    },
    /// Create an overlay network. One that exists already under this name counts as created.
    CreateNetwork {
        /// Its name.
        name: String,
        /// Its labels.
        labels: Labels,
    },
    /// Make the authority that signs all certificates, and store it as a secret. The key is made when this is carried out.
    CreateAuthority {
        /// The secret's name.
        name: String,
    },
    /// Issue a certificate and store it, its key and the authority's certificate as a secret. The key material is made when this is
    /// carried out; the certificate's fingerprint and the authority's signature over it become labels.
    CreateIdentity {
        /// The secret's name.
        name: String,
        /// What the holder is.
        holder: Holder,
        /// The service cluster of the holder.
        cluster: Cluster,
        /// The secret's labels, but for the fingerprint and the signature.
        labels: Labels,
    },
    /// Create a service.
    CreateService {
        /// Its name.
        name: String,
        /// Its whole spec in the Docker API's shape, but for ids of config objects that the same plan creates: see [`Change`].
        spec: Value,
    },
    /// Change fields of a service and leave all others as they are.
    UpdateService {
        /// Its id.
        id: ServiceId,
        /// Its name.
        name: String,
        /// The version it was planned against. Docker refuses the update when the service has changed since.
        version: u64,
        /// The fields.
        changes: Vec<Change>,
    },
    /// Take a service's last update back: its spec becomes the previous one.
    RollBackService {
        /// Its id.
        id: ServiceId,
        /// Its name.
        name: String,
        /// The version it was planned against.
        version: u64,
    },
    /// Remove a service.
    RemoveService {
        /// Its id.
        id: ServiceId,
        /// Its name.
        name: String,
    },
    /// Remove a config object.
    RemoveConfig {
        /// Its id.
        id: ConfigId,
        /// Its name.
        name: String,
    },
    /// Remove a secret of ours. Core does not accept a certificate any more whose secret is gone.
    RemoveSecret {
        /// Its id.
        id: SecretId,
        /// Its name.
        name: String,
    },
    /// Remove a network between core and others.
    RemoveNetwork {
        /// Its id.
        id: NetworkId,
        /// Its name.
        name: String,
    },
}

/// What a plan created so far: Docker chooses ids, and later actions of the same plan need them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Created {
    /// Config objects by name.
    pub configs: BTreeMap<String, ConfigId>,
    /// Secrets by name.
    pub secrets: BTreeMap<String, SecretId>,
    /// Networks by name.
    pub networks: BTreeMap<String, NetworkId>,
}

/// A new value for one field of a service's spec.
///
/// A reference to a config object has a `ConfigName` and, when the object existed at planning time, a `ConfigID`. Docker chooses
/// ids, so for an object that the same plan creates the id is what the creating call answered: `apply` fills it in. The same holds for
/// secrets; a network that the same plan creates stands by its name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Where in the spec, as a list of keys: `["TaskTemplate", "ContainerSpec", "Image"]`.
    pub path: Vec<String>,
    /// The new value; `None` removes the field.
    pub value: Option<Value>,
    /// What changes, for people: `image nginx:1.28 -> nginx:1.30`.
    pub summary: String,
}

impl Change {
    /// The summary with the value of before, which stands in the spec that is deployed. `None` where that says no more.
    pub fn with_old(&self, spec: &Value) -> Option<String> {
        let old = self.path.iter().try_fold(spec, |at, key| at.get(key.as_str())).unwrap_or(&Value::Null);
        let old = if old.is_null() { "none".to_owned() } else { brief(old) };
        let new = self.value.as_ref().map_or_else(|| "none".to_owned(), brief);
        let (name, said) = self.summary.split_once(": ")?;
        let says_it = said == new || (said == "removed" && self.value.is_none());
        (says_it && old != new && new != CHANGED && old != CHANGED).then(|| format!("{name}: {old} → {new}"))
    }
}

/// What stands for a value that is too long to show.
const CHANGED: &str = "changed";

/// A value for people: as short as it can be.
pub(crate) fn brief(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(_) => CHANGED.to_owned(),
        Value::Array(ports) if ports.iter().any(|port| port.get("TargetPort").is_some()) => {
            let word =
                |port: &Value, key: &str| port.get(key).map(Value::to_string).unwrap_or_default().replace('"', "");
            let port = |port: &Value| {
                format!("{}:{} {}", word(port, "PublishedPort"), word(port, "TargetPort"), word(port, "PublishMode"))
            };
            ports.iter().map(port).collect::<Vec<_>>().join(", ")
        }
        Value::Array(items) if items.iter().any(Value::is_object) => CHANGED.to_owned(),
        other => crate::problem::shown(&other.to_string()),
    }
}

impl Step {
    /// For whom it is, for people: the service cluster's name, or `core`.
    pub fn title(&self) -> &str {
        title(self.cluster.as_ref())
    }
}

/// A service cluster's name, for people; `core` for what belongs to none.
pub fn title(cluster: Option<&Cluster>) -> &str {
    cluster.map_or("core", Cluster::title)
}

impl Action {
    /// The kind and name of the object, for people: `service interlock-proxy`.
    pub fn object(&self) -> String {
        match self {
            Self::CreateConfig { name, .. } | Self::CreateManifest { name, .. } | Self::RemoveConfig { name, .. } => {
                format!("config {name}")
            }
            Self::CreateAuthority { name } | Self::CreateIdentity { name, .. } | Self::RemoveSecret { name, .. } => {
                format!("secret {name}")
            }
            Self::CreateNetwork { name, .. } | Self::RemoveNetwork { name, .. } => format!("network {name}"),
            Self::CreateService { name, .. }
            | Self::UpdateService { name, .. }
            | Self::RollBackService { name, .. }
            | Self::RemoveService { name, .. } => format!("service {name}"),
        }
    }

    /// What happens to the object: `create`, `update` (taking an update back is one) or `remove`.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::CreateConfig { .. }
            | Self::CreateManifest { .. }
            | Self::CreateAuthority { .. }
            | Self::CreateIdentity { .. }
            | Self::CreateNetwork { .. }
            | Self::CreateService { .. } => "create",
            Self::UpdateService { .. } | Self::RollBackService { .. } => "update",
            Self::RemoveService { .. }
            | Self::RemoveConfig { .. }
            | Self::RemoveSecret { .. }
            | Self::RemoveNetwork { .. } => "remove",
        }
    }
}

/// Sets the changed fields in a spec of the Docker API's shape. Everything else in it stays, known to this program or not.
pub fn merge(spec: &mut Value, changes: &[Change]) {
    for Change { path, value, summary: _ } in changes {
        let Some((last, parents)) = path.split_last() else { continue };
        let mut at = &mut *spec;
        for key in parents {
            if !at[key.as_str()].is_object() {
                at[key.as_str()] = Value::Object(serde_json::Map::new());
            }
            at = &mut at[key.as_str()];
        }
        match value {
            Some(value) => at[last.as_str()] = value.clone(),
            None => {
                if let Some(object) = at.as_object_mut() {
                    object.remove(last);
                }
            }
        }
    }
}

/// Fills in the ids of config objects, secrets and networks that a spec refers to by name alone, from those that were just created.
/// Returns the names that stay without an id. A network's name is left to the engine, which knows its networks by both.
pub fn fill_ids(spec: &mut Value, created: &Created) -> Vec<String> {
    let Created { configs, secrets, networks } = created;
    let id = |id: Option<&str>| id.map(str::to_owned);
    let mut missing = fill(spec, "Config", |name| id(configs.get(name).map(ConfigId::as_str)));
    missing.extend(fill(spec, "Secret", |name| id(secrets.get(name).map(SecretId::as_str))));
    let attached = spec.pointer_mut("/TaskTemplate/Networks").and_then(Value::as_array_mut);
    for network in attached.into_iter().flatten() {
        if let Some(id) = network["Target"].as_str().and_then(|name| networks.get(name)) {
            network["Target"] = Value::String(id.as_str().to_owned());
        }
    }
    missing
}

fn fill(spec: &mut Value, kind: &str, id_of: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let (id_key, name_key) = (format!("{kind}ID"), format!("{kind}Name"));
    let mut missing = Vec::new();
    let references = spec.pointer_mut(&format!("/TaskTemplate/ContainerSpec/{kind}s")).and_then(Value::as_array_mut);
    for reference in references.into_iter().flatten() {
        let named = reference[name_key.as_str()].as_str().unwrap_or_default().to_owned();
        if reference.get(&id_key).is_none_or(Value::is_null) {
            match id_of(&named) {
                Some(id) => reference[id_key.as_str()] = Value::String(id),
                None => missing.push(named),
            }
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(path: &[&str], value: Option<Value>) -> Change {
        Change { path: path.iter().map(|&key| key.to_owned()).collect(), value, summary: String::new() }
    }

    #[test]
    fn merging_leaves_what_it_does_not_know() {
        let mut spec =
            json!({"Name": "p", "NewField": [1], "TaskTemplate": {"ContainerSpec": {"Image": "a", "Env": ["X=1"]}}});
        merge(
            &mut spec,
            &[
                change(&["TaskTemplate", "ContainerSpec", "Image"], Some(json!("b"))),
                change(&["UpdateConfig", "Parallelism"], Some(json!(1))),
                change(&["Labels", "a.b/c"], Some(json!("1"))),
                change(&["TaskTemplate", "Gone"], None),
            ],
        );
        assert_eq!(
            spec,
            json!({"Name": "p", "NewField": [1], "Labels": {"a.b/c": "1"}, "UpdateConfig": {"Parallelism": 1},
                   "TaskTemplate": {"ContainerSpec": {"Image": "b", "Env": ["X=1"]}}})
        );
    }

    #[test]
    fn ids_of_new_objects_are_filled_in() {
        let mut spec = json!({"TaskTemplate": {"ContainerSpec": {"Configs": [
            {"ConfigName": "new"}, {"ConfigName": "old", "ConfigID": "1"}, {"ConfigName": "lost"}],
            "Secrets": [{"SecretName": "new"}]}, "Networks": [{"Target": "new"}, {"Target": "3"}]}});
        let created = Created {
            configs: BTreeMap::from([("new".to_owned(), ConfigId::from("2"))]),
            secrets: BTreeMap::from([("new".to_owned(), SecretId::from("4"))]),
            networks: BTreeMap::from([("new".to_owned(), NetworkId::from("5"))]),
        };
        let missing = fill_ids(&mut spec, &created);
        assert_eq!(missing, ["lost"]);
        assert_eq!(spec["TaskTemplate"]["ContainerSpec"]["Configs"][0]["ConfigID"], "2");
        assert_eq!(spec["TaskTemplate"]["ContainerSpec"]["Secrets"][0]["SecretID"], "4");
        assert_eq!(spec["TaskTemplate"]["Networks"], json!([{"Target": "5"}, {"Target": "3"}]));
    }
}
