//! Kinds of services and of labels, deployed beside what `routing` shows: how each is reached, and what a virtual IP keeps still.

use std::collections::BTreeSet;

use crate::site::Site;
use crate::websocket;

/// Services of these kinds. What they are called is what is told of them.
pub(crate) fn deploy(site: &Site) {
    let demo = |name: &str, replicas, labels: &[&str]| {
        let host = format!("hosts={name}.local.test");
        site.service(name, &["demo"], replicas, &[&[host.as_str(), "port=8080"], labels].concat());
    };
    demo("sockets", 1, &["websocket_endpoints=/ws"]);
    demo("sticky", 5, &["sticky_session_cookie=session"]);
    demo("hashed", 3, &["ip_hash=true"]);
    site.service(
        "moved",
        &["demo"],
        1,
        &["hosts=old.local.test,new.local.test", "port=8080", "redirects=http://old.local.test,http://new.local.test"],
    );
    let labels = |host: &'static str| ["--label", host, "--label", "com.docker.lb.port=8080"];
    let on_ports = ["--publish", "mode=host,target=8080", "--replicas", "2"];
    site.app("ports", &[&labels("com.docker.lb.hosts=ports.local.test")[..], &on_ports].concat());
    let network = ["--network", "demo", "--endpoint-mode", "dnsrr"];
    let everywhere = [&network[..], &["--mode", "global"]].concat();
    site.app("everywhere", &[&labels("com.docker.lb.hosts=everywhere.local.test")[..], &everywhere].concat());
    let job = ["--network", "demo", "--mode", "replicated-job", "--restart-condition", "none"];
    site.app("job", &[&labels("com.docker.lb.hosts=job.local.test")[..], &job].concat());
    predecessors(site, &network);
    for (name, replicas) in [("vip-v1", "2"), ("vip-v2", "1")] {
        let more = ["--network", "demo", "--replicas", replicas, "--label", "com.docker.lb.backend_mode=vip"];
        let labels = [&labels("com.docker.lb.hosts=vip.local.test")[..], &more, &["--update-parallelism", "0"]];
        site.app(name, &labels.concat());
    }
}

/// L1, L2: labels of the routing mesh, and of Interlock 1 on a service and in a container spec.
fn predecessors(site: &Site, network: &[&str]) {
    let mesh = [
        "--label",
        "com.docker.ucp.mesh.http.1=external_route=http://mesh.local.test,internal_port=8080",
        "--label",
        "com.docker.ucp.mesh.http.2=external_route=http://more.local.test,internal_port=8080",
    ];
    site.app("mesh", &[network, &mesh].concat());
    for (name, option) in [("ancient", "--label"), ("inside", "--container-label")] {
        let host = format!("interlock.hostname={name}");
        let labels = [option, &host, option, "interlock.domain=local.test", option, "interlock.port=8080"];
        site.app(name, &[network, &labels].concat());
    }
}

/// Waits until all of them are served.
pub(crate) async fn served(site: &Site) {
    for name in ["sockets", "hashed", "new", "ports", "mesh", "ancient", "inside"] {
        site.eventually(&format!("{name}.local.test"), "/ping", |answer| answer.status == 200).await;
    }
    site.until("both virtual IPs are upstreams", |site| virtual_ips(site).len() == 2).await;
    site.all_serve("everywhere", 3).await;
    site.all_serve("sticky", 5).await;
}

pub(crate) fn looks(site: &Site) {
    h1_websocket_endpoints(site);
    h2_sticky_sessions(site);
    h3_ip_hash(site);
    i2_an_application_on_ports_of_nodes(site);
    i3_applications_see_the_client(site);
    f1_redirect(site);
    jobs_are_never_routed(site);
    l1_l2_labels_of_predecessors(site);
    c3_a_virtual_ip_counts_once(site);
}

fn h1_websocket_endpoints(site: &Site) {
    assert_eq!(websocket(site, "sockets.local.test", "/ws"), "hello", "H1");
    assert_eq!(site.ask("sockets.local.test", "/other").json("path"), "/other", "H1: other paths are plain");
}

/// Where a session's requests go, each asked for at both nodes; more than one place is a failure.
pub(crate) fn h2_places_of_sessions(site: &Site) -> Vec<String> {
    let place = |session: usize| {
        let cookie = format!("Cookie: session=s{session}\r\n");
        let ask = |node| site.get_with((node, 8080), "sticky.local.test", "/ping", &cookie).unwrap();
        let places: BTreeSet<_> =
            (0..4).flat_map(|_| site.workers()).map(|n| ask(n).header("x-upstream-addr")).collect();
        assert_eq!(places.len(), 1, "H2: session {session}: {places:?}");
        places.into_iter().next().unwrap()
    };
    (0..12).map(place).collect()
}

fn h2_sticky_sessions(site: &Site) {
    let places: BTreeSet<_> = h2_places_of_sessions(site).into_iter().collect();
    assert!(places.len() > 2, "H2: sessions are spread: {places:?}");
}

fn h3_ip_hash(site: &Site) {
    let places: BTreeSet<_> = (0..12).map(|_| site.ask("hashed.local.test", "/ping").json("instance")).collect();
    assert_eq!(places.len(), 1, "H3: {places:?}");
}

