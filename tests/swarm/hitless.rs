//! Core, extension and proxies as three services on three nodes: what `interlock install` sets up.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::kinds::h2_places_of_sessions;
use crate::site::{CONVERGES, Site};
use crate::support::load::Load;
use crate::support::pki::Authority;

const HITLESS: &str = "HitlessServiceUpdate = true\nImage = \"REGISTRY/interlock:lab\"\n";

/// A2, A3, C2, H2, K1: from installing to uninstalling, under load.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn a2_a3_k1_changes_reach_proxies_without_new_tasks() {
    let site = Site::new("").await;
    site.settings("interlock-proxy-nginx", HITLESS);
    site.network("demo").await;
    let installed = site.install_and_wait();
    assert!(installed.contains("+ service interlock-core"), "{installed}");
    site.eventually("anything.test", "/", |answer| answer.status == 503 && answer.headers_like("x-").is_empty()).await;
    assert_eq!(site.install(), "nothing to do\n");
    site.until("there are proxies", |site| site.proxies("{{.ID}}").is_some()).await;
    a3_the_usual_shape(&site);
    // A backend that closes idle connections: what is kept to it must be given up earlier, as a POST cannot be tried again.
    let closes = ["--env", "IDLE_CLOSE_MS=5000"];
    site.service_with("shop", &["demo"], 2, &["hosts=shop.local.test", "port=8080"], &closes);
    site.eventually("shop.local.test", "/ping", |answer| answer.status == 200).await;
    site.service("sticky", &["demo"], 5, &["hosts=sticky.local.test", "port=8080", "sticky_session_cookie=session"]);
    site.all_serve("sticky", 5).await;
    site.at_rest().await;

    let before = site.proxy_tasks();
    let places = h2_places_of_sessions(&site);
    // Half of it on kept connections: 500 a second over both proxies.
    let load = Load::start(&site.addresses(), "shop.local.test", 500);
    changes(&site).await;
    assert_eq!(
        h2_places_of_sessions(&site),
        places,
        "H2: sessions stay where they are when nginx reads its configuration again"
    );
    c2_blue_green(&site).await;
    faults(&site).await;
    absences(&site).await;
    let outcome = load.stop();
    assert!(
        outcome.failed.is_empty(),
        "{} of {}: {:#?}",
        outcome.failed.len(),
        outcome.answered,
        first(&outcome.failed)
    );
    assert_eq!(site.proxy_tasks(), before, "no proxy was replaced");
    assert!(outcome.answered > 20_000, "{outcome:?}");
    let reloads = site.logs("interlock-proxy").matches("nginx serves ").count();
    assert!(reloads >= 2 * 100, "only {reloads} reloads of two proxies");

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

/// 200 times services come, change, grow and go on a network that the proxies have.
async fn changes(site: &Site) {
    // One service has no more of them at once than 10: after that it would wait.
    for round in 0..17 {
        let name = format!("app-{round}");
        let host = format!("{name}.local.test");
        site.service(&name, &["demo"], 1, &[&format!("hosts={host}"), "port=8080"]);
        site.eventually(&host, "/ping", |answer| answer.status == 200).await;
        for change in 0..10 {
            let renamed = format!("renamed-{round}-{change}.local.test");
            let label = format!("com.docker.lb.hosts={renamed}");
            site.docker(&["service", "update", "--detach", "--quiet", "--label-add", &label, &name]);
            site.eventually(&renamed, "/ping", |answer| answer.status == 200).await;
        }
        site.docker(&["service", "scale", "--detach", &format!("{name}=3")]);
        if round % 2 == 0 {
            site.docker(&["service", "rm", &name]);
            site.eventually(&format!("renamed-{round}-9.local.test"), "/ping", |answer| answer.status == 503).await;
        }
    }
}

