//! The agent with the real nginx, and a core for it on the loopback.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use interlock_core::agent::{self, Delivery, Error, Options, Order, Seal, Times};
use interlock_core::deployment::AgentFile;
use interlock_core::grpc::convert::files_to_wire;
use interlock_core::grpc::tls::{self, Admitted, Limits};
use interlock_core::grpc::v1::follow_request::Event;
use interlock_core::grpc::v1::proxies_client::ProxiesClient;
use interlock_core::grpc::v1::proxies_server::{Proxies, ProxiesServer};
use interlock_core::grpc::v1::{FollowRequest, FollowResponse, Hello, Revision};
use interlock_core::kinds::{File, Manifest};
use interlock_core::settings::Kind;
use interlock_core::trust::{Authority, SignedManifest, Statement};
use interlock_core::units::{Cluster, Role};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use super::http;
use super::world::AUTHORITY;

/// How long a condition is waited for before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

pub const GENERATION: &str = "00000000000000aa";

/// An address that nobody else has, and that no outgoing connection takes meanwhile.
pub fn free() -> SocketAddr {
    static USED: AtomicU8 = AtomicU8::new(1);
    let process = std::process::id();
    let part = |number: u32| u8::try_from(number % 200).unwrap() + 20;
    let own = Ipv4Addr::new(127, part(process), part(process / 200), USED.fetch_add(1, Ordering::Relaxed));
    TcpListener::bind((own, 0)).unwrap().local_addr().unwrap()
}

/// Waits until something holds.
#[track_caller]
pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A node, so to say: a volume, ports, what Docker mounts.
pub struct Node {
    pub folder: tempfile::TempDir,
    pub port: SocketAddr,
    pub health: SocketAddr,
    /// Where requests for `/app` go.
    pub application: SocketAddr,
    /// How much memory old workers may take, and how long a reload waits at first when they do.
    pub old_workers: (u64, Duration),
    /// For how long its ports stay open when it is to finish.
    pub linger: Duration,
}

impl Node {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            port: free(),
            health: free(),
            application: free(),
            old_workers: (512 << 20, Duration::from_secs(5)),
            linger: Duration::ZERO,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The files of revision `n`, which answers with its number.
    pub fn files(&self, n: u64) -> Vec<File> {
        let Self { port, health, application, .. } = self;
        let (folder, revision) = (self.folder.path().display(), revision(n));
        let main = format!(
            "worker_processes 1;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log notice;\nworker_shutdown_timeout 1h;\n\
             events {{ worker_connections 64; }}\nhttp {{\n  access_log off;\n  include interlock.d/*.conf;\n\
             server {{ listen {health}; location = /healthz {{ return 200 \"{revision}\\n\"; }} }}\n}}\n"
        );
        let server = format!(
            "server {{\n  listen {port};\n  location / {{ return 200 \"{n}\"; }}\n  location /app {{ proxy_pass http://{application}; proxy_buffering off; }}\n}}\n"
        );
        let file = |path: &str, part: &str, content| File { path: path.into(), part: part.into(), content };
        vec![
            file("/etc/nginx/nginx.conf", "", main.into()),
            file("/etc/nginx/interlock.d/servers-01.conf", "servers-01", server.into()),
        ]
    }

    pub fn revision(&self, n: u64) -> Revision {
        to_wire(n, &self.files(n))
    }