fn i2_an_application_on_ports_of_nodes(site: &Site) {
    for _ in 0..4 {
        let place = site.ask("ports.local.test", "/ping").header("x-upstream-addr");
        let (node, port) = place.split_once(':').unwrap();
        assert!(site.nodes().iter().any(|known| known == node), "I2: {place}");
        assert!(port.parse::<u16>().is_ok_and(|port| port >= 30_000), "I2: {place}");
    }
}

fn i3_applications_see_the_client(site: &Site) {
    let answer = site.ask("demo.local", "/x");
    assert_eq!(answer.json("headers/x-real-ip"), site.client(), "I3: {answer:?}");
}

fn f1_redirect(site: &Site) {
    let answer = site.ask("old.local.test", "/x?y=1");
    assert_eq!((answer.status, answer.header("location").as_str()), (302, "http://new.local.test/x?y=1"), "F1");
}

fn jobs_are_never_routed(site: &Site) {
    let answer = site.ask("job.local.test", "/ping").status;
    // An engine of version 20.10 leaves the container of a removed job alone, and its network in the way of the next of that name.
    site.signal("job", "KILL");
    assert_eq!(answer, 503, "jobs are never routed");
    assert!(site.log().contains("service job"), "the owner of a job is told: {}", site.log());
}

fn l1_l2_labels_of_predecessors(site: &Site) {
    let [mesh, more] = ["mesh.local.test", "more.local.test"].map(|host| site.ask(host, "/ping").json("instance"));
    assert!(!mesh.is_empty() && mesh == more, "L1: two routes of one service");
    for name in ["mesh", "ancient", "inside"] {
        let previous = site.docker(&["service", "inspect", name, "--format", "{{json .PreviousSpec}}"]);
        assert_eq!(previous.trim(), "null", "L1, L2: nobody changed service {name}");
    }
}

/// The servers of the upstream of `vip.local.test`, each with what stands behind it.
fn virtual_ips(site: &Site) -> Vec<String> {
    let text = site.config();
    let upstream = text.split("upstream ").find(|part| part.starts_with("vip-v1.8080+vip-v2.8080"));
    let servers = upstream.into_iter().flat_map(|part| part.split('}').next().unwrap_or_default().lines());
    let servers =
        servers.filter_map(|line| line.trim().strip_prefix("server ")).filter(|line| !line.contains(" backup"));
    servers.map(str::to_owned).collect()
}

fn address_on(site: &Site, service: &str, network: &str) -> String {
    let id = site.docker(&["network", "inspect", network, "--format", "{{.Id}}"]);
    let format = "{{range .Endpoint.VirtualIPs}}{{.NetworkID}} {{.Addr}}\n{{end}}";
    let told = site.docker(&["service", "inspect", service, "--format", format]);
    let address = told.lines().find_map(|line| line.strip_prefix(id.trim())).unwrap_or_default();
    address.trim().split('/').next().unwrap_or_default().to_owned()
}

fn c3_a_virtual_ip_counts_once(site: &Site) {
    // One server each without a weight: the same share, whatever the numbers of tasks. This kernel cannot show it in traffic.
    let expected = ["vip-v1", "vip-v2"].map(|name| format!("{}:8080;", address_on(site, name, "demo")));
    let servers: BTreeSet<_> = virtual_ips(site).into_iter().collect();
    assert_eq!(servers, expected.into(), "C3, I1");
}

/// I1: tasks behind a virtual IP come, go and change without the proxies; another network is one update.
pub(crate) async fn i1_changes_behind_a_virtual_ip(site: &Site) {
    // What was found while the proxies were at work is done first.
    let _ = site.once();
    site.at_rest().await;
    let state = |site: &Site| (site.config_name(), site.proxy_tasks());
    let tasks_ever = |site: &Site| site.docker(&["service", "ps", "--quiet", "--no-trunc", "interlock-proxy"]);
    let (before, ever) = (state(site), tasks_ever(site));
    site.docker(&["service", "scale", "--detach", "vip-v1=4"]);
    let image = site.image("nginx");
    let update =
        ["service", "update", "--detach", "--quiet", "--image", &image, "--env-add", "A=b", "--label-add", "a=b"];
    site.docker(&[&update[..], &["vip-v1"]].concat());
    site.updated("vip-v1").await;
    // A second interlock looks at the same Swarm, and has nothing to do either.
    assert_eq!(site.once(), "nothing to do\n", "I1");
    assert_eq!(state(site), before, "I1");

    let network = ["service", "update", "--detach", "--quiet", "--network-add", "front"];
    site.docker(&[&network[..], &["--label-add", "com.docker.lb.network=front", "vip-v1"]].concat());
    site.until("I1: the virtual IP on the other network is an upstream", |site| {
        let address = address_on(site, "vip-v1", "front");
        !address.is_empty() && virtual_ips(site).contains(&format!("{address}:8080;"))
    })
    .await;
    site.at_rest().await;
    let new = tasks_ever(site).lines().filter(|task| !ever.contains(task)).count();
    assert_eq!(new, 2, "I1: each proxy is replaced once");
}
