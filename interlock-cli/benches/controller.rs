//! The controller as a process, at work on the fake Swarm: how long until the proxies' service is there, the most memory that it had,
//! and what it costs while nothing happens. Prints a table.

#![expect(clippy::print_stdout, reason = "what it prints is its result")]

use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use interlock_testkit::{Swarm, server};

fn main() -> io::Result<()> {
    // `cargo test --benches` runs this with no arguments: no measurement then.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let row = |cells: [&str; 6]| {
        let [services, first, rss, calm, idle, peak] = cells;
        println!("{services:>8} {first:>18} {rss:>12} {calm:>14} {idle:>14} {peak:>14}");
    };
    row(["services", "start to proxies", "peak MiB", "then CPU ms", "over", "peak MiB then"]);
    for (services, window) in [(100, 10), (1_000, 10), (10_000, 60)] {
        let folder = tempfile::tempdir()?;
        let swarm = Arc::new(Mutex::new(Swarm::with_many(services, 3)));
        let handle = runtime.block_on(async { server::serve(swarm, folder.path()) })?;
        let begin = Instant::now();
        let controller = Controller::start(&handle.url())?;
        let limit = begin + Duration::from_secs(60);
        while handle.swarm().answer("GET", "/services/interlock-proxy", b"").status != 200 {
            assert!(Instant::now() < limit, "no proxies after a minute");
            std::thread::sleep(Duration::from_millis(5));
        }
        let (first, rss) = (begin.elapsed(), controller.peak_mib());
        handle.swarm().settle();
        std::thread::sleep(Duration::from_secs(3));
        let before = controller.cpu_ms();
        std::thread::sleep(Duration::from_secs(window));
        row([
            &services.to_string(),
            &format!("{} ms", first.as_millis()),
            &rss.to_string(),
            &(controller.cpu_ms() - before).to_string(),
            &format!("{window} s"),
            &controller.peak_mib().to_string(),
        ]);
    }
    Ok(())
}

struct Controller(Child);

impl Controller {
    fn start(url: &str) -> io::Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_interlock"));
        command
            .arg("reconcile")
            .env("DOCKER_HOST", url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.spawn().map(Self)
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).unwrap_or_default()
    }

    fn peak_mib(&self) -> u64 {
        let status = self.proc("status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak.and_then(|peak| peak.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() / 1024
    }

    /// User and system time. A tick is 10 ms.
    fn cpu_ms(&self) -> u64 {
        let stat = self.proc("stat");
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
        fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
