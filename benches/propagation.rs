//! How long a change takes until it is served, on a real Swarm of three nodes: two proxies of interlock, and two Traefiks beside them, one
//! with its defaults and one tuned to be as fast as it can be. All see the same services at the same time.
//!
//! `scripts/bench-swarm` brings up what this needs, runs it and prints the table.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what it prints is its result, and how far it is")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on says where")]

#[path = "../tests/swarm/site.rs"]
#[expect(dead_code, reason = "the tests on a real Swarm use all of it")]
mod site;
#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use site::Site;
use support::real::Lab;

/// Hosts that are there all the time, and the services that they are spread over.
const HOSTS: usize = 100;
const SERVICES: usize = 20;
/// What can be measured: beside Traefik; from core's event on; what a proxy needs after many reloads.
const PARTS: [&str; 3] = ["traefik", "core", "memory"];
/// The longest that a router may take for a change.
const PATIENCE: Duration = Duration::from_secs(60);
/// Traefik's default for asking Swarm: changes have to be spread over it.
const REFRESH: f64 = 15.0;

/// Something that routes, at one or more addresses.
#[derive(Clone)]
struct Router {
    name: &'static str,
    addresses: Vec<String>,
}

fn main() {
    // `cargo test --benches` runs this with no arguments: no measurement then.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let rounds = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(10);
    let parts: Vec<_> = arguments.iter().map(String::as_str).filter(|argument| PARTS.contains(argument)).collect();
    let parts = if parts.is_empty() { PARTS.to_vec() } else { parts };
    tokio::runtime::Runtime::new().unwrap().block_on(measure(rounds, &parts));
}

async fn measure(rounds: usize, parts: &[&str]) {
    let lab = Lab::find();
    let site = Site::new("").await;
    site.network("demo").await;
    install(&site, "");
    for number in 0..SERVICES {
        let hosts: Vec<_> = (0..HOSTS / SERVICES).map(|host| format!("h{number}-{host}.local.test")).collect();
        create(&lab, &format!("s{number}"), &hosts);
    }
    let interlock = Router { name: "interlock", addresses: site.addresses() };
    for number in 0..SERVICES {
        served(std::slice::from_ref(&interlock), &format!("h{number}-0.local.test"), &[200]).join();
    }
    for part in parts {
        match *part {
            "traefik" => beside_traefik(&lab, &site, &interlock, rounds),
            "core" => {
                from_core(&lab, &site, &interlock, rounds, "rendered and checked by core");
                install(&site, "Image = \"REGISTRY/interlock:lab\"\n");
                site.run("interlock-extension", 1).await;
                from_core(&lab, &site, &interlock, rounds, "by an extension of its own");
                install(&site, "");
            }
            _ => reloads(&lab, &site, &interlock),
        }
    }
    site.uninstall();
    site.end().await;
}

/// Has core work with these lines in its settings.
fn install(site: &Site, more: &str) {
    let settings = site.settings_text("interlock-proxy-nginx", &format!("HitlessServiceUpdate = true\n{more}"));
    site.whole_settings(&format!("LogLevel = \"debug\"\n{settings}"));
    site.install();
}

