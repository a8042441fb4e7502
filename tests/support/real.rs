//! A lab that `scripts/lab` brought up, and fixtures on it.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use interlock_core::settings::{PublishMode, Settings};
use interlock_core::swarm::{Mode, Snapshot, TaskState};

use super::Scenario;
use super::world::World;

/// The name of the lab that tests use. `INTERLOCK_LAB` says another one.
const NAME: &str = "ilt";

/// How long Swarm may take to let go of things.
const LETS_GO: Duration = Duration::from_secs(300);

/// Longer than any test takes, on any machine. What hangs must be told, and not be waited for.
const TOO_LONG: Duration = Duration::from_secs(1200);

pub struct Lab {
    name: String,
    pub registry: String,
    /// Addresses of the nodes, the managers' first.
    pub nodes: Vec<String>,
    /// The engines of the nodes, in the same order.
    pub sockets: Vec<String>,
    /// How many of them are managers.
    pub managers: usize,
    /// The manager that commands go to.
    through: AtomicUsize,
    _watch: Watch,
}

/// Ends the tests when it is not dropped in time.
struct Watch(#[expect(dead_code, reason = "what counts is when it goes")] Sender<()>);

impl Watch {
    fn start() -> Self {
        let (alive, gone) = mpsc::channel();
        std::thread::spawn(move || {
            if gone.recv_timeout(TOO_LONG) == Err(RecvTimeoutError::Timeout) {
                // Past what the test harness keeps for itself, as it will tell nothing any more.
                let _ =
                    std::io::stderr().write_all(format!("\nthe test hangs: not done after {TOO_LONG:?}\n").as_bytes());
                #[expect(clippy::disallowed_methods, reason = "what hangs cannot be ended in order")]
                std::process::exit(101);
            }
        });
        Self(alive)
    }
}

/// A docker command at this engine. None takes minutes; `docker service logs` has been seen to go on for an hour.
pub fn docker_at(socket: &str, args: &[&str]) -> Output {
    let limit = ["--kill-after=5", "120", "docker", "--host", socket];
    let output = Command::new("timeout").args(limit).args(args).output().unwrap();
    assert_ne!(output.status.code(), Some(124), "docker {args:?} does not come to an end");
    output
}

fn script(name: &str, args: &[&str]) -> Output {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts/lab");
    Command::new(script).args(args).args(["--name", name]).output().unwrap()
}

impl Lab {
    /// The lab, which has to be up.
    pub fn find() -> Self {
        #[expect(clippy::disallowed_methods, reason = "there is no command line")]
        let name = std::env::var("INTERLOCK_LAB").unwrap_or_else(|_| NAME.to_owned());
        let output = script(&name, &["env"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let value =
            |key: &str| text.lines().find_map(|line| line.strip_prefix(&format!("export {key}="))).map(str::to_owned);
        let Some(registry) = value("LAB_REGISTRY") else {
            panic!("the lab is not up: scripts/lab up 3 --name {name} && scripts/lab images --name {name}");
        };
        let list = |key: &str| -> Vec<String> {
            value(key).unwrap_or_default().trim_matches('"').split(' ').map(str::to_owned).collect()
        };
        let sockets = list("LAB_SOCKETS").into_iter().map(|path| format!("unix://{path}")).collect();
        let (nodes, through, _watch) = (list("LAB_NODES"), AtomicUsize::new(0), Watch::start());
        let mut lab = Self { name, registry, nodes, sockets, managers: 1, through, _watch };
        lab.managers = lab.list(&["node", "ls", "--filter", "role=manager", "--quiet"]).len();
        lab
    }

    /// The engine that commands go to: the first manager's, unless [`Lab::talk_to`] said another one.
    pub fn host(&self) -> &str {
        &self.sockets[self.through.load(Ordering::Relaxed)]
    }

    /// Sends commands to this manager from now on, 0 being the first.
    pub fn talk_to(&self, manager: usize) {
        assert!(manager < self.managers, "node {manager} is no manager");
        self.through.store(manager, Ordering::Relaxed);
    }

    /// Runs a command of the lab, such as a fault.
    pub fn command(&self, args: &[&str]) {
        let output = script(&self.name, args);
        assert!(output.status.success(), "lab {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs a docker command. Returns what it printed, or what it complained about.
    pub fn try_docker(&self, args: &[&str]) -> Result<String, String> {
        let output = docker_at(self.host(), args);
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// The same, which has to succeed. The command line reads before it writes; where somebody else wrote meanwhile, as Swarm itself does,
    /// it is done again.
    pub fn docker(&self, args: &[&str]) -> String {
        let deadline = Instant::now() + LETS_GO;
        loop {
            match self.try_docker(args) {
                Err(said) if said.contains("update out of sequence") && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(200));
                }
                result => return result.unwrap_or_else(|said| panic!("docker {args:?}: {said}")),
            }
        }
    }

    fn list(&self, args: &[&str]) -> Vec<String> {
        self.docker(args).lines().map(str::to_owned).collect()
    }

    /// Takes all services, configs and overlay networks away.
    pub async fn clear(&self) {
        // Core first, and to its end: it would make anew what is removed.
        for core in ["interlock-core", "my-interlock", "interlock_core", "interlock"] {
            let _ = self.try_docker(&["service", "rm", core]);
            let filter = format!("label=com.docker.swarm.service.name={core}");
            let deadline = Instant::now() + LETS_GO;
            while self.sockets[..self.managers]
                .iter()
                .any(|it| !docker_at(it, &["ps", "-q", "--filter", &filter]).stdout.is_empty())
            {
                assert!(Instant::now() < deadline, "{core} does not end");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        for service in self.list(&["service", "ls", "-q"]) {
            self.docker(&["service", "rm", &service]);
        }
        for config in self.list(&["config", "ls", "-q"]) {
            self.until_done(&["config", "rm", &config]).await;
        }
        for secret in self.list(&["secret", "ls", "-q"]) {
            self.until_done(&["secret", "rm", &secret]).await;
        }
        for network in self.list(&["network", "ls", "--filter", "scope=swarm", "--format", "{{.Name}}"]) {
            if network == "ingress" {
                continue;
            }
            // The last task may still be leaving it.
            self.until_done(&["network", "rm", &network]).await;
        }
    }

    /// Repeats a command until it succeeds: Swarm takes a moment to let go of things.
    pub async fn until_done(&self, args: &[&str]) {
        let deadline = Instant::now() + LETS_GO;
        while let Err(said) = self.try_docker(args) {
            if args.contains(&"rm") && said.contains("not found") {
                return;
            }
            assert!(Instant::now() < deadline, "docker {args:?}: {said}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The fixture's networks and services, with as many tasks as it shows running, on this Swarm.
    pub async fn world(&self, scenario: &Scenario) -> World {
        self.clear().await;
        let snapshot = &scenario.state.snapshot;
        for network in snapshot.networks.iter().filter(|network| !network.ingress) {
            self.until_done(&["network", "create", "--driver", "overlay", &network.name]).await;
        }
        let mut services: Vec<_> = snapshot.services().collect();
        services.sort_by_key(|service| service.created_at);
        for service in services {
            self.create(snapshot, service);
        }
        let world = World::real(self.host(), self.settings(&scenario.settings)).await;
        world.settle().await;
        world
    }

    fn create(&self, snapshot: &Snapshot, service: &interlock_core::swarm::Service) {
        assert!(service.previous.is_none() && service.spec.mode != Mode::Job, "not a fixture for a real Swarm");
        let running = snapshot
            .tasks
            .iter()
            .filter(|task| task.service == service.id && task.desired == TaskState::Running)
            .count();
        let mut args: Vec<String> =
            ["service", "create", "--detach", "--quiet", "--endpoint-mode", "dnsrr"].map(str::to_owned).into();
        args.extend(["--name".into(), service.spec.name.clone(), "--replicas".into(), running.to_string()]);
        for id in &service.spec.networks {
            let name = snapshot.networks.iter().find(|network| network.id == *id).map(|network| network.name.clone());
            args.extend(["--network".into(), name.unwrap()]);
        }
        for (key, value) in &service.spec.labels {
            args.extend(["--label".into(), format!("{key}={value}")]);
        }
        args.push(format!("{}/demo:lab", self.registry));
        self.docker(&args.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// The fixture's settings with an image that this Swarm has, ports that work without IPVS, and little patience.
    fn settings(&self, settings: &Settings) -> Settings {
        let mut settings = settings.clone();
        for extension in settings.extensions.values_mut() {
            extension.proxy_image = format!("{}/nginx:lab", self.registry);
            extension.publish_mode = PublishMode::Host;
            extension.proxy_stop_grace_period = std::time::Duration::from_secs(1);
        }
        settings
    }
}
