//! Reading the Swarm: all of it, or one part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::identities::verified;
use super::{Client, Error, ErrorKind, OwnSpecs, ServiceView, convert};
use crate::ownership;
use crate::proxy_config::template;
use crate::swarm::{self, Config, Mode, Network, Node, Secret, Service, Snapshot, Task};
use crate::units::{NodeId, ServiceId};

/// All that was read, at one moment as far as an engine lets one.
#[derive(Debug, Clone)]
pub struct Observation {
    /// What decisions depend on.
    pub snapshot: Snapshot,
    /// Our own services' whole specs, for writing them back.
    pub specs: OwnSpecs,
    /// How long processors were busy with it, the waiting left out.
    pub busy: Duration,
}

impl Client {
    /// Reads the whole Swarm with seven list calls, six of them at once, one more where labelled services lack tasks, and one for each
    /// template of operators' own.
    ///
    /// The caller's clock gives `now`, which becomes [`Snapshot::observed_at`].
    ///
    /// # Errors
    ///
    /// When any of the calls fails, is late or is not understood. There is no part of an observation.
    pub async fn observe(&self, now: Timestamp) -> Result<Observation, Error> {
        let wanted = with_filters("/tasks", &wanted());
        let (services, tasks, networks, nodes, configs, secrets) = tokio::try_join!(
            self.read_services(),
            self.list("tasks", &wanted, |json| convert::tasks(json, |_| false)),
            self.read_networks(),
            self.read_nodes(),
            self.read_configs(),
            self.read_secrets(),
        )?;
        let (services, own_tasks) = services;
        let busy =
            services.busy + own_tasks.busy + tasks.busy + networks.busy + nodes.busy + configs.busy + secrets.busy;

        let mut snapshot = Snapshot::empty(now);
        let mut specs = OwnSpecs::default();
        snapshot.engine = self.engine.clone();
        snapshot.core = self.core.clone();
        snapshot.authority = self.authority.as_ref().map(|authority| authority.fingerprint());
        for convert::ReadService { service, spec } in services.value {
            if let Some(spec) = spec {
                specs.insert(&service, spec);
            }
            snapshot.services.push(service.into());
        }
        // Of our own services' tasks the second list knows more, and later.
        let of_others = tasks.value.into_iter().filter(|task| specs.get(&task.service).is_none());
        snapshot.tasks = of_others.chain(own_tasks.value).map(Arc::new).collect();
        let ended = self.ended_tasks(&lacking_tasks(&snapshot)).await?;
        snapshot.tasks.extend(ended.into_iter().map(Arc::new));
        snapshot.tasks.sort_by(|a, b| a.id.cmp(&b.id));
        snapshot.networks = networks.value;
        snapshot.nodes = nodes.value;
        snapshot.configs = configs.value;
        let templates = template::mounted(snapshot.services());
        self.add_templates(&mut snapshot.configs, &templates).await?;
        snapshot.secrets = secrets.value;
        Ok(Observation { snapshot, specs, busy })
    }

