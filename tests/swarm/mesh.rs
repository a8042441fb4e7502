//! Virtual IPs and the routing mesh, which are Swarm's defaults and need a kernel with IPVS: `scripts/lab vm` has one.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::site::{Site, tell};
use crate::support::load::{Load, Outcome};

const HITLESS: &str = "HitlessServiceUpdate = true\n";
/// Requests a second of each client. The machine with IPVS is slow, and shall have time for what else there is to do.
const RATE: u32 = 2;
/// The network of the mesh, by Swarm's default.
const MESH: &str = "10.0.0.";

/// A lab with these proxies behind the mesh, two networks, and one service for each way to its tasks.
async fn meshed(image: &str, more: &str) -> Site {
    let site = Site::new("").await;
    publish(&site, image, more);
    for network in ["demo", "back"] {
        site.network(network).await;
    }
    app(&site, "tasks", 2, &[]);
    app(&site, "vip", 2, &["backend_mode=vip"]);
    site.install();
    site
}

fn publish(site: &Site, image: &str, more: &str) {
    let text = site.settings_text(image, more);
    site.whole_settings(&text.replace("PublishMode = \"host\"", "PublishMode = \"ingress\""));
}

/// A service with Swarm's own endpoint mode, which drains as the docs recommend.
fn app(site: &Site, name: &str, replicas: u32, labels: &[&str]) {
    app_on(site, name, "demo", replicas, labels);
}

fn app_on(site: &Site, name: &str, network: &str, replicas: u32, labels: &[&str]) {
    let (replicas, host) = (replicas.to_string(), format!("com.docker.lb.hosts={}", host(name)));
    let labels: Vec<_> = labels.iter().map(|label| format!("com.docker.lb.{label}")).collect();
    let mut args = vec!["--network", network, "--replicas", &replicas, "--env", "DRAIN_MS=3000"];
    args.extend(["--label", &host, "--label", "com.docker.lb.port=8080"]);
    labels.iter().for_each(|label| args.extend(["--label", label]));
    site.app(name, &args);
}

fn host(name: &str) -> String {
    format!("{name}.local.test")
}

/// Until every node serves this, also those without a proxy.
async fn everywhere(site: &Site, name: &str) {
    let host = host(name);
    site.until(&format!("every node serves {host}"), |site| {
        site.nodes().iter().all(|node| site.get(node, &host, "/ping").is_ok_and(|answer| answer.status == 200))
    })
    .await;
}

/// Until each of so many tasks behind a virtual IP has answered: a proxy stays with one for a second of requests.
async fn share(site: &Site, name: &str, tasks: usize) {
    let (host, found) = (host(name), RefCell::new(BTreeSet::new()));
    site.until(&format!("{tasks} tasks of {name} share the requests"), |site| {
        let answers = site.nodes().iter().filter_map(|node| site.get(node, &host, "/ping").ok());
        found.borrow_mut().extend(answers.map(|answer| answer.json("instance")));
        found.borrow().len() == tasks
    })
    .await;
}

/// Clients of all of these nodes that connect anew for each request and try nothing twice, while something is done.
async fn under_load(site: &Site, nodes: &[String], names: &[&str], what: &str, work: impl Future<Output = ()>) {
    let addresses: Vec<_> = nodes.iter().map(|node| format!("{node}:8080")).collect();
    let loads: Vec<_> = names.iter().map(|name| Load::anew(&addresses, &host(name), RATE)).collect();
    work.await;
    // What Swarm does once it has said that it is done.
    site.at_rest().await;
    for (load, name) in loads.into_iter().zip(names) {
        let outcome = load.stop();
        let Outcome { answered, failed } = &outcome;
        tell(&format!("{what}: {name}: {answered} requests answered, {} failed", failed.len()));
        let some = &outcome.failed[..outcome.failed.len().min(5)];
        assert!(outcome.failed.is_empty() && outcome.answered > 20, "{what}: {name}: {}: {some:#?}", outcome.answered);
    }
}

