//! Core's name on a network of the proxies. Docker's resolver asks a container's networks by name, so `aaa` answers before core's own.

use crate::site::Site;

/// A tenant gives a service core's name on a network that the proxies have. Core then moves, so that no address is good that anybody knew.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn h2_a_service_with_cores_name_cuts_off_no_proxy() {
    let site = Site::new("").await;
    site.settings("interlock-proxy-nginx", "HitlessServiceUpdate = true\n");
    for network in ["aaa", "demo"] {
        site.network(network).await;
    }
    site.install();
    let route = |name: &str, network: &str| {
        site.service(name, &[network], 1, &[&format!("hosts={name}.local.test"), "port=8080"]);
    };
    route("shop", "demo");
    route("evil", "aaa");
    route("beside", "aaa");
    for name in ["shop", "evil", "beside"] {
        both_serve(&site, name).await;
    }
    site.at_rest().await;
    let update = ["service", "update", "--detach", "--quiet"];
    site.docker(&[&update[..], &["--network-rm", "aaa", "evil"]].concat());
    site.docker(&[&update[..], &["--network-add", "name=aaa,alias=interlock-core", "evil"]].concat());
    site.until("the service that took the name is withdrawn", |site| {
        site.workers()
            .iter()
            .all(|node| site.get(node, "evil.local.test", "/ping").is_ok_and(|answer| answer.status == 503))
    })
    .await;
    let told = site.logs("interlock-core");
    assert!(told.contains("has core's name on network aaa (network alias interlock-core)"), "{told}");
    // That is what makes it an attack.
    site.until("the proxies' resolver names somebody who is not core", |site| {
        [1, 2].iter().all(|node| {
            let in_proxy = |command: &str| site.in_container(*node, "interlock-proxy", &["sh", "-c", command]);
            let (named, known) = (in_proxy("nslookup tasks.interlock-core"), in_proxy("cat /etc/interlock/agent.toml"));
            let core = known.split("addresses = [\"").nth(1).and_then(|rest| rest.split(':').next()).unwrap();
            named.contains("Name:") && !named.contains(core)
        })
    })
    .await;

    site.docker(&[&update[..], &["--force", "interlock-core"]].concat());
    route("late", "demo");
    both_serve(&site, "late").await;
    both_serve(&site, "beside").await;
    site.uninstall();
    site.end().await;
}

pub(crate) async fn both_serve(site: &Site, name: &str) {
    let host = format!("{name}.local.test");
    site.until(&format!("both proxies serve {host}"), |site| {
        site.workers().iter().all(|node| site.get(node, &host, "/ping").is_ok_and(|answer| answer.status == 200))
    })
    .await;
}