/// Changes, and when they are served by interlock, by a Traefik with its defaults and by one that is tuned.
fn beside_traefik(lab: &Lab, site: &Site, interlock: &Router, rounds: usize) {
    traefik(site, lab, "traefik-default", 8081, &[]);
    let tuned = ["--providers.swarm.refreshSeconds=100ms", "--providers.providersThrottleDuration=0s"];
    traefik(site, lab, "traefik-tuned", 8082, &tuned);
    let manager = &lab.nodes[0];
    let routers = [
        interlock.clone(),
        Router { name: "traefik, tuned", addresses: vec![format!("{manager}:8082")] },
        Router { name: "traefik, default", addresses: vec![format!("{manager}:8081")] },
    ];
    for number in 0..SERVICES {
        served(&routers, &format!("h{number}-0.local.test"), &[200]).join();
    }
    let mut figures = [const { [const { Vec::new() }; 3] }; 3];
    for round in 0..rounds {
        for (phase, figures) in figures.iter_mut().enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "some tens")]
            let moment = (round * 3 + phase) as f64 * 0.618_034;
            std::thread::sleep(Duration::from_secs_f64(REFRESH * moment.fract()));
            let (since, seen) = match phase {
                0 => appears(lab, &routers, round),
                1 => is_renamed(lab, &routers, round),
                _ => goes(lab, &routers, round),
            };
            for (figures, at) in figures.iter_mut().zip(seen.join()) {
                figures.push(at.saturating_duration_since(since));
            }
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    println!("{HOSTS} hosts of {SERVICES} services, {rounds} rounds, seconds: median (range)");
    println!("{:<18} {:<22} {:<22} {:<22}", "", "running to served", "label to served", "removed to refused");
    for (number, router) in routers.iter().enumerate() {
        let [appears, renamed, goes] = [0, 1, 2].map(|phase| summary(&mut figures[phase][number]));
        println!("{:<18} {appears:<22} {renamed:<22} {goes:<22}", router.name);
    }
    for name in ["traefik-default", "traefik-tuned"] {
        site.docker(&["service", "rm", name]);
    }
}

/// From the event that tells core of a change, by core's log, to the first answer through the second proxy, and to the last proxy's word
/// that it serves it. Nobody else is at work, and what asks takes turns with the proxies for the processors.
fn from_core(lab: &Lab, site: &Site, interlock: &Router, rounds: usize, rendered: &str) {
    let interlock = std::slice::from_ref(interlock);
    let (mut answered, mut told) = (Vec::new(), Vec::new());
    // Core has just started: until all have connected.
    let first = format!("{}.local.test", rendered.replace(' ', "-"));
    change(lab, "s2", &first);
    served(interlock, &first, &[200]).join();
    for round in 0..2 * rounds {
        std::thread::sleep(Duration::from_secs(1));
        let host = format!("{}-{round}.local.test", rendered.replace(' ', "-"));
        let (before, began) = (jiff::Timestamp::now(), Instant::now());
        change(lab, "s2", &host);
        let answers = served(interlock, &host, &[200]).join();
        std::thread::sleep(Duration::from_secs(1));
        let log = site.logs("interlock-core");
        let of_this = |line: &&str| time(line).is_some_and(|time| time > before);
        let lines = || log.lines().filter(of_this);
        let seen = lines().find(|line| line.contains("event: Service")).and_then(time).unwrap();
        let seen = seen.duration_since(before).unsigned_abs();
        let serving: Vec<_> = lines().filter(|line| line.contains("proxy serves")).filter_map(time).collect();
        assert_eq!(serving.len(), 2, "{log}");
        told.push(serving.into_iter().max().unwrap().duration_since(before).unsigned_abs().saturating_sub(seen));
        answered.push(answers.into_iter().max().unwrap().saturating_duration_since(began).saturating_sub(seen));
    }
    println!("\n{rendered}, {} rounds", 2 * rounds);
    println!(
        "from core's having seen a changed label to the second proxy's first answer: {} s",
        summary(&mut answered)
    );
    println!("to the second proxy's word that it serves it: {} s", summary(&mut told));
}

/// When a line was logged.
fn time(line: &str) -> Option<jiff::Timestamp> {
    line.split(' ').next()?.parse().ok()
}

