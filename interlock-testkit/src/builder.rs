//! Building a Swarm in words.
//!
//! These are clients of the same functions as the API: what Swarm refuses, they panic on.

use crate::swarm::{Swarm, TaskState};
use base64::Engine as _;
use serde_json::{Value, json};

impl Swarm {
    /// With an overlay network of this name.
    ///
    /// # Panics
    /// If Swarm refuses.
    #[must_use]
    pub fn overlay(mut self, name: &str) -> Self {
        self.add_overlay(name);
        self
    }

    /// With an overlay network that has this subnet.
    ///
    /// # Panics
    /// If Swarm refuses.
    #[must_use]
    pub fn overlay_with_subnet(mut self, name: &str, subnet: &str) -> Self {
        let body = json!({ "Name": name, "Driver": "overlay", "IPAM": { "Config": [{ "Subnet": subnet }] } });
        self.create_network(body).unwrap_or_else(|err| panic!("{err}"));
        self
    }

    /// Adds an overlay network. Answers its id.
    ///
    /// # Panics
    /// If Swarm refuses.
    pub fn add_overlay(&mut self, name: &str) -> String {
        let body = json!({ "Name": name, "Driver": "overlay" });
        self.create_network(body).unwrap_or_else(|err| panic!("{err}"))
    }

    /// Adds a config. Answers its id.
    ///
    /// # Panics
    /// If Swarm refuses.
    pub fn config(&mut self, name: &str, data: &str) -> String {
        self.create_config(json!({ "Name": name, "Data": base64(data) })).unwrap_or_else(|err| panic!("{err}"))
    }

    /// Adds a secret. Answers its id.
    ///
    /// # Panics
    /// If Swarm refuses.
    pub fn secret(&mut self, name: &str) -> String {
        let data = base64(&format!("contents of {name}"));
        self.create_secret(json!({ "Name": name, "Data": data })).unwrap_or_else(|err| panic!("{err}"))
    }

    /// Begins a replicated service with one task.
    pub fn service(&mut self, name: &str) -> ServiceBuilder<'_> {
        let spec = json!({
            "Name": name,
            "Labels": {},
            "TaskTemplate": { "ContainerSpec": { "Image": format!("{name}:1") } },
            "Mode": { "Replicated": { "Replicas": 1 } },
        });
        ServiceBuilder { swarm: self, spec }
    }

    /// A Swarm of three nodes with many services of many tasks each, all running: `s0.example.com` and so on on one overlay `apps`.
    ///
    /// # Panics
    /// Never with fewer than a million tasks.
    pub fn with_many(services: usize, tasks_each: u64) -> Self {
        let mut swarm = Self::three_nodes().overlay_with_subnet("apps", "10.128.0.0/10");
        for n in 0..services {
            swarm
                .service(&format!("s{n}"))
                .label("com.docker.lb.hosts", &format!("s{n}.example.com"))
                .label("com.docker.lb.network", "apps")
                .label("com.docker.lb.port", "8080")
                .network("apps")
                .replicas(tasks_each)
                .create();
        }
        swarm.settle();
        swarm
    }

    /// Whether every service runs as many tasks as it wants and none is being updated.
    pub fn is_calm(&self) -> bool {
        self.services().all(|service| {
            let (running, wanted) = self.counts(service.name());
            let state = service.update_status.as_ref().map(|s| s.state);
            running == wanted && !matches!(state, Some("updating" | "rollback_started"))
        })
    }

    fn counts(&self, service: &str) -> (usize, usize) {
        let tasks = self.tasks_of(service);
        let wanted = tasks.iter().filter(|t| t.desired <= TaskState::Running).count();
        (tasks.iter().filter(|t| t.is_running()).count(), wanted)
    }
}

/// A service that is about to be created.
#[derive(Debug)]
pub struct ServiceBuilder<'s> {
    swarm: &'s mut Swarm,
    spec: Value,
}

impl std::fmt::Debug for Swarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.services().map(|s| s.name()).collect();
        f.debug_struct("Swarm").field("index", &self.index()).field("services", &names).finish_non_exhaustive()
    }
}

