//! What a user sees, on a real Swarm of three nodes: real engines, real NGINX, requests over the network.
//!
//! `scripts/test` brings the Swarm up and runs these. One rolling update of the proxies costs some seconds, so services of many
//! scenarios are deployed together and then looked at one by one; each check carries the code of its acceptance scenario.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "../support/mod.rs"]
mod support;

mod clusters;
mod cores;
mod docs;
mod hitless;
mod identities;
mod kinds;
mod mesh;
mod names;
mod networks;
mod operations;
mod production;
mod site;
mod stories;
mod template;
mod tls;
mod trouble;
mod upgrades;

use std::collections::BTreeSet;

use site::{Answer, Site};

/// Everything that one state of the Swarm can show.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn routing() {
    let site = Site::new("").await;
    site.controller();
    a2_nothing_published(&site).await;

    for network in ["demo", "front", "back"] {
        site.network(network).await;
    }
    let demo = |name: &str, labels: &[&str]| site.service(name, &["demo"], 1, labels);
    demo("demo", &["hosts=demo.local", "port=8080"]);
    demo("two-hosts", &["hosts=a.local.test, b.local.test", "port=8080"]);
    site.service("two-networks", &["front", "back"], 1, &["hosts=two.local.test", "port=8080", "network=back"]);
    site.service("wrong-network", &["front"], 1, &["hosts=wrong.local.test", "port=8080", "network=elsewhere"]);
    site.stack("stacked", "stack.local.test");
    site.service("v1", &["demo"], 4, &["hosts=canary.local.test", "port=8080"]);
    site.service_with("v2", &["demo"], 1, &["hosts=canary.local.test", "port=8080"], &["--env", "VERSION=0.2"]);
    demo("rewritten", &["hosts=paths.local.test", "port=8080", "context_root=/cut", "context_root_rewrite=true"]);
    demo("rooted", &["hosts=paths.local.test", "port=8080", "context_root=/app"]);
    demo("other-path", &["hosts=paths.local.test", "port=8080", "context_root=/other"]);
    demo("bad-host", &["hosts=bad.local.test; return 200", "port=8080"]);
    demo("bad-port", &["hosts=badport.local.test", "port=http"]);
    kinds::deploy(&site);
    for host in ["demo.local", "b.local.test", "two.local.test", "stack.local.test", "canary.local.test"] {
        site.eventually(host, "/ping", |answer| answer.status == 200).await;
    }
    site.eventually("paths.local.test", "/other/x", |answer| answer.status == 200).await;
    site.eventually("paths.local.test", "/cut/x", |answer| answer.status == 200).await;
    site.eventually("paths.local.test", "/app/x", |answer| answer.status == 200).await;
    kinds::served(&site).await;
    for (name, tasks) in [("v1", 4), ("hashed", 3), ("ports", 2)] {
        site.run(name, tasks).await;
    }
    // Whatever came late has its place as well.
    site.once();
    site.at_rest().await;

    b1_basic(&site);
    b4_two_networks(&site);
    b5_short_network_name(&site);
    b6_two_hosts(&site);
    c1_canary(&site);
    d1_d2_d3_paths(&site);
    k3_bad_labels(&site);
    headers_of_clients_are_not_believed(&site);
    assert_eq!(websocket(&site, "demo.local", "/any/path"), "hello");
    kinds::looks(&site);
    kinds::i1_changes_behind_a_virtual_ip(&site).await;
    e1_default_backend(&site).await;
    b2_scale(&site).await;
    b3_remove(&site).await;
    b3_stack_remove(&site).await;
    site.end().await;
}

async fn a2_nothing_published(site: &Site) {
    site.eventually("anything.test", "/", |answer| answer.status == 503 && answer.headers_like("x-").is_empty()).await;
}

fn b1_basic(site: &Site) {
    for node in site.workers() {
        let answer = site.get(node, "demo.local", "/ping").unwrap();
        assert_eq!(answer.status, 200, "B1: {answer:?}");
        assert_eq!(answer.json("request_id"), answer.header("x-request-id"), "B1: {answer:?}");
        for header in ["x-proxy-id", "x-server-info", "x-upstream-addr"] {
            assert!(!answer.header(header).is_empty(), "B1: {header}: {answer:?}");
        }
        assert_eq!(site.get(node, "unknown.local", "/ping").unwrap().status, 503, "B1");
    }
}

fn b4_two_networks(site: &Site) {
    let attached = site.docker(&[
        "service",
        "inspect",
        "interlock-proxy",
        "--format",
        "{{range .Spec.TaskTemplate.Networks}}{{.Target}} {{end}}",
    ]);
    let id = |name: &str| site.docker(&["network", "inspect", name, "--format", "{{.Id}}"]);
    assert!(attached.contains(id("back").trim()) && !attached.contains(id("front").trim()), "B4: {attached}");
    assert_eq!(site.ask("wrong.local.test", "/").status, 503, "B4");
    assert!(
        site.log().contains("com.docker.lb.network=\"elsewhere\" is not an overlay network of the service"),
        "B4: {}",
        site.log()
    );
}