/// The nodes of the proxies that run.
fn nodes_of_proxies(site: &Site) -> Vec<String> {
    let tasks = ["service", "ps", "--filter", "desired-state=running", "--format", "{{.Node}} {{.CurrentState}}"];
    let said = site.docker(&[&tasks[..], &["interlock-proxy"]].concat());
    let running = said.lines().filter(|line| line.contains(" Running "));
    running.filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
}

async fn on_two_nodes(site: &Site, what: &str) {
    site.until(&format!("{what}: two proxies run"), |site| nodes_of_proxies(site).len() == 2).await;
    let nodes = nodes_of_proxies(site);
    assert_eq!(nodes.iter().collect::<BTreeSet<_>>().len(), 2, "{what}: both proxies are on one node: {nodes:?}");
}

/// I1: changes of services behind virtual IPs and of others, without new proxies, fail no request. Clients' addresses are not seen.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm with IPVS: scripts/lab vm"]
async fn the_mesh_serves_on_every_node_through_changes() {
    let site = meshed("interlock-proxy-nginx", HITLESS).await;
    everywhere(&site, "tasks").await;
    everywhere(&site, "vip").await;
    site.at_rest().await;
    on_two_nodes(&site, "at first").await;
    clients_addresses(&site);
    let (nodes, both) = (site.nodes(), ["tasks", "vip"]);

    let before = site.proxy_tasks();
    under_load(&site, nodes, &both, "scaled and relabelled", async {
        for tasks in ["4", "1", "3"] {
            for name in both {
                site.docker(&["service", "scale", "--detach", &format!("{name}={tasks}")]);
            }
            let number = tasks.parse().unwrap();
            site.only_answers("tasks", number).await;
            site.run("vip", number).await;
            share(&site, "vip", number).await;
        }
        site.docker(&[
            "service",
            "update",
            "--detach",
            "--label-add",
            "com.docker.lb.hosts=other.local.test,tasks.local.test",
            "tasks",
        ]);
        everywhere(&site, "other").await;
        app(&site, "late", 1, &[]);
        everywhere(&site, "late").await;
    })
    .await;
    assert_eq!(site.proxy_tasks(), before, "hitless: no proxy is new");

    under_load(&site, nodes, &both, "tasks are updated", async {
        for name in both {
            site.docker(&["service", "update", "--detach", "--env-add", "VERSION=0.2", name]);
            site.updated(name).await;
        }
    })
    .await;

    site.uninstall();
    site.end().await;
}

/// Proxies that are replaced by rolls, and a node that is drained: they are on two nodes after each, and no request fails.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm with IPVS: scripts/lab vm"]
async fn the_mesh_serves_through_rolls_and_a_drained_node() {
    let site = meshed("interlock-proxy-nginx", HITLESS).await;
    everywhere(&site, "tasks").await;
    everywhere(&site, "vip").await;
    site.at_rest().await;
    on_two_nodes(&site, "at first").await;
    let (nodes, both) = (site.nodes(), ["tasks", "vip"]);

    // A new network replaces each proxy once, twice in a row.
    for round in 1..=2 {
        under_load(&site, nodes, &both, "a roll", async {
            let (name, network) = (format!("late{round}"), if round == 1 { "back" } else { "more" });
            if round == 2 {
                site.network(network).await;
            }
            app_on(&site, &name, network, 1, &[]);
            everywhere(&site, &name).await;
            site.updated("interlock-proxy").await;
        })
        .await;
        on_two_nodes(&site, "after a roll").await;
    }

    // Applications drain, and so do proxies; a node that is drained goes on forwarding for the mesh.
    let drained = site.node(2);
    under_load(&site, nodes, &both, "a node is drained", async {
        site.docker(&["node", "update", "--availability", "drain", &drained]);
        site.until("the drained node has no task", |site| {
            site.docker(&["node", "ps", "--filter", "desired-state=running", "--quiet", &drained]).trim().is_empty()
                && nodes_of_proxies(site).len() == 2
        })
        .await;
        site.docker(&["node", "update", "--availability", "active", &drained]);
    })
    .await;
    // Swarm leaves them where they are. The next roll uses the node again.
    under_load(&site, nodes, &both, "a roll that uses the node again", async {
        site.network("again").await;
        app_on(&site, "again", "again", 1, &[]);
        everywhere(&site, "again").await;
        site.updated("interlock-proxy").await;
    })
    .await;
    on_two_nodes(&site, "after the node came back").await;
    site.uninstall();
    site.end().await;
}