    /// What Docker mounts for the start.
    pub fn mount(&self, n: u64) -> PathBuf {
        let root = self.path("mounted");
        for file in self.files(n) {
            let path = root.join(file.path.trim_start_matches("/etc/nginx/"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &*file.content).unwrap();
        }
        self.sign_mounted(n, GENERATION);
        root.join("nginx.conf")
    }

    /// What Docker mounts for the start of a task of this generation.
    pub fn mount_for(&self, n: u64, generation: &str) {
        self.mount(n);
        self.sign_mounted(n, generation);
    }

    /// Here things are mounted elsewhere than in a container.
    fn sign_mounted(&self, n: u64, generation: &str) {
        let root = self.path("mounted").display().to_string();
        let mut files = self.files(n);
        files.iter_mut().for_each(|file| file.path = file.path.replace("/etc/nginx", &root));
        let manifest = Manifest { generation: generation.parse().unwrap(), ..manifest(n, &files) };
        let signed = SignedManifest::sign(manifest, &AUTHORITY).unwrap();
        std::fs::write(self.path("manifest.toml"), signed.to_toml()).unwrap();
    }

    /// The revision's number that a new connection gets.
    pub fn served(&self) -> Option<u64> {
        Self::served_on(self.port)
    }

    pub fn served_on(port: SocketAddr) -> Option<u64> {
        let answer = http::exchange(port, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
        answer.split_once("\r\n\r\n")?.1.parse().ok()
    }

    #[track_caller]
    pub fn serves(&self, n: u64) {
        eventually(&format!("serving {n}"), || self.served() == Some(n));
    }

    pub fn listens(&self) -> bool {
        TcpStream::connect(self.port).is_ok()
    }

    pub fn master(&self) -> i32 {
        std::fs::read_to_string(self.path("nginx.pid")).unwrap().trim().parse().unwrap()
    }

    /// Who its proxy is.
    pub fn agent_file(&self, core: SocketAddr, generation: &str) -> AgentFile {
        AgentFile {
            addresses: Vec::new(),
            core: core.to_string(),
            cluster: "".parse().unwrap(),
            generation: generation.parse().unwrap(),
            kind: Kind::Nginx,
            boot: self.path("mounted/nginx.conf").display().to_string(),
            authority: Some(AUTHORITY.fingerprint()),
            linger_ms: self.linger.as_millis() as u64,
        }
    }

    pub fn start(&self, core: SocketAddr, generation: &str) -> Agent {
        self.start_with(core, generation, Duration::from_secs(30))
    }

    /// Starts an agent that serves revision 1 of a core.
    pub async fn serving(&self, core: &mut Core) -> Agent {
        core.send(self.revision(1));
        let agent = self.start(core.address, GENERATION);
        core.accepted(&self.revision(1)).await;
        agent
    }

    /// Starts an agent that waits for core's first word for some time.
    pub fn start_with(&self, core: SocketAddr, generation: &str, wait: Duration) -> Agent {
        self.start_program(core, generation, wait, "nginx")
    }

    /// Starts an agent that runs a program in place of nginx.
    pub fn start_program(&self, core: SocketAddr, generation: &str, wait: Duration, program: &str) -> Agent {
        // This channel cannot tell: core is waited for as one that answers.
        self.start_reaching(core, generation, wait, program, watch::channel(true).1)
    }

    /// Starts an agent whose way to core says whether it reached core.
    pub fn start_reaching(
        &self,
        core: SocketAddr,
        generation: &str,
        wait: Duration,
        program: &str,
        reached: watch::Receiver<bool>,
    ) -> Agent {
        let agent = self.agent_file(core, generation);
        let channel = Endpoint::from_shared(format!("http://{core}")).unwrap().connect_lazy();
        let run = tempfile::tempdir_in(self.folder.path()).unwrap();
        let times = Times {
            core: wait,
            serve: Duration::from_secs(5),
            pause: (Duration::from_millis(20), Duration::from_millis(200)),
            pace: self.old_workers.1,
            look: Duration::from_millis(50),
            volume: Duration::from_millis(500),
            ..Options::default().times
        };
        let options = Options {
            command: vec![program.to_owned()],
            run: run.path().to_owned(),
            state: self.path("state"),
            health: self.health,
            version_file: self.path("version"),
            secrets: self.path("secrets"),
            old_workers: Some(self.old_workers.0),
            manifest: self.path("manifest.toml"),
            times,
            ..Options::default()
        };
        let (orders, received) = mpsc::unbounded_channel();
        let seal = Seal {
            authority: AUTHORITY.certificate().clone(),
            cluster: agent.cluster.clone(),
            generation: agent.generation.clone(),
        };
        let delivery = Delivery::Hitless { agent, client: ProxiesClient::new(channel), reached, seal: Some(seal) };
        let task = tokio::spawn(agent::run(options, delivery, received));
        Agent { orders, task, run }
    }
}

pub fn revision(n: u64) -> String {
    format!("{n:016x}")
}

pub fn to_wire(n: u64, files: &[File]) -> Revision {
    let signature = AUTHORITY.sign(&Statement::Files(&manifest(n, files))).unwrap().to_string();
    Revision { generation: GENERATION.into(), revision: revision(n), files: Some(files_to_wire(files)), signature }
}

/// What core signs of these files.
pub fn manifest(n: u64, files: &[File]) -> Manifest {
    Manifest::of(&Cluster::default(), &GENERATION.parse().unwrap(), &revision(n).parse().unwrap(), files)
}

pub struct Agent {
    pub orders: mpsc::UnboundedSender<Order>,
    pub task: JoinHandle<Result<(), Error>>,
    /// The folder of its container alone.
    pub run: tempfile::TempDir,
}

impl Agent {
    /// How it ends.
    pub async fn ended(self) -> Result<(), Error> {
        tokio::time::timeout(PATIENCE, self.task).await.expect("the agent ends").unwrap()
    }

    pub async fn stop(self) {
        self.orders.send(Order::Stop).unwrap();
        self.ended().await.unwrap();
    }
}

/// A core that sends what it is told to, and tells what it hears.
pub struct Core {
    pub address: SocketAddr,
    wanted: watch::Sender<Option<Revision>>,
    heard: mpsc::UnboundedReceiver<Event>,
    server: Option<Runtime>,
    said: mpsc::UnboundedSender<Event>,
    door: Option<Door>,
}

/// Who gets in by TLS.
#[derive(Clone)]
struct Door {
    authority: Arc<Authority>,
    admitted: watch::Sender<Arc<Admitted>>,
}

impl Core {
    pub fn start() -> Self {
        Self::start_behind(None)
    }

    /// Starts it behind TLS, as `interlock proxy` wants it. Answers the identity that it lets in, too.
    pub fn start_with_tls() -> (Self, String) {
        let authority = AUTHORITY.clone();
        let issued = authority.issue(Role::Proxy, &Cluster::default()).unwrap();
        let admitted = Admitted::from([(issued.fingerprint, (Role::Proxy, Cluster::default()))]);
        let door = Door { authority, admitted: watch::Sender::new(Arc::new(admitted)) };
        (Self::start_behind(Some(door)), issued.pem.to_string())
    }

    fn start_behind(door: Option<Door>) -> Self {
        let (said, heard) = mpsc::unbounded_channel();
        let mut core = Self { address: free(), wanted: watch::channel(None).0, heard, server: None, said, door };
        core.resume();
        core
    }

    /// Starts to answer, on the same address.
    pub fn resume(&mut self) {
        let service = Service { wanted: self.wanted.subscribe(), said: self.said.clone() };
        let listener = TcpListener::bind(self.address).unwrap();
        listener.set_nonblocking(true).unwrap();
        // A process of its own, so to say: with it its connections end.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let door = self.door.clone();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let server = Server::builder().add_service(ProxiesServer::new(service));
            let served = match door {
                None => server.serve_with_incoming(TcpListenerStream::new(listener)).await,
                Some(Door { authority, admitted }) => {
                    let limits = Limits::default();
                    let incoming = tls::incoming(listener, &authority, admitted.subscribe(), limits).unwrap();
                    server.serve_with_incoming(incoming).await
                }
            };
            served.unwrap();
        });
        self.server = Some(runtime);
    }

