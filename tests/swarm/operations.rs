//! Five nodes, three of them managers: what operators do to nodes, and what happens to them, while requests come.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::site::{Site, tell};
use crate::support::http;
use crate::support::load::{Load, Outcome};

const HOST: &str = "shop.local.test";
const HITLESS: &str = "HitlessServiceUpdate = true\nImage = \"REGISTRY/interlock:lab\"\n";
/// How long a client waits for a proxy that says nothing, when all that it looks for is one that answers.
const GLANCE: Duration = Duration::from_millis(300);

/// A lab of five nodes with interlock on it, and a service that is told before its tasks end.
async fn five() -> Site {
    let site = Site::new("").await;
    assert!(site.nodes().len() == 5 && site.workers().len() == 2, "this needs scripts/lab up 5 --managers 3");
    site.settings("interlock-proxy-nginx", HITLESS);
    site.network("demo").await;
    site
}

fn shop(site: &Site, replicas: u32, more: &[&str]) {
    let drains = ["--env", "DRAIN_MS=3000", "--stop-grace-period", "10s"];
    site.service_with("shop", &["demo"], replicas, &["hosts=shop.local.test", "port=8080"], &[&drains, more].concat());
}

fn none_failed(what: &str, outcome: &Outcome) {
    let failed = &outcome.failed;
    assert!(failed.is_empty(), "{what}: {} of {}: {:#?}", failed.len(), outcome.answered, failed.first());
}