    /// Reads one service and its tasks, by id or name. `None` when there is none.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn observe_service(&self, id_or_name: &str) -> Result<Option<ServiceView>, Error> {
        let object = format!("service {id_or_name}");
        let path = format!("/services/{}", encode(id_or_name));
        let Some(json) = gone_is_none(self.get(&object, &path, self.deadlines.inspect).await)? else { return Ok(None) };
        let read = convert::service(&json).map_err(|source| Error::Answer { object: object.clone(), source })?;
        let convert::ReadService { service, spec } = read;
        let ours = spec.is_some();
        let mut filters = json!({ "service": [service.id.as_str()] });
        if !ours {
            filters["desired-state"] = wanted()["desired-state"].take();
        }
        let path = with_filters("/tasks", &filters);
        let tasks = self.list(&format!("tasks of {object}"), &path, move |json| convert::tasks(json, |_| ours)).await;
        Ok(gone_is_none(tasks)?.map(|tasks| ServiceView { service, tasks: tasks.value, spec }))
    }

    /// Reads these services and their tasks with two calls. One that is missing in the answer is gone.
    ///
    /// # Errors
    ///
    /// As any call; [`ErrorKind::Gone`] when one of them was removed between the two calls.
    pub async fn observe_services(&self, ids: &BTreeSet<ServiceId>) -> Result<BTreeMap<ServiceId, ServiceView>, Error> {
        // An empty filter would mean all services.
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let names: Vec<_> = ids.iter().map(ServiceId::as_str).collect();
        let path = with_filters("/services", &json!({ "id": names }));
        let read = self.list("services", &path, convert::services).await?.value;
        // The engine takes an id for the beginning of one.
        let read = read.into_iter().filter(|read| ids.contains(&read.service.id));
        let mut views: BTreeMap<_, _> = read
            .map(|read| {
                let convert::ReadService { service, spec } = read;
                (service.id.clone(), ServiceView { service, tasks: Vec::new(), spec })
            })
            .collect();
        if views.is_empty() {
            return Ok(views);
        }
        let ours: BTreeSet<_> =
            views.iter().filter(|(_, view)| view.spec.is_some()).map(|(id, _)| id.clone()).collect();
        let names: Vec<_> = views.keys().map(ServiceId::as_str).collect();
        let mut filters = json!({ "service": names });
        if ours.is_empty() {
            filters["desired-state"] = wanted()["desired-state"].take();
        }
        let is_ours = ours.clone();
        let convert = move |json: &[u8]| convert::tasks(json, |service| is_ours.contains(service));
        let tasks = self.list("tasks", &with_filters("/tasks", &filters), convert).await?.value;
        for task in tasks {
            if let Some(view) =
                views.get_mut(&task.service).filter(|_| task.is_wanted() || ours.contains(&task.service))
            {
                view.tasks.push(task);
            }
        }
        Ok(views)
    }

    /// Reads the tasks on these nodes that Swarm wants ready or running. Tasks of our own services are without their configs and
    /// errors: use [`Client::observe_services`] for those.
    ///
    /// # Errors
    ///
    /// As any call. A node that is gone has no tasks.
    pub async fn observe_node_tasks(&self, nodes: &BTreeSet<NodeId>) -> Result<Vec<Task>, Error> {
        if nodes.is_empty() {
            return Ok(Vec::new());
        }
        let mut filters = wanted();
        filters["node"] = nodes.iter().map(NodeId::as_str).collect();
        let path = with_filters("/tasks", &filters);
        let tasks = self.list("tasks of nodes", &path, |json| convert::tasks(json, |_| false)).await;
        Ok(gone_is_none(tasks)?.map(|tasks| tasks.value).unwrap_or_default())
    }

    /// Reads all networks of the Swarm.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn observe_networks(&self) -> Result<Vec<Network>, Error> {
        Ok(self.read_networks().await?.value)
    }

    /// Reads all nodes.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn observe_nodes(&self) -> Result<Vec<Node>, Error> {
        Ok(self.read_nodes().await?.value)
    }

    /// Reads our own config objects with their data, and templates: those that the settings name, and those that are mounted
    /// ([`template::mounted`]).
    ///
    /// # Errors
    ///
    /// As any call. A template that does not exist is left out.
    pub async fn observe_configs(&self, mounted: &BTreeSet<String>) -> Result<Vec<Config>, Error> {
        let mut configs = self.read_configs().await?.value;
        self.add_templates(&mut configs, mounted).await?;
        Ok(configs)
    }

    async fn add_templates(&self, configs: &mut Vec<Config>, mounted: &BTreeSet<String>) -> Result<(), Error> {
        for name in self.templates.union(mounted) {
            if configs.iter().any(|config| config.name == *name) {
                continue;
            }
            let object = format!("config {name}");
            let path = format!("/configs/{}", encode(name));
            let Some(json) = gone_is_none(self.get(&object, &path, self.deadlines.inspect).await)? else { continue };
            let config = convert::config(&json).map_err(|source| Error::Answer { object, source })?;
            // An engine finds objects by the beginning of an id, too.
            configs.extend(Some(config).filter(|config| config.name == *name));
        }
        configs.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(())
    }

    /// Reads what may be known of all secrets.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn observe_secrets(&self) -> Result<Vec<Secret>, Error> {
        Ok(self.read_secrets().await?.value)
    }

    /// Reads all services, and all tasks of our own. A service that goes between the two calls answers the second one with
    /// 404: then both are made again.
    async fn read_services(&self) -> Result<(Read<Vec<convert::ReadService>>, Read<Vec<Task>>), Error> {
        let mut tries = 0;
        loop {
            let services = self.list("services", "/services", convert::services).await?;
            let ours: BTreeSet<_> = services.value.iter().filter(|read| read.spec.is_some()).map(id_of).collect();
            match self.tasks_of(&ours).await {
                Ok(tasks) => return Ok((services, tasks)),
                Err(error) if error.kind() == ErrorKind::Gone && tries < MOST_TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    async fn read_networks(&self) -> Result<Read<Vec<Network>>, Error> {
        self.list("networks", &with_filters("/networks", &json!({ "scope": ["swarm"] })), convert::networks).await
    }

    async fn read_nodes(&self) -> Result<Read<Vec<Node>>, Error> {
        self.list("nodes", "/nodes", convert::nodes).await
    }

    async fn read_configs(&self) -> Result<Read<Vec<Config>>, Error> {
        let ours = format!("{}={}", ownership::OWNER, ownership::OWNER_VALUE);
        self.list("configs", &with_filters("/configs", &json!({ "label": [ours] })), convert::configs).await
    }

    async fn read_secrets(&self) -> Result<Read<Vec<Secret>>, Error> {
        let authority = self.authority.clone();
        let read = move |json: &[u8]| {
            let mut secrets = convert::secrets(json)?;
            for secret in &mut secrets {
                secret.identity = authority.as_ref().and_then(|authority| verified(authority, secret));
            }
            Ok(secrets)
        };
        self.list("secrets", "/secrets", read).await
    }

    /// All tasks of our own services, ended ones too: they tell how a roll went.
    async fn tasks_of(&self, services: &BTreeSet<String>) -> Result<Read<Vec<Task>>, Error> {
        // An empty filter would mean all tasks of all services.
        if services.is_empty() {
            return Ok(Read { value: Vec::new(), busy: Duration::ZERO });
        }
        let path = with_filters("/tasks", &json!({ "service": services }));
        self.list("tasks of our own services", &path, |json| convert::tasks(json, |_| true)).await
    }

    /// Of these services the tasks that ended last with a reason.
    async fn ended_tasks(&self, services: &BTreeSet<&str>) -> Result<Vec<Task>, Error> {
        if services.is_empty() {
            return Ok(Vec::new());
        }
        let path = with_filters("/tasks", &json!({ "service": services, "desired-state": ["shutdown"] }));
        // One that is gone by now has no tasks.
        let tasks = self.list("tasks that ended", &path, convert::ended).await;
        Ok(gone_is_none(tasks)?.map(|tasks| tasks.value).unwrap_or_default())
    }

    /// Reads a list and parses it on a thread where that disturbs nobody.
    async fn list<T: Send + 'static>(
        &self,
        object: &str,
        path: &str,
        convert: impl FnOnce(&[u8]) -> Result<T, serde_json::Error> + Send + 'static,
    ) -> Result<Read<T>, Error> {
        let json = self.get(object, path, self.deadlines.list).await?;
        let broken =
            |source: tokio::task::JoinError| Error::Broken { object: object.to_owned(), source: source.into() };
        let (value, busy) = tokio::task::spawn_blocking(move || timed(&json, convert)).await.map_err(broken)?;
        let value = value.map_err(|source| Error::Answer { object: object.to_owned(), source })?;
        Ok(Read { value, busy })
    }
}

/// How often a read is made again because something went in the middle of it.
const MOST_TRIES: usize = 10;

/// What a list call read, and how long parsing took.
struct Read<T> {
    value: T,
    busy: Duration,
}

fn timed<T>(json: &Bytes, convert: impl FnOnce(&[u8]) -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = convert(json);
    (value, start.elapsed())
}

/// How many tasks the services may have whose ended tasks are read: Swarm keeps several of each.
const MOST_ENDED: u64 = 500;

/// The labelled services of others that lack tasks, as many as it takes not too long to ask about.
fn lacking_tasks(snapshot: &Snapshot) -> BTreeSet<&str> {
    let mut runs: BTreeMap<&ServiceId, (u64, bool)> = BTreeMap::new();
    for task in snapshot.tasks() {
        let (running, all) = runs.entry(&task.service).or_insert((0, true));
        *running += u64::from(task.serves());
        *all &= task.serves();
    }
    let is_labelled = |service: &&Service| {
        !ownership::is_ours(&service.spec.labels) && service.spec.labels.keys().any(|key| swarm::names_routes(key))
    };
    let lacking = snapshot.services().filter(is_labelled).filter_map(|service| {
        let (running, all) = runs.get(&service.id).copied().unwrap_or((0, true));
        let wanted = match service.spec.mode {
            Mode::Replicated(replicas) => replicas,
            Mode::Global => running.max(1),
            Mode::Job => return None,
        };
        (wanted > 0 && (running < wanted || !all)).then_some((service.id.as_str(), wanted))
    });
    let mut left = MOST_ENDED;
    let within = |(_, wanted): &(&str, u64)| left.checked_sub(*wanted).map(|rest| left = rest).is_some();
    lacking.filter(within).map(|(id, _)| id).collect()
}

fn id_of(read: &convert::ReadService) -> String {
    read.service.id.as_str().to_owned()
}

fn wanted() -> Value {
    json!({ "desired-state": ["running", "ready"] })
}

fn gone_is_none<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::Gone => Ok(None),
        Err(error) => Err(error),
    }
}

fn with_filters(path: &str, filters: &Value) -> String {
    format!("{path}?filters={}", encode(&filters.to_string()))
}

/// Percent-encodes everything that means something in a URL.
pub(super) fn encode(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}
