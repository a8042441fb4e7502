//! What the Swarm stores, and how each object looks in the API.
//!
//! Specs are JSON as the client sent it (after [`super::normal`]), so fields that nobody here knows survive. Each object keeps its
//! serialised form until it is written again: listing thirty thousand tasks copies bytes and nothing else.

mod task;
mod updater;

pub use task::{Attachment, Task};
pub(super) use task::{Gate, Slot, slot_of};
pub(super) use updater::{Updater, Worker};

use super::spec::text;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

/// What every object has.
#[derive(Debug, Clone)]
pub struct Meta {
    /// Twenty-five characters of `[0-9a-z]`.
    pub id: String,
    /// The raft index of the last write to this object.
    pub version: u64,
    /// Virtual time of creation.
    pub created: Timestamp,
    /// Virtual time of the last write.
    pub updated: Timestamp,
}

/// The serialised form, made at most once per write.
#[derive(Debug, Default)]
pub(super) struct Json(OnceLock<String>);

impl Json {
    fn get(&self, render: impl FnOnce() -> Value) -> &str {
        self.0.get_or_init(|| render().to_string())
    }

    pub(super) fn forget(&mut self) {
        self.0 = OnceLock::new();
    }
}

/// A config or a secret.
#[derive(Debug)]
pub struct Blob {
    /// Identity and version.
    pub meta: Meta,
    /// `Name`, `Labels`, `Data` (base64) and whatever else was sent.
    pub spec: Value,
    pub(super) secret: bool,
    pub(super) json: Json,
}

impl Blob {
    /// Its name.
    pub fn name(&self) -> &str {
        text(&self.spec, "Name")
    }

    /// As the API shows it: a secret without its `Data`.
    pub fn json(&self) -> &str {
        self.json.get(|| {
            let mut spec = self.spec.clone();
            if self.secret
                && let Some(members) = spec.as_object_mut()
            {
                members.remove("Data");
            }
            with_meta(&self.meta, json!({ "Spec": spec }))
        })
    }
}

/// A node.
#[derive(Debug)]
pub struct Node {
    /// Identity and version.
    pub meta: Meta,
    /// `Role`, `Availability`, `Labels`.
    pub spec: Value,
    /// `ready`, `down`, `unknown` or `disconnected`.
    pub state: &'static str,
    /// Host name.
    pub hostname: String,
    /// Address.
    pub addr: String,
    /// Whether it is the raft leader.
    pub leader: bool,
    pub(super) engine: String,
    pub(super) json: Json,
}

impl Node {
    /// The availability its spec asks for.
    pub fn availability(&self) -> &str {
        text(&self.spec, "Availability")
    }

    /// Whether it reports what its tasks do.
    pub(super) fn responds(&self) -> bool {
        self.state == "ready"
    }

    /// As the API shows it.
    pub fn json(&self) -> &str {
        self.json.get(|| {
            let mut out = json!({
                "Spec": self.spec,
                "Description": {
                    "Hostname": self.hostname,
                    "Platform": { "Architecture": "x86_64", "OS": "linux" },
                    "Resources": { "NanoCPUs": 2_000_000_000_u64, "MemoryBytes": 4_294_967_296_u64 },
                    "Engine": { "EngineVersion": self.engine },
                },
                "Status": { "State": self.state, "Addr": self.addr },
            });
            if text(&self.spec, "Role") == "manager" {
                out["ManagerStatus"] = json!({ "Reachability": "reachable", "Addr": format!("{}:2377", self.addr) });
                if self.leader {
                    out["ManagerStatus"]["Leader"] = true.into();
                }
            }
            with_meta(&self.meta, out)
        })
    }
}

/// A network. `version` is never shown by `/networks`, only inside a task.
#[derive(Debug)]
pub struct Network {
    /// Identity and version.
    pub meta: Meta,
    /// `Name`, `Driver`, `Labels`, `Options`, `Internal`, `Attachable`, as sent.
    pub body: Value,
    /// `swarm` or `local`.
    pub scope: &'static str,
    /// Whether it is the routing mesh.
    pub ingress: bool,
    /// One of dockerd's own: `bridge`, `host`, `none`, `docker_gwbridge`.
    pub(super) predefined: bool,
    pub(super) pool: Option<super::pool::Pool>,
    pub(super) json: Json,
    pub(super) in_task: OnceLock<Value>,
}

