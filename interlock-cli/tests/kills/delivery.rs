//! A proxy that is given a revision, and that is held at a step of it.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use interlock_core::grpc::v1::Revision;

use crate::container::Container;
use crate::support::agent::{Core, GENERATION, Node, eventually, revision, to_wire};
use crate::support::gate::{Gate, Moment};
use crate::support::processes::{has_pending_hangup, kill, kill_group, stop};

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The files are written aside, and nginx's check has begun.
    Written,
    /// nginx's check is done, and the agent does not know it yet.
    Checked,
    /// `current` is swapped and SIGHUP sent, and nginx has not got to it.
    Swapped,
    /// New workers run and have not said yet what they serve.
    Started,
    /// Core was told.
    Acknowledged,
    /// The copy on the volume is half written.
    Copied,
}

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    /// nginx's master process.
    Nginx,
    /// The agent, and all processes of its container.
    Agent,
}

pub(crate) struct Delivery {
    pub(crate) node: Node,
    pub(crate) core: Core,
    /// What core wants, and what it answers clients with.
    pub(crate) wanted: (Revision, u64),
    agent: Option<Container>,
    containers: u32,
    /// Masters that were killed. Their workers may live.
    killed: Vec<i32>,
    gate: Gate,
    health: HeldHealth,
}

impl Delivery {
    /// A proxy that serves revision 1.
    pub(crate) async fn begin() -> Self {
        let (node, (mut core, identity)) = (Node::new(), Core::start_with_tls());
        node.mount(1);
        std::fs::write(node.path("identity"), identity).unwrap();
        std::fs::write(node.path("agent.toml"), node.agent_file(core.address, GENERATION).to_toml()).unwrap();
        let (gate, health) = (Gate::new(node.folder.path()), HeldHealth::start(node.application));
        let wanted = (node.revision(1), 1);
        core.send(wanted.0.clone());
        let agent = Some(start(&node, &gate, 1));
        core.accepted(&wanted.0).await;
        Self { node, core, wanted, agent, containers: 1, killed: Vec::new(), gate, health }
    }

    fn send(&mut self, wanted: Revision, n: u64) {
        self.core.send(wanted.clone());
        self.wanted = (wanted, n);
    }

    /// Gives it revision 2 and waits until that is so far.
    pub(crate) async fn reach(&mut self, step: Step) {
        let master = self.node.master();
        match step {
            Step::Written => {
                self.gate.close(Moment::Before);
                self.send(self.node.revision(2), 2);
                self.gate.reached(Moment::Before);
            }
            Step::Checked => {
                self.gate.close(Moment::After);
                self.send(self.node.revision(2), 2);
                self.gate.reached(Moment::After);
            }
            Step::Swapped => {
                self.gate.close(Moment::After);
                self.send(self.node.revision(2), 2);
                self.gate.reached(Moment::After);
                stop(master);
                self.gate.open();
                eventually("a swap and SIGHUP", || {
                    let current = std::fs::read_link(self.run().join("current")).unwrap();
                    current.to_string_lossy().contains(&revision(2)) && has_pending_hangup(master)
                });
            }
            Step::Started => {
                self.send(self.health.revision(&self.node), 2);
                self.health.is_asked();
            }
            Step::Acknowledged => {
                self.send(self.node.revision(2), 2);
                self.core.accepted(&self.wanted.0).await;
            }
            Step::Copied => self.reach_half_a_copy().await,
        }
    }

    /// The agent is too quick for it now and then: then with another revision.
    async fn reach_half_a_copy(&mut self) {
        let comment = format!("# {}\n", "x".repeat(100)).repeat(40_000);
        for n in 2..30 {
            let mut files = self.node.files(n);
            files[0].content = (files[0].content.to_string() + &comment).into();
            self.send(to_wire(n, &files), n);
            self.core.accepted(&self.wanted.0).await;
            eventually("a copy", || self.is_copied() || self.half_written() > 0);
            stop(self.agent());
            if self.half_written() > 0 && !self.is_copied() {
                return;
            }
            kill("-CONT", self.agent());
        }
        panic!("no copy was caught half written");
    }

