//! `nginx -t` and a reload of what is rendered for many plain hosts, next to a hand-written layout with the same hosts.
//!
//! Both have one `server` for all hosts, a `map` from host to upstream, and an `upstream` with one address and kept connections a
//! host. The hand-written one says nothing else; it is what one would write who wants nothing but a fast reload. The two take turns.
//! Prints a table with medians and ranges. A reload ends when a new connection is answered by the new configuration.
//!
//! Then the same reload with and without the old workers being told to finish as the agent tells them, and how long they answer.

#![expect(clippy::print_stdout, reason = "what it prints is its result")]

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use interlock_core::kinds::nginx::HEALTH_PORT;
use interlock_core::reconcile::reconcile_embedded;

mod support;

const LISTEN: u16 = 28_901;

/// One nginx with its own folder.
struct Nginx {
    folder: tempfile::TempDir,
    /// Its configuration, but for the text that the probe is answered with, which stands in it as `GENERATION`.
    text: String,
    generation: u32,
    child: Option<Child>,
}

fn main() {
    // `cargo test --benches` runs this with no arguments: no measurement then.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!("median (range), ms; CPU is that of the process that reads the configuration");
    println!(
        "{:>6} {:<8} {:>7}  {:<16} {:<16} {:<18} {:<16}",
        "hosts", "layout", "kB", "-t", "-t CPU", "reload", "reload CPU"
    );
    for (hosts, rounds) in [(100, 11), (1_000, 11), (10_000, 7)] {
        compare(hosts, rounds);
    }
    println!("\n{:<18} {:<18} {:<18}", "old workers", "first of the new", "last of the old");
    let mut nginx = Nginx::start(map(1));
    for (name, told) in [("left to nginx", false), ("told", true)] {
        let (mut first, mut last): (Vec<_>, Vec<_>) = (0..40).map(|_| nginx.turnover(told)).unzip();
        println!("{name:<18} {:<18} {:<18}", summary(&mut first), summary(&mut last));
    }
}

fn compare(hosts: u32, rounds: u32) {
    let mut both = [("ours", Nginx::start(ours(hosts))), ("map", Nginx::start(map(hosts)))];
    let mut figures = [const { [const { Vec::new() }; 4] }; 2];
    for _ in 0..rounds {
        for ((_, nginx), figures) in both.iter_mut().zip(&mut figures) {
            let ((check, check_cpu), (reload, reload_cpu)) = (nginx.check(), nginx.reload());
            for (all, one) in figures.iter_mut().zip([check, check_cpu, reload, reload_cpu]) {
                all.push(one);
            }
        }
    }
    for ((name, nginx), figures) in both.iter().zip(&mut figures) {
        let [check, check_cpu, reload, reload_cpu] = figures.each_mut().map(|all| summary(all));
        let kb = nginx.text.len() / 1000;
        println!("{hosts:>6} {name:<8} {kb:>7}  {check:<16} {check_cpu:<16} {reload:<18} {reload_cpu:<16}");
    }
    let [ours, map] = figures;
    let ratio = |figure: usize| match median(&map[figure]) {
        // A tick of the processor's account is 10 ms: less than some of them compare nothing.
        few if few < 100.0 && figure % 2 == 1 => "-".to_owned(),
        map => format!("{:.2}", median(&ours[figure]) / map),
    };
    println!("{:>6} ours/map {:>7}  {:<16} {:<16} {:<18} {:<16}", "", "", ratio(0), ratio(1), ratio(2), ratio(3));
}

fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

fn summary(all: &mut [f64]) -> String {
    all.sort_by(f64::total_cmp);
    format!("{:.0} ({:.0}-{:.0})", median(all), all[0], all[all.len() - 1])
}

/// What interlock renders, with everything that is a place replaced: `FOLDER` stands for the folder.
fn ours(hosts: u32) -> String {
    let (_, renderings) = reconcile_embedded(&support::inputs(hosts, 1));
    let files = renderings.values().next().and_then(|rendering| rendering.result.clone().ok()).expect("files");
    let (main, parts) = files.split_first().expect("a file");
    let mut text = main.content.to_string();
    for part in parts {
        text = text.replace(&format!("include interlock.d/{}.conf;", part.part), &part.content);
    }
    let health = text.find("return 200 \"").expect("the health check") + "return 200 \"".len();
    text.replace_range(health..health + 16, "GENERATION");
    text.replace("pid /var/run/proxy.pid;", "pid FOLDER/pid;")
        .replace("/dev/stdout", "FOLDER/log")
        .replace("worker_processes auto;", "worker_processes 2;")
        .replace(&format!("listen 127.0.0.1:{HEALTH_PORT};"), "listen unix:FOLDER/probe;")
        .replace("listen 80", &format!("listen {LISTEN}"))
}

