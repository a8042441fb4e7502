//! The agent: the first process of a proxy's container. It supervises nginx and gives it each revision that core accepted.
//!
//! ```text
//!  core ──Revision──▶ follow ──newest──▶ supervise ─▶ write aside ─▶ nginx -t ─▶ swap ─▶ reload ─▶ new workers say so
//!       ◀─Accepted, Refused──────────────────┘                                                        │
//!                                                        a copy on the node's volume ◀────────────────┘
//! ```
//!
//! Guarantees: nginx gets nothing that core did not sign for this proxy, and nothing that its own checker did not accept. What it does not serve within some time is taken back, and core
//! is told, and unless nginx's checker refused it, it is tried again later. Without core, what runs keeps running for ever. A crash of nginx ends in the configuration of before, or in the newest one
//! that works. No request is lost to a reload, and none to a crash of nginx's master process.

mod candidate;
mod follow;
mod history;
mod retry;
mod seal;
mod secrets;
mod serving;
mod signals;
mod supervise;
mod volume;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tonic::transport::Channel;

pub use crate::kinds::nginx::server::health;
pub use seal::Seal;
pub use signals::{Order, orders};

use crate::deployment::{AgentFile, MANIFEST_FILE};
use crate::grpc::v1::proxies_client::ProxiesClient;
use crate::kinds::nginx::server::{self as nginx, Server};
use crate::kinds::reaper::Children;
use crate::settings::Kind;
use follow::{Follower, Introduction, Running};
use history::Copies;
use signals::Orders;
use supervise::{Boot, Supervisor};
use volume::Volume;

/// Where the agent lays out configurations, in memory: `/run/interlock`.
pub const RUN: &str = "/run/interlock";
/// Where the node's volume is mounted: `/var/lib/interlock`.
pub const STATE: &str = "/var/lib/interlock";
/// What nginx reads in classic delivery: `/etc/nginx/nginx.conf`.
pub const CONFIG: &str = "/etc/nginx/nginx.conf";

/// Where Docker mounts secrets: `/run/secrets`.
pub const SECRETS: &str = "/run/secrets";
/// Where images built with `deploy/Dockerfile` keep what is known about their nginx: `/usr/local/share/interlock/nginx`.
pub const VERSION_FILE: &str = "/usr/local/share/interlock/nginx";

/// The name that copies of classic delivery are kept under, in place of a generation.
const CLASSIC: &str = "classic";

/// Where things are, and how long they may take.
#[derive(Debug, Clone)]
pub struct Options {
    /// The command that runs nginx. Default: `nginx -g "daemon off;"`, which is also what an empty one means.
    pub command: Vec<String>,
    /// A folder of this container alone. Default: [`RUN`].
    pub run: PathBuf,
    /// A folder that outlives the container, and that several containers may share. Default: [`STATE`].
    pub state: PathBuf,
    /// Where nginx answers health checks. Default: [`health::ADDRESS`].
    pub health: SocketAddr,
    /// What the image says about the version of its nginx: on the first line the version, on the second what is wrong with it, if
    /// anything is. Need not exist. Default: [`VERSION_FILE`].
    pub version_file: PathBuf,
    /// The folder of the task's secrets. Default: [`SECRETS`].
    pub secrets: PathBuf,
    /// The signed manifest of the configuration that Docker mounts. Need not exist. Default: [`MANIFEST_FILE`].
    pub manifest: PathBuf,
    /// How much memory workers may take that a reload left with open connections, in bytes. Eight reloads' workers may live whatever they take.
    /// Default: 512 MiB, or a sixteenth of the machine's memory if that is more, and at most half of what the container may take.
    pub old_workers: Option<u64>,
    /// Whether this is the first process of a container, which has to reap those that others leave. Default: by the process id.
    pub reap: bool,
    /// How long things may take.
    pub times: Times,
}

/// How long things may take.
#[derive(Debug, Clone)]
pub struct Times {
    /// How long to wait at the start for the revision of a core that answers, before an older one is served. Default: 10 s.
    pub core: Duration,
    /// How long to wait at the start for a core to answer. Default: 1 s.
    pub reach: Duration,
    /// How long nginx may take to check a configuration. Default: 60 s.
    pub check: Duration,
    /// How long nginx may take to look at the certificates before core hears of this proxy. Default: 3 s.
    pub trial: Duration,
    /// How long new workers may take to serve, beyond three times what the check took. Default: 10 s.
    pub serve: Duration,
    /// How long nginx may take to end at once before it is killed. Default: 4 s.
    pub stop: Duration,
    /// The shortest and the longest pause before core is tried again, and before nginx is started again. Default: 100 ms and 3 s.
    pub pause: (Duration, Duration),
    /// The shortest and the longest pause before a revision is tried again that nginx's checker did not refuse, and that is not served all
    /// the same. Default: 2 s and 5 min.
    pub retry: (Duration, Duration),
    /// How long a revision waits for connections to end when old workers take more than half of the memory that they may. Default: 5 s, which is how
    /// long a worker can stay for a connection without a request; up to 128 times as long the less is left.
    pub pace: Duration,
    /// How often the agent looks which tasks do not accept connections, to report it if that has changed. A task counts when connections to it have
    /// failed for 4 times as long, and no longer when none has failed for 60 times as long. Default: 5 s.
    pub look: Duration,
    /// How long the volume may take to read or write copies before it is done without. Default: 10 s.
    pub volume: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            run: RUN.into(),
            state: STATE.into(),
            health: health::ADDRESS,
            version_file: VERSION_FILE.into(),
            secrets: SECRETS.into(),
            manifest: MANIFEST_FILE.into(),
            old_workers: None,
            reap: nix::unistd::getpid().as_raw() == 1,
            times: Times {
                core: Duration::from_secs(10),
                reach: Duration::from_secs(1),
                check: Duration::from_secs(60),
                trial: Duration::from_secs(3),
                serve: Duration::from_secs(10),
                stop: Duration::from_secs(4),
                pause: (Duration::from_millis(100), Duration::from_secs(3)),
                retry: (Duration::from_secs(2), Duration::from_secs(300)),
                pace: Duration::from_secs(5),
                look: Duration::from_secs(5),
                volume: Duration::from_secs(10),
            },
        }
    }
}

