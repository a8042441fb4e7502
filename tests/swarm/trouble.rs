//! Settings and hands that would break things, on a Swarm that serves: what worked goes on, and the reason is told.

use crate::site::Site;

/// Two hitless service clusters, each on both workers, with images that are on the nodes and in no registry.
fn two_clusters(site: &Site, of_a: &str, of_b: &str) {
    let cluster = |name: &str, ports: [u16; 2], more: &str| {
        let [port, ssl] = ports;
        let more = if more.contains("ProxyImage") {
            more.to_owned()
        } else {
            format!("ProxyImage = \"interlock-proxy-nginx:offline\"\n{more}")
        };
        format!(
            "[Extensions.{name}]\nServiceCluster = \"{name}\"\nHitlessServiceUpdate = true\nPublishMode = \"host\"\nProxyStopGracePeriod = \"1s\"\n\
             PublishedSSLPort = {ssl}\n{}{more}\n",
            if more.contains("PublishedPort") { String::new() } else { format!("PublishedPort = {port}\n") }
        )
    };
    site.whole_settings(&(cluster("a", [8080, 8443], of_a) + &cluster("b", [8081, 8444], of_b)));
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

/// A4, K4, and what else can be wrong with settings: a port that is taken, nodes that nobody has, an image that is nowhere, options that
/// nginx refuses; and hands of other people.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn a4_k4_what_is_wrong_stops_nothing_that_works() {
    let site = Site::new("").await;
    site.preload("interlock", "interlock:offline");
    site.preload("interlock-proxy-nginx", "interlock-proxy-nginx:offline");
    site.network("demo").await;
    two_clusters(&site, "", "");
    site.install_from("interlock:offline");
    site.service("a", &["demo"], 1, &["hosts=a.local.test", "port=8080", "service_cluster=a"]);
    site.service("b", &["demo"], 1, &["hosts=b.local.test", "port=8080", "service_cluster=b"]);
    both_serve(&site, A).await;
    both_serve(&site, B).await;

    a_port_that_is_taken_and_nodes_that_are_not_there(&site).await;
    an_image_that_is_nowhere(&site).await;
    k4_options_that_nginx_refuses(&site).await;
    hands_of_other_people(&site).await;
    site.uninstall();
    site.end().await;
}

/// Waits until core told something, while this is served by one node or the other all the time.
async fn told_while_served(site: &Site, texts: &[&str], served: &[(u16, &str)]) {
    site.until(&format!("core tells {texts:?}"), |site| {
        for &one in served {
            assert!(serves(site, one), "{one:?} is served meanwhile");
        }
        let log = site.logs("interlock-core");
        texts.iter().all(|text| log.contains(text))
    })
    .await;
}

async fn a_port_that_is_taken_and_nodes_that_are_not_there(site: &Site) {
    let publish =
        ["--mode", "global", "--constraint", "node.role==worker", "--publish", "mode=host,published=9090,target=8080"];
    site.app("squatter", &publish);
    two_clusters(site, "PublishedPort = 9090\n", "ProxyConstraints = [\"node.labels.nowhere==yes\"]\n");
    site.install_from("interlock:offline");
    let texts = ["host-mode port already in use", "no node meets the constraints of service interlock-proxy-b"];
    told_while_served(site, &texts, &[A, B]).await;
    both_serve(site, A).await;
    both_serve(site, B).await;
    site.docker(&["service", "rm", "squatter"]);
}

async fn an_image_that_is_nowhere(site: &Site) {
    two_clusters(site, "ProxyImage = \"registry.invalid/nothing:1\"\n", "");
    site.install_from("interlock:offline");
    told_while_served(site, &["No such image: registry.invalid/nothing:1"], &[A, B]).await;
    both_serve(site, A).await;
}

async fn k4_options_that_nginx_refuses(site: &Site) {
    two_clusters(site, "", "");
    site.install_from("interlock:offline");
    both_serve(site, A).await;
    let tasks = |site: &Site| site.tasks_of("interlock-proxy-a");
    let before = tasks(site);
    two_clusters(site, "[Extensions.a.Config]\nHTTPOptions = [\"no_such_option on;\"]\n", "");
    site.install_from("interlock:offline");
    told_while_served(site, &["unknown directive \"no_such_option\""], &[A, B]).await;
    site.service("later", &["demo"], 1, &["hosts=later.local.test", "port=8080", "service_cluster=a"]);
    two_clusters(site, "", "");
    site.install_from("interlock:offline");
    both_serve(site, (8080, "later.local.test")).await;
    assert_eq!(tasks(site), before, "K4: no proxy was replaced");
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
