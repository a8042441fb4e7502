//! A Swarm made of a fixture, and interlock at work on it through the real Docker adapter.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use interlock_core::docker::{Client, Endpoint, Error, Observation};
use interlock_core::kinds::Renderings;
use interlock_core::ownership;
use interlock_core::plan::{Created, Plan};
use interlock_core::reconcile::{Inputs, Memo, Memory, Outcome, reconcile_embedded_with};
use interlock_core::settings::Settings;
use interlock_core::swarm::{Labels, Mode, PublishMode, Service, Snapshot, TaskState};
use interlock_core::trust::Authority;
use interlock_core::units::Cluster;
use interlock_testkit::{Swarm, server};
use serde_json::json;

/// What signs the identities of all these worlds.
pub static AUTHORITY: LazyLock<Arc<Authority>> = LazyLock::new(|| Arc::new(Authority::generate().unwrap()));

/// As `interlock install --ca-only` leaves it.
pub fn with_authority(mut swarm: Swarm) -> Swarm {
    add_authority(&mut swarm, &AUTHORITY);
    swarm
}

/// Adds the secret of an authority.
pub fn add_authority(swarm: &mut Swarm, authority: &Authority) {
    let labels = json!({
        ownership::OWNER: ownership::OWNER_VALUE, ownership::ROLE: "authority",
        ownership::FINGERPRINT: authority.fingerprint().to_string(),
    });
    let data = STANDARD.encode(authority.to_pem().as_bytes());
    swarm.create_secret(json!({ "Name": ownership::AUTHORITY_SECRET, "Labels": labels, "Data": data })).unwrap();
}

/// A service of two tasks that is routed by its name.
pub fn route(swarm: &mut Swarm, name: &str, network: &str) {
    swarm
        .service(name)
        .label("com.docker.lb.hosts", &format!("{name}.example.com"))
        .label("com.docker.lb.port", "8080")
        .network(network)
        .replicas(2)
        .create();
}

/// A Swarm with interlock at work on it.
pub struct World {
    pub settings: Settings,
    pub client: Client,
    backing: Backing,
}

enum Backing {
    Fake { handle: server::Handle, _folder: tempfile::TempDir },
    Real,
}

/// What interlock knows between two passes.
#[derive(Default)]
pub struct Mind {
    pub memory: Memory,
    pub renderings: Renderings,
    pub memo: Memo,
}

impl World {
    pub async fn new(swarm: Swarm, settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let handle = server::serve(Arc::new(Mutex::new(swarm)), folder.path()).unwrap();
        let client = Client::connect(&Endpoint::at(handle.url())).await.unwrap();
        let client = client.for_settings(&settings).with_authority(Some(AUTHORITY.clone()));
        Self { settings, client, backing: Backing::Fake { handle, _folder: folder } }
    }

    /// The same Swarm with other settings.
    pub fn with(self, settings: Settings) -> Self {
        Self { client: self.client.for_settings(&settings), settings, ..self }
    }

    /// The same Swarm with a core of another authority.
    pub fn of_authority(self, authority: Arc<Authority>) -> Self {
        Self { client: self.client.with_authority(Some(authority)), ..self }
    }

    /// A Swarm that runs at this address.
    pub async fn real(url: &str, settings: Settings) -> Self {
        let client = Client::connect(&Endpoint::at(url.to_owned())).await.unwrap();
        let client = client.for_settings(&settings);
        Self { settings, client, backing: Backing::Real }
    }

