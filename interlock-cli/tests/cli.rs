//! The command as a person or a pipeline uses it: exit codes, what stands on which stream, what errors say.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use interlock_core::trust::Authority;
use interlock_core::units::{Cluster, Role};
use interlock_testkit::{Control, Swarm, server};

fn interlock(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_interlock"));
    command.args(args).stdin(Stdio::null());
    for variable in ["DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_CONTEXT", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command.env("DOCKER_CONFIG", "/nonexistent");
    command
}

fn run(args: &[&str]) -> (i32, String, String) {
    result(interlock(args).output().unwrap())
}

fn result(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(format!("{name}.yaml"));
    path.to_str().unwrap().to_owned()
}

/// A Swarm with one routed service, behind a socket.
struct Fake {
    handle: server::Handle,
    folder: tempfile::TempDir,
}

impl Fake {
    fn new(change: impl FnOnce(&mut Swarm)) -> Self {
        let mut swarm = Swarm::three_nodes().overlay("demo");
        swarm
            .service("shop")
            .label("com.docker.lb.hosts", "shop.example.com")
            .label("com.docker.lb.port", "8080")
            .network("demo")
            .with(|spec| spec["TaskTemplate"]["ContainerSpec"]["Env"] = serde_json::json!(["PASSWORD=canary"]))
            .create();
        swarm.settle();
        change(&mut swarm);
        let folder = tempfile::tempdir().unwrap();
        let handle = server::serve(Arc::new(Mutex::new(swarm)), folder.path()).unwrap().with_clock(50.0);
        Self { handle, folder }
    }

    async fn run(&self, args: &[&str], rust_log: &str) -> (i32, String, String) {
        let mut command = interlock(args);
        command.env("DOCKER_HOST", self.handle.url()).env("RUST_LOG", rust_log);
        result(tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap())
    }

    fn settings(&self, toml: &str) -> String {
        let path = self.folder.path().join("settings.toml");
        std::fs::write(&path, toml).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

#[test]
fn a_state_file_needs_no_docker() {
    let (code, out, err) = run(&["reconcile", "--once", "--state", &fixture("one-host")]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.contains("+ service interlock-proxy: ") && out.contains("+        server_name shop.example.com;"),
        "{out}"
    );
    assert!(!out.contains('\u{1b}'), "colour is for terminals");
    let (code, _, _) = run(&["reconcile", "--exit-code", "--state", &fixture("one-host")]);
    assert_eq!(code, 3);
    let (code, out, _) = run(&["reconcile", "--state", &fixture("one-host"), "--format", "json"]);
    let plan: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &plan["plan"]["steps"][1]["action"]), (0, &serde_json::json!("create_service")));
}

#[test]
fn problems_go_to_standard_error() {
    let (code, out, err) = run(&["reconcile", "--state", &fixture("bad-labels-among-good")]);
    assert_eq!(code, 0);
    assert!(err.contains("error: service bad-port: com.docker.lb.port=\"80a\" is not a port; write a number"), "{err}");
    assert!(!out.contains("bad-port"), "{out}");
}

#[test]
fn wrong_input_is_exit_2_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let settings = file("bad.toml", "[Extensions.default]\nProxyReplica = 2\nPublishedPort = \"80\"\n");
    let (code, _, err) = run(&["reconcile", "--config", &settings]);
    assert_eq!(code, 2);
    assert!(
        err.contains(
            "bad.toml: line 2, column 1: Extensions.default.ProxyReplica is no known key; did you mean ProxyReplicas?"
        ),
        "{err}"
    );
    assert!(
        err.contains(
            "bad.toml: line 3, column 17: Extensions.default.PublishedPort is a string, expected a whole number"
        ),
        "{err}"
    );
    let state = file("bad.yaml", "snapshot:\n  observed_at: 2026-01-01T00:00:00Z\n  servces: []\n");
    let (code, _, err) = run(&["reconcile", "--state", &state]);
    assert_eq!(code, 2);
    assert!(err.contains("bad.yaml: line 3, column 3") && err.contains("servces"), "{err}");
    for args in [
        &["reconcile", "--config", "/nowhere.toml"][..],
        &["reconcile", "--state", "/nowhere.yaml"],
        &["reconcile", "--colour"],
        &["reconcile", "--once", "--exit-code"],
        &["render", "--state", &fixture("one-host"), "--cluster", "west"],
    ] {
        assert_eq!(run(args).0, 2, "{args:?}");
    }
}

