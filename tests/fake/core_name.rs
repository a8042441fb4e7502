//! Core's name in Docker's resolver, which others may have, too; and what proxies know of where core is besides.

use crate::support::settings;
use crate::support::world::{Mind, World, route, with_authority};
use interlock_core::deployment::AgentFile;
use interlock_core::ownership;
use interlock_core::reconcile::{Inputs, Outcome, reconcile};
use interlock_testkit::Swarm;
use interlock_testkit::script::Fate;
use jiff::SignedDuration;
use serde_json::json;

const PROXY: &str = "interlock-proxy";
const CORE: &str = "interlock-core";
const HITLESS: &str = "[Extensions.default]\nHitlessServiceUpdate = true\nPublishMode = \"host\"\n";

/// Core and the proxies of a service on network `demo`.
async fn deployed() -> (World, Mind) {
    let mut swarm = with_authority(Swarm::three_nodes()).overlay("demo").overlay("aaa").overlay("interlock");
    let core = swarm.service(CORE).replicas(1).network("interlock").secret(ownership::AUTHORITY_SECRET);
    core.label(ownership::OWNER, ownership::OWNER_VALUE).label(ownership::TYPE, ownership::TYPE_CORE).create();
    route(&mut swarm, "shop", "demo");
    swarm.settle();
    let world = World::new(swarm, settings(HITLESS)).await;
    let mut mind = Mind::default();
    world.converge(&mut mind).await;
    (world, mind)
}

fn agent_file(world: &World) -> AgentFile {
    let swarm = world.swarm();
    let spec = swarm.service_json(PROXY);
    let configs = spec["Spec"]["TaskTemplate"]["ContainerSpec"]["Configs"].as_array().unwrap().clone();
    let names = configs.iter().map(|config| config["ConfigName"].as_str().unwrap());
    let agent = names.filter(|name| name.ends_with(".agent")).collect::<Vec<_>>();
    assert_eq!(agent.len(), 1);
    AgentFile::from_toml(&String::from_utf8(swarm.config_bytes(agent[0]).unwrap()).unwrap()).unwrap()
}

async fn attached(world: &World) -> Vec<String> {
    let snapshot = world.observe().await.unwrap().snapshot;
    let proxy = snapshot.services().find(|service| service.spec.name == PROXY).unwrap();
    let name = |id: &interlock_core::units::NetworkId| {
        snapshot.networks.iter().find(|network| network.id == *id).unwrap().name.clone()
    };
    let mut names: Vec<_> = proxy.spec.networks.iter().map(name).collect();
    names.sort();
    names
}

fn told<'o>(outcome: &'o Outcome, service: &str) -> Vec<&'o str> {
    let about =
        |problem: &&interlock_core::problem::Problem| problem.subject.to_string() == format!("service {service}");
    outcome.problems.iter().filter(about).map(|problem| problem.wrong.as_str()).collect()
}

fn take_name(world: &World, service: &str) {
    let alias =
        |spec: &mut serde_json::Value| spec["TaskTemplate"]["Networks"][0]["Aliases"] = json!(["interlock-core"]);
    world.swarm().edit_service(service, alias).unwrap();
    world.swarm().settle();
}

#[tokio::test]
async fn h2_where_core_is_stands_in_the_agents_file_and_is_no_reason_for_a_roll() {
    let (world, mut mind) = deployed().await;
    assert_eq!(agent_file(&world).addresses, [], "core was not on that network yet");
    let settings = settings(&format!("{HITLESS}ProxyImage = \"another\"\n"));
    let world = world.with(settings);
    world.converge(&mut mind).await;
    let known = agent_file(&world).addresses;
    assert_eq!(known.len(), 1, "it goes along with a roll that happens anyway");
    world.swarm().fail_one(CORE);
    world.swarm().settle();
    let snapshot = world.observe().await.unwrap().snapshot;
    let core = snapshot.services().find(|service| service.spec.name == CORE).unwrap();
    let serves = |task: &&interlock_core::swarm::Task| task.service == core.id && task.serves();
    let task = snapshot.tasks().find(serves).unwrap();
    let addresses: Vec<_> = task.networks.iter().flat_map(|network| &network.addresses).copied().collect();
    assert!(!addresses.contains(&known[0].ip()), "core has moved");
    for mut mind in [mind, Mind::default()] {
        let (outcome, _) = world.decide(&mut mind).await.unwrap();
        assert!(outcome.plan.is_empty(), "{}", outcome.plan);
    }
}

/// A fresh core is at another address, and still knows by what Swarm keeps that a roll was tried.
#[tokio::test]
async fn h2_a_roll_that_failed_is_not_repeated_because_core_has_moved() {
    let (world, mut mind) = deployed().await;
    let has_aaa =
        |spec: &serde_json::Value| spec["TaskTemplate"]["Networks"].as_array().is_some_and(|all| all.len() > 2);
    let fate = Fate::Reject { why: "no address is left".into() };
    world.swarm().script.fate_when(PROXY, move |task| has_aaa(task.spec), fate);
    route(&mut world.swarm(), "late", "aaa");
    world.swarm().settle();
    world.gather(&mut mind).await;
    let plan = world.pass(&mut mind).await.unwrap();
    assert!(plan.to_string().contains("networks attached: aaa"), "{plan}");
    world.swarm().settle();
    assert_eq!(attached(&world).await, ["demo", "interlock-default"], "Swarm took it back");
    world.swarm().fail_one(CORE);
    world.swarm().settle();
    let (outcome, _) = world.decide(&mut Mind::default()).await.unwrap();
    assert!(outcome.plan.is_empty(), "{}", outcome.plan);
    let told = outcome.problems.iter().any(|problem| problem.to_string().contains("no address is left"));
    assert!(told, "{:?}", outcome.problems);
}

