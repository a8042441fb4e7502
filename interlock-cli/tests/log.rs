//! What core logs: a line for each route that comes, changes or goes, and problems with fields that programs can look for.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use interlock_testkit::{Swarm, server};
use serde_json::{Value, json};

/// Core on a fake Swarm, with the lines that it logs.
struct Core {
    handle: server::Handle,
    process: Child,
    lines: Receiver<String>,
    _folder: tempfile::TempDir,
}

impl Core {
    fn start(args: &[&str]) -> Self {
        let mut swarm = Swarm::three_nodes().overlay("demo");
        swarm.settle();
        let folder = tempfile::tempdir().unwrap();
        let settings = folder.path().join("settings.toml");
        std::fs::write(&settings, "ListenAddr = \"127.0.0.1:0\"\nPollInterval = \"1s\"\n[Extensions.default]\n")
            .unwrap();
        let handle = server::serve(Arc::new(Mutex::new(swarm)), folder.path()).unwrap().with_clock(50.0);
        let mut command = Command::new(env!("CARGO_BIN_EXE_interlock"));
        command.arg("reconcile").arg("-c").arg(&settings).args(args);
        command.env("DOCKER_HOST", handle.url()).env_remove("RUST_LOG").stdin(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let (sender, lines) = channel();
        let log = BufReader::new(process.stderr.take().unwrap());
        std::thread::spawn(move || log.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { handle, process, lines, _folder: folder }
    }

    /// The next line that holds this.
    fn says(&self, what: &str) -> String {
        let mut seen = Vec::new();
        loop {
            let line =
                self.lines.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("no {what}: {seen:#?}"));
            if line.contains(what) {
                return line;
            }
            seen.push(line);
        }
    }

    fn create(&self, name: &str, port: &str) {
        let mut swarm = self.handle.swarm();
        let service = swarm.service(name).network("demo").replicas(2).label("com.docker.lb.port", port);
        service.label("com.docker.lb.hosts", &format!("{name}.example.com")).create();
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_comes_changes_or_goes_is_a_line() {
    let core = Core::start(&[]);
    core.says("routes served");
    core.create("shop", "8080");
    let line = core.says("route published");
    assert!(line.contains("route published host=shop.example.com path=/ service=shop tasks="), "{line}");
    let replicas = |spec: &mut Value| spec["Mode"]["Replicated"]["Replicas"] = json!(5);
    core.handle.swarm().edit_service("shop", replicas).unwrap();
    while !core.says("route changed host=shop.example.com path=/ service=shop").contains("tasks=5") {}
    core.handle.swarm().remove_service("shop").unwrap();
    core.says("route withdrawn host=shop.example.com path=/ service=shop");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_json_problems_and_routes_have_fields() {
    let core = Core::start(&["--log-format", "json"]);
    core.says("routes served");
    core.create("shop", "80a");
    let line: Value = serde_json::from_str(&core.says("is not a port")).unwrap();
    let fields = line["fields"].clone();
    assert_eq!(line["level"], "ERROR");
    assert_eq!(fields["service"], "shop", "{line}");
    assert_eq!(fields["label"], "com.docker.lb.port");
    assert_eq!(fields["effect"], "left_out");
    assert_eq!(fields["host"], "shop.example.com");
    assert!(fields["message"].as_str().unwrap().contains("write a number from 1 to 65535"), "{line}");
    core.create("blog", "8080");
    let line: Value = serde_json::from_str(&core.says("route published")).unwrap();
    assert_eq!(line["fields"]["host"], "blog.example.com", "{line}");
    core.handle.swarm().edit_service("shop", |spec| spec["Labels"]["com.docker.lb.port"] = json!("80")).unwrap();
    let line: Value = serde_json::from_str(&core.says("problem solved: ")).unwrap();
    assert_eq!(line["level"], "INFO");
    let solved = &line["fields"];
    for field in ["service", "label", "effect", "host"] {
        assert_eq!(solved[field], fields[field], "{field}: {line}");
    }
}
