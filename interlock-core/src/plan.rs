//! What has to be done: a list of Docker actions, each with every decision made and a reason that a person can read.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::names::{Cluster, ConfigId, ServiceId};
use crate::snapshot::Labels;

mod diff;
mod text;

pub use diff::{Attempt, Attempts, diff};

/// Docker actions in the order in which they are safe: create, point the service at it, remove what is unused.
#[must_use = "a plan does nothing until it is applied"]
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Plan {
    /// The steps, grouped by service cluster. A failed step stops its own cluster's remaining steps, not the others'.
    pub steps: Vec<Step>,
    /// Service clusters that get no steps now, because something has to end first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Waiting>,
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
    /// The service cluster it is for.
    pub cluster: Cluster,
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
}

/// A new value for one field of a service's spec.
///
/// A reference to a config object has a `ConfigName` and, when the object existed at planning time, a `ConfigID`. Docker chooses
/// ids, so for an object that the same plan creates the id is what the creating call answered: `apply` fills it in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Where in the spec, as a list of keys: `["TaskTemplate", "ContainerSpec", "Image"]`.
    pub path: Vec<String>,
    /// The new value; `None` removes the field.
    pub value: Option<Value>,
    /// What changes, for people: `image nginx:1.28 -> nginx:1.30`.
    pub summary: String,
}

impl Action {
    /// The kind and name of the object, for people: `service interlock-proxy`.
    pub fn object(&self) -> String {
        match self {
            Self::CreateConfig { name, .. } | Self::RemoveConfig { name, .. } => format!("config {name}"),
            Self::CreateService { name, .. } | Self::UpdateService { name, .. } | Self::RemoveService { name, .. } => {
                format!("service {name}")
            }
        }
    }

    /// What happens to the object: `create`, `update` or `remove`.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::CreateConfig { .. } | Self::CreateService { .. } => "create",
            Self::UpdateService { .. } => "update",
            Self::RemoveService { .. } | Self::RemoveConfig { .. } => "remove",
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

/// Fills in the ids of config objects that a spec refers to by name alone, from those that were just created. Returns the names
/// that stay without an id.
pub fn fill_config_ids(spec: &mut Value, created: &BTreeMap<String, ConfigId>) -> Vec<String> {
    let mut missing = Vec::new();
    let configs = spec.pointer_mut("/TaskTemplate/ContainerSpec/Configs").and_then(Value::as_array_mut);
    for config in configs.into_iter().flatten() {
        let named = config["ConfigName"].as_str().unwrap_or_default().to_owned();
        if config.get("ConfigID").is_none_or(Value::is_null) {
            match created.get(&named) {
                Some(id) => config["ConfigID"] = Value::String(id.as_str().to_owned()),
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
    fn ids_of_new_configs_are_filled_in() {
        let mut spec = json!({"TaskTemplate": {"ContainerSpec": {"Configs": [
            {"ConfigName": "new"}, {"ConfigName": "old", "ConfigID": "1"}, {"ConfigName": "lost"}]}}});
        let missing = fill_config_ids(&mut spec, &BTreeMap::from([("new".to_owned(), ConfigId::from("2"))]));
        assert_eq!(missing, ["lost"]);
        assert_eq!(spec["TaskTemplate"]["ContainerSpec"]["Configs"][0]["ConfigID"], "2");
    }
}
