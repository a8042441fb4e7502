//! Setting up and taking away as a person or a pipeline does it: what is waited for, what is said meanwhile, and how it ends.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use interlock_testkit::script::Fate;
use interlock_testkit::{Swarm, server};

const SETTINGS: &str =
    "[Extensions.default]\nImage = \"interlock:1\"\nProxyImage = \"nginx:1\"\nHitlessServiceUpdate = false\n";

/// A Swarm on which core is this test: it does what core would do once core runs.
struct Site {
    handle: server::Handle,
    folder: tempfile::TempDir,
}

impl Site {
    fn new(change: impl FnOnce(&mut Swarm)) -> Self {
        let mut swarm = Swarm::three_nodes();
        change(&mut swarm);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("settings.toml"), SETTINGS).unwrap();
        let handle = server::serve(Arc::new(Mutex::new(swarm)), folder.path()).unwrap().with_clock(20.0);
        Self { handle, folder }
    }

    async fn run(&self, args: &str) -> (i32, String, String) {
        let settings = self.folder.path().join("settings.toml");
        let mut command = Command::new(env!("CARGO_BIN_EXE_interlock"));
        let args = args.replace("SETTINGS", settings.to_str().unwrap());
        command.args(args.split(' ')).stdin(Stdio::null()).env("DOCKER_HOST", self.handle.url()).env_remove("RUST_LOG");
        let Output { status, stdout, stderr } =
            tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    async fn runs(&self, service: &str) {
        while self.handle.swarm().find_service(service).is_none() || self.handle.swarm().running(service).is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Installs while core does its part.
    async fn install(&self, args: &str) -> (i32, String, String) {
        let core = async {
            self.runs("interlock-core").await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            let authority = self.handle.swarm().secret_bytes("com.docker.interlock.authority").unwrap();
            let file = self.folder.path().join("authority");
            std::fs::write(&file, authority).unwrap();
            self.run(&format!("reconcile --once --timeout 8s --authority {}", file.display())).await
        };
        let (installed, _) = tokio::join!(self.run(args), core);
        installed
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn install_ends_when_extensions_and_proxies_serve() {
    let site = Site::new(|_| ());
    let (code, out, err) = site.install("install -c SETTINGS --timeout 40s").await;
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(site.handle.swarm().running("interlock-proxy").len(), 2, "{out}{err}");
    assert_eq!(site.handle.swarm().running("interlock-extension").len(), 1, "{out}{err}");
    assert!(err.contains("waiting: service interlock-extension is not there yet"), "{err}");
    // Now it has nothing to wait for.
    let start = Instant::now();
    let (code, out, err) = site.run("install -c SETTINGS").await;
    assert_eq!((code, out.as_str()), (0, "nothing to do\n"), "{err}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn install_ends_with_swarms_reason_when_proxies_cannot_start() {
    let site = Site::new(|swarm| {
        swarm.script.fate_of("interlock-proxy", Fate::Reject { why: "No such image: nginx:1".to_owned() });
    });
    let (code, out, err) = site.install("install -c SETTINGS --timeout 12s").await;
    assert_eq!(code, 1, "{out}{err}");
    let last = err.lines().last().unwrap();
    assert!(last.contains("interlock-proxy: 0 of 2 tasks run what they should (No such image: nginx:1)"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn install_waits_for_core_alone_if_it_is_told_so() {
    let site = Site::new(|_| ());
    let (code, out, err) = site.run("install -c SETTINGS --no-wait").await;
    assert_eq!(code, 0, "{out}{err}");
    assert!(site.handle.swarm().find_service("interlock-proxy").is_none());
    assert_eq!(site.run("install --wait --no-wait").await.0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstall_without_a_terminal_needs_a_yes() {
    let site = Site::new(|_| ());
    assert_eq!(site.run("install -c SETTINGS --no-wait").await.0, 0);
    let writes = site.handle.swarm().writes();
    let (code, _, err) = site.run("uninstall").await;
    assert_eq!(code, 2);
    assert!(err.contains("add --yes") && err.contains("--dry-run"), "{err}");
    assert_eq!(site.run("uninstall --dry-run").await.0, 0);
    assert_eq!(site.handle.swarm().writes(), writes);
    let (code, out, err) = site.run("uninstall --yes").await;
    assert_eq!(code, 0, "{out}{err}");
    assert!(site.handle.swarm().find_service("interlock-core").is_none());
}