/// All requests move to another version and back by labels.
async fn c2_blue_green(site: &Site) {
    let labels = ["hosts=shop.local.test", "port=8080", "weight=0"];
    site.service_with("green", &["demo"], 2, &labels, &["--env", "VERSION=0.2", "--env", "IDLE_CLOSE_MS=5000"]);
    site.run("green", 2).await;
    let weigh = |name: &str, weight: &str| {
        let label = format!("com.docker.lb.weight={weight}");
        site.docker(&["service", "update", "--detach", "--quiet", "--label-add", &label, name]);
    };
    weigh("shop", "100");
    for (to, from, version) in [("green", "shop", "0.2"), ("shop", "green", "0.1")] {
        // First this one: if both were at zero, nobody would answer.
        weigh(to, "100");
        site.until("C2: both answer", |site| answers(site).len() == 2).await;
        weigh(from, "0");
        site.until(&format!("C2: only {version} answers"), |site| answers(site) == [version.to_owned()].into()).await;
    }
}

/// The versions that answer at both nodes.
fn answers(site: &Site) -> BTreeSet<String> {
    let asked = site.workers().iter().flat_map(|node| (0..8).map(move |_| site.get(node, "shop.local.test", "/ping")));
    asked.map(|answer| answer.unwrap().json("version")).collect()
}

/// Whatever dies, routes that worked keep working, and a change made meanwhile arrives.
async fn faults(site: &Site) {
    for (what, victim) in
        [("core", "interlock-core"), ("the extension", "interlock-extension"), ("core again", "interlock-core")]
    {
        let (before, name) = (site.tasks_of(victim), what.replace(' ', "-"));
        let host = format!("after-{name}.local.test");
        site.signal(victim, "KILL");
        site.service(&name, &["demo"], 1, &[&format!("hosts={host}"), "port=8080"]);
        site.until("Swarm started another", |site| {
            let now = site.tasks_of(victim);
            !now.is_empty() && now.iter().all(|task| !before.contains(task))
        })
        .await;
        site.run(victim, 1).await;
        site.run(&name, 1).await;
        site.served_within(CONVERGES, &host).await;
    }
}