    /// The fake Swarm.
    pub fn swarm(&self) -> std::sync::MutexGuard<'_, Swarm> {
        match &self.backing {
            Backing::Fake { handle, .. } => handle.swarm(),
            Backing::Real => panic!("a real Swarm has no inside"),
        }
    }

    /// The Swarm's own time, which decisions compare with the times that it tells. A fake one's is virtual.
    fn now(&self) -> jiff::Timestamp {
        match &self.backing {
            Backing::Fake { handle, .. } => {
                "2026-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap() + handle.swarm().now()
            }
            Backing::Real => jiff::Timestamp::now(),
        }
    }

    pub async fn observe(&self) -> Result<Observation, Error> {
        self.client.observe(self.now()).await
    }

    /// Lets the Swarm do what it was told.
    pub async fn settle(&self) {
        match &self.backing {
            Backing::Fake { handle, .. } => {
                handle.swarm().settle();
            }
            Backing::Real => self.settle_for_real().await,
        }
    }

    async fn settle_for_real(&self) {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(120);
        loop {
            let snapshot = self.observe().await.unwrap().snapshot;
            let rolling =
                snapshot.services().any(|s| s.update.as_ref().is_some_and(|update| update.state.in_progress()));
            let starting =
                snapshot.tasks().any(|task| task.desired == TaskState::Running && task.state < TaskState::Running);
            if !rolling && !starting {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "the Swarm does not come to rest");
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }

    /// Reads and decides.
    pub async fn decide(&self, mind: &mut Mind) -> Result<(Outcome, Observation), Error> {
        let observation = self.observe().await?;
        let inputs = Inputs {
            renderings: std::mem::take(&mut mind.renderings),
            memory: std::mem::take(&mut mind.memory),
            ..Inputs::new(observation.snapshot.clone(), self.settings.clone())
        };
        let (outcome, renderings) = reconcile_embedded_with(&inputs, &mut mind.memo);
        mind.memory = outcome.memory.clone();
        mind.renderings = renderings;
        Ok((outcome, observation))
    }

    /// Applies a plan as the runtime does: a failed step ends its own service cluster's steps.
    pub async fn apply(&self, plan: &Plan, observation: &Observation) -> Vec<Error> {
        let mut created = Created::default();
        let mut failed: BTreeMap<Option<Cluster>, Error> = BTreeMap::new();
        for step in &plan.steps {
            if failed.contains_key(&step.cluster) {
                continue;
            }
            if let Err(error) = self.client.apply(&step.action, &observation.specs, &mut created).await {
                failed.insert(step.cluster.clone(), error);
            }
        }
        failed.into_values().collect()
    }

    /// One pass. Returns the plan, or what went wrong.
    pub async fn pass(&self, mind: &mut Mind) -> Result<Plan, Error> {
        let (outcome, observation) = self.decide(mind).await?;
        match self.apply(&outcome.plan, &observation).await.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(outcome.plan),
        }
    }

    /// Passes until there is nothing to do and nothing to wait for.
    pub async fn converge(&self, mind: &mut Mind) {
        let mut last = Plan::default();
        for _ in 0..12 {
            last = self.pass(mind).await.unwrap();
            if last.is_empty() && last.waiting.is_empty() {
                return;
            }
            self.settle().await;
            if last.is_empty() {
                self.pause().await;
            }
        }
        panic!("still at work after 12 passes:\n{last}");
    }

    /// Passes, and lets the time go by in which core waits for more networks and secrets to come.
    pub async fn gather(&self, mind: &mut Mind) {
        let plan = self.pass(mind).await.unwrap();
        assert!(plan.is_empty() && plan.to_string().contains("no more networks and secrets come"), "{plan}");
        for _ in 0..3 {
            self.pause().await;
        }
    }

    /// Passes once more when what was just made is not new any more, and unused objects go.
    pub async fn age(&self, mind: &mut Mind) {
        const NEW: std::time::Duration = std::time::Duration::from_secs(61);
        match &self.backing {
            Backing::Fake { handle, .. } => {
                handle.swarm().tick(NEW);
            }
            Backing::Real => tokio::time::sleep(NEW).await,
        }
        self.converge(mind).await;
    }

    /// Lets a second pass: some decisions depend on the time alone.
    async fn pause(&self) {
        let second = std::time::Duration::from_secs(1);
        match &self.backing {
            Backing::Fake { handle, .. } => {
                handle.swarm().tick(second);
            }
            Backing::Real => tokio::time::sleep(second).await,
        }
    }

    /// What interlock made, without what differs from run to run: ids and versions.
    pub async fn made(&self) -> Vec<String> {
        let snapshot = self.observe().await.unwrap().snapshot;
        // Each signature is another.
        let unsigned =
            |data: &str| data.lines().filter(|line| !line.starts_with("signature = ")).collect::<Vec<_>>().join("\n");
        let mut made: Vec<_> =
            snapshot.configs.iter().map(|config| format!("{}\n{}", config.name, unsigned(&config.data))).collect();
        let ours = snapshot.services().filter(|service| interlock_core::ownership::is_our_proxy(service));
        for service in ours {
            let configs: Vec<_> = service.spec.configs.iter().map(|config| (&config.name, &config.target)).collect();
            let mut networks: Vec<_> = service.spec.networks.iter().map(|id| name_of(&snapshot, id.as_str())).collect();
            networks.sort();
            made.push(format!("{} {:?} {configs:?} {networks:?}", service.spec.name, service.spec.labels));
        }
        made.sort();
        made
    }
}

