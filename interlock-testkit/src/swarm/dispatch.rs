//! The HTTP API without HTTP: a method, a path and a body in, an answer out.

use super::{Control, Kind, Swarm, list::Filters};
use crate::engine::ApiVersion;
use crate::error::ApiError;
use crate::script::{Fault, is_write};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// JSON, or empty.
    pub body: Vec<u8>,
    /// Headers beyond the content type.
    pub headers: Vec<(&'static str, String)>,
}

/// What becomes of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is answered.
    Answered(Answer),
    /// It is answered so much later, in real time.
    AnsweredAfter(Duration, Answer),
    /// It is a stream of the events from this position on, of these kinds (none means all).
    Events {
        /// Position in [`Swarm::events`].
        from: usize,
        /// Kinds that were asked for.
        kinds: Vec<String>,
    },
    /// The connection is closed without an answer.
    Dropped,
    /// It is never answered.
    Hung,
}

impl Swarm {
    /// Handles one call, as the script wants it, and notes it.
    pub fn call(&mut self, method: &str, path_and_query: &str, body: &[u8]) -> Outcome {
        let bare = self.engine.strip_version(path_and_query).map_or(path_and_query, |(_, rest)| rest).to_owned();
        let path = bare.split('?').next().unwrap_or_default().to_owned();
        let fault = self.script.judge(method, &path);
        let undone = match &fault {
            Some(Fault::Refuse(err)) => Some(Outcome::Answered(Answer::refusal(err))),
            Some(Fault::Drop) => Some(Outcome::Dropped),
            Some(Fault::Hang) => Some(Outcome::Hung),
            _ => None,
        };
        if let Some(outcome) = undone {
            let status = if let Outcome::Answered(answer) = &outcome { answer.status } else { 0 };
            self.note_call(method, &bare, status);
            return outcome;
        }
        if path == "/events" && method == "GET" {
            return self.stream_events(&bare, path_and_query, fault);
        }
        let answer = self.answer(method, path_and_query, body);
        self.note_call(method, &bare, answer.status);
        if self.auto_settle && is_write(method) && answer.status < 300 {
            self.settle();
        }
        match fault {
            Some(Fault::CommitThen(err)) => Outcome::Answered(Answer::refusal(&err)),
            Some(Fault::CommitThenDrop) => Outcome::Dropped,
            Some(Fault::CommitThenHang) => Outcome::Hung,
            Some(Fault::Delay(delay)) => Outcome::AnsweredAfter(delay, answer),
            _ => Outcome::Answered(answer),
        }
    }

    fn stream_events(&mut self, bare: &str, path: &str, fault: Option<Fault>) -> Outcome {
        let outcome = match (self.engine.strip_version(path), Query::of(bare)) {
            (Err(err), _) => Outcome::Answered(Answer::refusal(&err)),
            (Ok(_), query) => {
                let accepted = [
                    "config",
                    "container",
                    "daemon",
                    "event",
                    "image",
                    "label",
                    "network",
                    "node",
                    "plugin",
                    "scope",
                    "secret",
                    "service",
                    "type",
                    "volume",
                ];
                match Filters::parse(query.get("filters"), &accepted, 400) {
                    Ok(filters) => Outcome::Events { from: self.events().len(), kinds: filters.get("type").to_vec() },
                    Err(err) => Outcome::Answered(Answer::refusal(&err)),
                }
            }
        };
        self.note_call("GET", bare, 200);
        match fault {
            Some(Fault::CommitThenDrop) => Outcome::Dropped,
            Some(Fault::CommitThenHang) => Outcome::Hung,
            _ => outcome,
        }
    }

    /// Handles one call without the script and without noting it.
    pub fn answer(&mut self, method: &str, path_and_query: &str, body: &[u8]) -> Answer {
        let mut answer = self.route(method, path_and_query, body).unwrap_or_else(|err| Answer::refusal(&err));
        answer.headers.push(("Api-Version", self.engine.api.to_string()));
        answer.headers.push(("Server", format!("Docker/{} (linux)", self.engine.version)));
        answer.headers.push(("Ostype", "linux".into()));
        answer
    }

