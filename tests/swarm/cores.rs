//! Fewer nodes than proxies, and more cores than one.

use std::time::Duration;

use crate::site::Site;

const HITLESS: &str = "HitlessServiceUpdate = true\n";

/// A node that takes no tasks until this is dropped.
struct Drained<'s> {
    site: &'s Site,
    node: String,
}

impl<'s> Drained<'s> {
    fn new(site: &'s Site, number: usize) -> Self {
        let node = site.node(number);
        site.docker(&["node", "update", "--availability", "drain", &node]);
        Self { site, node }
    }
}

impl Drop for Drained<'_> {
    fn drop(&mut self) {
        let _ = self.site.try_docker(&["node", "update", "--availability", "active", &self.node]);
    }
}

fn serves(site: &Site, worker: usize, host: &str) -> bool {
    site.get(&site.workers()[worker], host, "/ping").is_ok_and(|answer| answer.status == 200)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn host_mode_has_no_more_proxies_than_nodes_can_take() {
    let site = Site::new(HITLESS).await;
    site.settings("interlock-proxy-nginx", HITLESS);
    site.network("demo").await;
    site.network("back").await;
    let drained = Drained::new(&site, 2);
    site.service("shop", &["demo"], 1, &["hosts=shop.local.test", "port=8080"]);
    let (code, said) = site.try_install();
    assert_eq!(code, Some(0), "{said}");
    site.until("the one proxy serves", |site| serves(site, 0, "shop.local.test")).await;
    site.until("core warns", |site| site.logs("interlock-core").contains("only 1 node can take one")).await;

    // A roll does not wait for the task that no node can take.
    site.service("late", &["back"], 1, &["hosts=late.local.test", "port=8080"]);
    site.until("the one proxy serves the other network", |site| serves(site, 0, "late.local.test")).await;
    site.updated("interlock-proxy").await;

    drop(drained);
    site.until("the node that came back serves", |site| serves(site, 1, "late.local.test")).await;
    site.uninstall();
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn of_two_cores_one_acts_and_the_other_takes_over() {
    let site = Site::new(HITLESS).await;
    site.settings("interlock-proxy-nginx", HITLESS);
    site.network("demo").await;
    site.service("shop", &["demo"], 1, &["hosts=shop.local.test", "port=8080"]);
    site.core_as_stack();
    site.served_within(Duration::from_secs(120), "shop.local.test").await;
    site.at_rest().await;

    // `install` refuses it, so by hand.
    let other = format!("{HITLESS}PublishedPort = 9080\nPublishedSSLPort = 9443\n");
    site.make_config("other.conf", &site.settings_text("interlock-proxy-nginx", &other));
    let image = site.image("interlock");
    let create = ["service", "create", "--detach", "--quiet", "--name", "other-core"];
    let place = ["--constraint", "node.role==manager", "--network", "interlock", "--network", "interlock-default"];
    let mounts = [
        "--mount",
        "type=bind,source=/var/run/docker.sock,destination=/var/run/docker.sock",
        "--config",
        "source=other.conf,target=/config.toml",
        "--secret",
        "source=com.docker.interlock.authority,target=interlock-authority",
    ];
    site.docker(&[&create[..], &place, &mounts, &[&image, "run", "-c", "/config.toml"]].concat());
    let says = "service interlock_core is core and acts; this core stands by";
    site.until("the younger core stands by", |site| site.logs("other-core").contains(says)).await;
    let tasks = site.proxy_tasks();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(site.proxy_tasks(), tasks, "nobody replaced proxies\n{}", site.look());

    site.docker(&["stack", "rm", "interlock"]);
    site.until("the other one takes over", |site| {
        let get = |node: &String| site.get_at((node, 9080), "shop.local.test", "/ping");
        site.workers().iter().all(|node| get(node).is_ok_and(|answer| answer.status == 200))
    })
    .await;
    site.docker(&["service", "rm", "other-core"]);
    site.uninstall();
    site.end().await;
}
