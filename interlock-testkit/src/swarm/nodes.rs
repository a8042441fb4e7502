//! Nodes: what clients may edit, and what can happen to them.

use super::objects::{Json, Node};
use super::{Swarm, TaskState, normal, text};
use crate::error::{ApiError, Code};
use serde_json::{Value, json};

impl Swarm {
    /// Adds a node that is ready. The first manager is the leader. Answers the id.
    pub fn add_node(&mut self, hostname: &str, role: &str) -> String {
        let meta = self.new_meta();
        let id = meta.id.clone();
        let leader = role == "manager" && !self.nodes.values().any(|n| n.leader);
        let node = Node {
            meta,
            spec: json!({ "Labels": {}, "Role": role, "Availability": "active" }),
            state: "ready",
            hostname: hostname.to_owned(),
            addr: format!("10.99.0.{}", self.nodes.len() + 1),
            leader,
            engine: self.engine.version.clone(),
            json: Json::default(),
        };
        self.nodes.insert(id.clone(), node);
        self.emit("node", "create", &id, &[("name", hostname.to_owned())]);
        self.touch_global_services();
        id
    }

    /// The id behind an id or a host name.
    pub(super) fn node_id(&self, key: &str) -> Result<String, ApiError> {
        if self.nodes.contains_key(key) {
            return Ok(key.to_owned());
        }
        let mut matching = self.nodes.values().filter(|n| n.hostname == key || n.meta.id.starts_with(key));
        matching
            .next()
            .filter(|_| !key.is_empty())
            .map(|n| n.meta.id.clone())
            .ok_or_else(|| ApiError::not_found("node", key))
    }

    /// `POST /nodes/{id}/update`.
    pub fn update_node(&mut self, key: &str, version: u64, spec: Value) -> Result<(), ApiError> {
        let id = self.node_id(key)?;
        let managers = self.nodes.values().filter(|n| text(&n.spec, "Role") == "manager").count();
        let now = self.timestamp();
        let Some(node) = self.nodes.get_mut(&id) else { return Err(ApiError::not_found("node", key)) };
        if text(&node.spec, "Role") == "manager" && text(&spec, "Role") == "worker" && managers == 1 {
            let desc = "attempting to demote the last manager of the swarm";
            return Err(ApiError::rpc(Code::FailedPrecondition, desc));
        }
        if node.meta.version != version {
            return Err(ApiError::out_of_sequence());
        }
        let mut attributes = vec![("name", node.hostname.clone())];
        let new = normal::plain_spec(spec);
        if text(&new, "Availability") != node.availability() {
            attributes.push(("availability.old", node.availability().to_owned()));
            attributes.push(("availability.new", text(&new, "Availability").to_owned()));
        }
        node.spec = new;
        Self::touch(&mut self.index, now, &mut node.meta);
        node.json.forget();
        self.emit("node", "update", &id, &attributes);
        self.node_changed(&id);
        Ok(())
    }

    /// The node's state as the managers see it. `unknown` (no leader, or not heard of since one was elected) changes nothing else; `down`
    /// makes Swarm want its tasks *shutdown* and replacements elsewhere, while their state stays what it was (docker-facts, section 3).
    ///
    /// # Panics
    /// If there is no such node.
    pub fn set_node_state(&mut self, key: &str, state: &'static str) {
        let id = self.node_id(key).unwrap_or_else(|err| panic!("{err}"));
        let now = self.timestamp();
        let Some(node) = self.nodes.get_mut(&id).filter(|n| n.state != state) else { return };
        let attributes =
            [("name", node.hostname.clone()), ("state.old", node.state.to_owned()), ("state.new", state.to_owned())];
        node.state = state;
        Self::touch(&mut self.index, now, &mut node.meta);
        node.json.forget();
        self.emit("node", "update", &id, &attributes);
        self.node_changed(&id);
    }

    /// A hand edit of a node's spec, as `docker node update` does it.
    ///
    /// # Panics
    /// If there is no such node, or Swarm refuses.
    pub fn edit_node(&mut self, key: &str, edit: impl FnOnce(&mut Value)) {
        let id = self.node_id(key).unwrap_or_else(|err| panic!("{err}"));
        let Some(node) = self.nodes.get(&id) else { return };
        let (mut spec, version) = (node.spec.clone(), node.meta.version);
        edit(&mut spec);
        self.update_node(&id, version, spec).unwrap_or_else(|err| panic!("{err}"));
    }

    /// Whether tasks may stay on it.
    pub(super) fn node_is_valid(&self, id: &str) -> bool {
        self.nodes.get(id).is_some_and(|n| n.state != "down" && n.availability() != "drain")
    }

    fn node_changed(&mut self, id: &str) {
        let tasks: Vec<_> = self.by_node.get(id).into_iter().flatten().cloned().collect();
        if !self.node_is_valid(id) {
            for task in &tasks {
                self.evict(task);
            }
        }
        for task in tasks {
            self.kick(&task);
        }
        self.touch_global_services();
    }

    fn touch_global_services(&mut self) {
        let global = self.services.values().filter(|s| super::spec::Mode::of(&s.spec).global());
        self.dirty.extend(global.map(|s| s.meta.id.clone()));
    }

    fn evict(&mut self, id: &str) {
        let Some(task) = self.tasks.get(id).filter(|t| t.wanted()) else { return };
        let global = self.services.get(&task.service_id).is_some_and(|s| super::spec::Mode::of(&s.spec).global());
        if global {
            self.desire(id, TaskState::Shutdown);
        } else {
            self.restart(id);
        }
    }
}