/// The way to core. It may be one that connects when it is used.
pub type Client = ProxiesClient<Channel>;

/// How configurations come to the proxy.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one in a process")]
pub enum Delivery {
    /// Docker mounts one, and another one means another container.
    Classic {
        /// Where it is mounted. What it includes is found from there.
        config: PathBuf,
    },
    /// Core streams them.
    Hitless {
        /// Who this proxy is.
        agent: AgentFile,
        /// The way to core.
        client: Client,
        /// Whether core was ever reached on it.
        reached: watch::Receiver<bool>,
        /// Whose signature configurations need; `None` for a core of a version that signed nothing.
        seal: Option<Seal>,
    },
}

/// Why there is no proxy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// nginx took none of the configurations that there are.
    #[error("nginx takes no configuration: {0}")]
    NothingServes(String),
    /// This version supervises nginx alone.
    #[error("this version cannot supervise a proxy of kind {0}")]
    Unsupported(Kind),
    /// The folder for configurations is of no use.
    #[error("{} cannot be used", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Runs a proxy until it is ordered to end. Ends well after an order; what it started has ended then.
///
/// # Errors
///
/// When nginx does not serve any configuration at the start: there is nothing to supervise, and the container should count as failed.
/// Later it is tried again for ever.
pub async fn run(options: Options, delivery: Delivery, orders: mpsc::UnboundedReceiver<Order>) -> Result<(), Error> {
    let children = Children::default();
    // Ended with the value.
    let mut tasks = JoinSet::new();
    if options.reap {
        let children = children.clone();
        tasks.spawn(async move {
            if let Err(error) = children.reap().await {
                tracing::warn!("processes that others leave are not reaped: {error}");
            }
        });
    }
    std::fs::create_dir_all(&options.run).map_err(|source| Error::Folder { path: options.run.clone(), source })?;
    let version_warning = version_warning(&options.version_file);
    if !version_warning.is_empty() {
        tracing::warn!("{version_warning}");
    }
    let server = Server::new(&nginx::Options {
        command: &options.command,
        run: &options.run,
        health: options.health,
        check: options.times.check,
        serve: options.times.serve,
        look: options.times.look,
        old_workers: options.old_workers.unwrap_or_else(nginx::room),
        changes: matches!(delivery, Delivery::Hitless { .. }),
        children,
    });
    let server = server.map_err(|source| Error::Folder { path: options.run.clone(), source })?;
    let (wanted_by_core, wanted) = watch::channel(None);
    let (running, running_now) = watch::channel(Running::default());
    let (answers, answered) = mpsc::unbounded_channel();
    let boot;
    let generation;
    let mut sealed = None;
    let mut reached = None;
    let mut linger = Duration::ZERO;
    match delivery {
        Delivery::Classic { config } => {
            boot = Boot::InPlace(config);
            generation = CLASSIC.to_owned();
        }
        Delivery::Hitless { agent, client, reached: reaches_core, seal } => {
            if agent.kind != Kind::Nginx {
                return Err(Error::Unsupported(agent.kind));
            }
            sealed.clone_from(&seal);
            reached = Some(reaches_core);
            linger = Duration::from_millis(agent.linger_ms);
            boot = Boot::Aside(agent.boot.into(), options.manifest.clone());
            generation = agent.generation.to_string();
            let hostname = nix::unistd::gethostname().unwrap_or_default();
            let mut secrets = secrets::describe(&options.secrets);
            secrets::judge(&server, &options.secrets, &mut secrets, options.times.trial).await;
            let introduction = Introduction {
                agent: concat!("interlock/", env!("CARGO_PKG_VERSION")).to_owned(),
                generation: agent.generation,
                proxy_version: server.version().await,
                hostname: hostname.to_string_lossy().into_owned(),
                version_warning,
                secrets,
            };
            let pause = options.times.pause;
            let follower = Follower {
                client,
                introduction,
                running: running_now,
                wanted: wanted_by_core,
                answers: answered,
                connections: server.connections(),
                pause,
                seal,
            };
            tasks.spawn(follower.run());
        }
    }
    let supervisor = Supervisor {
        server,
        volume: Volume::new(Copies::new(&options.state, &generation), options.times.volume),
        boot,
        seal: sealed,
        wanted,
        reached,
        running,
        answers,
        linger,
        times: options.times,
        current: None,
        refused: None,
        retry: None,
        untold: Vec::new(),
        early_deaths: 0,
    };
    supervisor.run(Orders { received: orders, reload: false }).await
}

fn version_warning(file: &Path) -> String {
    let said = std::fs::read_to_string(file).unwrap_or_default();
    said.lines().nth(1).map(crate::problem::said).unwrap_or_default()
}