impl Network {
    /// Its name.
    pub fn name(&self) -> &str {
        text(&self.body, "Name")
    }

    /// Its driver.
    pub fn driver(&self) -> &str {
        text(&self.body, "Driver")
    }

    /// As the API shows it. Note `Id` and `Created` where other objects have `ID` and `CreatedAt`.
    pub fn json(&self) -> &str {
        self.json.get(|| {
            let mut out = self.body.clone();
            let ipam = self.pool.as_ref().map(|pool| vec![pool.config()]);
            if let Some(members) = out.as_object_mut() {
                for (key, value) in [
                    ("Labels", Value::Null),
                    ("Options", Value::Null),
                    ("Internal", false.into()),
                    ("Attachable", false.into()),
                    ("EnableIPv6", false.into()),
                ] {
                    members.entry(key).or_insert(value);
                }
            }
            out["Id"] = self.meta.id.clone().into();
            out["Created"] = self.meta.created.to_string().into();
            out["Scope"] = self.scope.into();
            out["Ingress"] = self.ingress.into();
            out["IPAM"] = json!({ "Driver": "default", "Options": null, "Config": ipam.unwrap_or_default() });
            out["ConfigFrom"] = json!({ "Network": "" });
            out["ConfigOnly"] = false.into();
            out["Containers"] = Value::Null;
            out
        })
    }

    /// As a task's attachment shows it.
    fn in_task(&self) -> &Value {
        self.in_task.get_or_init(|| {
            let labels = self.body.get("Labels").filter(|l| !l.is_null()).cloned().unwrap_or_else(|| json!({}));
            let mut spec = json!({
                "Name": self.name(),
                "Labels": labels,
                "DriverConfiguration": { "Name": self.driver() },
                "Scope": "swarm",
            });
            if self.ingress {
                spec["Ingress"] = true.into();
            }
            let ipam = self.pool.as_ref().map(|pool| vec![pool.config()]);
            let rest = json!({
                "Spec": spec,
                "DriverState": { "Name": self.driver() },
                "IPAMOptions": { "Driver": { "Name": "default" }, "Configs": ipam.unwrap_or_default() },
            });
            with_meta(&self.meta, rest)
        })
    }
}

/// A service.
#[derive(Debug)]
pub struct Service {
    /// Identity and version.
    pub meta: Meta,
    /// What was asked for last.
    pub spec: Arc<Value>,
    /// The spec before: set by every update, null after an automatic rollback (docker-facts, section 4).
    pub previous_spec: Option<Arc<Value>>,
    /// How the last change of tasks went; null after every update by a client.
    pub update_status: Option<UpdateStatus>,
    /// Virtual addresses by network.
    pub vips: Vec<(String, String)>,
    pub(super) ports: Vec<Value>,
    pub(super) tasks: BTreeSet<String>,
    pub(super) updater: Option<Updater>,
    pub(super) json: Json,
}

/// `UpdateStatus` of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateStatus {
    /// `updating`, `paused`, `completed`, `rollback_started`, `rollback_paused`, `rollback_completed`.
    pub state: &'static str,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// Words for people.
    pub message: String,
}

impl Service {
    /// Its name.
    pub fn name(&self) -> &str {
        text(&self.spec, "Name")
    }

    /// As the API shows it.
    pub fn json(&self) -> &str {
        self.json.get(|| {
            let mut endpoint = json!({ "Spec": self.spec.get("EndpointSpec").cloned().unwrap_or_else(|| json!({})) });
            if !self.ports.is_empty() {
                endpoint["Ports"] = self.ports.clone().into();
            }
            if !self.vips.is_empty() {
                let vips = self.vips.iter().map(|(id, addr)| json!({ "NetworkID": id, "Addr": addr }));
                endpoint["VirtualIPs"] = vips.collect();
            }
            let mut out = json!({ "Spec": *self.spec, "Endpoint": endpoint });
            if let Some(previous) = &self.previous_spec {
                out["PreviousSpec"] = Value::clone(previous);
            }
            if let Some(status) = &self.update_status {
                out["UpdateStatus"] = json!(status);
            }
            with_meta(&self.meta, out)
        })
    }
}

fn with_meta(meta: &Meta, mut out: Value) -> Value {
    out["ID"] = meta.id.clone().into();
    out["Version"] = json!({ "Index": meta.version });
    out["CreatedAt"] = json!(meta.created);
    out["UpdatedAt"] = json!(meta.updated);
    out
}
