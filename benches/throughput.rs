//! What a request costs: the rendered configuration, a hand-written one for the same NGINX, and Traefik, in front of the same applications.
//! All run at once and are asked in turns, round by round.
//!
//! `scripts/bench-throughput` brings what this needs, runs it and prints the table.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what it prints is its result, and how far it is")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on says where")]

#[path = "support/rivals.rs"]
mod rivals;
#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use rivals::Traefik;
use support::nginx::Nginx;
use support::pki::Authority;
use support::routes::{labelled, rendered_with};

/// Half of them with TLS as well.
const HOSTS: usize = 100;
/// Where the applications are: one NGINX of one worker at two addresses.
const APPLICATIONS: [&str; 2] = ["127.30.60.1", "127.30.60.2"];
const PORT: u16 = 19_400;
/// What they answer with.
const BODY: usize = 600;

/// What a proxy is asked for by h2load.
struct Load {
    name: &'static str,
    scheme: &'static str,
    clients: usize,
    /// On one connection, fewer than the 1,000 after which NGINX ends it.
    requests_each: usize,
    /// How often this is done for one figure.
    times: usize,
    more: &'static [&'static str],
}

const LOADS: [Load; 4] = [
    Load { name: "HTTP/1.1", scheme: "http", clients: 32, requests_each: 400, times: 1, more: &["--h1"] },
    Load { name: "TLS, HTTP/1.1", scheme: "https", clients: 32, requests_each: 300, times: 1, more: &["--h1"] },
    Load {
        name: "TLS, HTTP/2",
        scheme: "https",
        clients: 8,
        requests_each: 960,
        times: 1,
        more: &["--max-concurrent-streams=4"],
    },
    Load { name: "TLS, new connections", scheme: "https", clients: 64, requests_each: 1, times: 3, more: &["--h1"] },
];

/// Something that routes.
struct Proxy {
    name: &'static str,
    /// The number of the one that it is compared with.
    beside: usize,
    /// For HTTP; TLS is on the next one.
    port: u16,
    id: i32,
}

/// What one run told.
#[derive(Clone, Copy)]
struct Figure {
    per_second: f64,
    /// Processor time of the proxy's processes, user and system, in microseconds for one request.
    cpu: f64,
}

fn main() {
    // `cargo test --benches` runs this with no arguments: no measurement then.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let rounds = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(7);
    let authority = Authority::new();
    let pair = authority.pair("*.example.com");
    let secrets = [("shop.cert", pair.certificate.as_str()), ("shop.key", &pair.key)];
    let applications = Nginx::start(&rivals::applications(&APPLICATIONS, PORT, BODY));
    pin(applications.id(), 1);
    let start = |text: &str| Nginx::start_with(&rivals::files(text), &secrets);
    let lean = "HideInfoHeaders = true\nHTTPOptions = [\"access_log off;\"]\n";
    let nginx = [
        ("by hand, the same", 0, start(&rivals::by_hand(HOSTS, &APPLICATIONS, PORT, true))),
        ("interlock", 0, Nginx::start_with(&ours(""), &secrets)),
        ("by hand, lean", 2, start(&rivals::by_hand(HOSTS, &APPLICATIONS, PORT, false))),
        ("interlock, lean", 2, Nginx::start_with(&ours(lean), &secrets)),
    ];
    let traefik = Traefik::start(HOSTS, &APPLICATIONS, PORT, &secrets);
    let mut proxies: Vec<_> = nginx
        .iter()
        .map(|(name, beside, nginx)| Proxy { name, beside: *beside, port: nginx.port(), id: nginx.id() })
        .collect();
    proxies.extend(traefik.iter().map(|it| Proxy { name: "Traefik", beside: 0, port: it.port, id: it.id() }));
    for proxy in &proxies {
        pin(proxy.id, 0);
    }
    let mut figures: BTreeMap<(usize, usize), Vec<Figure>> = BTreeMap::new();
    for round in 0..=rounds {
        for (at, load) in LOADS.iter().enumerate() {
            // Each begins once in a while: what runs first in a round finds other caches than what runs last.
            for turn in 0..proxies.len() {
                let number = (turn + round) % proxies.len();
                let figure = measure(&proxies[number], load);
                // The first round opens connections and fills caches.
                if round > 0 {
                    figures.entry((at, number)).or_default().push(figure);
                }
            }
        }
        eprintln!("round {round} of {rounds}");
    }
    println!("NGINX {}", support::nginx::installed());
    println!(
        "{HOSTS} hosts, {rounds} rounds, one worker each; median (range); ratios are to what was written by hand, round by round; Traefik's to \"the same\""
    );
    for (at, load) in LOADS.iter().enumerate() {
        println!(
            "{:<22} {:<28} {:<22} {:<18} CPU ratio",
            load.name, "requests a second", "CPU us a request", "throughput ratio"
        );
        for (number, proxy) in proxies.iter().enumerate() {
            let [mine, reference] = [number, proxy.beside].map(|number| &figures[&(at, number)]);
            let ratio = |part: fn(&Figure) -> f64| {
                summary(mine.iter().zip(reference).map(|(mine, other)| part(mine) / part(other)), 2)
            };
            let (speed, cpu) = (|it: &Figure| it.per_second, |it: &Figure| it.cpu);
            println!(
                "  {:<20} {:<28} {:<22} {:<18} {}",
                proxy.name,
                summary(mine.iter().map(speed), 0),
                summary(mine.iter().map(cpu), 1),
                ratio(speed),
                ratio(cpu)
            );
        }
    }
}