#[tokio::test]
async fn a_service_on_cores_own_network_is_reported_and_not_reached_over_it() {
    let (world, mut mind) = deployed().await;
    route(&mut world.swarm(), "stranger", "interlock-default");
    world.swarm().settle();
    world.converge(&mut mind).await;
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    let told = told(&outcome, "stranger");
    assert!(told.iter().any(|told| told.contains("it is on network interlock-default, which only core")), "{told:?}");
    assert!(told.iter().any(|told| told.contains("it is on no overlay network")), "{told:?}");
}

#[tokio::test]
async fn h2_a_network_on_which_somebody_else_has_cores_name_is_not_attached() {
    let (world, mut mind) = deployed().await;
    route(&mut world.swarm(), "evil", "aaa");
    route(&mut world.swarm(), "beside", "aaa");
    take_name(&world, "evil");
    world.converge(&mut mind).await;
    assert_eq!(attached(&world).await, ["demo", "interlock-default"]);
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    for service in ["evil", "beside"] {
        let told = told(&outcome, service);
        assert!(told.iter().any(|told| told.contains("(network alias interlock-core)")), "{service}: {told:?}");
    }
    let clear = |spec: &mut serde_json::Value| spec["TaskTemplate"]["Networks"][0]["Aliases"] = json!([]);
    world.swarm().edit_service("evil", clear).unwrap();
    world.swarm().settle();
    world.converge(&mut mind).await;
    assert_eq!(attached(&world).await, ["aaa", "demo", "interlock-default"]);
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    assert_eq!((told(&outcome, "evil"), told(&outcome, "beside")), (vec![], vec![]));
}

/// Nobody loses a route to somebody else's alias; who has the alias does, and with that the network.
#[tokio::test]
async fn h2_an_attached_network_stays_for_others_and_goes_when_nobody_else_needs_it() {
    let (world, mut mind) = deployed().await;
    route(&mut world.swarm(), "evil", "aaa");
    route(&mut world.swarm(), "beside", "aaa");
    world.swarm().settle();
    world.converge(&mut mind).await;
    take_name(&world, "evil");
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    assert!(outcome.plan.is_empty(), "{}", outcome.plan);
    let text = outcome.deliveries.values().next().unwrap().result.as_ref().unwrap()[0].content.clone();
    assert!(text.contains("beside.example.com") && !text.contains("evil.example.com"));
    assert!(!told(&outcome, "evil").is_empty() && told(&outcome, "beside").is_empty());
    world.swarm().remove_service("beside").unwrap();
    world.swarm().settle();
    world.converge(&mut mind).await;
    assert_eq!(attached(&world).await, ["demo", "interlock-default"], "though its owner uses it");
}

/// The resolver answers for somebody else, and what proxies knew besides is out of date: they would never find core again.
#[tokio::test]
async fn h2_proxies_that_are_misled_and_follow_nobody_are_told_where_core_is() {
    let (world, mut mind) = deployed().await;
    route(&mut world.swarm(), "evil", "aaa");
    route(&mut world.swarm(), "beside", "aaa");
    world.swarm().settle();
    world.converge(&mut mind).await;
    let after = |inputs: &mut Inputs, seconds: i64| {
        inputs.snapshot.observed_at += SignedDuration::from_secs(seconds);
        let outcome = reconcile(inputs);
        inputs.memory = outcome.memory.clone();
        outcome.plan
    };
    let inputs = async |mind: &Mind| Inputs {
        renderings: mind.renderings.clone(),
        memory: mind.memory.clone(),
        ..Inputs::new(world.observe().await.unwrap().snapshot, world.settings.clone())
    };
    let mut honest = inputs(&mind).await;
    for seconds in [0, 15, 60] {
        assert!(after(&mut honest, seconds).is_empty(), "nobody else has core's name");
    }
    take_name(&world, "evil");
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    assert!(outcome.plan.is_empty(), "{}", outcome.plan);
    let mut informed = inputs(&mind).await;
    for seconds in [0, 15, 60] {
        assert!(after(&mut informed, seconds).is_empty(), "their file says where core is");
    }
    world.swarm().fail_one(CORE);
    world.swarm().settle();
    let mut misled = inputs(&mind).await;
    assert!(after(&mut misled, 0).is_empty(), "they may still come");
    let plan = after(&mut misled, 15).to_string();
    assert!(plan.contains(".agent: it tells the proxies' agents who they are"), "{plan}");
    assert!(plan.contains("~ service interlock-proxy"), "{plan}");
}