/// Looks all the time whether any proxy accepts connections.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Watch {
    fn start(addresses: &[String]) -> Self {
        let addresses: Vec<SocketAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let (mut longest, mut seen) = (Duration::ZERO, Instant::now());
            while !stopped.load(Ordering::Relaxed) {
                if addresses.iter().any(|address| TcpStream::connect_timeout(address, GLANCE).is_ok()) {
                    seen = Instant::now();
                }
                longest = longest.max(seen.elapsed());
                std::thread::sleep(Duration::from_millis(10));
            }
            longest
        });
        Self { stop, thread }
    }

    /// The longest time in which all refused.
    fn stop(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn availability(site: &Site, number: usize, to: &str) {
    site.docker(&["node", "update", "--availability", to, &site.node(number)]);
}

/// The number of the manager that leads, if one does.
fn leader(site: &Site) -> Option<usize> {
    let nodes = site.try_docker(&["node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}"]).ok()?;
    let name = nodes.lines().find_map(|line| line.strip_suffix(" Leader"))?;
    (0..site.nodes().len()).find(|number| site.node(*number) == name)
}

/// Waits until Swarm has all nodes, and three managers.
async fn all_nodes(site: &Site) {
    site.until("all nodes are there", |site| {
        let format = "{{.Status}} {{.Availability}} {{.ManagerStatus}}";
        let nodes = site.try_docker(&["node", "ls", "--format", format]).unwrap_or_default();
        let ready = nodes.lines().filter(|line| line.starts_with("Ready Active")).count();
        ready == 5 && nodes.lines().filter(|line| line.contains("Leader") || line.contains("Reachable")).count() == 3
    })
    .await;
}

/// Waits until both proxies serve, no roll is under way, and core and the extension run.
async fn all_well(site: &Site) {
    all_nodes(site).await;
    site.run("interlock-core", 1).await;
    site.run("interlock-extension", 1).await;
    site.eventually(HOST, "/ping", |answer| answer.status == 200).await;
    site.at_rest().await;
}

/// Core runs where Swarm is led from, and commands go to another manager.
async fn core_on_the_leader(site: &Site) -> usize {
    all_nodes(site).await;
    let leads = leader(site).unwrap();
    site.talk_to((leads + 1) % 3);
    let others: Vec<_> = (0..3).filter(|number| *number != leads).collect();
    others.iter().for_each(|number| availability(site, *number, "drain"));
    site.until("core is on the leader", |site| {
        let nodes = site.docker(&["service", "ps", "--format", "{{.Node}} {{.CurrentState}}", "interlock-core"]);
        let running: Vec<_> = nodes.lines().filter(|line| line.contains(" Running")).collect();
        running.len() == 1 && running[0].starts_with(&site.node(leads))
    })
    .await;
    others.iter().for_each(|number| availability(site, *number, "active"));
    all_well(site).await;
    leads
}

/// A power cut takes the manager that leads, and core with it, while proxies are replaced: once when Swarm has just begun, once when the first
/// proxy finishes what it began, and once when one of the two is new. A client that tries the other node notices nothing, and all arrives that
/// was asked for.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm of five nodes: scripts/test --full brings one up"]
async fn five_nodes_the_leader_dies_in_the_middle_of_a_roll() {
    let site = five().await;
    let text = site.settings_text("interlock-proxy-nginx", HITLESS);
    site.whole_settings(&text.replace("ProxyStopGracePeriod = \"2s\"", "ProxyStopGracePeriod = \"15s\""));
    // Not on a node that dies: what it was answering would be lost with it, which is not what this is about.
    shop(&site, 2, &["--constraint", "node.role==worker"]);
    site.install_and_wait();
    for moment in ["the roll has begun", "the first proxy is ending", "one proxy is new"] {
        let leads = core_on_the_leader(&site).await;
        let before = site.proxy_tasks();
        let name = moment.replace(' ', "-");
        site.network(&name).await;
        let (load, watch) = (Load::elsewhere(&site.addresses(), HOST, 100), Watch::start(&site.addresses()));
        let long = if moment == "the first proxy is ending" { long_answers(&site) } else { Vec::new() };
        let host = format!("{name}.local.test");
        let labels = [&format!("hosts={host}"), "port=8080"];
        site.service_with(&name, &[&name], 2, &labels, &["--constraint", "node.role==worker"]);
        site.until(moment, |site| {
            let ps = ["service", "ps", "--no-trunc", "--filter", "desired-state=running"];
            let tasks = site.docker(&[&ps[..], &["--format", "{{.ID}} {{.CurrentState}}", "interlock-proxy"]].concat());
            let new = |line: &&str| !before.iter().any(|task| line.starts_with(task));
            let runs = |line: &&str| moment != "one proxy is new" || line.contains(" Running");
            tasks.lines().filter(new).any(|line| runs(&line))
        })
        .await;
        let died = Instant::now();
        site.lab(&["kill", &(leads + 1).to_string()]);
        site.until("there is another leader", |site| leader(site).is_some_and(|number| number != leads)).await;
        let led = died.elapsed();
        site.eventually(&host, "/ping", |answer| answer.status == 200).await;
        let served = died.elapsed();
        site.lab(&["start", &(leads + 1).to_string()]);
        all_well(&site).await;
        let (longest, outcome) = (watch.stop(), load.stop());
        tell(&format!(
            "{moment}: led again after {led:.1?}, served after {served:.1?}; both proxies away for {longest:.1?} at most; {} answered, {} failed",
            outcome.answered,
            outcome.failed.len()
        ));
        none_failed(moment, &outcome);
        long.into_iter().for_each(|answer| answer.join().unwrap());
    }
    site.uninstall();
    site.end().await;
}

/// A long answer from each proxy, which a proxy that ends finishes.
fn long_answers(site: &Site) -> Vec<JoinHandle<()>> {
    let answer = |address: String| {
        std::thread::spawn(move || {
            let request = format!("GET /slow?ms=14000 HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
            let answer = http::exchange(address.as_str(), &request).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        })
    };
    site.addresses().into_iter().map(answer).collect()
}

/// Each node in turn drained and taken back, then shut down and started, as one does it for updates of the machines: under load of a client that
/// tries the other node's proxy.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm of five nodes: scripts/test --full brings one up"]
async fn five_nodes_one_after_the_other_is_drained_and_restarted() {
    let site = five().await;
    shop(&site, 4, &[]);
    site.install_and_wait();
    all_well(&site).await;
    let watch = Watch::start(&site.addresses());
    let mut failed = Vec::new();
    for number in 0..5 {
        if number < 3 {
            site.talk_to((number + 1) % 3);
        }
        for what in ["drained", "shut down"] {
            let (load, began) = (Load::elsewhere(&site.addresses(), HOST, 100), Instant::now());
            let position = (number + 1).to_string();
            match what {
                "drained" => availability(&site, number, "drain"),
                _ => site.lab(&["stop", &position]),
            }
            nobody_misses(&site, number).await;
            let without = began.elapsed();
            match what {
                "drained" => availability(&site, number, "active"),
                _ => site.lab(&["start", &position]),
            }
            all_well(&site).await;
            let outcome = load.stop();
            tell(&format!(
                "node {position} {what}: all elsewhere after {without:.1?}, all well after {:.1?}; {} answered, {} failed",
                began.elapsed(),
                outcome.answered,
                outcome.failed.len()
            ));
            failed.extend(outcome.failed);
        }
    }
    tell(&format!("both proxies away for {:.1?} at most", watch.stop()));
    assert!(failed.is_empty(), "{} failed: {:#?}", failed.len(), &failed[..failed.len().min(5)]);
    site.uninstall();
    site.end().await;
}

/// Waits until all that can run elsewhere than on a node does.
async fn nobody_misses(site: &Site, number: usize) {
    let node = site.node(number);
    // Those of workers have no other node to go to.
    let proxies = if number < 3 { 2 } else { 1 };
    let wanted = [("shop", 4), ("interlock-core", 1), ("interlock-extension", 1), ("interlock-proxy", proxies)];
    site.until("all runs elsewhere", |site| {
        wanted.iter().all(|(service, tasks)| {
            let ps = ["service", "ps", "--filter", "desired-state=running"];
            let format = ["--format", "{{.Node}} {{.CurrentState}}", service];
            let states = site.try_docker(&[&ps[..], &format].concat()).unwrap_or_default();
            let elsewhere = states.lines().filter(|line| !line.starts_with(&node) && line.contains(" Running"));
            elsewhere.count() == *tasks
        })
    })
    .await;
}