    /// A read whose answer is parsed.
    ///
    /// # Panics
    /// If it is refused.
    pub fn get(&mut self, path: &str) -> Value {
        let answer = self.answer("GET", path, b"");
        assert!(answer.status == 200, "GET {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    fn route(&mut self, method: &str, path_and_query: &str, body: &[u8]) -> Result<Answer, ApiError> {
        let (api, bare) = self.engine.strip_version(path_and_query)?;
        let query = Query::of(bare);
        let path: Vec<String> =
            bare.split('?').next().unwrap_or_default().trim_matches('/').split('/').map(unescape).collect();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let filters = query.get("filters");
        match (method, path.as_slice()) {
            ("GET" | "HEAD", ["_ping"]) => return Ok(self.ping(method)),
            ("GET", ["version"]) => return Ok(Answer::json(200, &self.version())),
            ("GET", ["info"]) => return Ok(Answer::json(200, &self.info())),
            ("GET", ["networks"]) => return Ok(Answer::text(200, self.list_networks(filters)?)),
            _ => {}
        }
        self.check_control()?;
        Ok(match (method, path.as_slice()) {
            ("GET", ["services"]) => {
                Answer::text(200, self.list_services(filters, truthy(query.get("status").unwrap_or_default()))?)
            }
            ("POST", ["services", "create"]) => Answer::id("ID", &self.create_service(adjusted(parse(body)?, api))?),
            ("GET", ["services", key]) => {
                let id = self.resolve(Kind::Service, &self.services, key)?;
                Answer::text(200, self.services[&id].json())
            }
            ("POST", ["services", key, "update"]) => {
                let version = query.version("service")?;
                let spec = adjusted(parse(body)?, api);
                match query.get("rollback").unwrap_or_default() {
                    "" => self.update_service(key, version, spec)?,
                    "previous" => self.rollback_service(key, version, spec)?,
                    other => return Err(ApiError::new(500, format!("unrecognized rollback option {other}"))),
                }
                Answer::json(200, &json!({ "Warnings": null }))
            }
            ("DELETE", ["services", key]) => Answer::done(200, self.remove_service(key)?),
            ("GET", ["tasks"]) => Answer::text(200, self.list_tasks(filters)?),
            ("GET", ["tasks", key]) => Answer::text(200, self.task_json(key)?),
            ("POST", ["networks", "create"]) => {
                let id = self.create_network(parse(body)?)?;
                Answer::json(201, &json!({ "Id": id, "Warning": "" }))
            }
            ("GET", ["networks", key]) => {
                let id = self.resolve(Kind::Network, &self.networks, key)?;
                Answer::text(200, self.networks[&id].json())
            }
            ("DELETE", ["networks", key]) => Answer::done(204, self.remove_network(key)?),
            ("GET", ["configs"]) => Answer::text(200, self.list_blobs(false, filters)?),
            ("GET", ["secrets"]) => Answer::text(200, self.list_blobs(true, filters)?),
            ("POST", ["configs", "create"]) => Answer::id("ID", &self.create_config(parse(body)?)?),
            ("POST", ["secrets", "create"]) => Answer::id("ID", &self.create_secret(parse(body)?)?),
            ("GET", ["configs", key]) => {
                let id = self.resolve(Kind::Config, &self.configs, key)?;
                Answer::text(200, self.configs[&id].json())
            }
            ("GET", ["secrets", key]) => {
                let id = self.resolve(Kind::Secret, &self.secrets, key)?;
                Answer::text(200, self.secrets[&id].json())
            }
            ("POST", ["configs", key, "update"]) => {
                Answer::done(200, self.update_config(key, query.version("config")?, parse(body)?)?)
            }
            ("POST", ["secrets", key, "update"]) => {
                Answer::done(200, self.update_secret(key, query.version("secret")?, parse(body)?)?)
            }
            ("DELETE", ["configs", key]) => Answer::done(204, self.remove_config(key)?),
            ("DELETE", ["secrets", key]) => Answer::done(204, self.remove_secret(key)?),
            ("GET", ["nodes"]) => Answer::text(200, self.list_nodes(filters)?),
            ("GET", ["nodes", key]) => {
                let id = self.node_id(key)?;
                Answer::text(200, self.nodes[&id].json())
            }
            ("POST", ["nodes", key, "update"]) => {
                Answer::done(200, self.update_node(key, query.version("node")?, parse(body)?)?)
            }
            _ => return Err(ApiError::new(404, "page not found")),
        })
    }

    fn check_control(&self) -> Result<(), ApiError> {
        Err(match self.control {
            Control::Manager => return Ok(()),
            Control::NoSwarm => ApiError::no_swarm(),
            Control::Worker => ApiError::not_a_manager(),
            Control::Hanging => ApiError::deadline_exceeded(),
            Control::Leaderless => ApiError::no_leader(),
        })
    }

    fn in_swarm(&self) -> (&'static str, bool) {
        match self.control {
            Control::NoSwarm => ("inactive", false),
            Control::Worker => ("active", false),
            _ => ("active", true),
        }
    }

    fn ping(&self, method: &str) -> Answer {
        let body = if method == "HEAD" { Vec::new() } else { b"OK".to_vec() };
        let mut answer =
            Answer { status: 200, body, headers: vec![("Content-Type", "text/plain; charset=utf-8".into())] };
        if self.engine.ping_tells_swarm() {
            let swarm = match self.in_swarm() {
                ("inactive", _) => "inactive",
                (_, true) => "active/manager",
                (_, false) => "active/worker",
            };
            answer.headers.push(("Swarm", swarm.into()));
        }
        answer
    }

    fn version(&self) -> Value {
        let engine = &self.engine;
        let (api, min_api) = (engine.api.to_string(), engine.min_api.to_string());
        json!({
            "Version": engine.version,
            "ApiVersion": api,
            "MinAPIVersion": min_api,
            "Os": "linux",
            "Arch": "amd64",
            "Components": [{
                "Name": "Engine", "Version": engine.version,
                "Details": { "ApiVersion": api, "MinAPIVersion": min_api, "Os": "linux", "Arch": "amd64" },
            }],
        })
    }

    fn info(&self) -> Value {
        let (state, manager) = self.in_swarm();
        let me = self.nodes.values().find(|n| n.leader);
        let managers = self.nodes.values().filter(|n| super::text(&n.spec, "Role") == "manager").count();
        json!({
            "Name": me.map(|n| n.hostname.clone()),
            "ServerVersion": self.engine.version,
            "LoggingDriver": "json-file",
            "Swarm": {
                "NodeID": me.map(|n| n.meta.id.clone()),
                "NodeAddr": me.map(|n| n.addr.clone()),
                "LocalNodeState": state,
                "ControlAvailable": manager,
                "Error": "",
                "Nodes": if manager { self.nodes.len() } else { 0 },
                "Managers": if manager { managers } else { 0 },
                "Cluster": if manager { json!({ "DefaultAddrPool": null, "SubnetSize": 24 }) } else { Value::Null },
            },
        })
    }
}

/// A spec without what the API version does not know: the engine drops it in silence.
fn adjusted(mut spec: Value, api: ApiVersion) -> Value {
    if api < ApiVersion(1, 44)
        && let Some(privileges) =
            spec.pointer_mut("/TaskTemplate/ContainerSpec/Privileges").and_then(Value::as_object_mut)
    {
        privileges.retain(|key, _| !matches!(key.as_str(), "Seccomp" | "AppArmor" | "NoNewPrivileges"));
    }
    spec
}

impl Answer {
    fn json(status: u16, value: &Value) -> Self {
        Self::text(status, format!("{value}\n"))
    }

