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
mod tests {
    use super::*;
    use serde_json::json;

    /// A valid spec, one change to it, and what Swarm says to that.
    fn refusal(change: impl FnOnce(&mut Value)) -> (u16, String) {
        let mut swarm = Swarm::three_nodes().overlay("demo");
        let config = swarm.config("conf", "x");
        swarm.service("taken").publish_host(8080, 80).create();
        let mut spec = json!({
            "Name": "x",
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": "i",
                    "Configs": [{ "ConfigID": config, "ConfigName": "conf", "File": { "Name": "/x" } }],
                },
                "Networks": [{ "Target": "demo" }],
            },
        });
        swarm.clone_free_check(&spec);
        change(&mut spec);
        let err = swarm.create_service(spec).unwrap_err();
        (err.status, err.message.rsplit("desc = ").next().unwrap_or_default().to_owned())
    }

    impl Swarm {
        fn clone_free_check(&mut self, spec: &Value) {
            let mut valid = spec.clone();
            valid["Name"] = "valid".into();
            self.create_service(valid).unwrap();
        }
    }

    #[test]
    fn a_service_on_an_unknown_network_is_a_500() {
        let got = refusal(|s| s["TaskTemplate"]["Networks"][0]["Target"] = "nonet".into());
        assert_eq!(got, (500, "network nonet not found".into()));
    }

    #[test]
    fn ingress_cannot_be_attached() {
        let got = refusal(|s| s["TaskTemplate"]["Networks"][0]["Target"] = "ingress".into());
        assert_eq!(got, (400, "Service cannot be explicitly attached to the ingress network \"ingress\"".into()));
    }

    #[test]
    fn a_config_reference_needs_id_and_name() {
        let configs = |s: &mut Value| s["TaskTemplate"]["ContainerSpec"]["Configs"][0].take();
        let with = |s: &mut Value, r: Value| s["TaskTemplate"]["ContainerSpec"]["Configs"] = json!([r]);
        let got = refusal(|s| {
            let mut r = configs(s);
            r["ConfigName"] = "other".into();
            with(s, r);
        });
        assert_eq!(got, (400, "config not found: other".into()));
        let got = refusal(|s| {
            let mut r = configs(s);
            r["ConfigID"] = "".into();
            with(s, r);
        });
        assert_eq!(got, (400, "malformed config reference".into()));
        let got = refusal(|s| with(s, json!({ "ConfigID": "q", "ConfigName": "conf" })));
        assert_eq!(got, (400, "invalid Config: either File or Runtime should be set".into()));
    }

    #[test]
    fn targets_are_unique_within_a_task() {
        let got = refusal(|s| {
            s["TaskTemplate"]["ContainerSpec"]["Secrets"] = json!([
                { "SecretID": "q", "SecretName": "a", "File": { "Name": "f" } },
                { "SecretID": "r", "SecretName": "b", "File": { "Name": "f" } },
            ]);
        });
        assert_eq!(got, (400, "secret references 'a' and 'b' have a conflicting target: 'f'".into()));
    }

    #[test]
    fn missing_secrets_are_all_named() {
        let got = refusal(|s| {
            s["TaskTemplate"]["ContainerSpec"]["Secrets"] = json!([
                { "SecretID": "q", "SecretName": "a", "File": { "Name": "f" } },
                { "SecretID": "r", "SecretName": "b", "File": { "Name": "g" } },
            ]);
        });
        assert_eq!(got, (400, "secrets not found: a, b".into()));
    }

    #[test]
    fn names_are_unique_and_valid() {
        assert_eq!(refusal(|s| s["Name"] = "sh.op".into()).0, 400);
        let got = refusal(|s| s["Name"] = "taken".into());
        assert_eq!(got, (409, "name conflicts with an existing object: service taken already exists".into()));
    }

    #[test]
    fn a_port_of_the_mesh_cannot_be_a_host_port_elsewhere() {
        let got = refusal(|s| s["EndpointSpec"] = json!({ "Ports": [{ "TargetPort": 1, "PublishedPort": 8080 }] }));
        assert_eq!(got.0, 400);
        assert!(got.1.starts_with("port '8080' is already in use by service 'taken' ("), "{}", got.1);
        assert!(got.1.ends_with("as a host-published port"), "{}", got.1);
    }

    #[test]
    fn a_service_beyond_a_raft_message_is_refused_and_so_is_its_update() {
        let labels = |n: usize| json!({ "x": "a".repeat(n) });
        let big = "raft: raft message is too large and can't be sent";
        assert_eq!(refusal(|s| s["Labels"] = labels(1_600_000)), (500, big.into()));
        assert!(refusal(|s| s["Labels"] = labels(4_300_000)).1.starts_with("grpc: received message larger than max"));
        let mut swarm = Swarm::three_nodes();
        swarm.service("big").replicas(0).label("x", &"a".repeat(800_000)).create();
        let err = swarm.edit_service("big", |s| s["Labels"] = labels(800_000)).unwrap_err();
        assert_eq!(err.status, 500);
        assert!(err.message.ends_with(big));
    }

    #[test]
    fn a_stale_version_is_a_conflict_and_changes_nothing() {
        let mut swarm = Swarm::three_nodes();
        let id = swarm.service("web").create();
        let version = swarm.services[&id].meta.version;
        let spec = Value::clone(&swarm.services[&id].spec);
        swarm.update_service("web", version, spec.clone()).unwrap();
        let err = swarm.update_service("web", version, spec).unwrap_err();
        assert_eq!((err.status, &*err.message), (500, "rpc error: code = Unknown desc = update out of sequence"));
    }

    #[test]
    fn an_identical_update_sets_previous_spec_and_restarts_nothing() {
        let mut swarm = Swarm::three_nodes();
        let id = swarm.service("web").label("n", "1").replicas(2).create();
        swarm.settle();
        let tasks: Vec<_> = swarm.running("web").iter().map(|t| t.meta.id.clone()).collect();
        assert_eq!(swarm.services[&id].previous_spec, None);
        swarm.edit_service("web", |_| ()).unwrap();
        swarm.settle();
        let service = &swarm.services[&id];
        assert_eq!(service.previous_spec.as_ref(), Some(&service.spec));
        assert_eq!(service.update_status, None);
        assert_eq!(swarm.running("web").iter().map(|t| t.meta.id.clone()).collect::<Vec<_>>(), tasks);
    }

    #[test]
    fn mode_and_name_cannot_change() {
        let mut swarm = Swarm::three_nodes();
        swarm.service("web").create();
        assert_eq!(swarm.edit_service("web", |s| s["Mode"] = json!({ "Global": {} })).unwrap_err().status, 501);
        assert_eq!(swarm.edit_service("web", |s| s["Name"] = "wub".into()).unwrap_err().status, 501);
    }

    #[test]
    fn a_rollback_swaps_the_specs_and_needs_a_previous_one() {
        let mut swarm = Swarm::three_nodes();
        let id = swarm.service("web").label("n", "1").create();
        let version = swarm.services[&id].meta.version;
        let spec = Value::clone(&swarm.services[&id].spec);
        let err = swarm.rollback_service("web", version, spec.clone()).unwrap_err();
        assert_eq!(err.status, 400);
        assert!(err.message.ends_with("does not have a previous spec"));
        swarm.edit_service("web", |s| s["Labels"]["n"] = "2".into()).unwrap();
        let version = swarm.services[&id].meta.version;
        swarm.rollback_service("web", version, spec).unwrap();
        swarm.settle();
        let service = &swarm.services[&id];
        assert_eq!(service.spec["Labels"]["n"], "1");
        assert_eq!(service.previous_spec.as_ref().unwrap()["Labels"]["n"], "2");
        assert_eq!(service.update_status.as_ref().unwrap().state, "rollback_completed");
    }
}
