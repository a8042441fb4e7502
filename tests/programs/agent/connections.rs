//! Tasks that do not accept connections: core hears of them, and not of each request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use interlock_core::grpc::convert;
use interlock_core::grpc::v1::follow_request::Event;
use interlock_core::grpc::v1::{Revision, UnreachableTask};
use interlock_core::peers::AgentReport;
use interlock_core::proxy_config::Generation;
use interlock_core::reconcile::reconcile_embedded;

use crate::support::agent::{Core, GENERATION, Node, eventually, free, to_wire};
use crate::support::http;
use crate::support::routes::{inputs, labelled};

/// What clients send who would like to have somebody else's task reported.
const REQUESTS: [&str; 4] = [
    "GET /app HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "GET /app\",upstream:\"http://10.9.9.9:80/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "GET /app\", upstream: \"http://10.9.9.9:80/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "GET /app HTTP/1.1\r\nHost: x\r\nConnection: close\r\nReferer: x\", upstream: \"http://10.9.9.9:80/\", x: \"\r\n\r\n",
];

/// Clients that ask again and again.
struct Clients {
    over: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Clients {
    fn of(proxy: SocketAddr) -> Self {
        let (over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (is_over, count) = (over.clone(), asked.clone());
        let thread = std::thread::spawn(move || {
            for request in REQUESTS.iter().cycle().take_while(|_| !is_over.load(Ordering::Relaxed)) {
                // What a proxy answers is not looked at; a passthrough one answers nothing.
                let _ = http::exchange(proxy, request);
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { over, asked, thread }
    }

    fn stop(self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// A revision with the error log where core's own configurations have it.
fn logging(node: &Node, streams: &str) -> Revision {
    let mut files = node.files(1);
    let own = format!("error_log {} notice;", node.path("error.log").display());
    assert!(files[0].content.contains(&own));
    files[0].content = (files[0].content.replace(&own, "error_log /dev/stdout;") + streams).into();
    to_wire(1, &files)
}

/// What core hears next of tasks that are unreachable.
async fn unreachable(core: &mut Core) -> Vec<UnreachableTask> {
    loop {
        if let Event::Reachability(reachability) = core.hears().await {
            return reachability.unreachable;
        }
    }
}

fn refuses(address: SocketAddr, is_lasting: bool) -> Vec<UnreachableTask> {
    vec![UnreachableTask { address: address.to_string(), refuses: true, is_lasting }]
}

/// Hundreds of requests are three reports and one problem.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_refuses_connections_is_reported_until_it_does_not() {
    let (node, mut core) = (Node::new(), Core::start());
    let (revision, task) = (logging(&node, ""), node.application);
    core.send(revision.clone());
    let agent = node.start(core.address, GENERATION);
    core.accepted(&revision).await;
    let clients = Clients::of(node.port);
    let first = unreachable(&mut core).await;
    if first != refuses(task, true) {
        assert_eq!(first, refuses(task, false));
        assert_eq!(unreachable(&mut core).await, refuses(task, true));
    }
    eventually("many requests", || clients.asked.load(Ordering::Relaxed) > 300);

    let services = labelled("shop", task.port(), &[("hosts", "shop.example.com")]);
    let mut known = inputs(&services, &[("shop", &task.ip().to_string())], &[], "");
    known.reports.agents.insert(1, report(&first));
    let problems = reconcile_embedded(&known).0.problems;
    let text = format!("service shop: tasks refuse connections at port {} (1 of 1 tasks); ", task.port());
    assert!(problems.len() == 1 && problems[0].to_string().starts_with(&text), "{problems:?}");

    // A core that is new hears it at once.
    core.kill();
    core.resume();
    let hello = loop {
        if let Event::Hello(hello) = core.hears().await {
            break hello;
        }
    };
    assert_eq!(hello.unreachable, refuses(task, true));
    clients.stop();
    assert_eq!(unreachable(&mut core).await, [], "no request, no refusal");
    agent.stop().await;
}

fn report(unreachable: &[UnreachableTask]) -> AgentReport {
    AgentReport {
        cluster: "".parse().unwrap(),
        generation: GENERATION.parse::<Generation>().unwrap(),
        address: [10, 0, 5, 1].into(),
        hostname: "proxy".into(),
        version: None,
        version_warning: String::new(),
        secrets: Default::default(),
        running: None,
        refused: None,
        unreachable: convert::unreachable_from_wire(unreachable),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_refuses_tls_passed_through_is_reported() {
    let (node, mut core) = (Node::new(), Core::start());
    let (listen, task) = (free(), free());
    let revision = logging(&node, &format!("stream {{ server {{ listen {listen}; proxy_pass {task}; }} }}\n"));
    core.send(revision.clone());
    let agent = node.start(core.address, GENERATION);
    core.accepted(&revision).await;
    let clients = Clients::of(listen);
    let told = unreachable(&mut core).await;
    assert!(told == refuses(task, false) || told == refuses(task, true), "{told:?}");
    clients.stop();
    agent.stop().await;
}