/// Core gone or there twice, an extension that hangs: what runs goes on, and what changed meanwhile arrives.
async fn absences(site: &Site) {
    let arrives = async |name: &str, after: &[&str]| {
        let host = format!("{name}.local.test");
        site.service(name, &["demo"], 1, &[&format!("hosts={host}"), "port=8080"]);
        site.run(name, 1).await;
        if !after.is_empty() {
            assert_eq!(site.ask("shop.local.test", "/ping").status, 200);
            assert_eq!(site.ask(&host, "/ping").status, 503, "nobody is there to tell the proxies of it");
            site.docker(after);
            site.run("interlock-core", 1).await;
        }
        site.served_within(CONVERGES, &host).await;
    };
    let scale = async |instances: usize| {
        site.docker(&["service", "scale", "--detach", &format!("sticky={instances}")]);
        site.run("sticky", instances).await;
    };
    site.docker(&["service", "scale", "interlock-core=2"]);
    arrives("with-two-cores", &[]).await;
    site.docker(&["service", "scale", "interlock-core=0"]);
    // Some of those that answer end while nobody is there to tell of it.
    scale(3).await;
    for request in 0..20 {
        assert_eq!(site.ask("sticky.local.test", "/ping").status, 200, "request {request} without core");
    }
    scale(4).await;
    arrives("while-core-is-away", &["service", "scale", "--detach", "interlock-core=1"]).await;
    site.all_serve("sticky", 4).await;
    site.signal("interlock-extension", "STOP");
    let host = "while-the-extension-hangs.local.test";
    site.service("hangs", &["demo"], 1, &[&format!("hosts={host}"), "port=8080"]);
    assert_eq!(site.ask("shop.local.test", "/ping").status, 200);
    site.run("hangs", 1).await;
    site.signal("interlock-extension", "CONT");
    site.served_within(CONVERGES, host).await;
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

/// nginx dies in one proxy: its agent starts it again, and no task is replaced. The agent dies: Swarm starts another task, and the other
/// node serves meanwhile.
async fn a_proxy_is_killed(site: &Site) {
    let before = site.proxy_tasks();
    site.kill_nginx(1);
    site.eventually("shop.local.test", "/ping", |answer| answer.status == 200).await;
    assert_eq!(site.proxy_tasks(), before);
    site.signal_on(1, "interlock-proxy", "KILL");
    site.until("there is another task", |site| {
        assert_eq!(site.ask("shop.local.test", "/ping").status, 200);
        site.proxy_tasks() != before
    })
    .await;
    site.eventually("shop.local.test", "/ping", |answer| answer.status == 200).await;
}

/// An application's own updates: none of its requests fails, whether it ends at once when it is told to or takes its time.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn applications_that_end_fail_no_request() {
    let site = Site::new("").await;
    site.settings("interlock-proxy-nginx", "HitlessServiceUpdate = true\n");
    site.network("demo").await;
    site.install();
    for (name, drain) in [("quick", "0"), ("slow", "5000")] {
        let (host, drain) = (format!("hosts={name}.local.test"), format!("DRAIN_MS={drain}"));
        let more = ["--env", &drain, "--stop-grace-period", "10s"];
        site.service_with(name, &["demo"], 3, &[&host, "port=8080"], &more);
        site.eventually(&format!("{name}.local.test"), "/ping", |answer| answer.status == 200).await;
    }
    site.at_rest().await;
    site.all_serve("quick", 3).await;
    site.all_serve("slow", 3).await;
    let update = |name: &'static str, order: &'static str| {
        ["service", "update", "--detach", "--quiet", "--env-add", "VERSION=0.2", "--update-order", order, name].to_vec()
    };
    for (name, change) in [
        ("quick", update("quick", "stop-first")),
        ("slow", update("slow", "start-first")),
        ("quick", vec!["service", "scale", "--detach", "quick=1"]),
        ("slow", vec!["service", "scale", "--detach", "slow=1"]),
    ] {
        let host = format!("{name}.local.test");
        let load = Load::short(&site.addresses(), &host, 100);
        site.docker(&change);
        match change[1] {
            "scale" => site.only_answers(name, 1).await,
            _ => site.updated(name).await,
        }
        let outcome = load.stop();
        let failed = outcome.failed.len();
        assert!(failed == 0, "{change:?}: {failed} of {} failed: {:#?}", outcome.answered, first(&outcome.failed));
    }
    site.uninstall();
    site.end().await;
}

const EAST_AND_WEST: &str = "LogLevel = \"trace\"

