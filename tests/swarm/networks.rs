//! Networks that their owners chose: an honest one is attached, and those that would cost others something are not.

use crate::site::Site;

/// H6: addresses that run out, those of nodes and clients, and those of nobody's pool; while each proxy answers all the time.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn h6_networks_that_would_cost_others_something_are_not_attached() {
    let site = Site::new("").await;
    site.settings("interlock-proxy-nginx", "HitlessServiceUpdate = true\n");
    site.network("demo").await;
    site.install();
    site.service("shop", &["demo"], 2, &["hosts=shop.local.test", "port=8080"]);
    site.eventually("shop.local.test", "/ping", |answer| answer.status == 200).await;
    site.at_rest().await;
    let before = site.proxy_tasks();

    let nodes = site.nodes()[0].rsplit_once('.').map(|(net, _)| format!("{net}.0/24")).unwrap();
    for (name, subnet) in [("small", "10.200.0.0/29"), ("among", &nodes), ("outside", "192.0.2.0/24")] {
        site.docker(&["network", "create", "--driver", "overlay", "--subnet", subnet, name]);
        let host = format!("hosts={name}.local.test");
        site.service(&format!("on-{name}"), &[name], if name == "small" { 2 } else { 1 }, &[&host, "port=8080"]);
    }
    for (name, wrong) in [
        ("small", "has 5 addresses"),
        ("among", "contains"),
        ("outside", "lies outside the address pools of networks (10.0.0.0/8)"),
    ] {
        site.until(&format!("H6: the owner of {name} is told"), |site| {
            let log = site.logs("interlock-core");
            let told = format!("service on-{name}: its network {name} cannot be attached to the proxies");
            log.lines().any(|line| line.contains(&told) && line.contains(wrong))
        })
        .await;
    }
    assert_eq!(site.proxy_tasks(), before, "H6: no proxy was replaced for them");

    site.network("late").await;
    site.service("late", &["late"], 1, &["hosts=late.local.test", "port=8080"]);
    site.eventually("late.local.test", "/ping", |answer| answer.status == 200).await;
    site.at_rest().await;
    assert!(site.proxies("{{.UpdateStatus.State}}").unwrap().contains("completed"), "H6");
    for node in site.workers() {
        assert_eq!(site.get(node, "shop.local.test", "/ping").unwrap().status, 200, "H6: {node}");
        assert_eq!(site.get(node, "small.local.test", "/ping").unwrap().status, 503, "H6: {node}");
    }
    site.uninstall();
    site.end().await;
}
