//! Networks of others: which of them proxies are attached to and when, and what applications on them can do at the
//! proxies' door.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::nginx::{Nginx, application};
use crate::support::routes::{HOST_MODE, app, inputs, labelled, status};
use crate::support::settings;
use crate::support::world::{Mind, World, route, with_authority};
use interlock_core::kinds::File;
use interlock_core::plan::Plan;
use interlock_core::reconcile::{Inputs, Outcome, reconcile_embedded};
use interlock_testkit::Swarm;
use interlock_testkit::script::Fate;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PROXY: &str = "interlock-proxy";
const HITLESS: &str = "EndpointOverride = \"core.test:8080\"\n[Extensions.default]\nHitlessServiceUpdate = true\nPublishMode = \"host\"\n";

/// The applications `al`, which lets in this machine's addresses, and `open` on an overlay of these.
fn on_an_overlay(more: &str, overlay: &str) -> Vec<File> {
    let services = labelled("al", 19_100, &[("hosts", "al.example.com"), ("allow", "127.0.0.0/8")])
        + &labelled("open", 19_100, &[("hosts", "open.example.com")]);
    let toml = format!("NetworkPools = [\"127.41.0.0/16\"]\n{HOST_MODE}{more}");
    let mut inputs = inputs(&services, &[("al", "127.40.0.1"), ("open", "127.40.0.2")], &[], &toml);
    inputs.snapshot.networks[0].subnets = vec![overlay.parse().unwrap()];
    files(&inputs)
}

fn files(inputs: &Inputs) -> Vec<File> {
    reconcile_embedded(inputs).1.into_values().next().unwrap().result.unwrap()
}