fn name_of(snapshot: &Snapshot, network: &str) -> String {
    snapshot
        .networks
        .iter()
        .find(|known| known.id.as_str() == network)
        .map_or_else(|| network.to_owned(), |known| known.name.clone())
}

/// A Swarm with the fixture's networks, secrets and services, and as many running tasks as it shows.
pub fn swarm_of(snapshot: &Snapshot) -> Swarm {
    let mut swarm = Swarm::three_nodes();
    for (name, node) in ["node1", "node2", "node3"].iter().zip(&snapshot.nodes) {
        swarm.edit_node(name, |spec| spec["Labels"] = json!(node.labels));
    }
    for network in snapshot.networks.iter().filter(|network| !network.ingress) {
        let body = json!({ "Name": network.name, "Driver": "overlay", "Labels": network.labels });
        swarm.create_network(body).unwrap();
    }
    for config in snapshot.configs.iter().filter(|config| !interlock_core::ownership::is_ours(&config.labels)) {
        swarm.config(&config.name, &config.data);
    }
    for secret in &snapshot.secrets {
        swarm.create_secret(json!({ "Name": secret.name, "Labels": secret.labels, "Data": "c2VjcmV0" })).unwrap();
    }
    let mut services: Vec<_> = snapshot.services().collect();
    services.sort_by_key(|service| service.created_at);
    for service in services {
        create(&mut swarm, snapshot, service);
    }
    swarm.settle();
    swarm
}

fn create(swarm: &mut Swarm, snapshot: &Snapshot, service: &Service) {
    let spec = &service.spec;
    let running = snapshot.tasks().filter(|task| task.service == service.id && task.desired == TaskState::Running);
    let mut builder = swarm.service(&spec.name).replicas(running.count() as u64);
    if spec.mode == Mode::Job {
        builder = builder
            .with(|spec| spec["Mode"] = json!({ "ReplicatedJob": { "MaxConcurrent": 1, "TotalCompletions": 1 } }));
    }
    for network in &spec.networks {
        builder = builder.network(&name_of(snapshot, network.as_str()));
    }
    let (networks, aliases, hostname) = (&spec.networks, &spec.aliases, &spec.hostname);
    builder = builder.with(|json| {
        for (number, network) in networks.iter().enumerate().filter(|(_, network)| aliases.contains_key(*network)) {
            json["TaskTemplate"]["Networks"][number]["Aliases"] = json!(aliases[network]);
        }
        if let Some(hostname) = hostname {
            json["TaskTemplate"]["ContainerSpec"]["Hostname"] = json!(hostname);
        }
    });
    for id in &spec.secrets {
        let secret = snapshot.secrets.iter().find(|secret| secret.id == *id).unwrap();
        builder = builder.secret(&secret.name);
    }
    for port in spec.ports.iter().filter(|port| port.mode == PublishMode::Host) {
        builder = builder.publish_host(port.published, port.target);
    }
    let first: &Labels = service.previous.as_ref().map_or(&spec.labels, |previous| &previous.labels);
    for (key, value) in first {
        builder = builder.label(key, value);
    }
    builder.create();
    if service.previous.is_some() {
        swarm.edit_service(&spec.name, |json| json["Labels"] = json!(spec.labels)).unwrap();
    }
}