    /// Ends, and all connections with it.
    pub fn kill(&mut self) {
        self.server.take().unwrap().shutdown_background();
        eventually("a port that is free", || TcpStream::connect(self.address).is_err());
    }

    pub fn send(&self, revision: Revision) {
        self.wanted.send_replace(Some(revision));
    }

    pub async fn hears(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.heard.recv()).await.expect("core hears something").unwrap()
    }

    pub async fn hello(&mut self) -> Hello {
        match self.hears().await {
            Event::Hello(hello) => hello,
            other => panic!("no hello: {other:?}"),
        }
    }

    /// What comes next but Hellos is that a revision was accepted.
    pub async fn accepted(&mut self, revision: &Revision) {
        loop {
            match self.hears().await {
                Event::Hello(_) => {}
                Event::Accepted(accepted) => {
                    assert_eq!(accepted.revision, revision.revision);
                    assert_eq!(accepted.hash, revision.files.as_ref().unwrap().hash);
                    return assert_eq!(accepted.generation, revision.generation);
                }
                other => panic!("not accepted: {other:?}"),
            }
        }
    }
}

impl Core {
    /// Sooner or later this is accepted, whatever is said before.
    pub async fn accepts_in_the_end(&mut self, revision: &Revision) {
        loop {
            if let Event::Accepted(accepted) = self.hears().await
                && accepted.revision == revision.revision
            {
                return;
            }
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // A runtime cannot be waited for within another.
        self.server.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

struct Service {
    wanted: watch::Receiver<Option<Revision>>,
    said: mpsc::UnboundedSender<Event>,
}

#[tonic::async_trait]
impl Proxies for Service {
    type FollowStream = Pin<Box<dyn Stream<Item = Result<FollowResponse, Status>> + Send>>;

    async fn follow(&self, request: Request<Streaming<FollowRequest>>) -> Result<Response<Self::FollowStream>, Status> {
        let mut requests = request.into_inner();
        let said = self.said.clone();
        let mut wanted = self.wanted.clone();
        wanted.mark_changed();
        // What is written to this stream ends with the task.
        let (responses, outgoing) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    request = requests.next() => match request {
                        Some(Ok(request)) => drop(said.send(request.event.unwrap())),
                        _ => return,
                    },
                    Ok(()) = wanted.changed() => {
                        let revision = wanted.borrow_and_update().clone();
                        if revision.is_some() {
                            let _ = responses.send(Ok(FollowResponse { revision }));
                        }
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(tokio_stream::wrappers::UnboundedReceiverStream::new(outgoing))))
    }
}

/// An application whose answers end when somebody says so.
pub struct SlowApplication {
    waiting: std::sync::mpsc::Receiver<TcpStream>,
}

impl SlowApplication {
    pub fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let (send, waiting) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let head = BufReader::new(stream.try_clone().unwrap()).lines();
                let _ = head.map_while(Result::ok).find(String::is_empty);
                let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nbegin ");
                if send.send(stream).is_err() {
                    return;
                }
            }
        });
        Self { waiting }
    }

    /// A request through the proxy whose answer has begun.
    pub fn begin(&self, proxy: SocketAddr) -> Open {
        let mut client = TcpStream::connect(proxy).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(b"GET /app HTTP/1.0\r\n\r\n").unwrap();
        let application = self.waiting.recv_timeout(PATIENCE).unwrap();
        let mut told = String::new();
        while !told.ends_with("begin ") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            told.push(byte[0].into());
        }
        Open { client, application }
    }
}

/// An answer that has begun and not ended.
pub struct Open {
    client: TcpStream,
    application: TcpStream,
}

impl Open {
    /// Ends it; answers what the client got of the rest.
    pub fn finish(mut self) -> String {
        let _ = self.application.write_all(b"end");
        drop(self.application);
        let mut rest = String::new();
        let _ = self.client.read_to_string(&mut rest);
        rest
    }
}