/// What a peer with this address is answered.
async fn ask(nginx: &Nginx, from: &str, before: &str, host: &str, more: &str) -> String {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let mut stream = socket.connect(format!("127.0.0.1:{}", nginx.port()).parse().unwrap()).await.unwrap();
    let request = format!("{before}GET /x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn h6_an_application_on_an_overlay_is_no_client() {
    application("al", "127.40.0.1:19100");
    application("open", "127.40.0.2:19100");
    let nginx = Nginx::start(&on_an_overlay("", "127.41.0.0/16"));
    for host in ["al.example.com", "open.example.com"] {
        let name = host.split('.').next();
        assert_eq!(app(&ask(&nginx, "127.0.0.1", "", host, "").await), name);
        let refused = ask(&nginx, "127.41.0.9", "", host, "").await;
        assert_eq!((status(&refused), app(&refused)), ("403", None), "{host}");
    }
    // Where nothing is known of its addresses all is as it was.
    let mut unknown = inputs(
        &labelled("al", 19_100, &[("hosts", "al.example.com"), ("allow", "127.0.0.0/8")]),
        &[("al", "127.40.0.1")],
        &[],
        "",
    );
    let before = files(&unknown);
    assert!(!before[0].content.contains("deny 127.41"));
    unknown.snapshot.networks[0].subnets = vec!["10.0.7.0/24".parse().unwrap()];
    assert!(files(&unknown)[0].content.contains("deny 10.0.7.0/24;"));
}

#[tokio::test]
async fn h6_who_is_trusted_is_not_on_an_overlay() {
    application("al", "127.40.1.1:19200");
    let services = labelled("al", 19_200, &[("hosts", "al.example.com"), ("allow", "192.0.2.0/24")]);
    for (proxy_protocol, line, header) in
        [(false, "", "X-Forwarded-For: 192.0.2.9\r\n"), (true, "PROXY TCP4 192.0.2.9 192.0.2.1 4711 80\r\n", "")]
    {
        let toml = format!(
            "NetworkPools = [\"127.41.0.0/16\"]\n[Extensions.default]\nTrustedProxies = [\"127.0.0.0/8\"]\nProxyProtocol = {proxy_protocol}\n"
        );
        let mut inputs = inputs(&services, &[("al", "127.40.1.1")], &[], &toml);
        inputs.snapshot.networks[0].subnets = vec!["127.41.3.0/24".parse().unwrap()];
        let nginx = Nginx::start(&files(&inputs));
        for (from, expected) in [("127.0.0.1", "200"), ("127.41.4.1", "200"), ("127.41.3.9", "403")] {
            let answer = ask(&nginx, from, line, "al.example.com", header).await;
            assert_eq!(status(&answer), expected, "{from}, PROXY protocol {proxy_protocol}: {answer}");
        }
    }
}

/// The settings can say who is trusted so widely that it means everybody; that is told.
#[test]
fn h6_trusting_a_whole_pool_is_told() {
    let services = labelled("shop", 8080, &[("hosts", "shop.example.com")]);
    let told = |trusted: &str| {
        let toml = format!("[Extensions.default]\nTrustedProxies = [\"{trusted}\"]\n");
        let (outcome, _) = reconcile_embedded(&inputs(&services, &[("shop", "10.0.1.3")], &[], &toml));
        outcome.problems.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for wide in ["10.0.0.0/8", "0.0.0.0/0"] {
        let told = told(wide);
        assert!(
            told.len() == 1 && told[0].contains("contains the address pool 10.0.0.0/8 of application networks"),
            "{told:?}"
        );
    }
    assert_eq!(told("10.9.8.0/24"), Vec::<String>::new());
}

/// A network's creation is an event, and at that moment Swarm may not have given it addresses.
#[test]
fn h6_a_network_is_not_attached_before_its_addresses_are_known() {
    let services = labelled("shop", 8080, &[("hosts", "shop.example.com")]);
    let mut inputs = inputs(&services, &[("shop", "10.0.1.3")], &[], "");
    inputs.snapshot.engine.address_pools = vec!["10.0.0.0/8".parse().unwrap()];
    let told = |inputs: &Inputs| reconcile_embedded(inputs).0.problems;
    let problems = told(&inputs);
    assert!(problems.len() == 1 && problems[0].wrong.contains("has not reported its subnet yet"), "{problems:?}");
    inputs.snapshot.networks[0].subnets = vec!["10.0.1.0/24".parse().unwrap()];
    assert_eq!(told(&inputs), []);
}

/// Whoever changes to a version that looks at addresses keeps what is served.
#[tokio::test]
async fn h6_a_network_that_proxies_have_stays_and_is_told() {
    let (mut world, mut mind) = deployed(&["demo"]).await;
    let writes = world.swarm().writes();
    world.settings = settings(&format!("NetworkPools = [\"172.30.0.0/16\"]\n{HITLESS}"));
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    assert!(outcome.plan.is_empty(), "{}", outcome.plan);
    assert!(text(&outcome).contains("shop.example.com"));
    let told: Vec<_> = outcome.problems.iter().map(ToString::to_string).collect();
    assert!(told.len() == 1 && told[0].contains("attached network demo: 10.0.1.0/24"), "{told:?}");
    assert_eq!(world.swarm().writes(), writes);
}

async fn deployed(networks: &[&str]) -> (World, Mind) {
    let mut swarm = networks.iter().fold(with_authority(Swarm::three_nodes()), |swarm, name| swarm.overlay(name));
    route(&mut swarm, "shop", networks[0]);
    swarm.settle();
    let world = World::new(swarm, settings(HITLESS)).await;
    let mut mind = Mind::default();
    world.converge(&mut mind).await;
    world.swarm().tick(Duration::from_secs(60));
    (world, mind)
}

/// What core sends, all generations together.
fn text(outcome: &Outcome) -> String {
    outcome.deliveries.values().map(|rendering| rendering.result.as_ref().unwrap()[0].content.to_string()).collect()
}

/// The networks of applications that the proxies' service asks for.
fn attached(world: &World) -> BTreeSet<String> {
    let spec = world.swarm().service_json(PROXY)["Spec"].clone();
    let targets = spec["TaskTemplate"]["Networks"].as_array().cloned().unwrap_or_default();
    let swarm = world.swarm();
    let name = |id: &Value| swarm.networks().find(|it| it.meta.id == id["Target"]).unwrap().name().to_owned();
    targets.iter().map(name).filter(|name| !name.starts_with("interlock")).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn restarts(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| step.restarts_tasks)
}

/// New proxy tasks on this network do not start.
fn breaks(world: &World, network: &str) {
    let id = world.swarm().networks().find(|it| it.name() == network).unwrap().meta.id.clone();
    let on_it = move |spec: &Value| {
        spec["TaskTemplate"]["Networks"].as_array().is_some_and(|all| all.iter().any(|it| it["Target"] == *id))
    };
    world.swarm().script.fate_when(PROXY, move |task| on_it(task.spec), Fate::FailOnStart { exit: 1 });
}

/// A pass each second, for so long. Answers when proxies were replaced, in seconds from the beginning, and how they
/// were asked for.
async fn passes(world: &World, mind: &mut Mind, seconds: u64, mut each: impl FnMut(u64, &World)) -> Vec<(u64, Plan)> {
    let mut rolls = Vec::new();
    for second in 0..seconds {
        each(second, world);
        world.swarm().tick(Duration::from_secs(1));
        let plan = world.pass(mind).await.unwrap();
        if restarts(&plan) {
            rolls.push((second, plan));
        }
    }
    rolls
}

/// A roll for it would hang where no address is left, and each proxy that is replaced would be one less.
#[tokio::test]
async fn h6_a_network_without_addresses_for_proxies_is_its_owners_problem() {
    let (world, mut mind) = deployed(&["demo", "back"]).await;
    let small = json!({ "Name": "small", "Driver": "overlay", "IPAM": { "Config": [{ "Subnet": "10.200.0.0/29" }] } });
    world.swarm().create_network(small).unwrap();
    route(&mut world.swarm(), "evil", "small");
    world.swarm().scale("evil", 3);
    route(&mut world.swarm(), "honest", "back");
    let rolls = passes(&world, &mut mind, 120, |_, _| ()).await;
    assert_eq!(rolls.len(), 1, "{rolls:?}");
    assert_eq!(attached(&world), set(&["demo", "back"]));
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    let told: Vec<_> = outcome.problems.iter().map(ToString::to_string).collect();
    assert!(told.len() == 1 && told[0].starts_with("service evil: its network small cannot be attached"), "{told:?}");
    assert!(told[0].contains("has 5 addresses"), "{told:?}");
    assert_eq!(world.swarm().running(PROXY).len(), 2);
}

#[tokio::test]
async fn h6_a_network_that_fails_is_tried_alone_and_an_honest_one_goes_first() {
    let (world, mut mind) = deployed(&["demo", "back", "bad", "next"]).await;
    breaks(&world, "bad");
    route(&mut world.swarm(), "evil", "bad");
    route(&mut world.swarm(), "honest", "back");
    let mut all = passes(&world, &mut mind, 200, |second, world| {
        if second == 20 {
            route(&mut world.swarm(), "late", "next");
        }
    })
    .await;
    assert_eq!(attached(&world), set(&["demo", "back", "next"]), "{all:?}");
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    let told: Vec<_> = outcome.problems.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|it| it.starts_with("service evil: network bad was new to the proxies")), "{told:?}");
    assert!(["honest", "late", "shop"].iter().all(|name| text(&outcome).contains(&format!("{name}.example.com"))));
    // Changes of others are no reason to try it again.
    let before = all.len();
    all.extend(
        passes(&world, &mut mind, 8, |second, world| route(&mut world.swarm(), &format!("more{second}"), "demo")).await,
    );
    assert!(all.len() <= before + 1, "{all:?}");
    let tried: Vec<_> = all[1..].iter().filter(|(_, plan)| plan.to_string().contains("bad")).collect();
    assert!(!tried.is_empty(), "{all:?}");
    assert!(tried.iter().all(|(_, plan)| !plan.to_string().contains("back") && !plan.to_string().contains("next")));
    // Once it works it is attached.
    world.swarm().script.forget_fates();
    let _rolls = passes(&world, &mut mind, 400, |_, _| ()).await;
    assert_eq!(attached(&world), set(&["demo", "back", "bad", "next"]));
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    assert_eq!(outcome.problems, []);
    assert_eq!(world.swarm().running(PROXY).len(), 2);
}

