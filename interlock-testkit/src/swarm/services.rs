//! Creating, updating and removing services (docker-facts, section 4).

use super::objects::{Json, Service, Task, UpdateStatus};
use super::{Kind, Swarm, TaskState, normal, spec, text, validate};
use crate::error::{ApiError, Code};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Swarm {
    /// `POST /services/create`. Answers the id. Without a name, Docker makes one up.
    pub fn create_service(&mut self, mut spec: Value) -> Result<String, ApiError> {
        self.resolve_networks(&mut spec)?;
        if text(&spec, "Name").is_empty() {
            spec["Name"] = format!("nameless_{}", self.drawn).into();
        }
        let spec = normal::service_spec(spec);
        validate::conversion(&spec)?;
        self.limits.check_request(&spec)?;
        validate::spec_alone(&spec)?;
        self.check_networks(&spec)?;
        self.check_ports(&spec, "")?;
        self.check_references(&spec)?;
        let name = text(&spec, "Name").to_owned();
        if self.names.contains_key(&(Kind::Service, name.clone())) {
            let desc = format!("name conflicts with an existing object: service {name} already exists");
            return Err(ApiError::rpc(Code::AlreadyExists, desc));
        }
        self.limits.check_transaction(&[&spec])?;
        let meta = self.new_meta();
        let id = meta.id.clone();
        let service = Service {
            meta,
            spec: Arc::new(spec),
            previous_spec: None,
            update_status: None,
            vips: Vec::new(),
            ports: Vec::new(),
            tasks: BTreeSet::new(),
            updater: None,
            json: Json::default(),
        };
        self.names.insert((Kind::Service, name.clone()), id.clone());
        self.services.insert(id.clone(), service);
        self.emit("service", "create", &id, &[("name", name)]);
        self.allocate_and_write(&id);
        self.dirty.insert(id.clone());
        Ok(id)
    }

    /// `POST /services/{id}/update?version=N`. Resets UpdateStatus and sets PreviousSpec, **even for an identical spec**; a running update is
    /// cancelled, and what it replaced stays.
    pub fn update_service(&mut self, key: &str, version: u64, mut spec: Value) -> Result<(), ApiError> {
        self.resolve_networks(&mut spec)?;
        let spec = normal::service_spec(spec);
        validate::conversion(&spec)?;
        let id = self.resolve(Kind::Service, &self.services, key)?;
        self.check_update(&id, &spec)?;
        let now = self.timestamp();
        let Some(service) = self.services.get_mut(&id) else { return Err(ApiError::not_found("service", key)) };
        if service.meta.version != version {
            return Err(ApiError::out_of_sequence());
        }
        self.limits.check_transaction(&[&spec, &service.spec])?;
        let spec = Arc::new(spec);
        let mut attributes = changes(&service.spec, &spec);
        attributes.extend(service.update_status.as_ref().map(|s| ("updatestate.old", s.state.to_owned())));
        service.previous_spec = Some(std::mem::replace(&mut service.spec, spec));
        service.update_status = None;
        Self::touch(&mut self.index, now, &mut service.meta);
        service.json.forget();
        self.emit("service", "update", &id, &attributes);
        self.allocate_and_write(&id);
        self.dirty.insert(id);
        Ok(())
    }

    /// `POST /services/{id}/update?version=N&rollback=previous`: Spec and PreviousSpec change places. The spec that is sent along is checked
    /// like any other, then ignored.
    pub fn rollback_service(&mut self, key: &str, version: u64, mut spec: Value) -> Result<(), ApiError> {
        self.resolve_networks(&mut spec)?;
        let spec = normal::service_spec(spec);
        validate::conversion(&spec)?;
        let id = self.resolve(Kind::Service, &self.services, key)?;
        self.check_update(&id, &spec)?;
        let now = self.timestamp();
        let Some(service) = self.services.get_mut(&id) else { return Err(ApiError::not_found("service", key)) };
        let Some(previous) = service.previous_spec.clone() else {
            let desc = format!("service {id} does not have a previous spec");
            return Err(ApiError::rpc(Code::FailedPrecondition, desc));
        };
        if service.meta.version != version {
            return Err(ApiError::out_of_sequence());
        }
        let mut attributes = changes(&service.spec, &previous);
        service.previous_spec = Some(std::mem::replace(&mut service.spec, previous));
        service.update_status = Some(UpdateStatus {
            state: "rollback_started",
            started_at: now,
            completed_at: None,
            message: "manually requested rollback".into(),
        });
        attributes.push(("updatestate.new", "rollback_started".into()));
        Self::touch(&mut self.index, now, &mut service.meta);
        service.json.forget();
        self.emit("service", "update", &id, &attributes);
        self.allocate_and_write(&id);
        self.dirty.insert(id);
        Ok(())
    }

    /// `DELETE /services/{id}`. Its tasks are wanted *remove* at once and vanish when their containers have stopped.
    pub fn remove_service(&mut self, key: &str) -> Result<(), ApiError> {
        let id = self.resolve(Kind::Service, &self.services, key)?;
        let Some(service) = self.services.remove(&id) else { return Err(ApiError::not_found("service", key)) };
        self.index += 1;
        let name = service.name().to_owned();
        self.names.remove(&(Kind::Service, name.clone()));
        self.updating.remove(&id);
        self.release_endpoint(service.vips);
        for task in service.tasks {
            self.desire(&task, TaskState::Remove);
        }
        self.emit("service", "remove", &id, &[("name", name)]);
        Ok(())
    }

    fn check_update(&self, id: &str, spec: &Value) -> Result<(), ApiError> {
        self.limits.check_request(spec)?;
        validate::spec_alone(spec)?;
        self.check_networks(spec)?;
        let Some(service) = self.services.get(id) else { return Err(ApiError::not_found("service", id)) };
        if spec.get("EndpointSpec") != service.spec.get("EndpointSpec") {
            self.check_ports(spec, id)?;
        }
        validate::immutable(service, spec)?;
        self.check_references(spec)?;
        validate::mode_and_name(service, spec)
    }

    pub(super) fn allocate_and_write(&mut self, id: &str) {
        if self.allocate_endpoint(id) {
            self.write_service(id, &[]);
        }
    }

    /// A write by Swarm itself: a new version and an event.
    pub(super) fn write_service(&mut self, id: &str, attributes: &[(&'static str, String)]) {
        let now = self.timestamp();
        let Some(service) = self.services.get_mut(id) else { return };
        Self::touch(&mut self.index, now, &mut service.meta);
        service.json.forget();
        let mut all = vec![("name", service.name().to_owned())];
        all.extend_from_slice(attributes);
        self.emit("service", "update", id, &all);
    }

    /// Running and wanted tasks, as `?status=true` shows them.
    pub(super) fn service_status(&self, service: &Service) -> (usize, u64) {
        let tasks = service.tasks.iter().filter_map(|id| self.tasks.get(id));
        let (mut running, mut wanted_tasks) = (0, 0);
        for task in tasks {
            running += usize::from(task.state == TaskState::Running && task.desired == TaskState::Running);
            wanted_tasks += u64::from(Task::wanted(task));
        }
        let wanted = match spec::Mode::of(&service.spec) {
            spec::Mode::Replicated(n) | spec::Mode::ReplicatedJob(n) => n,
            spec::Mode::Global | spec::Mode::GlobalJob => wanted_tasks,
        };
        (running, wanted)
    }
}

fn changes(old: &Value, new: &Value) -> Vec<(&'static str, String)> {
    let mut out = vec![("name", text(new, "Name").to_owned())];
    let image = |spec: &Value| text(&spec["TaskTemplate"]["ContainerSpec"], "Image").to_owned();
    if image(old) != image(new) {
        out.extend([("image.old", image(old)), ("image.new", image(new))]);
    }
    let replicas = |spec: &Value| spec["Mode"]["Replicated"]["Replicas"].as_u64();
    if let (Some(a), Some(b)) = (replicas(old), replicas(new))
        && a != b
    {
        out.extend([("replicas.old", a.to_string()), ("replicas.new", b.to_string())]);
    }
    out
}

#[cfg(test)]
mod tests;
