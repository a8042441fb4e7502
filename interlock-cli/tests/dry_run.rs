//! What `--dry-run` shows on a Swarm with interlock on it, and exit codes for pipelines.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod site;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use interlock_testkit::Swarm;
use site::Site;

const HITLESS: &str = "[Extensions.default]\nHitlessServiceUpdate = true\nPublishMode = \"host\"\n";

fn create(swarm: &mut Swarm, name: &str, port: &str) {
    let service = swarm.service(name).network("demo").label("com.docker.lb.port", port);
    service.label("com.docker.lb.hosts", &format!("{name}.example.com")).create();
}

async fn installed() -> Site {
    let site = Site::new(HITLESS, |swarm| {
        swarm.create_network(serde_json::json!({ "Name": "demo", "Driver": "overlay" })).unwrap();
        create(swarm, "shop", "8080");
    });
    let (code, out, err) = site.install("install -c SETTINGS --timeout 40s").await;
    assert_eq!(code, 0, "{out}{err}");
    site
}

fn settings(site: &Site, name: &str, more: &str) -> String {
    let file = site.folder.path().join(name);
    std::fs::write(&file, format!("{HITLESS}{more}")).unwrap();
    file.to_str().unwrap().to_owned()
}

/// A checker that takes everything but a configuration with this text.
fn checker(folder: &Path, refused: &str) -> String {
    let file = folder.join("checker");
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = -V ]; then echo 'nginx version: nginx/1.28.0' >&2; exit 0; fi\n\
         for a in \"$@\"; do if grep -q '{refused}' \"$a\" 2>/dev/null; then echo 'nginx: [emerg] bad {refused}' >&2; exit 1; fi; done\n"
    );
    std::fs::write(&file, script).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_core_has_delivered_is_no_difference() {
    let site = installed().await;
    // A route that came later: proxies get it from core, and what they started with stays.
    create(&mut site.handle.swarm(), "blog", "8080");
    while site.handle.swarm().running("blog").is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let (code, out, err) = site.run("reconcile --dry-run --exit-code").await;
    assert_eq!((code, out.as_str()), (0, "nothing to do\n"), "{err}");
    let file = settings(&site, "other.toml", "[Extensions.default.Config]\nKeepaliveTimeout = \"7s\"\n");
    let (code, out, err) = site.run(&format!("reconcile --dry-run --exit-code -c {file}")).await;
    assert_eq!(code, 3, "{out}{err}");
    assert!(out.contains("service interlock-core has other settings") && out.contains("interlock install -c"), "{out}");
    assert!(out.contains("(delivered by core)") && !out.contains("is delivered by the running core"), "{out}");
    assert!(out.contains("+    keepalive_timeout 7s") && !out.contains("+        server_name blog"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_values_are_shown_with_those_of_before() {
    let site = installed().await;
    let file = settings(&site, "other.toml", "ProxyReplicas = 1\nPublishedPort = 80\n");
    let (code, out, err) = site.run(&format!("reconcile --dry-run --exit-code -c {file}")).await;
    assert_eq!(code, 3, "{out}{err}");
    assert!(out.contains("replicas: 2 → 1") && out.contains("8080:80 host, 8443:443 host → 80:80 host"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_error_is_4_and_what_nginx_refuses_as_well() {
    let site = installed().await;
    create(&mut site.handle.swarm(), "broken", "80a");
    let (code, out, err) = site.run("reconcile --dry-run --exit-code").await;
    assert_eq!(code, 4, "{out}{err}");
    assert_eq!(site.run("reconcile --dry-run").await.0, 0);
    site.handle.swarm().remove_service("broken").unwrap();
    assert_eq!(site.run("reconcile --dry-run --exit-code").await.0, 0);
    let more = "Image = \"interlock:1\"\n[Extensions.default.Config]\nHTTPOptions = [\"nonsense on;\"]\n";
    let file = settings(&site, "other.toml", more);
    let checker = checker(site.folder.path(), "nonsense on");
    let (code, out, err) = site.run(&format!("reconcile --dry-run --exit-code -c {file} --checker {checker}")).await;
    assert_eq!(code, 4, "{out}{err}");
    assert!(err.contains("NGINX rejects the options") && err.contains("bad nonsense on"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn once_leaves_out_what_the_checker_refuses_and_fails_where_nothing_is_left() {
    let site = installed().await;
    let more = "[Extensions.default.Config]\nHTTPOptions = [\"nonsense on;\"]\n";
    let file = settings(&site, "other.toml", more);
    let checker = checker(site.folder.path(), "nonsense on");
    let authority = site.folder.path().join("authority");
    let args = format!("--force --authority {} --checker {checker}", authority.display());
    let (code, out, err) = site.run(&format!("reconcile --once -c {file} {args}")).await;
    assert_eq!(code, 1, "{out}{err}");
    assert!(err.contains("NGINX rejects the options"), "{err}");
}