impl ServiceBuilder<'_> {
    /// A service label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.spec["Labels"][key] = value.into();
        self
    }

    /// So many tasks.
    #[must_use]
    pub fn replicas(mut self, replicas: u64) -> Self {
        self.spec["Mode"]["Replicated"]["Replicas"] = replicas.into();
        self
    }

    /// One task per node.
    #[must_use]
    pub fn global(mut self) -> Self {
        self.spec["Mode"] = json!({ "Global": {} });
        self
    }

    /// Another image than `NAME:1`.
    #[must_use]
    pub fn image(mut self, image: &str) -> Self {
        self.spec["TaskTemplate"]["ContainerSpec"]["Image"] = image.into();
        self
    }

    /// Attached to a network.
    #[must_use]
    pub fn network(mut self, name: &str) -> Self {
        push(&mut self.spec["TaskTemplate"]["Networks"], json!({ "Target": name }));
        self
    }

    /// No virtual address.
    #[must_use]
    pub fn dnsrr(mut self) -> Self {
        self.spec["EndpointSpec"]["Mode"] = "dnsrr".into();
        self
    }

    /// `--publish mode=host`; 0 lets the node choose.
    #[must_use]
    pub fn publish_host(self, published: u16, target: u16) -> Self {
        self.publish("host", published, target)
    }

    /// `--publish`: the routing mesh; 0 lets Swarm choose.
    #[must_use]
    pub fn publish_ingress(self, published: u16, target: u16) -> Self {
        self.publish("ingress", published, target)
    }

    fn publish(mut self, mode: &str, published: u16, target: u16) -> Self {
        let port = json!({ "Protocol": "tcp", "TargetPort": target, "PublishedPort": published, "PublishMode": mode });
        push(&mut self.spec["EndpointSpec"]["Ports"], port);
        self
    }

    /// `--constraint`.
    #[must_use]
    pub fn constraint(mut self, constraint: &str) -> Self {
        push(&mut self.spec["TaskTemplate"]["Placement"]["Constraints"], constraint.into());
        self
    }

    /// Mounts a config that exists.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn config(mut self, name: &str, target: &str) -> Self {
        let id = self.swarm.configs().find(|c| c.name() == name).map(|c| c.meta.id.clone());
        let id = id.unwrap_or_else(|| panic!("no config {name}"));
        let file = json!({ "Name": target, "UID": "0", "GID": "0", "Mode": 0o444 });
        let reference = json!({ "ConfigID": id, "ConfigName": name, "File": file });
        push(&mut self.spec["TaskTemplate"]["ContainerSpec"]["Configs"], reference);
        self
    }

    /// Mounts a secret that exists.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn secret(mut self, name: &str) -> Self {
        let id = self.swarm.secrets().find(|s| s.name() == name).map(|s| s.meta.id.clone());
        let id = id.unwrap_or_else(|| panic!("no secret {name}"));
        let file = json!({ "Name": name, "UID": "0", "GID": "0", "Mode": 0o444 });
        let reference = json!({ "SecretID": id, "SecretName": name, "File": file });
        push(&mut self.spec["TaskTemplate"]["ContainerSpec"]["Secrets"], reference);
        self
    }

    /// `UpdateConfig`, as JSON.
    #[must_use]
    pub fn update_config(mut self, config: Value) -> Self {
        self.spec["UpdateConfig"] = config;
        self
    }

    /// Anything else.
    #[must_use]
    pub fn with(mut self, edit: impl FnOnce(&mut Value)) -> Self {
        edit(&mut self.spec);
        self
    }

    /// Creates it. Answers its id.
    ///
    /// # Panics
    /// If Swarm refuses.
    pub fn create(self) -> String {
        self.swarm.create_service(self.spec).unwrap_or_else(|err| panic!("{err}"))
    }
}

fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        other => *other = Value::Array(vec![item]),
    }
}

fn base64(data: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(data)
}
