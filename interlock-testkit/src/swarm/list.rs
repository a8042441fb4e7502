//! The lists of the API, with their filters.

use super::objects::Blob;
use super::text;
use super::{Kind, Swarm, TaskState};
use crate::error::ApiError;
use serde_json::Value;
use std::collections::BTreeMap;

/// `filters={"label":["a=b"]}` or the older `{"label":{"a=b":true}}`.
#[derive(Debug, Default)]
pub(super) struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Status differs by endpoint in dockerd; `bad_json` is what this one answers to what is no JSON.
    pub(super) fn parse(json: Option<&str>, accepted: &[&str], bad_json: u16) -> Result<Self, ApiError> {
        let Some(json) = json.filter(|json| !json.is_empty()) else { return Ok(Self::default()) };
        let value: Value = serde_json::from_str(json).map_err(|_| {
            let first = json.chars().next().unwrap_or_default();
            ApiError::new(bad_json, format!("invalid character '{first}' looking for beginning of value"))
        })?;
        let mut filters = BTreeMap::new();
        for (key, values) in value.as_object().into_iter().flatten() {
            if !accepted.contains(&key.as_str()) {
                return Err(ApiError::new(400, format!("Invalid filter '{key}'")));
            }
            let values = match values {
                Value::Array(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                Value::Object(map) => map.keys().cloned().collect(),
                _ => Vec::new(),
            };
            filters.insert(key.clone(), values);
        }
        Ok(Self(filters))
    }

    pub(super) fn get(&self, key: &str) -> &[String] {
        self.0.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    fn any(&self, key: &str, matches: impl Fn(&str) -> bool) -> bool {
        self.get(key).is_empty() || self.get(key).iter().any(|value| matches(value))
    }

    fn prefix(&self, key: &str, actual: &str) -> bool {
        self.any(key, |value| actual.starts_with(value))
    }

    fn labels(&self, key: &str, labels: &Value) -> bool {
        self.get(key).iter().all(|wanted| match wanted.split_once('=') {
            Some((label, value)) if !value.is_empty() => labels.get(label).and_then(Value::as_str) == Some(value),
            Some((label, _)) => labels.get(label).is_some(),
            None => labels.get(wanted).is_some(),
        })
    }
}

/// A JSON list put together from pieces that are serialised already.
struct Pieces(Vec<u8>);

impl Pieces {
    fn new() -> Self {
        Self(vec![b'['])
    }

    fn push(&mut self, piece: &str) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        self.0.extend_from_slice(piece.as_bytes());
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"]\n");
        self.0
    }
}

impl Swarm {
    pub(super) fn list_services(&self, filters: Option<&str>, status: bool) -> Result<Vec<u8>, ApiError> {
        let filters = Filters::parse(filters, &["name", "id", "label", "mode", "runtime"], 400)?;
        let mut out = Pieces::new();
        for service in self.services.values() {
            let mode = super::spec::Mode::of(&service.spec);
            let mode = match (mode.global(), mode.job()) {
                (true, false) => "global",
                (true, true) => "global-job",
                (false, true) => "replicated-job",
                (false, false) => "replicated",
            };
            let fits = filters.prefix("name", service.name())
                && filters.prefix("id", &service.meta.id)
                && filters.labels("label", &service.spec["Labels"])
                && filters.any("mode", |value| value == mode);
            if !fits {
                continue;
            }
            if status {
                let (running, desired) = self.service_status(service);
                let json = service.json();
                let open = json.strip_suffix('}').unwrap_or(json);
                out.push(&format!(
                    "{open},\"ServiceStatus\":{{\"RunningTasks\":{running},\"DesiredTasks\":{desired},\"CompletedTasks\":0}}}}"
                ));
            } else {
                out.push(service.json());
            }
        }
        Ok(out.end())
    }

