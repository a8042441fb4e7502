//! Proxies on nodes of their own, one of which dies.

use crate::site::Site;
use crate::support::load::Load;

const HOST: &str = "shop.local.test";
const LABEL: &str = "node.labels.nodetype==loadbalancer";

/// J1, K2: nodes for the proxies, said by hand and by settings; requests that last while their proxy is replaced; a node without power.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn j1_k2_proxies_on_nodes_for_them() {
    let site = Site::new("").await;
    for node in [1, 2] {
        site.docker(&["node", "update", "--label-add", "nodetype=loadbalancer", &site.node(node)]);
    }
    site.settings("interlock-proxy-nginx", "HitlessServiceUpdate = true\n");
    site.network("demo").await;
    site.install();
    route(&site, "shop").await;
    site.at_rest().await;

    by_hand(&site).await;
    by_settings(&site).await;
    a_node_loses_power(&site).await;
    site.uninstall();
    for node in [1, 2] {
        site.docker(&["node", "update", "--label-rm", "nodetype", &site.node(node)]);
    }
    site.end().await;
}

fn of_proxies(site: &Site, format: &str) -> String {
    site.proxies(&format!("{{{{{format}}}}}")).unwrap()
}

/// The command of Docker's documentation. What it changed is still so after a change of routes.
async fn by_hand(site: &Site) {
    let proxies = site.docker(&["service", "ls", "-f", "label=type=com.docker.interlock.core.proxy", "-q"]);
    let update = ["service", "update", "--detach", "--quiet", "--replicas=2", "--constraint-add", LABEL];
    let stop = ["--stop-signal", "SIGQUIT", "--stop-grace-period=5s", proxies.trim()];
    site.docker(&[&update[..], &stop].concat());
    site.updated("interlock-proxy").await;
    route(site, "later").await;
    assert!(of_proxies(site, ".Spec.TaskTemplate.Placement.Constraints").contains(LABEL), "J1: by hand");
    assert_eq!(of_proxies(site, ".Spec.TaskTemplate.ContainerSpec.StopGracePeriod"), "5s", "J1: by hand");
    only_on_labelled_nodes(site);
}

/// The same by settings, which say what hands said from now on. Another grace replaces the proxies, while they have the five seconds.
async fn by_settings(site: &Site) {
    let before = site.proxy_tasks();
    let more = format!("HitlessServiceUpdate = true\nProxyConstraints = [\"{LABEL}\"]\n");
    let text = site.settings_text("interlock-proxy-nginx", &more);
    site.whole_settings(&text.replace("ProxyStopGracePeriod = \"2s\"", "ProxyStopGracePeriod = \"6s\""));
    let load = Load::slow(&site.addresses(), HOST);
    site.install();
    site.until("J1: both proxies are new", |site| {
        assert_eq!(site.ask(HOST, "/ping").status, 200, "J1: a client tries the other node");
        site.proxy_tasks().iter().all(|task| !before.contains(task))
    })
    .await;
    site.at_rest().await;
    let outcome = load.stop();
    assert!(outcome.failed.is_empty() && outcome.answered > 4, "K2: requests of 3 s are finished: {outcome:#?}");
    assert_eq!(of_proxies(site, ".Spec.TaskTemplate.Placement.Constraints"), format!("[{LABEL}]"), "J1: by settings");
    assert_eq!(of_proxies(site, ".Spec.TaskTemplate.ContainerSpec.StopGracePeriod"), "6s", "J1: by settings");
    only_on_labelled_nodes(site);
}

fn only_on_labelled_nodes(site: &Site) {
    for port in [8080, 8443] {
        let said = site.get_at((&site.nodes()[0], port), HOST, "/ping").expect_err("J1, I3: managers serve nobody");
        assert!(said.contains("refused"), "J1, I3: {said}");
    }
}

/// What goes to the other node goes on, changes included; and the node serves again when it is back.
async fn a_node_loses_power(site: &Site) {
    let left = [format!("{}:8080", site.workers()[0])];
    let load = Load::short(&left, HOST, 50);
    site.lab(&["kill", "3"]);
    let said = site.get(&site.workers()[1], HOST, "/ping").expect_err("J1: it is gone");
    assert!(!said.is_empty());
    app(site, "meanwhile");
    site.until("J1: a change arrives at the other node", |site| {
        site.get(&site.workers()[0], "meanwhile.local.test", "/ping").is_ok_and(|answer| answer.status == 200)
    })
    .await;
    let outcome = load.stop();
    assert!(outcome.failed.is_empty() && outcome.answered > 20, "J1: {outcome:#?}");
    site.lab(&["start", "3"]);
    site.eventually("meanwhile.local.test", "/ping", |answer| answer.status == 200).await;
}

/// Another service, until both proxies serve it.
async fn route(site: &Site, name: &str) {
    app(site, name);
    site.eventually(&format!("{name}.local.test"), "/ping", |answer| answer.status == 200).await;
}

fn app(site: &Site, name: &str) {
    // Not on the node that dies: what it was answering would be lost with it, which is not what this is about.
    let survives = format!("node.hostname!={}", site.node(2));
    let host = format!("hosts={name}.local.test");
    site.service_with(name, &["demo"], 2, &[&host, "port=8080"], &["--constraint", &survives]);
}