/// Rolls lie half a minute apart, whatever one service does, and the first is soon.
#[tokio::test]
async fn g4_a_service_that_moves_to_and_fro_replaces_proxies_once_in_30_seconds() {
    let (world, mut mind) = deployed(&["demo", "one", "two"]).await;
    {
        let mut swarm = world.swarm();
        let service = swarm.service("flaps").network("one").network("two").replicas(1);
        let labels = [("hosts", "flaps.example.com"), ("port", "8080"), ("network", "one")];
        let all = labels.iter().fold(service, |it, (key, value)| it.label(&format!("com.docker.lb.{key}"), value));
        all.create();
    }
    let rolls = passes(&world, &mut mind, 300, |second, world| {
        let network = if second % 2 == 0 { "one" } else { "two" };
        world.swarm().edit_service("flaps", |spec| spec["Labels"]["com.docker.lb.network"] = json!(network)).unwrap();
    })
    .await;
    let times: Vec<_> = rolls.iter().map(|(second, _)| *second).collect();
    assert!(times[0] <= 30, "{times:?}");
    assert!(times.windows(2).all(|two| two[1] - two[0] >= 30), "{times:?}");
    assert!(times.len() <= 3, "{times:?}");
}

#[tokio::test]
async fn h8_a_new_certificate_every_3_seconds_replaces_proxies_less_and_less_often() {
    let (world, mut mind) = deployed(&["demo", "back"]).await;
    route(&mut world.swarm(), "flaps", "demo");
    let rolls = passes(&world, &mut mind, 600, |second, world| {
        if second % 3 == 0 {
            let name = format!("cert{second}.pem");
            world.swarm().secret(&name);
            let edit = |spec: &mut Value| spec["Labels"]["com.docker.lb.ssl_cert"] = json!(name);
            world.swarm().edit_service("flaps", edit).unwrap();
        }
        if second == 400 {
            route(&mut world.swarm(), "late", "back");
        }
    })
    .await;
    let times: Vec<_> = rolls.iter().map(|(second, _)| *second).collect();
    assert!(times.windows(2).all(|two| two[1] - two[0] >= 30), "{times:?}");
    assert!(times.len() <= 8, "{times:?}");
    let late = rolls.iter().find(|(_, plan)| plan.to_string().contains("networks attached: back")).unwrap();
    assert!((400..=435).contains(&late.0), "others wait no longer than that: {times:?}");
}

