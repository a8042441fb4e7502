//! Looking at a Swarm from a test, and things that happen in one.

use super::objects::{Blob, Network, Node, Service, Task};
use super::{Kind, Swarm, TaskState};
use crate::error::ApiError;
use crate::script::is_write;
use serde_json::Value;

/// One call that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// GET, POST, ...
    pub method: String,
    /// Path without the version, with the query.
    pub path: String,
    /// Status that was, or would have been, answered; 0 if nothing was done.
    pub status: u16,
    /// Raft index after it.
    pub index: u64,
}

impl Swarm {
    /// Every call so far, in order.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// How many calls could have changed something.
    pub fn writes(&self) -> usize {
        self.calls.iter().filter(|call| is_write(&call.method)).count()
    }

    /// Forgets the calls so far.
    pub fn forget_calls(&mut self) {
        self.calls.clear();
    }

    pub(super) fn note_call(&mut self, method: &str, path: &str, status: u16) {
        self.calls.push(Call { method: method.to_owned(), path: path.to_owned(), status, index: self.index });
    }

    /// All services, by id.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// All tasks, by id.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values()
    }

    /// All nodes, by id.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// All networks, by id.
    pub fn networks(&self) -> impl Iterator<Item = &Network> {
        self.networks.values()
    }

    /// All configs, by id.
    pub fn configs(&self) -> impl Iterator<Item = &Blob> {
        self.configs.values()
    }

    /// All secrets, by id.
    pub fn secrets(&self) -> impl Iterator<Item = &Blob> {
        self.secrets.values()
    }

    /// The service with this name or id.
    pub fn find_service(&self, key: &str) -> Option<&Service> {
        self.services.get(&self.resolve(Kind::Service, &self.services, key).ok()?)
    }

    /// The same as the API shows it.
    ///
    /// # Panics
    /// If there is no such service.
    pub fn service_json(&self, key: &str) -> Value {
        let service = self.find_service(key).unwrap_or_else(|| panic!("no service {key}"));
        serde_json::from_str(service.json()).unwrap_or_default()
    }

    /// The tasks of a service, dead ones included.
    pub fn tasks_of(&self, service: &str) -> Vec<&Task> {
        let ids = self.find_service(service).into_iter().flat_map(|s| s.tasks.iter());
        ids.filter_map(|id| self.tasks.get(id)).collect()
    }

    /// Those that may receive traffic.
    pub fn running(&self, service: &str) -> Vec<&Task> {
        self.tasks_of(service).into_iter().filter(|t| t.is_running()).collect()
    }

    /// The bytes of a config, by name or id.
    pub fn config_bytes(&self, key: &str) -> Option<Vec<u8>> {
        self.config_data(&self.resolve(Kind::Config, &self.configs, key).ok()?)
    }

    /// The bytes of a secret, by name or id: what a task that mounts it reads. The API does not give them out.
    pub fn secret_bytes(&self, key: &str) -> Option<Vec<u8>> {
        self.secret_data(&self.resolve(Kind::Secret, &self.secrets, key).ok()?)
    }

    /// Somebody edits a service by hand, as `docker service update` does: read, edit, write with the version read.
    pub fn edit_service(&mut self, key: &str, edit: impl FnOnce(&mut Value)) -> Result<(), ApiError> {
        let id = self.resolve(Kind::Service, &self.services, key)?;
        let Some(service) = self.services.get(&id) else { return Err(ApiError::not_found("service", key)) };
        let (mut spec, version) = (Value::clone(&service.spec), service.meta.version);
        edit(&mut spec);
        self.update_service(&id, version, spec)
    }

    /// `docker service scale`.
    ///
    /// # Panics
    /// If there is no such service.
    pub fn scale(&mut self, key: &str, replicas: u64) {
        let edited = self.edit_service(key, |spec| spec["Mode"]["Replicated"]["Replicas"] = replicas.into());
        edited.unwrap_or_else(|err| panic!("{err}"));
    }

    /// The process of one running task of the service ends with exit code 1.
    pub fn fail_one(&mut self, service: &str) {
        if let Some(id) = self.running(service).first().map(|t| t.meta.id.clone()) {
            self.fail_task(&id);
        }
    }

    /// The process of this task ends with exit code 1.
    pub fn fail_task(&mut self, id: &str) {
        self.end_task(id, TaskState::Failed, 1, Some("task: non-zero exit (1)".into()));
    }

    /// The task's health check fails until Swarm gives it up: it stays *running* for `retries` (the time they take), is then *failed* with 137,
    /// and only after that is wanted shutdown (docker-facts, section 3).
    pub fn make_unhealthy(&mut self, id: &str, retries: std::time::Duration) {
        let due = self.now + retries;
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.dying = Some((137, "task: non-zero exit (137): dockerexec: unhealthy container".into()));
        task.due = Some(due);
        self.set_timer(due, super::Timer::Task(id.to_owned()));
    }
}