#[test]
fn no_engine_is_exit_1_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("unix://{}/none.sock", folder.path().display());
    for args in [
        &["reconcile", "--once", "--host", &url][..],
        &["snapshot", "--host", &url],
        &["reconcile", "--dry-run", "--host", &url],
    ] {
        let (code, _, err) = run(args);
        assert_eq!(code, 1, "{args:?}");
        assert!(err.starts_with(&format!("error: no Docker engine answers at {url}")), "{err}");
    }
    let (code, _, err) = run(&["snapshot", "--host", "ssh://somewhere"]);
    assert_eq!(code, 1);
    assert!(err.contains("ssh -L"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_no_manager_is_exit_1_with_what_to_do() {
    let fake = Fake::new(|swarm| swarm.control = Control::Worker);
    let (code, _, err) = fake.run(&["reconcile", "--once"], "info").await;
    assert_eq!(code, 1);
    assert!(err.contains("is no Swarm manager") && err.contains("docker node promote"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn once_works_until_nothing_is_left_and_says_so_the_second_time() {
    let fake = Fake::new(|_| ());
    let (code, out, err) = fake.run(&["reconcile", "--once", "--timeout", "60s"], "info").await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("+ service interlock-proxy"), "{out}");
    let (code, out, _) = fake.run(&["reconcile", "--once"], "info").await;
    assert_eq!((code, out.as_str()), (0, "nothing to do\n"));
    let (code, out, _) = fake.run(&["reconcile", "--dry-run", "--exit-code"], "info").await;
    assert_eq!((code, out.as_str()), (0, "nothing to do\n"));
    let (_, out, _) = fake.run(&["run", "--once", "--format", "json"], "info").await;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["done"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn once_fails_when_the_proxies_do_not_come_up() {
    let fake = Fake::new(|swarm| swarm.script.refuse_configs_with("interlock-proxy", "late.example.com"));
    assert_eq!(fake.run(&["reconcile", "--once"], "info").await.0, 0);
    {
        let mut swarm = fake.handle.swarm();
        swarm
            .service("late")
            .label("com.docker.lb.hosts", "late.example.com")
            .label("com.docker.lb.port", "1")
            .network("demo")
            .create();
        swarm.settle();
    }
    let (code, _, err) = fake.run(&["reconcile", "--once", "--timeout", "120s"], "info").await;
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("interlock-proxy"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_a_state_file_without_anybodys_environment() {
    let fake = Fake::new(|_| ());
    let settings = fake.settings("[Extensions.default]\nProxyReplicas = 3\n");
    let (code, out, _) = fake.run(&["snapshot", "--config", &settings], "info").await;
    assert_eq!(code, 0);
    assert!(out.contains("shop.example.com") && out.contains("ProxyReplicas = 3") && !out.contains("canary"), "{out}");
    let file = fake.folder.path().join("state.yaml");
    std::fs::write(&file, &out).unwrap();
    let (code, _, err) = run(&["reconcile", "--exit-code", "--state", file.to_str().unwrap()]);
    assert_eq!(code, 3, "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_hold_no_payloads_whatever_the_level() {
    let fake = Fake::new(|_| ());
    let mut seen = String::new();
    for rust_log in ["trace", "bollard=trace,bollard::docker=trace,hyper_util=trace,trace"] {
        let (code, out, err) = fake.run(&["reconcile", "--once", "--log-format", "json"], rust_log).await;
        assert_eq!(code, 0, "{err}");
        seen += &(out + &err);
        // A second service, so that the second run has something to send.
        let mut swarm = fake.handle.swarm();
        swarm
            .service(&format!("late-{}", rust_log.len()))
            .label("com.docker.lb.hosts", "late.example.com")
            .label("com.docker.lb.port", "1")
            .network("demo")
            .create();
    }
    assert!(!seen.contains("canary"), "an environment variable of somebody's service is in the log");
    assert!(!seen.contains("worker_connections"), "a config object's content is in the log");
    for line in seen.lines().filter(|line| line.contains("\"target\":\"bollard") || line.contains("\"target\":\"hyper"))
    {
        assert!(!line.contains("\"level\":\"DEBUG\"") && !line.contains("\"level\":\"TRACE\""), "{line}");
    }
}

#[test]
fn init_prints_settings_that_are_accepted_and_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("interlock.toml");
    let name = file.to_str().unwrap();
    assert_eq!(run(&["init", name]).0, 0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), run(&["init"]).1);
    assert_eq!(run(&["init", name]).0, 2);
    assert_eq!(run(&["reconcile", "--config", name, "--state", &fixture("one-host")]).0, 0);
}

#[test]
fn what_can_be_listed_is_listed() {
    let (_, labels, _) = run(&["labels"]);
    assert!(labels.contains("com.docker.lb.context_root_rewrite\n"), "{labels}");
    let json: serde_json::Value = serde_json::from_str(&run(&["labels", "--format", "json"]).1).unwrap();
    assert_eq!(json[0]["key"], "com.docker.lb.hosts");
    for of in ["settings", "state"] {
        let schema: serde_json::Value = serde_json::from_str(&run(&["schema", of]).1).unwrap();
        assert_eq!(schema["type"], "object");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(&["completions", shell]).1.contains("reconcile"));
    }
    let (code, out, _) = run(&["render", "--state", &fixture("service-clusters"), "--cluster", "us-east"]);
    assert!(code == 0 && out.contains("east.example.com") && !out.contains("west.example.com"), "{out}");
}

#[test]
fn an_extension_says_what_it_lacks() {
    for kind in ["haproxy", "f5"] {
        let (code, _, stderr) = run(&["extension", kind]);
        assert_eq!((code, stderr.contains("is not supported by this version")), (2, true), "{stderr}");
    }
    let (code, _, stderr) = run(&["extension", "nginx", "--identity", "/no/such/file"]);
    assert_eq!((code, stderr.contains("/no/such/file")), (2, true), "{stderr}");
    let (code, _, stderr) = run(&["extension", "nginx", "--checker", "no-such-nginx"]);
    assert_eq!((code, stderr.contains("there is no program no-such-nginx")), (1, true), "{stderr}");
}

#[test]
fn an_extension_waits_for_core_and_ends_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let identity = folder.path().join("identity");
    let issued = Authority::generate().unwrap().issue(Role::Extension, &Cluster::default()).unwrap();
    std::fs::write(&identity, issued.pem.as_bytes()).unwrap();
    // Nobody answers at this address.
    let mut command = interlock(&["extension", "nginx", "--core", "127.0.0.1:1", "--identity"]);
    command.arg(identity);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let tried = log.by_ref().find(|line| line.as_ref().unwrap().contains("no connection to core"));
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(tried.is_some(), "it ended");
}

/// As with the Docker CLI, and the settings come last. The message says where the address came from.
#[test]
fn the_engine_is_that_of_the_flag_the_environment_the_context_or_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let socket = |name: &str| format!("unix://{}/{name}.sock", folder.path().display());
    file("settings.toml", &format!("DockerURL = \"{}\"\n[Extensions.default]\n", socket("settings")));
    // The folder of a context is called by the hash of its name: that of `far`.
    let hash = "512eea46ceb3921dff4363c7069d89d4964d1d9fccaa0f411851a7aa60a5c868";
    let meta = format!("{{\"Name\":\"far\",\"Endpoints\":{{\"docker\":{{\"Host\":{:?}}}}}}}", socket("context"));
    file(&format!("contexts/meta/{hash}/meta.json"), &meta);
    let settings = folder.path().join("settings.toml");
    let ask = |args: &[&str], environment: &[(&str, &str)]| {
        let args = [&["reconcile", "--once", "-c", settings.to_str().unwrap()], args].concat();
        let mut command = interlock(&args);
        command.env("DOCKER_CONFIG", folder.path()).envs(environment.iter().copied());
        let (code, _, err) = result(command.output().unwrap());
        assert_ne!(code, 0);
        err
    };
    let says = |err: &str, name: &str, origin: &str| {
        assert!(err.contains(&format!("{} (from {origin})", socket(name))), "{err}");
    };
    says(&ask(&[], &[]), "settings", "DockerURL of the settings");
    says(&ask(&[], &[("DOCKER_CONTEXT", "far")]), "context", "the Docker context far");
    file("config.json", "{\"currentContext\":\"far\"}");
    says(&ask(&[], &[]), "context", "the Docker context far");
    says(&ask(&[], &[("DOCKER_CONTEXT", "default")]), "settings", "DockerURL of the settings");
    let environment = [("DOCKER_HOST", &*socket("environment")), ("DOCKER_CONTEXT", "far")];
    says(&ask(&[], &environment), "environment", "DOCKER_HOST");
    says(&ask(&["-H", &socket("flag")], &environment), "flag", "--host");
    let unknown = ask(&[], &[("DOCKER_CONTEXT", "near")]);
    assert!(unknown.contains("the Docker context near: ") && unknown.contains("docker context ls"), "{unknown}");
}

/// What is not said stays, and what would be changed back at once is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_core_that_is_there_keeps_its_image_and_its_settings() {
    let fake = Fake::new(|_| ());
    let settings = fake.settings("PollInterval = \"7s\"\n[Extensions.default]\nPublishedPort = 8081\n");
    let installs = async |more: &[&str]| {
        let (code, out, err) = fake.run(&[&["install", "--no-wait"], more].concat(), "warn").await;
        assert_eq!(code, 0, "{out}{err}");
        let spec = fake.handle.swarm().service_json("interlock-core")["Spec"]["TaskTemplate"]["ContainerSpec"].clone();
        let config = spec["Configs"][0]["ConfigName"].as_str().unwrap().to_owned();
        let text = String::from_utf8(fake.handle.swarm().config_bytes(&config).unwrap()).unwrap();
        (spec["Image"].as_str().unwrap().to_owned(), text)
    };
    let (image, text) = installs(&["--image", "registry.example.com/interlock:9", "-c", &settings]).await;
    assert_eq!(image, "registry.example.com/interlock:9");
    assert!(text.contains("8081"));
    assert_eq!(installs(&[]).await, (image, text.clone()), "neither was said");
    let scale = |replicas: u32| {
        let change = |spec: &mut serde_json::Value| spec["Mode"]["Replicated"]["Replicas"] = replicas.into();
        fake.handle.swarm().edit_service("interlock-core", change).unwrap();
    };
    scale(0);
    let (code, out, _) = fake.run(&["install", "--dry-run"], "warn").await;
    assert!(code == 0 && !out.contains("com.docker.interlock.settings"), "without a task it keeps them, too: {out}");
    scale(1);
    let (image, same) = installs(&["--image", "registry.example.com/interlock:10"]).await;
    assert_eq!((image.as_str(), same), ("registry.example.com/interlock:10", text));

    // Without settings of its own a single run takes those of core.
    let (code, out, _) = fake.run(&["reconcile", "--dry-run"], "warn").await;
    assert!(code == 0 && out.contains("interlock-proxy"), "{out}");
    let other = fake.folder.path().join("other.toml");
    std::fs::write(&other, "[Extensions.default]\n").unwrap();
    let other = other.to_str().unwrap();
    let (code, _, err) = fake.run(&["reconcile", "--once", "-c", other], "warn").await;
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("differs from the settings of service interlock-core") && err.contains("--force"), "{err}");
    assert!(fake.handle.swarm().find_service("interlock-proxy").is_none(), "nothing was touched");
    let (code, out, err) = fake.run(&["reconcile", "--once"], "warn").await;
    assert_eq!(code, 0, "{out}{err}");
    let proxy = fake.handle.swarm().service_json("interlock-proxy")["Spec"]["EndpointSpec"]["Ports"].clone();
    assert!(proxy.to_string().contains("8081"), "{proxy}");
    let (code, out, err) = fake.run(&["reconcile", "--once", "-c", other, "--force"], "warn").await;
    assert_eq!(code, 0, "{out}{err}");
}