/// What a proxy needs after 100 revisions while WebSockets stay open: ten from before, and then one more after every tenth.
fn reloads(lab: &Lab, site: &Site, interlock: &Router) {
    let interlock = std::slice::from_ref(interlock);
    println!("\none proxy, its agent and NGINX: processes, MiB (proportional set size), open WebSockets");
    let tell = |when: &str, open: &[TcpStream]| {
        let sum = "grep -h ^Pss: /proc/[0-9]*/smaps_rollup | awk '{ kb += $2 } END { print NR, kb / 1024 }'";
        let told = site.in_container(1, "interlock-proxy", &["sh", "-c", sum]);
        let alive = open.iter().filter(|stream| echoes(stream)).count();
        println!("{when:<60} {} {alive} of {}", told.trim(), open.len());
    };
    let address = &interlock[0].addresses[0];
    let host = "h0-0.local.test";
    let mut open: Vec<_> = Vec::new();
    tell("before", &open);
    open.extend((0..10).map(|_| websocket(address, host)));
    let revise = |number: usize, open: &mut Vec<TcpStream>, more: bool| {
        let name = format!("reload-{number}.local.test");
        change(lab, "s1", &name);
        served(interlock, &name, &[200]).join();
        if more && number.is_multiple_of(10) {
            open.push(websocket(address, host));
        }
    };
    (0..100).for_each(|number| revise(number, &mut open, false));
    tell("100 revisions later, 10 WebSockets from before", &open);
    open.clear();
    (100..200).for_each(|number| revise(number, &mut open, true));
    tell("100 revisions later, a WebSocket after every tenth", &open);
    open.clear();
    std::thread::sleep(Duration::from_secs(6));
    tell("all closed", &open);
}

fn websocket(address: &str, host: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    stream.write_all(format!("GET /echo HTTP/1.1\r\nHost: {host}\r\n{upgrade}\r\n\r\n").as_bytes()).unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    stream
}

fn echoes(mut stream: &TcpStream) -> bool {
    let mut echo = [0; 4];
    stream.write_all(b"\x81\x82\0\0\0\0hi").is_ok() && stream.read_exact(&mut echo).is_ok()
}

fn summary(all: &mut [Duration]) -> String {
    all.sort();
    let [median, first, last] = [all[all.len() / 2], all[0], all[all.len() - 1]].map(|time| time.as_secs_f64());
    format!("{median:.3} ({first:.3}-{last:.3})")
}

/// A new service, from the moment at which Swarm says that its task runs.
fn appears(lab: &Lab, routers: &[Router], round: usize) -> (Instant, Seen) {
    let host = format!("first-{round}.local.test");
    let seen = served(routers, &host, &[200]);
    create(lab, "changing", &[host]);
    let running =
        r#"/tasks?filters={"service":{"changing":true},"desired-state":{"running":true}}"#.replace('"', "%22");
    let deadline = Instant::now() + PATIENCE;
    while !api(lab, "GET", &running, None).contains(r#""State":"running""#) {
        assert!(Instant::now() < deadline, "its task does not run");
        std::thread::sleep(Duration::from_millis(5));
    }
    (Instant::now(), seen)
}

/// Another host, from the answer to the call that changed the labels.
fn is_renamed(lab: &Lab, routers: &[Router], round: usize) -> (Instant, Seen) {
    let host = format!("second-{round}.local.test");
    let seen = served(routers, &host, &[200]);
    (change(lab, "changing", &host), seen)
}

/// Gives a service another host. Answers when Swarm had done so.
fn change(lab: &Lab, name: &str, host: &str) -> Instant {
    let now: Value = serde_json::from_str(&api(lab, "GET", &format!("/services/{name}"), None)).unwrap();
    let mut spec = now["Spec"].clone();
    spec["Labels"] = labels(name, &[host.to_owned()]);
    api(lab, "POST", &format!("/services/{name}/update?version={}", now["Version"]["Index"]), Some(&spec));
    Instant::now()
}

/// A service that is removed, from the answer to that call.
fn goes(lab: &Lab, routers: &[Router], round: usize) -> (Instant, Seen) {
    let seen = served(routers, &format!("second-{round}.local.test"), &[404, 503]);
    api(lab, "DELETE", "/services/changing", None);
    (Instant::now(), seen)
}

/// When each router began to answer so, at all of its addresses.
struct Seen(Vec<Vec<JoinHandle<Instant>>>);