    /// SIGKILL. Another container is started when all of this one is gone.
    pub(crate) fn kill(&mut self, victim: Victim) {
        match victim {
            Victim::Nginx => {
                self.killed.push(self.node.master());
                kill("-KILL", self.node.master());
                self.go_on();
                // The agent may be held.
                kill("-CONT", self.agent());
            }
            Victim::Agent => {
                self.agent = None;
                self.go_on();
                self.containers += 1;
                self.agent = Some(start(&self.node, &self.gate, self.containers));
            }
        }
    }

    fn go_on(&self) {
        self.gate.open();
        self.health.answers();
    }

    /// The folder of this container alone.
    pub(crate) fn run(&self) -> PathBuf {
        run(&self.node, self.containers)
    }

    /// The agent's process.
    pub(crate) fn agent(&self) -> i32 {
        self.agent.as_ref().unwrap().pid()
    }

    pub(crate) fn agent_lives(&mut self) -> bool {
        self.agent.as_mut().unwrap().lives()
    }

    fn copies(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.node.path("state/copies").join(GENERATION)).into_iter().flatten();
        entries.flatten().map(|entry| entry.path()).collect()
    }

    fn half_written(&self) -> usize {
        self.copies().iter().filter(|path| !is_copy(path)).count()
    }

    /// Whether the volume has what is wanted.
    pub(crate) fn is_copied(&self) -> bool {
        let name = format!("-{}-", revision(self.wanted.1));
        self.copies().iter().any(|path| is_copy(path) && path.to_string_lossy().contains(&name))
    }
}

/// A test that fails leaves nothing behind.
impl Drop for Delivery {
    fn drop(&mut self) {
        self.agent = None;
        self.killed.drain(..).for_each(kill_group);
    }
}

fn is_copy(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

fn run(node: &Node, container: u32) -> PathBuf {
    node.path(&format!("run-{container}"))
}

fn start(node: &Node, gate: &Gate, number: u32) -> Container {
    let path = |name: &str| node.path(name).display().to_string();
    let (run, program, health) = (run(node, number), gate.program(), node.health.to_string());
    Container::start(
        &[
            "proxy",
            "--agent-file",
            &path("agent.toml"),
            "--identity",
            &path("identity"),
            "--manifest",
            &path("manifest.toml"),
            "--state",
            &path("state"),
            "--run",
            run.to_str().unwrap(),
            "--health-address",
            &health,
            "--",
            program.to_str().unwrap(),
        ],
        node.folder.path(),
    )
}

/// Answers health checks in nginx's place, once it is let.
struct HeldHealth {
    asked: mpsc::Receiver<()>,
    answers: Arc<AtomicBool>,
}

impl HeldHealth {
    fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let (ask, asked) = mpsc::channel();
        let answers = Arc::new(AtomicBool::new(false));
        let held = answers.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (ask, held) = (ask.clone(), held.clone());
                std::thread::spawn(move || answer(stream, &ask, &held));
            }
        });
        Self { asked, answers }
    }

    /// Revision 2, whose workers do not answer by themselves.
    fn revision(&self, node: &Node) -> Revision {
        let mut files = node.files(2);
        let own = format!("return 200 \"{}\\n\"", revision(2));
        assert!(files[0].content.contains(&own));
        files[0].content = files[0].content.replace(&own, &format!("proxy_pass http://{}", node.application)).into();
        to_wire(2, &files)
    }

    fn is_asked(&self) {
        self.asked.recv_timeout(Duration::from_secs(30)).unwrap();
    }

    fn answers(&self) {
        self.answers.store(true, Ordering::Relaxed);
    }
}

fn answer(mut stream: TcpStream, ask: &mpsc::Sender<()>, held: &AtomicBool) {
    let head = BufReader::new(stream.try_clone().unwrap()).lines();
    let _ = head.map_while(Result::ok).find(String::is_empty);
    let _ = ask.send(());
    while !held.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(2));
    }
    // Whoever asked may be gone.
    let _ = write!(stream, "HTTP/1.0 200 OK\r\n\r\n{}\n", revision(2));
}
