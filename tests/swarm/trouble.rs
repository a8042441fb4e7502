//! Settings and hands that would break things, on a Swarm that serves: what worked goes on, and the reason is told.

use std::time::Duration;

use crate::site::{Site, tell};
use crate::support::load::Load;

/// Three hitless service clusters, each on both workers, with images that are on the nodes and in no registry. What is said of one of
/// them stands for what all have.
fn clusters(site: &Site, said: [&str; 3]) {
    let mut text = String::new();
    for (number, (name, said)) in ["a", "b", "c"].into_iter().zip(said).enumerate() {
        text += &format!(
            "[Extensions.{name}]\nServiceCluster = \"{name}\"\nHitlessServiceUpdate = true\nPublishMode = \"host\"\n\
             ProxyStopGracePeriod = \"1s\"\nPublishedSSLPort = {}\n",
            8443 + number
        );
        let image = "ProxyImage = \"interlock-proxy-nginx:offline\"\n".to_owned();
        for line in [image, format!("PublishedPort = {}\n", 8080 + number)] {
            let (key, _) = line.split_once(' ').unwrap();
            text += if said.contains(key) { "" } else { &line };
        }
        text += said;
    }
    site.whole_settings(&text);
}

fn serves(site: &Site, (port, host): (u16, &str)) -> bool {
    let get = |node: &String| site.get_at((node, port), host, "/ping").is_ok_and(|answer| answer.status == 200);
    site.workers().iter().any(get)
}

async fn both_serve(site: &Site, (port, host): (u16, &str)) {
    site.until(&format!("both proxies serve {host}"), |site| {
        let get = |node: &String| site.get_at((node, port), host, "/ping").is_ok_and(|answer| answer.status == 200);
        site.workers().iter().all(get)
    })
    .await;
}

const A: (u16, &str) = (8080, "a.local.test");
const B: (u16, &str) = (8081, "b.local.test");
const C: (u16, &str) = (8082, "c.local.test");

/// A4, J6, K4, and what else can be wrong with settings: a port that is taken, nodes that nobody has, an image that is nowhere, options that
/// nginx refuses; and hands of other people.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn a4_j6_k4_what_is_wrong_stops_nothing_that_works() {
    let site = Site::new("").await;
    site.preload("interlock", "interlock:offline");
    site.preload("interlock-proxy-nginx", "interlock-proxy-nginx:offline");
    site.network("demo").await;
    clusters(&site, [""; 3]);
    site.install_from("interlock:offline");
    for name in ["a", "b", "c"] {
        let (host, cluster) = (format!("hosts={name}.local.test"), format!("service_cluster={name}"));
        site.service(name, &["demo"], 1, &[&host, "port=8080", &cluster]);
    }
    for one in [A, B, C] {
        both_serve(&site, one).await;
    }
    j6_each_service_cluster_serves_its_own(&site).await;

    a_port_that_is_taken_nodes_that_are_not_there_and_an_image_that_is_nowhere(&site).await;
    k4_options_that_nginx_refuses(&site).await;
    hands_of_other_people(&site).await;
    site.uninstall();
    site.end().await;
}

/// J6: three on one Swarm, each with proxies of its own.
async fn j6_each_service_cluster_serves_its_own(site: &Site) {
    let status = |site: &Site, node: &str, port: u16, host: &str| {
        site.get_at((node, port), host, "/ping").map(|answer| answer.status)
    };
    site.until("J6: each serves its own and nothing else, on both nodes", |site| {
        [A, B, C].iter().all(|(port, _)| {
            [A, B, C].iter().all(|(own, host)| {
                let right = if port == own { 200 } else { 503 };
                site.workers().iter().all(|node| status(site, node, *port, host) == Ok(right))
            })
        })
    })
    .await;
}

/// How long it may take until core gives a roll up in which no task comes up: by itself two minutes.
const GIVES_UP: Duration = Duration::from_secs(400);

/// Waits until core told something, while this is served by one node or the other all the time.
async fn told_while_served(site: &Site, texts: &[&str], served: &[(u16, &str)]) {
    site.within(GIVES_UP, &format!("core tells {texts:?}"), |site| {
        for &one in served {
            assert!(serves(site, one), "{one:?} is served meanwhile\n{}", site.look());
        }
        let log = site.logs("interlock-core");
        texts.iter().all(|text| log.contains(text))
    })
    .await;
}

/// At once, since an image takes Swarm and core a minute to give up.
async fn a_port_that_is_taken_nodes_that_are_not_there_and_an_image_that_is_nowhere(site: &Site) {
    let publish =
        ["--mode", "global", "--constraint", "node.role==worker", "--publish", "mode=host,published=9090,target=8080"];
    site.app("squatter", &publish);
    clusters(
        site,
        [
            "PublishedPort = 9090\n",
            "ProxyConstraints = [\"node.labels.nowhere==yes\"]\n",
            "ProxyImage = \"registry.invalid/nothing:1\"\n",
        ],
    );
    site.install_from("interlock:offline");
    let texts = [
        "service squatter has port 9090 of node",
        "no node meets the constraints of service interlock-proxy-b",
        "No such image: registry.invalid/nothing:1",
    ];
    told_while_served(site, &texts, &[A, B, C]).await;
    for one in [A, B, C] {
        both_serve(site, one).await;
    }
    site.docker(&["service", "rm", "squatter"]);
}