fn map(hosts: u32) -> String {
    let mut text = format!(
        "worker_processes 2;\npid FOLDER/pid;\nerror_log FOLDER/log;\nevents {{ worker_connections 4096; }}\nhttp {{\n\
         access_log FOLDER/log;\nproxy_http_version 1.1;\nproxy_set_header Connection \"\";\nproxy_set_header Host $host;\n\
         map_hash_max_size 32768;\nmap_hash_bucket_size 128;\n\
         server {{ listen unix:FOLDER/probe; location = /healthz {{ return 200 \"GENERATION\\n\"; }} }}\n\
         server {{ listen {}; location / {{ proxy_pass http://$upstream; }} }}\nmap $host $upstream {{\ndefault \"\";\n",
        LISTEN + 1
    );
    for host in 0..hosts {
        let _ = writeln!(text, "s{host}.example.com s{host}.8080;");
    }
    text.push_str("}\n");
    for host in 0..hosts {
        let address = std::net::Ipv4Addr::from(0x0a40_0000 + host);
        let _ = writeln!(text, "upstream s{host}.8080 {{ server {address}:8080; keepalive 8; }}");
    }
    text.push_str("}\n");
    text
}

impl Nginx {
    fn start(text: String) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let text = text.replace("FOLDER", folder.path().to_str().expect("a path"));
        let mut nginx = Self { folder, text, generation: 0, child: None };
        nginx.write();
        nginx.child = Some(nginx.command(&["-g", "daemon off;"]).spawn().expect("nginx"));
        nginx.wait();
        nginx
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nginx");
        command
            .arg("-p")
            .arg(self.folder.path())
            .arg("-c")
            .arg(self.conf())
            .arg("-e")
            .arg(self.folder.path().join("log"));
        command.args(arguments).stdin(Stdio::null());
        command
    }

    fn conf(&self) -> PathBuf {
        self.folder.path().join("nginx.conf")
    }

    fn write(&mut self) {
        self.generation += 1;
        let text = self.text.replace("GENERATION", &format!("generation {}", self.generation));
        std::fs::write(self.conf(), text).expect("a file");
    }

    /// How long `nginx -t` took, and how long a processor was busy with it.
    fn check(&self) -> (f64, f64) {
        let (begin, before) = (Instant::now(), cpu_of("self", 15));
        let output = self.command(&["-t", "-q"]).output().expect("nginx");
        let took = ms(begin.elapsed());
        assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        (took, cpu_of("self", 15) - before)
    }

    /// The same of a reload.
    fn reload(&mut self) -> (f64, f64) {
        let master = self.child.as_ref().expect("a running nginx").id().to_string();
        self.write();
        let (begin, before) = (Instant::now(), cpu_of(&master, 13));
        signal("HUP", &[self.child.as_ref().expect("a running nginx").id()]);
        self.wait();
        let took = ms(begin.elapsed());
        (took, cpu_of(&master, 13) - before)
    }

    /// When a reload was first answered by the new configuration, and last by the old one. `told`: old workers are told to finish as soon
    /// as there are as many new ones.
    fn turnover(&mut self, told: bool) -> (f64, f64) {
        let master = self.child.as_ref().expect("a running nginx").id();
        let before = workers_of(master);
        self.write();
        let wanted = format!("generation {}\n", self.generation);
        let (begin, mut first, mut last) = (Instant::now(), None, 0.0);
        signal("HUP", &[master]);
        let mut left = told;
        // Nothing of the old is left after that, told or not: nginx itself waits for 100 ms.
        while begin.elapsed() < Duration::from_millis(250) {
            if left && workers_of(master).len() >= 2 * before.len() {
                signal("QUIT", &before);
                left = false;
            }
            let asked = ms(begin.elapsed());
            if self.probe().expect("an answer").ends_with(&wanted) {
                first.get_or_insert_with(|| ms(begin.elapsed()));
            } else {
                last = asked;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        (first.expect("the new configuration"), last)
    }

    /// Waits until the newest configuration answers.
    fn wait(&self) {
        let end = Instant::now() + Duration::from_secs(30);
        let wanted = format!("generation {}\n", self.generation);
        while !self.probe().is_ok_and(|answer| answer.ends_with(&wanted)) {
            assert!(Instant::now() < end, "nginx does not answer: see {}", self.folder.path().display());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn probe(&self) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(self.folder.path().join("probe"))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // TERM to the master ends its workers, which killing it would leave behind.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }
}

/// Processes that may have ended since are no error.
fn signal(name: &str, processes: &[u32]) {
    let mut command = Command::new("kill");
    command.args(["-s", name]).args(processes.iter().map(u32::to_string)).stderr(Stdio::null());
    let _ = command.status().expect("kill");
}

/// The workers that are ready and take connections.
fn workers_of(master: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{master}/task/{master}/children")).expect("a running nginx");
    let title = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    children.filter(|pid| title(pid).contains(": worker process") && !title(pid).contains("shutting")).collect()
}

/// User and system time in ms from the two fields of /proc/PID/stat that begin at this one, counted from 0.
fn cpu_of(process: &str, field: usize) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    // The pid and the name stand before; a tick is 10 ms.
    fields.skip(field - 2).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() * 10.0
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