#[tokio::test]
async fn h8_a_service_whose_labels_flap_waits_and_others_do_not() {
    let (world, mut mind) = deployed(&["demo"]).await;
    route(&mut world.swarm(), "flaps", "demo");
    world.swarm().settle();
    let mut seen = Vec::new();
    for n in 0..240 {
        let fails = json!((n + 1).to_string());
        world.swarm().edit_service("flaps", |spec| spec["Labels"]["com.docker.lb.max_fails"] = fails).unwrap();
        if n == 200 {
            let edit = |spec: &mut Value| spec["Labels"]["com.docker.lb.max_fails"] = json!("4242");
            world.swarm().edit_service("shop", edit).unwrap();
        }
        world.swarm().tick(Duration::from_millis(500));
        let (outcome, _) = world.decide(&mut mind).await.unwrap();
        let text = text(&outcome);
        assert!(text.contains("flaps.example.com") && text.contains("shop.example.com"));
        assert_eq!(text.contains("max_fails=4242"), n >= 200, "others pass at once");
        if seen.last() != Some(&text) {
            seen.push(text);
        }
    }
    // Of two minutes: what is taken at once, what comes after a minute, and the neighbour's.
    assert!(seen.len() <= 15, "{} revisions", seen.len());
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    let told: Vec<_> = outcome.problems.iter().map(ToString::to_string).collect();
    assert!(told.len() == 1 && told[0].starts_with("service flaps: its labels change too often"), "{told:?}");
    // In the end it has what it asks for.
    world.swarm().tick(Duration::from_secs(300));
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    assert!(text(&outcome).contains("max_fails=240"));
    assert_eq!(outcome.problems, []);
}

/// A stack comes piece by piece, and each roll costs every proxy.
#[tokio::test]
async fn fifty_networks_at_once_are_one_roll() {
    let names: Vec<_> = (0..50).map(|n| format!("net{n}")).collect();
    let all: Vec<_> = ["demo"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let (world, mut mind) = deployed(&all).await;
    let rolls = passes(&world, &mut mind, 100, |second, world| {
        let second = usize::try_from(second).unwrap();
        for name in names.iter().skip(second * 3).take(3) {
            route(&mut world.swarm(), &format!("of-{name}"), name);
        }
    })
    .await;
    let times: Vec<_> = rolls.iter().map(|(second, _)| *second).collect();
    assert_eq!(times.len(), 1, "{times:?}");
    assert!(times[0] <= 25, "{times:?}");
    assert_eq!(attached(&world).len(), 51);
}

/// `docker stack rm` cannot remove a network that proxies have.
#[tokio::test]
async fn a_network_is_given_back_soon_after_its_last_user_has_gone() {
    let (world, mut mind) = deployed(&["demo", "back", "next"]).await;
    route(&mut world.swarm(), "late", "back");
    route(&mut world.swarm(), "other", "next");
    let _attach = passes(&world, &mut mind, 90, |_, _| ()).await;
    assert_eq!(attached(&world), set(&["demo", "back", "next"]));
    // Two that go one after the other are one roll.
    let rolls = passes(&world, &mut mind, 12, |second, world| match second {
        0 => world.swarm().remove_service("late").unwrap(),
        4 => world.swarm().remove_service("other").unwrap(),
        _ => {}
    })
    .await;
    let times: Vec<_> = rolls.iter().map(|(second, _)| *second).collect();
    assert!(times.len() == 1 && times[0] < 10, "{times:?}");
    assert_eq!(attached(&world), set(&["demo"]));
    world.swarm().settle();
    world.swarm().remove_network("back").unwrap();
}
