//! Setting up and taking away as a person or a pipeline does it: what is waited for, what is said meanwhile, and how it ends.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod site;

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use interlock_testkit::script::Fate;
use site::Site;

const SETTINGS: &str =
    "[Extensions.default]\nImage = \"interlock:1\"\nProxyImage = \"nginx:1\"\nHitlessServiceUpdate = false\n";

#[tokio::test(flavor = "multi_thread")]
async fn install_ends_when_extensions_and_proxies_serve() {
    let site = Site::new(SETTINGS, |_| ());
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
    let site = Site::new(SETTINGS, |swarm| {
        swarm.script.fate_of("interlock-proxy", Fate::Reject { why: "No such image: nginx:1".to_owned() });
    });
    let (code, out, err) = site.install("install -c SETTINGS --timeout 12s").await;
    assert_eq!(code, 1, "{out}{err}");
    let last = err.lines().last().unwrap();
    assert!(last.contains("interlock-proxy: 0 of 2 tasks run what they should (No such image: nginx:1)"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn install_waits_for_core_alone_if_it_is_told_so() {
    let site = Site::new(SETTINGS, |_| ());
    let (code, out, err) = site.run("install -c SETTINGS --no-wait").await;
    assert_eq!(code, 0, "{out}{err}");
    assert!(site.handle.swarm().find_service("interlock-proxy").is_none());
    assert_eq!(site.run("install --wait --no-wait").await.0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstall_without_a_terminal_needs_a_yes() {
    let site = Site::new(SETTINGS, |_| ());
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

/// Runs the command at a terminal at which somebody types this.
async fn at_a_terminal(site: &Site, args: &str, typed: &str) -> (i32, String) {
    let line = format!("{} {args}", env!("CARGO_BIN_EXE_interlock"));
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env("DOCKER_HOST", site.handle.url());
    command.env_remove("RUST_LOG").stdin(Stdio::piped()).stdout(Stdio::piped());
    let typed = format!("{typed}\n");
    let ended = tokio::task::spawn_blocking(move || {
        let mut process = command.spawn().unwrap();
        // Whoever answers reads the question first, and does not hang up.
        let mut keyboard = process.stdin.take().unwrap();
        keyboard.write_all(typed.as_bytes()).unwrap();
        let output = process.wait_with_output().unwrap();
        drop(keyboard);
        output
    });
    let Output { status, stdout, .. } = ended.await.unwrap();
    (status.code().unwrap(), String::from_utf8_lossy(&stdout).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstall_at_a_terminal_shows_what_goes_and_asks() {
    let site = Site::new(SETTINGS, |_| ());
    assert_eq!(site.run("install -c SETTINGS --no-wait").await.0, 0);
    let writes = site.handle.swarm().writes();
    for answer in ["", "n", "what?"] {
        let (code, shown) = at_a_terminal(&site, "uninstall", answer).await;
        assert_eq!(code, 1, "{answer}: {shown}");
        assert!(shown.contains("- service interlock-core") && shown.contains("[y/N]"), "{shown}");
        assert!(shown.contains("nothing was removed"), "{shown}");
    }
    assert_eq!(site.handle.swarm().writes(), writes);
    let (code, shown) = at_a_terminal(&site, "uninstall", "y").await;
    assert_eq!(code, 0, "{shown}");
    assert!(site.handle.swarm().find_service("interlock-core").is_none());
}