/// What interlock renders: half of the hosts plain, half with TLS.
fn ours(more: &str) -> Vec<interlock_core::kinds::File> {
    let (mut services, mut tasks) = (String::new(), Vec::new());
    let names: Vec<_> = (0..HOSTS).map(rivals::name).collect();
    for (number, name) in names.iter().enumerate() {
        let host = format!("{name}.example.com");
        let tls = [("ssl_cert", "shop.cert"), ("ssl_key", "shop.key")];
        let tls = if rivals::has_tls(number) { &tls[..] } else { &[] };
        services += &labelled(name, PORT, &[&[("hosts", host.as_str())], tls].concat());
        tasks.extend(APPLICATIONS.map(|address| (name.as_str(), address)));
    }
    let version = support::nginx::installed();
    let toml = format!(
        "[Extensions.default]\nProxyVersion = \"{version}\"\n[Extensions.default.Config]\nWorkerProcesses = 1\n{more}"
    );
    rendered_with(&services, &tasks, &["shop.cert", "shop.key"], &toml)
}

/// Asks one proxy for all of a load. Every request has to succeed.
fn measure(proxy: &Proxy, load: &Load) -> Figure {
    let tls = load.scheme == "https";
    // One in the middle: where a variable names the upstream, NGINX looks through all of them, one by one.
    let host = rivals::name(HOSTS / 2 + usize::from(tls));
    let requests = load.clients * load.requests_each;
    let before = busy(proxy.id);
    let run = || {
        let output = Command::new("taskset")
            .args(["-c", "1", "h2load", &format!("--clients={}", load.clients), &format!("--requests={requests}")])
            .arg(format!("--connect-to=127.0.0.1:{}", proxy.port + u16::from(tls)))
            .args(load.more)
            .arg(format!("{}://{host}.example.com/", load.scheme))
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.contains(&format!(" {requests} 2xx")), "{}: {told}", proxy.name);
        let speed = told.split_once("finished in ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<f64>().ok());
        speed.unwrap_or_else(|| panic!("{told}"))
    };
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let (times, all) = (load.times as f64, (requests * load.times) as f64);
    // All runs are equally long.
    let per_second = times / (0..load.times).map(|_| 1.0 / run()).sum::<f64>();
    Figure { per_second, cpu: (busy(proxy.id) - before) / 1000.0 / all }
}

/// A process and its children.
fn family(id: i32) -> Vec<i32> {
    let parent = |pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok())
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid == id || parent(*pid) == Some(id)).collect()
}

/// How long processors were busy with a proxy's processes, in ns.
fn busy(id: i32) -> f64 {
    let threads = |pid: i32| std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let paths = family(id).into_iter().flat_map(threads).map(|thread| thread.path().join("schedstat"));
    let nanos =
        |path: PathBuf| -> Option<f64> { std::fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok() };
    paths.filter_map(nanos).sum()
}

/// Proxies on one processor, what asks and what answers on another.
fn pin(id: i32, processor: usize) {
    for pid in family(id) {
        let done = Command::new("taskset").args(["-a", "-c", "-p", &processor.to_string(), &pid.to_string()]).output();
        assert!(done.unwrap().status.success());
    }
}

fn summary(all: impl Iterator<Item = f64>, digits: usize) -> String {
    let mut all: Vec<_> = all.collect();
    all.sort_by(f64::total_cmp);
    format!("{:.digits$} ({:.digits$}-{:.digits$})", all[all.len() / 2], all[0], all[all.len() - 1])
}
