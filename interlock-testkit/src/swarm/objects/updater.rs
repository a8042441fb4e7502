//! How far an update is.

use super::Slot;
use crate::swarm::spec::UpdateConfig;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// One update of one service, from its first outdated task to the end of the last monitoring.
#[derive(Debug)]
pub(in crate::swarm) struct Updater {
    pub(in crate::swarm) spec: Arc<Value>,
    pub(in crate::swarm) config: UpdateConfig,
    pub(in crate::swarm) rollback: bool,
    pub(in crate::swarm) queue: VecDeque<Slot>,
    pub(in crate::swarm) outdated: usize,
    pub(in crate::swarm) workers: Vec<Worker>,
    /// The tasks of this update, and since when they have been seen started.
    pub(in crate::swarm) updated: BTreeMap<String, Option<Duration>>,
    pub(in crate::swarm) ended: Vec<String>,
    pub(in crate::swarm) failed: BTreeSet<String>,
    pub(in crate::swarm) monitor_until: Option<Duration>,
}

#[derive(Debug, Clone)]
pub(in crate::swarm) enum Worker {
    Idle,
    /// Waits for a task, without a limit: Swarm has none.
    Starting {
        task: String,
        slot: Slot,
    },
    Delay(Duration),
}

impl Updater {
    pub(in crate::swarm) fn task_ended(&mut self, id: &str) {
        self.ended.push(id.to_owned());
    }
}