    fn text(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, body: body.into(), headers: vec![("Content-Type", "application/json".into())] }
    }

    fn id(key: &str, id: &str) -> Self {
        Self::json(201, &json!({ key: id }))
    }

    fn done(status: u16, (): ()) -> Self {
        Self { status, body: Vec::new(), headers: Vec::new() }
    }

    fn refusal(err: &ApiError) -> Self {
        Self::json(err.status, &json!({ "message": err.message }))
    }
}

fn parse(body: &[u8]) -> Result<Value, ApiError> {
    if body.is_empty() {
        return Err(ApiError::new(400, "got EOF while reading request body"));
    }
    let value: Value = serde_json::from_slice(body).map_err(|err| ApiError::new(400, err.to_string()))?;
    if value.is_object() { Ok(value) } else { Err(ApiError::new(400, "json: cannot unmarshal into a spec")) }
}

fn truthy(value: &str) -> bool {
    !matches!(value.trim(), "" | "0" | "no" | "false" | "none" | "False" | "FALSE")
}

struct Query(BTreeMap<String, String>);

impl Query {
    fn of(path_and_query: &str) -> Self {
        let query = path_and_query.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        Self(pairs.map(|(key, value)| (unescape(key), unescape(&value.replace('+', " ")))).collect())
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn version(&self, kind: &str) -> Result<u64, ApiError> {
        let text = self.get("version").unwrap_or_default();
        text.parse().map_err(|_| {
            let message = match kind {
                "config" | "secret" => format!("invalid {kind} version"),
                _ => format!("invalid {kind} version '{text}': strconv.ParseUint: parsing \"{text}\": invalid syntax"),
            };
            ApiError::new(400, message)
        })
    }
}

fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| bytes[at] == b'%') {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests;
