//! A task, and how it looks in the API.

use super::{Json, Meta, Network, with_meta};
use crate::swarm::state::TaskState;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A task.
#[derive(Debug)]
pub struct Task {
    /// Identity and version.
    pub meta: Meta,
    /// The service it belongs to.
    pub service_id: String,
    /// 1 and up for a replicated service, 0 for a global one.
    pub slot: u64,
    /// Where it runs, once assigned.
    pub node_id: Option<String>,
    /// What Swarm wants it to be. A client may route to it only if both this and `state` are running.
    pub desired: TaskState,
    /// What it is.
    pub state: TaskState,
    /// When `state` was written.
    pub status_at: Timestamp,
    /// Words for people.
    pub message: &'static str,
    /// Why it waits or failed.
    pub err: Option<String>,
    /// Exit code of its container.
    pub exit_code: i64,
    /// Network ids and addresses; present from *pending* on and kept after death.
    pub attachments: Vec<Attachment>,
    /// Host-mode ports, as `PortConfig`s.
    pub ports: Vec<Value>,
    /// The service spec it was made from.
    pub(in crate::swarm) spec: Arc<Value>,
    pub(in crate::swarm) due: Option<Duration>,
    pub(in crate::swarm) dying: Option<(i64, String)>,
    pub(in crate::swarm) gate: Option<Gate>,
    pub(in crate::swarm) released: bool,
    /// It ended, and its restart policy allows no other.
    pub(in crate::swarm) final_in_slot: bool,
    pub(in crate::swarm) json: Json,
}

/// What must happen before a task that is wanted *ready* is wanted *running*.
#[derive(Debug, Clone)]
pub(in crate::swarm) struct Gate {
    pub(in crate::swarm) not_before: Duration,
    pub(in crate::swarm) after_task: Option<String>,
    pub(in crate::swarm) at_latest: Duration,
}

/// A task's place on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Network id.
    pub network: String,
    /// `10.0.1.2/24`.
    pub addresses: Vec<String>,
}

impl Task {
    /// Whether a client may send it traffic.
    pub fn is_running(&self) -> bool {
        self.desired == TaskState::Running && self.state == TaskState::Running
    }

    /// Whether Swarm still wants it.
    pub(in crate::swarm) fn wanted(&self) -> bool {
        self.desired <= TaskState::Complete
    }

    pub(in crate::swarm) fn container_started(&self) -> bool {
        self.node_id.is_some()
            && (self.state == TaskState::Running || self.state > TaskState::Running && self.exit_code >= 0)
    }

    /// As the API shows it.
    pub(in crate::swarm) fn json<'n>(&self, network: impl Fn(&str) -> Option<&'n Network>) -> &str {
        self.json.get(|| {
            let mut spec = self.spec.get("TaskTemplate").cloned().unwrap_or_default();
            if let Some(members) = spec.as_object_mut() {
                members.remove("Runtime");
            }
            let mut status = json!({
                "Timestamp": self.status_at, "State": self.state, "Message": self.message, "PortStatus": {},
            });
            if let Some(err) = &self.err {
                status["Err"] = err.clone().into();
            }
            if self.container_started() {
                let pid = if self.state == TaskState::Running { 4242 } else { 0 };
                status["ContainerStatus"] =
                    json!({ "ContainerID": container_id(&self.meta.id), "PID": pid, "ExitCode": self.exit_code });
            }
            if self.state == TaskState::Running && !self.ports.is_empty() {
                status["PortStatus"] = json!({ "Ports": self.ports });
            }
            let mut out = json!({
                "Labels": {}, "Spec": spec, "ServiceID": self.service_id, "Status": status, "DesiredState": self.desired,
            });
            if self.slot > 0 {
                out["Slot"] = self.slot.into();
            }
            if let Some(node) = &self.node_id {
                out["NodeID"] = node.clone().into();
            }
            if !self.attachments.is_empty() {
                let attachments = self.attachments.iter().map(|a| {
                    let mut out = json!({ "Network": network(&a.network).map(Network::in_task) });
                    if !a.addresses.is_empty() {
                        out["Addresses"] = json!(a.addresses);
                    }
                    out
                });
                out["NetworksAttachments"] = attachments.collect();
            }
            with_meta(&self.meta, out)
        })
    }
}

/// 64 hexadecimal characters that belong to a task.
fn container_id(task: &str) -> String {
    let hex: String = task.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex:0<64}")
}

/// What a replacement replaces: a numbered slot, or the place on a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::swarm) enum Slot {
    Number(u64),
    Node(String),
}

pub(in crate::swarm) fn slot_of(task: &Task) -> Slot {
    match (&task.node_id, task.slot) {
        (Some(node), 0) => Slot::Node(node.clone()),
        (_, number) => Slot::Number(number),
    }
}