fn b5_short_network_name(site: &Site) {
    assert_eq!(site.ask("stack.local.test", "/ping").status, 200, "B5");
}

fn b6_two_hosts(site: &Site) {
    for host in ["a.local.test", "b.local.test"] {
        assert_eq!(site.ask(host, "/ping").status, 200, "B6: {host}");
    }
}

fn c1_canary(site: &Site) {
    let new = (0..100).filter(|_| site.ask("canary.local.test", "/ping").json("version") == "0.2").count();
    assert!((10..=30).contains(&new), "C1: {new} of 100 requests went to one task of five");
}

fn d1_d2_d3_paths(site: &Site) {
    let ask = |path: &str| site.ask("paths.local.test", path);
    assert_eq!(ask("/cut/x?y=1").json("path"), "/x?y=1", "D1");
    let redirect = ask("/cut");
    assert_eq!((redirect.status, redirect.header("location").as_str()), (308, "/cut/"), "D1");
    assert_eq!(ask("/").status, 503, "D1");
    assert_eq!(ask("/app/x").json("path"), "/app/x", "D2");
    assert_eq!(ask("/application").status, 503, "D2");
    assert_ne!(ask("/app/x").json("instance"), ask("/other/x").json("instance"), "D3");
}

fn k3_bad_labels(site: &Site) {
    assert_eq!(site.ask("bad.local.test", "/").status, 503, "K3");
    assert_eq!(site.ask("badport.local.test", "/").status, 503, "K3");
    let log = site.log();
    assert!(log.contains("service bad-host") && log.contains("service bad-port"), "K3: {log}");
}

fn headers_of_clients_are_not_believed(site: &Site) {
    let answer = site.raw(
        &site.workers()[0],
        "GET /x HTTP/1.1\r\nHost: demo.local\r\nX-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n\r\n",
    );
    assert!(!answer.contains("6.6.6.6"), "{answer}");
}

/// What comes back when a client says hello over a WebSocket.
fn websocket(site: &Site, host: &str, path: &str) -> String {
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    );
    site.websocket(&site.workers()[0], &request, "hello")
}

async fn e1_default_backend(site: &Site) {
    site.service("everything", &["demo"], 1, &["default_backend=true", "port=8080"]);
    site.eventually("nobody.test", "/ping", |answer| answer.status == 200).await;
    let default = site.ask("nobody.test", "/ping").json("instance");
    assert_ne!(site.ask("demo.local", "/ping").json("instance"), default, "E1");
    site.docker(&["service", "rm", "everything"]);
    site.eventually("nobody.test", "/ping", |answer| answer.status == 503).await;
}

async fn b2_scale(site: &Site) {
    site.docker(&["service", "scale", "--detach", "demo=4"]);
    site.until("B2: four instances answer", |site| {
        let instances: BTreeSet<_> = (0..16).map(|_| site.ask("demo.local", "/ping").json("instance")).collect();
        instances.len() == 4
    })
    .await;
}

async fn b3_remove(site: &Site) {
    site.docker(&["service", "rm", "two-networks"]);
    site.eventually("two.local.test", "/ping", |answer| answer.status == 503).await;
    site.docker(&["service", "rm", "wrong-network"]);
    site.until("B3: the network can be removed", |site| site.try_docker(&["network", "rm", "back"]).is_ok()).await;
}

async fn b3_stack_remove(site: &Site) {
    // The first try may find the network in use by the proxies; the second one, a little later, may not.
    let _ = site.try_docker(&["stack", "rm", "stacked"]);
    site.eventually("stack.local.test", "/ping", |answer| answer.status == 503).await;
    site.at_rest().await;
    site.until("nothing of the stack is left", |site| {
        let _ = site.try_docker(&["stack", "rm", "stacked"]);
        let left = site.docker(&["network", "ls", "--filter", "label=com.docker.stack.namespace=stacked", "--quiet"]);
        left.trim().is_empty()
    })
    .await;
}

/// B7: the headers that tell of containers can be left out.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn b7_info_headers_can_be_hidden() {
    let site = Site::new("[Extensions.default.Config]\nHideInfoHeaders = true\n").await;
    site.network("demo").await;
    site.service("demo", &["demo"], 1, &["hosts=demo.local", "port=8080"]);
    site.run("demo", 1).await;
    site.once();
    site.eventually("demo.local", "/ping", |answer: &Answer| answer.status == 200).await;
    assert_eq!(site.ask("demo.local", "/ping").headers_like("x-"), Vec::<String>::new(), "B7");
    // The second run says that nothing is left to do.
    assert_eq!(site.once(), "nothing to do\n");
    site.end().await;
}