[Extensions.east]
ServiceCluster = \"us-east\"
Image = \"REGISTRY/interlock:lab\"
ProxyImage = \"REGISTRY/interlock-proxy-nginx:lab\"
HitlessServiceUpdate = true
PublishMode = \"host\"
ProxyReplicas = 1
ProxyConstraints = [\"node.labels.region==us-east\"]
Networks = [\"eastnet\"]
ProxyStopGracePeriod = \"2s\"
Args = [\"-vv\"]
ProxyArgs = [\"-vv\"]

[Extensions.west]
ServiceCluster = \"us-west\"
ProxyImage = \"REGISTRY/nginx:lab\"
PublishMode = \"host\"
ProxyReplicas = 1
ProxyConstraints = [\"node.labels.region==us-west\"]
Networks = [\"westnet\"]
ProxyStopGracePeriod = \"2s\"
";

/// J2 to J6: two service clusters, one hitless with an extension of its own, one classic and rendered in core.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn j2_j3_j4_j5_service_clusters() {
    let site = Site::new("").await;
    for (node, region) in [(1, "us-east"), (2, "us-west")] {
        site.docker(&["node", "update", "--label-add", &format!("region={region}"), &site.node(node)]);
    }
    j5_two_clusters_with_one_port(&site);
    site.whole_settings(EAST_AND_WEST);
    for network in ["eastnet", "westnet"] {
        site.network(network).await;
    }
    site.install();
    for (name, cluster, network) in [("east", "us-east", "eastnet"), ("west", "us-west", "westnet")] {
        let (host, cluster) = (format!("hosts=demo-{name}.local"), format!("service_cluster={cluster}"));
        site.service(name, &[network], 1, &[&host, "port=8080", &cluster]);
    }
    let [east, west] = [&site.workers()[0], &site.workers()[1]];
    let status = |site: &Site, node: &str, host: &str| site.get(node, host, "/ping").map(|answer| answer.status);
    site.until("J2: each serves its own and nothing else", |site| {
        status(site, east, "demo-east.local") == Ok(200)
            && status(site, west, "demo-west.local") == Ok(200)
            && status(site, east, "demo-west.local") == Ok(503)
            && status(site, west, "demo-east.local") == Ok(503)
    })
    .await;
    let networks = |service: &str| {
        let format = "{{range .Spec.TaskTemplate.Networks}}{{.Target}} {{end}}";
        site.docker(&["service", "inspect", service, "--format", format])
    };
    let id = |name: &str| site.docker(&["network", "inspect", name, "--format", "{{.Id}}"]).trim().to_owned();
    assert!(networks("interlock-proxy-us-east").contains(&id("eastnet")), "J3");
    assert!(!networks("interlock-proxy-us-east").contains(&id("westnet")), "J3");

    // J4: a change in one touches no object of the other, whichever delivery it has.
    let version = |service: &str| site.docker(&["service", "inspect", service, "--format", "{{.Version.Index}}"]);
    for (name, other) in [("west", "interlock-proxy-us-east"), ("east", "interlock-proxy-us-west")] {
        // Swarm itself writes when a roll is over.
        site.until("no roll is under way", |site| site.update_of(other).trim() != "updating").await;
        let before = version(other);
        let host = format!("changed-{name}.local");
        site.docker(&[
            "service",
            "update",
            "--detach",
            "--quiet",
            "--label-add",
            &format!("com.docker.lb.hosts={host}"),
            name,
        ]);
        site.until("the change is served", |site| {
            site.workers().iter().any(|node| status(site, node, &host) == Ok(200))
        })
        .await;
        assert_eq!(version(other), before, "J4: {other}");
    }
    keys_are_nowhere_but_in_secrets(&site).await;
    site.uninstall();
    for node in [1, 2] {
        site.docker(&["node", "update", "--label-rm", "region", &site.node(node)]);
    }
    site.end().await;
}

/// The keys of the authority, of identities and of a certificate that a label names stand in no log, at trace level, in no service and
/// in no config object.
async fn keys_are_nowhere_but_in_secrets(site: &Site) {
    let planted = Authority::new().pair("tls.local.test");
    let before = site.tasks_of("interlock-proxy-us-east");
    site.store("secret", "planted", &(planted.certificate + &planted.key));
    site.service(
        "tls",
        &["eastnet"],
        1,
        &["hosts=tls.local.test", "port=8080", "service_cluster=us-east", "ssl_cert=planted"],
    );
    site.until("the proxy is replaced for it", |site| {
        let now = site.tasks_of("interlock-proxy-us-east");
        !now.is_empty() && now != before
    })
    .await;
    site.run("interlock-proxy-us-east", 1).await;
    let mut keys = vec![planted.key];
    for (service, path) in [
        ("interlock-core", "/run/secrets/interlock-authority"),
        ("interlock-extension-us-east", "/run/secrets/interlock-identity"),
        ("interlock-proxy-us-east", "/run/secrets/interlock-identity"),
    ] {
        keys.push(site.in_container(site.node_of(service), service, &["cat", path]));
    }
    let lines = |list: String| list.lines().map(str::to_owned).collect::<Vec<_>>();
    let mut told = String::new();
    for service in lines(site.docker(&["service", "ls", "--format", "{{.Name}}"])) {
        told += &site.docker(&["service", "inspect", &service]);
        let logs = site.logs(&service);
        let speaks =
            ["interlock-core", "interlock-extension-us-east", "interlock-proxy-us-east"].contains(&service.as_str());
        assert!(!speaks || logs.lines().count() > 2, "{service}: {logs}");
        told += &logs;
    }
    for config in lines(site.docker(&["config", "ls", "--quiet"])) {
        told += &site.docker(&["config", "inspect", "--pretty", &config]);
    }
    for pem in keys {
        let key: Vec<_> = pem.lines().skip_while(|line| !line.contains("PRIVATE KEY")).skip(1).collect();
        let key: Vec<_> = key.into_iter().take_while(|line| !line.contains("PRIVATE KEY")).collect();
        assert!(key.len() >= 2, "there is a key");
        for line in key {
            assert!(!told.contains(line), "a line of a key was told");
        }
    }
}

/// J5, A5: settings that cannot be are refused before anything changes.
fn j5_two_clusters_with_one_port(site: &Site) {
    site.whole_settings("[Extensions.a]\nServiceCluster = \"a\"\n[Extensions.b]\nServiceCluster = \"b\"\n");
    let (code, said) = site.try_install();
    assert_eq!(code, Some(2), "J5: {said}");
    assert!(said.contains("Extensions.b") && said.contains("8080") && said.contains("Extensions.a"), "J5: {said}");
    assert_eq!(site.docker(&["service", "ls", "--quiet"]), "", "J5: nothing was made");
}

/// A1, A5, A7: a core that is deployed by hand; settings that are invalid; another image for the proxies.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn a1_a5_a7_core_by_hand_and_its_settings() {
    let site = Site::new("Image = \"REGISTRY/interlock:lab\"\n").await;
    site.network("demo").await;
    site.service("shop", &["demo"], 1, &["hosts=shop.local.test", "port=8080"]);
    site.core_by_hand().await;
    site.eventually("shop.local.test", "/ping", |answer| answer.status == 200).await;
    site.at_rest().await;
    let replicas = site.docker(&["service", "ls", "--format", "{{.Name}} {{.Replicas}}"]);
    for line in ["my-interlock 1/1", "interlock-extension 1/1", "interlock-proxy 2/2"] {
        assert!(replicas.contains(line), "A1: {replicas}");
    }

    let before = site.proxy_tasks();
    site.swap_settings("broken", "[Extensions.default]\nProxyReplicas = \"many\"\n");
    site.until("A5: Swarm goes back to the old settings", |site| {
        site.update_of("my-interlock").contains("rollback_completed")
    })
    .await;
    assert_eq!(site.ask("shop.local.test", "/ping").status, 200, "A5");
    assert_eq!(site.proxy_tasks(), before, "A5");
    // Told to pause, Swarm leaves the core that cannot start where it is: nobody is there to change anything, and traffic goes on.
    site.docker(&["service", "update", "--detach", "--quiet", "--update-failure-action", "pause", "my-interlock"]);
    site.swap_settings("broken-again", "[Extensions.default]\nProxyReplicas = \"many\"\n");
    site.until("A5: Swarm pauses", |site| site.update_of("my-interlock").trim() == "paused").await;
    assert_eq!(site.ask("shop.local.test", "/ping").status, 200, "A5, paused");
    assert_eq!(site.proxy_tasks(), before, "A5, paused");

    // A7: settings that are right again bring core back, with proxies of another image, one after the other, and no request fails for a
    // client that tries the other node.
    let hitless = site.settings_text("interlock-proxy-nginx", "Image = \"REGISTRY/interlock:lab\"\n");
    site.swap_settings("next", &hitless);
    site.until("A7: both proxies are new", |site| {
        let answer = site.try_ask("shop.local.test", "/ping");
        assert!(answer.as_ref().is_ok_and(|answer| answer.status == 200), "A7: {answer:?}");
        site.proxy_tasks().iter().all(|task| !before.contains(task)) && site.proxy_tasks().len() == 2
    })
    .await;
    site.at_rest().await;
    site.end().await;
}
