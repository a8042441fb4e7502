//! Core, extension and proxies as three services on three nodes: what `interlock install` sets up.

use std::time::{Duration, Instant};

use crate::site::Site;
use crate::support::load::Load;

const HITLESS: &str = "HitlessServiceUpdate = true\nImage = \"REGISTRY/interlock:lab\"\n";

/// A2, A3, A6, K1, K2: from installing to uninstalling, under load.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn k1_changes_reach_proxies_without_new_tasks() {
    let site = Site::new("").await;
    site.settings("interlock-proxy-nginx", HITLESS);
    site.network("demo").await;
    let installed = site.install();
    assert!(installed.contains("+ service interlock-core"), "{installed}");
    site.eventually("anything.test", "/", |answer| answer.status == 503 && answer.headers_like("x-").is_empty()).await;
    assert_eq!(site.install(), "nothing to do\n");
    a3_the_usual_shape(&site);
    site.service("shop", &["demo"], 2, &["hosts=shop.local.test", "port=8080"]);
    site.eventually("shop.local.test", "/ping", |answer| answer.status == 200).await;
    site.at_rest().await;

    let before = site.proxy_tasks();
    let load = Load::start(&site.addresses(), "shop.local.test", 50);
    changes(&site).await;
    faults(&site).await;
    let outcome = load.stop();
    assert!(
        outcome.failed.is_empty(),
        "{} of {}: {:#?}",
        outcome.failed.len(),
        outcome.answered,
        first(&outcome.failed)
    );
    assert_eq!(site.proxy_tasks(), before, "no proxy was replaced");
    assert!(outcome.answered > 500, "{outcome:?}");

    k1_a_new_network_replaces_proxies_one_by_one(&site).await;
    a_proxy_is_killed(&site).await;
    site.uninstall();
    for object in ["service", "secret", "config"] {
        let left = site.docker(&[object, "ls", "--filter", "label=com.docker.interlock.owner", "--quiet"]);
        assert_eq!(left, "", "{object}");
    }
    // A network is listed until its last container has left it.
    site.until("the networks are gone", |site| {
        site.docker(&["network", "ls", "--filter", "label=com.docker.interlock.owner", "--quiet"]).is_empty()
    })
    .await;
    site.end().await;
}

fn first(failed: &[String]) -> &[String] {
    &failed[..failed.len().min(8)]
}

fn a3_the_usual_shape(site: &Site) {
    let inspect = |format: &str| site.proxies(format).unwrap();
    assert_eq!(inspect("{{index .Spec.Labels \"type\"}}"), "com.docker.interlock.core.proxy", "A3");
    assert_eq!(inspect("{{.Spec.TaskTemplate.Placement.Constraints}}"), "[node.role==worker]", "A3");
    assert_eq!(inspect("{{range .Spec.EndpointSpec.Ports}}{{.PublishedPort}} {{end}}"), "8080 8443", "A3");
}

/// Services come, change, grow and go on a network that the proxies have.
async fn changes(site: &Site) {
    for round in 0..12 {
        let name = format!("app-{round}");
        let host = format!("{name}.local.test");
        site.service(&name, &["demo"], 1, &[&format!("hosts={host}"), "port=8080"]);
        site.eventually(&host, "/ping", |answer| answer.status == 200).await;
        for change in 0..3 {
            let renamed = format!("renamed-{round}-{change}.local.test");
            let label = format!("com.docker.lb.hosts={renamed}");
            site.docker(&["service", "update", "--detach", "--quiet", "--label-add", &label, &name]);
            site.eventually(&renamed, "/ping", |answer| answer.status == 200).await;
        }
        site.docker(&["service", "scale", "--detach", &format!("{name}=3")]);
        if round % 2 == 0 {
            site.docker(&["service", "rm", &name]);
            site.eventually(&format!("renamed-{round}-2.local.test"), "/ping", |answer| answer.status == 503).await;
        }
    }
}

/// Whatever dies, routes that worked keep working, and a change made meanwhile arrives.
async fn faults(site: &Site) {
    for (what, victim) in
        [("core", "interlock-core"), ("the extension", "interlock-extension"), ("core again", "interlock-core")]
    {
        site.kill_container(victim);
        let host = format!("after-{}.local.test", what.replace(' ', "-"));
        site.service(&what.replace(' ', "-"), &["demo"], 1, &[&format!("hosts={host}"), "port=8080"]);
        site.eventually(&host, "/ping", |answer| answer.status == 200).await;
    }
}

async fn k1_a_new_network_replaces_proxies_one_by_one(site: &Site) {
    let before = site.proxy_tasks();
    site.network("late").await;
    site.service("late", &["late"], 1, &["hosts=late.local.test", "port=8080"]);
    let ok = || site.try_ask("shop.local.test", "/ping").is_ok_and(|answer| answer.status == 200);
    let since = Instant::now();
    site.until("the new network is served by both", |site| {
        assert!(ok(), "K1: a request failed for a client that tries the other node");
        site.workers().iter().all(|node| site.get(node, "late.local.test", "/ping").is_ok_and(|a| a.status == 200))
    })
    .await;
    assert!(since.elapsed() < Duration::from_secs(120));
    site.at_rest().await;
    assert_ne!(site.proxy_tasks(), before, "K1: a network cannot be attached to a running task");
}

/// nginx dies in one proxy: its agent starts it again, and no task is replaced.
async fn a_proxy_is_killed(site: &Site) {
    let before = site.proxy_tasks();
    site.kill_nginx(1);
    site.eventually("shop.local.test", "/ping", |answer| answer.status == 200).await;
    assert_eq!(site.proxy_tasks(), before);
}
