//! Core's own service: the networks that it is attached to, and what follows where that fails.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use interlock_core::ownership;
use interlock_core::plan::Plan;
use interlock_core::problem::Subject;
use interlock_testkit::script::{Fate, Fault, Rule};
use interlock_testkit::{ApiError, Swarm};
use serde_json::{Value, json};
use support::settings;
use support::world::{Mind, World, route, with_authority};

const PROXY: &str = "interlock-proxy";
const CORE: &str = "interlock-core";
const HITLESS: &str = "[Extensions.default]\nHitlessServiceUpdate = true\nPublishMode = \"host\"\n";

fn with_core() -> Swarm {
    let mut swarm = with_authority(Swarm::three_nodes()).overlay("demo");
    let policy =
        json!({ "Parallelism": 1, "FailureAction": "rollback", "Order": "stop-first", "Monitor": 5_000_000_000_u64 });
    swarm
        .service(CORE)
        .label(ownership::OWNER, ownership::OWNER_VALUE)
        .label(ownership::TYPE, ownership::TYPE_CORE)
        .secret(ownership::AUTHORITY_SECRET)
        .update_config(policy)
        .create();
    swarm
}

const EAST: &str = "[Extensions.east]\nServiceCluster = \"east\"\nHitlessServiceUpdate = true\nPublishMode = \"host\"\n\
                    PublishedPort = 8090\nPublishedSSLPort = 8453\n";

/// What core needs for one service cluster costs another nothing, whichever of it fails.
#[tokio::test]
async fn a_core_that_cannot_be_attached_costs_only_those_that_need_it() {
    let mut swarm = with_core();
    route(&mut swarm, "shop", "demo");
    swarm.settle();
    let update = format!("/services/{}/update", swarm.service_json(CORE)["ID"].as_str().unwrap());
    swarm.script.rule(Rule::any(&update, Fault::Refuse(ApiError::new(400, "no"))));
    let world = World::new(swarm, settings(&format!("[Extensions.default]\nPublishMode = \"host\"\n{EAST}"))).await;
    let (outcome, observation) = world.decide(&mut Mind::default()).await.unwrap();
    assert!(outcome.plan.to_string().contains("networks attached: interlock-east-"), "{}", outcome.plan);
    assert_eq!(world.apply(&outcome.plan, &observation).await.len(), 1);
    assert!(world.swarm().find_service(PROXY).is_some());
    world.swarm().settle();

    // That Swarm put core back is told of the service cluster that waits for it, so that a run by hand gives up no other.
    world.swarm().script.forget_rules();
    let is_attached = |spec: &Value| spec["TaskTemplate"]["Networks"].as_array().is_some_and(|all| !all.is_empty());
    world.swarm().script.fate_when(CORE, move |task| is_attached(task.spec), Fate::FailOnStart { exit: 1 });
    let _attaches = world.pass(&mut Mind::default()).await.unwrap();
    world.swarm().settle();
    let (outcome, _) = world.decide(&mut Mind::default()).await.unwrap();
    let told: Vec<_> = outcome.problems.iter().filter(|problem| problem.wrong.contains("not attached")).collect();
    assert_eq!(told.len(), 1, "{:?}", outcome.problems);
    assert_eq!(told[0].subject, Subject::Cluster("east".parse().unwrap()));
}

/// A network that cannot be made keeps core from no other.
#[tokio::test]
async fn core_is_attached_to_the_networks_that_there_are() {
    let mut swarm = with_core();
    swarm.settle();
    let world = World::new(swarm, settings(&format!("{HITLESS}{EAST}"))).await;
    let (outcome, observation) = world.decide(&mut Mind::default()).await.unwrap();
    let attaches = |plan: &Plan, networks: &str| plan.to_string().contains(&format!("networks attached: {networks} "));
    let [default, east] = ["", "east"].map(|name| ownership::proxy_network(&name.parse().unwrap()));
    assert!(outcome.plan.to_string().contains(&format!("{default}, {east}")), "{}", outcome.plan);
    let failing = Plan {
        steps: outcome
            .plan
            .steps
            .into_iter()
            .filter(|step| step.action.object() != format!("network {east}"))
            .collect(),
        ..Plan::default()
    };
    assert!(!world.apply(&failing, &observation).await.is_empty());
    let (outcome, observation) = world.decide(&mut Mind::default()).await.unwrap();
    assert!(attaches(&outcome.plan, &default), "{}", outcome.plan);
    assert!(world.apply(&outcome.plan, &observation).await.is_empty());
    world.settle().await;
    let (outcome, _) = world.decide(&mut Mind::default()).await.unwrap();
    assert!(attaches(&outcome.plan, &east), "{}", outcome.plan);
}

#[tokio::test]
async fn a_core_that_cannot_be_attached_is_not_replaced_without_end() {
    let mut swarm = with_core();
    let is_attached = |spec: &Value| spec["TaskTemplate"]["Networks"].as_array().is_some_and(|all| !all.is_empty());
    swarm.script.fate_when(CORE, move |task| is_attached(task.spec), Fate::FailOnStart { exit: 1 });
    swarm.settle();
    let world = World::new(swarm, settings("[Extensions.default]\nHitlessServiceUpdate = true\n")).await;
    let plan = world.pass(&mut Mind::default()).await.unwrap();
    assert!(plan.to_string().contains("service interlock-core: networks attached: interlock-default"), "{plan}");
    world.swarm().settle();
    // Each try replaces core, so that none remembers it.
    let (outcome, _) = world.decide(&mut Mind::default()).await.unwrap();
    assert!(!outcome.plan.to_string().contains("interlock-core"), "{}", outcome.plan);
    let told: Vec<_> = outcome.problems.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|told| told.contains("not attached to networks interlock-default")), "{told:?}");
}