async fn k4_options_that_nginx_refuses(site: &Site) {
    clusters(site, [""; 3]);
    site.install_from("interlock:offline");
    both_serve(site, A).await;
    let tasks = |site: &Site| site.tasks_of("interlock-proxy-a");
    let before = tasks(site);
    clusters(site, ["[Extensions.a.Config]\nHTTPOptions = [\"no_such_option on;\"]\n", "", ""]);
    let (code, said) = site.try_install_from("interlock:offline");
    let is_told = said.contains("unknown directive \"no_such_option\"") && said.contains("and run install again");
    assert!(code == Some(1) && is_told, "{code:?} {said}");
    told_while_served(site, &["unknown directive \"no_such_option\""], &[A, B]).await;
    // Routes go on changing, by the options of before.
    site.service("later", &["demo"], 1, &["hosts=later.local.test", "port=8080", "service_cluster=a"]);
    both_serve(site, (8080, "later.local.test")).await;
    clusters(site, [""; 3]);
    site.install_from("interlock:offline");
    both_serve(site, (8080, "later.local.test")).await;
    assert_eq!(tasks(site), before, "K4: no proxy was replaced");
}

/// An engine that hangs reads nothing of what its containers write: NGINX's log stays where it is, and so would NGINX. This is longer than the pipe
/// to the engine holds lines, and than Swarm waits for a node.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn a_proxy_answers_while_the_engine_of_its_node_hangs() {
    a_proxy_answers_while_the_engine_hangs_for(Duration::from_secs(40)).await;
}

/// And longer than what the agent keeps of NGINX's lines would last without giving memory back.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm and some minutes: scripts/test --full brings one up"]
async fn minutes_a_proxy_answers_while_the_engine_of_its_node_hangs() {
    a_proxy_answers_while_the_engine_hangs_for(Duration::from_secs(180)).await;
}

async fn a_proxy_answers_while_the_engine_hangs_for(time: Duration) {
    let more = "HitlessServiceUpdate = true\n";
    let site = Site::new(more).await;
    site.settings("interlock-proxy-nginx", more);
    site.network("demo").await;
    site.install();
    // On the manager, whose engine goes on.
    site.app(
        "shop",
        &[
            "--network",
            "demo",
            "--endpoint-mode",
            "dnsrr",
            "--constraint",
            "node.role==manager",
            "--label",
            "com.docker.lb.hosts=shop.local.test",
            "--label",
            "com.docker.lb.port=8080",
        ],
    );
    site.eventually("shop.local.test", "/ping", |answer| answer.status == 200).await;
    let load = Load::short(&[format!("{}:8080", site.workers()[1])], "shop.local.test", 500);
    site.lab(&["pause", "3"]);
    tokio::time::sleep(time).await;
    let serves =
        |site: &Site| site.get(&site.workers()[1], "shop.local.test", "/ping").is_ok_and(|it| it.status == 200);
    assert!(serves(&site), "{}", site.look());
    site.lab(&["resume", "3"]);
    site.until("the node is back", |site| {
        site.docker(&["node", "ls", "--format", "{{.Status}}"]).lines().all(|status| status == "Ready")
    })
    .await;
    let outcome = load.stop();
    let failed = outcome.failed.len();
    assert!(failed == 0, "{failed} of {}: {:#?}", outcome.answered, outcome.failed.first());
    let dropped = site.logs("interlock-proxy");
    let dropped: Vec<_> = dropped.lines().filter(|line| line.contains("dropped")).collect();
    tell(&format!("{} answered in {time:?} without an engine, {failed} failed; {dropped:?}", outcome.answered));
    // A quarter of 500 a second, on a machine that has other things to do as well.
    assert!(outcome.answered as u64 > 125 * time.as_secs(), "{}", outcome.answered);
    site.uninstall();
    site.end().await;
}

/// What somebody changed at the proxies stays; a proxy service that somebody removed comes back.
async fn hands_of_other_people(site: &Site) {
    let update = ["service", "update", "--detach", "--quiet", "--env-add", "X=1", "--label-add", "mine=yes"];
    site.docker(&[&update[..], &["--replicas", "1", "interlock-proxy-a"]].concat());
    site.updated("interlock-proxy-a").await;
    site.service("last", &["demo"], 1, &["hosts=last.local.test", "port=8080", "service_cluster=a"]);
    site.until("the one proxy that is left serves it", |site| serves(site, (8080, "last.local.test"))).await;
    let spec = site.docker(&["service", "inspect", "interlock-proxy-a", "--format", "{{json .Spec}}"]);
    for edit in ["\"X=1\"", "\"mine\":\"yes\"", "\"Replicas\":1"] {
        assert!(spec.contains(edit), "{edit}: {spec}");
    }
    site.docker(&["service", "rm", "interlock-proxy-a"]);
    assert!(serves(site, B), "the other service cluster has nothing to do with it");
    both_serve(site, A).await;
}