    /// A service or node that does not exist is a 404 for the call.
    pub(super) fn list_tasks(&self, filters: Option<&str>) -> Result<Vec<u8>, ApiError> {
        let accepted = ["name", "id", "label", "service", "node", "desired-state", "_up-to-date", "runtime"];
        let filters = Filters::parse(filters, &accepted, 400)?;
        let services: Vec<String> = filters
            .get("service")
            .iter()
            .map(|key| self.resolve(Kind::Service, &self.services, key))
            .collect::<Result<_, _>>()?;
        let nodes: Vec<String> = filters.get("node").iter().map(|key| self.node_id(key)).collect::<Result<_, _>>()?;
        let states: Vec<TaskState> = filters
            .get("desired-state")
            .iter()
            .map(|s| {
                TaskState::parse(s).ok_or_else(|| ApiError::new(500, format!("Invalid desired-state filter: '{s}'")))
            })
            .collect::<Result<_, _>>()?;
        let mut out = Pieces::new();
        let mut push = |task: &super::Task| {
            let service = self.services.get(&task.service_id);
            let fits = (nodes.is_empty() || task.node_id.as_ref().is_some_and(|node| nodes.contains(node)))
                && (states.is_empty() || states.contains(&task.desired))
                && filters.prefix("id", &task.meta.id)
                && filters.any("name", |prefix| {
                    task_name(service.map(|s| s.name()).unwrap_or_default(), task).starts_with(prefix)
                })
                && (filters.get("label").is_empty()
                    || service.is_some_and(|s| filters.labels("label", &s.spec["Labels"])));
            if fits {
                out.push(task.json(|id| self.networks.get(id)));
            }
        };
        if services.is_empty() {
            self.tasks.values().for_each(&mut push);
        } else {
            let wanted = services.iter().filter_map(|id| self.services.get(id));
            let ids: std::collections::BTreeSet<_> = wanted.flat_map(|service| &service.tasks).collect();
            ids.into_iter().filter_map(|id| self.tasks.get(id)).for_each(&mut push);
        }
        Ok(out.end())
    }

    pub(super) fn task_json(&self, key: &str) -> Result<String, ApiError> {
        let mut matching = self.tasks.range(key.to_owned()..).take_while(|(id, _)| id.starts_with(key));
        match (matching.next(), matching.next()) {
            (Some((_, task)), None) if !key.is_empty() => Ok(task.json(|id| self.networks.get(id)).to_owned()),
            _ => Err(ApiError::not_found("task", key)),
        }
    }

    pub(super) fn list_blobs(&self, secrets: bool, filters: Option<&str>) -> Result<Vec<u8>, ApiError> {
        let filters = Filters::parse(filters, &["name", "names", "id", "label"], 500)?;
        let mut out = Pieces::new();
        let map: &BTreeMap<String, Blob> = if secrets { &self.secrets } else { &self.configs };
        for blob in map.values() {
            let fits = filters.prefix("name", blob.name())
                && filters.any("names", |name| name == blob.name())
                && filters.prefix("id", &blob.meta.id)
                && filters.labels("label", &blob.spec["Labels"]);
            if fits {
                out.push(blob.json());
            }
        }
        Ok(out.end())
    }

    pub(super) fn list_nodes(&self, filters: Option<&str>) -> Result<Vec<u8>, ApiError> {
        let filters = Filters::parse(filters, &["name", "id", "label", "role", "membership", "node.label"], 400)?;
        let mut out = Pieces::new();
        for node in self.nodes.values() {
            let fits = filters.prefix("name", &node.hostname)
                && filters.prefix("id", &node.meta.id)
                && filters.any("role", |role| role == text(&node.spec, "Role"))
                && filters.labels("node.label", &node.spec["Labels"]);
            if fits {
                out.push(node.json());
            }
        }
        Ok(out.end())
    }

    pub(super) fn list_networks(&self, filters: Option<&str>) -> Result<Vec<u8>, ApiError> {
        let filters = Filters::parse(filters, &["dangling", "driver", "id", "label", "name", "scope", "type"], 400)?;
        let mut out = Pieces::new();
        for kind in filters.get("type") {
            if kind != "custom" && kind != "builtin" {
                return Err(ApiError::new(500, format!("invalid filter: 'type'='{kind}'")));
            }
        }
        for network in self.networks.values() {
            let builtin = network.predefined && network.name() != "docker_gwbridge";
            let fits = filters.any("name", |part| network.name().contains(part))
                && filters.any("id", |part| network.meta.id.contains(part))
                && filters.any("driver", |driver| network.driver() == driver)
                && filters.any("scope", |scope| network.scope == scope)
                && filters.any("type", |kind| (kind == "builtin") == builtin)
                && filters.labels("label", &network.body["Labels"]);
            if fits {
                out.push(network.json());
            }
        }
        Ok(out.end())
    }
}

/// `shop.1.<task id>`, or `shop.<node id>.<task id>` for a global service.
fn task_name(service: &str, task: &super::Task) -> String {
    let id = &task.meta.id;
    match (&task.node_id, task.slot) {
        (Some(node), 0) => format!("{service}.{node}.{id}"),
        (_, slot) => format!("{service}.{slot}.{id}"),
    }
}