/// Applications see an address of the mesh in place of the client's.
fn clients_addresses(site: &Site) {
    let seen = |site: &Site, node: &str| site.get(node, &host("tasks"), "/who").unwrap().json("headers/x-real-ip");
    for node in site.nodes() {
        let address = seen(site, node);
        assert!(address.starts_with(MESH), "the mesh hides who asks at {node}: {address}");
    }
}

/// D1 and J5: stock NGINX behind the mesh, by rolls; a second service cluster has other ports there.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm with IPVS: scripts/lab vm"]
async fn the_mesh_serves_through_classic_rolls_and_for_two_clusters() {
    let site = meshed("nginx", "").await;
    everywhere(&site, "tasks").await;
    everywhere(&site, "vip").await;
    site.at_rest().await;
    on_two_nodes(&site, "at first").await;
    under_load(&site, site.nodes(), &["tasks", "vip"], "a classic roll", async {
        app(&site, "late", 2, &[]);
        everywhere(&site, "late").await;
        site.updated("interlock-proxy").await;
    })
    .await;
    on_two_nodes(&site, "after a classic roll").await;

    // J5, with the ports in use: refused with reason, the first cluster is served all the time.
    let second = "[Extensions.second]\nServiceCluster = \"second\"\nProxyImage = \"REGISTRY/nginx:lab\"\nPublishMode = \"ingress\"\nProxyStopGracePeriod = \"2s\"\nServiceName = \"second-ext\"\nProxyServiceName = \"second-proxy\"\n";
    let first = site.settings_text("nginx", "").replace("PublishMode = \"host\"", "PublishMode = \"ingress\"");
    let second = second.replace("REGISTRY/nginx:lab", &site.image("nginx"));
    under_load(&site, site.nodes(), &["tasks"], "a second service cluster", async {
        site.whole_settings(&format!("{first}{second}"));
        let (code, said) = site.try_install();
        assert!(code != Some(0) && said.contains("8080"), "J5: {code:?} {said}");
        site.whole_settings(&format!("{first}{second}PublishedPort = 9080\nPublishedSSLPort = 9443\n"));
        site.install();
        app(&site, "other", 1, &["service_cluster=second"]);
        site.within(Duration::from_secs(150), "J5: every node serves the other cluster", |site| {
            let asks = |node: &String| site.get_at((node, 9080), &host("other"), "/ping");
            site.nodes().iter().all(|node| asks(node).is_ok_and(|answer| answer.status == 200))
        })
        .await;
    })
    .await;
    site.uninstall();
    site.end().await;
}

/// J1: one proxy on the node for it, and every node answers through the mesh. A service that restricts clients by address is withheld.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm with IPVS: scripts/lab vm"]
async fn the_mesh_leads_to_the_nodes_for_proxies() {
    const LABEL: &str = "node.labels.nodetype==loadbalancer";
    let site = Site::new("").await;
    site.docker(&["node", "update", "--label-add", "nodetype=loadbalancer", &site.node(2)]);
    site.network("demo").await;
    app(&site, "tasks", 2, &["allow=10.77.0.0/16"]);
    publish(&site, "interlock-proxy-nginx", &format!("{HITLESS}ProxyConstraints = [\"{LABEL}\"]\nProxyReplicas = 1\n"));
    site.install();
    app(&site, "vip", 2, &["backend_mode=vip"]);
    everywhere(&site, "vip").await;
    assert_eq!(nodes_of_proxies(&site), [site.node(2)], "J1");
    // The mesh hides clients, so what depends on their addresses is withheld.
    assert_eq!(site.get(&site.nodes()[0], &host("tasks"), "/ping").map(|answer| answer.status), Ok(503));
    let said = site.logs("interlock-core");
    assert!(said.contains("allow") && said.contains("ingress"), "core says why: {said}");
    site.docker(&["node", "update", "--label-rm", "nodetype", &site.node(2)]);
    site.uninstall();
    site.end().await;
}