impl Seen {
    fn join(self) -> Vec<Instant> {
        let last = |threads: Vec<JoinHandle<Instant>>| threads.into_iter().map(|thread| thread.join().unwrap()).max();
        self.0.into_iter().map(|threads| last(threads).unwrap()).collect()
    }
}

/// Asks every address for a host every 3 ms, each time on a new connection, until the answer is one of these.
fn served(routers: &[Router], host: &str, right: &'static [u16]) -> Seen {
    let watch = |address: &String| {
        let (address, host) = (address.clone(), host.to_owned());
        std::thread::spawn(move || {
            let deadline = Instant::now() + PATIENCE;
            loop {
                let asked = Instant::now();
                if status(&address, &host).is_some_and(|status| right.contains(&status)) {
                    return asked;
                }
                assert!(asked < deadline, "{address} does not answer as it should for {host}");
                std::thread::sleep(Duration::from_millis(3));
            }
        })
    };
    Seen(routers.iter().map(|router| router.addresses.iter().map(watch).collect()).collect())
}

fn status(address: &str, host: &str) -> Option<u16> {
    let limit = Duration::from_millis(500);
    let mut stream = TcpStream::connect_timeout(&address.parse().unwrap(), limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    stream.write_all(format!("GET /ping HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    std::str::from_utf8(&head[9..]).ok()?.parse().ok()
}

/// Labels by which both interlock and Traefik route these hosts.
fn labels(name: &str, hosts: &[String]) -> Value {
    let rules: Vec<_> = hosts.iter().map(|host| format!("Host(`{host}`)")).collect();
    json!({
        "com.docker.lb.hosts": hosts.join(","),
        "com.docker.lb.port": "8080",
        format!("traefik.http.routers.{name}.rule"): rules.join(" || "),
        format!("traefik.http.services.{name}.loadbalancer.server.port"): "8080",
    })
}

fn create(lab: &Lab, name: &str, hosts: &[String]) {
    let spec = json!({
        "Name": name,
        "Labels": labels(name, hosts),
        "TaskTemplate": {
            "ContainerSpec": { "Image": format!("{}/demo:lab", lab.registry), "StopGracePeriod": 1_000_000_000 },
            "Networks": [{ "Target": "demo" }],
            "Placement": { "Constraints": ["node.role==worker"] },
        },
        "Mode": { "Replicated": { "Replicas": 1 } },
        "EndpointSpec": { "Mode": "dnsrr" },
    });
    api(lab, "POST", "/services/create", Some(&spec));
}

fn traefik(site: &Site, lab: &Lab, name: &str, port: u16, more: &[&str]) {
    let (publish, image) = (format!("mode=host,published={port},target=80"), format!("{}/traefik:lab", lab.registry));
    let socket = "type=bind,source=/var/run/docker.sock,destination=/var/run/docker.sock";
    let mut args = vec!["service", "create", "--detach", "--quiet", "--name", name, "--network", "demo"];
    args.extend(["--constraint", "node.role==manager", "--endpoint-mode", "dnsrr"]);
    args.extend(["--mount", socket, "--publish", &publish, &image]);
    args.extend(["--providers.swarm", "--providers.swarm.network=demo", "--entrypoints.web.address=:80"]);
    args.extend(more);
    site.docker(&args);
}

/// A call of the manager's engine, which has to succeed.
fn api(lab: &Lab, method: &str, path: &str, body: Option<&Value>) -> String {
    let mut stream = UnixStream::connect(lab.host().trim_start_matches("unix://")).unwrap();
    let body = body.map(Value::to_string).unwrap_or_default();
    let head = format!("Host: docker\r\nContent-Type: application/json\r\nContent-Length: {}", body.len());
    stream.write_all(format!("{method} /v1.40{path} HTTP/1.0\r\n{head}\r\n\r\n{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.split(' ').nth(1).is_some_and(|status| status.starts_with('2')), "{method} {path}: {answer}");
    body.to_owned()
}
