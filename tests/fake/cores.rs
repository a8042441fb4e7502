//! Core's own service: the networks that it is attached to, and what follows where that fails.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::settings;
use crate::support::world::{Mind, World, route, with_authority};
use interlock_core::ownership;
use interlock_core::plan::Plan;
use interlock_core::problem::Subject;
use interlock_core::reconcile::{Inputs, reconcile_embedded};
use interlock_testkit::script::{Fate, Fault, Rule};
use interlock_testkit::{ApiError, Swarm};
use serde_json::{Value, json};

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

/// A core of this service, with settings of its own.
struct Core {
    service: &'static str,
    settings: &'static str,
    mind: Mind,
}

impl Core {
    /// One pass. Whether it wrote.
    async fn pass(&mut self, world: &World) -> bool {
        let observation = world.observe().await.unwrap();
        let mut snapshot = observation.snapshot.clone();
        let core = snapshot.services().find(|it| it.spec.name == self.service).map(|it| it.id.clone());
        snapshot.core = core;
        if self.service.is_empty() {
            // By hand, without the authority.
            snapshot.authority = None;
        }
        let mind = std::mem::take(&mut self.mind);
        let inputs = Inputs {
            memory: mind.memory,
            renderings: mind.renderings,
            takes_turns: true,
            ..Inputs::new(snapshot, settings(self.settings))
        };
        let (outcome, renderings) = reconcile_embedded(&inputs);
        self.mind = Mind { memory: outcome.memory.clone(), renderings, ..Mind::default() };
        assert_eq!(outcome.stands_by, outcome.problems.iter().any(|problem| problem.wrong.contains("core and")));
        if outcome.stands_by && inputs.snapshot.core.is_some() {
            let removes_own = format!("`docker service rm {}`", self.service);
            assert!(outcome.problems[0].right.contains(&removes_own), "{:?}", outcome.problems);
        }
        world.apply(&outcome.plan, &observation).await;
        !outcome.plan.steps.is_empty()
    }
}

/// Passes of all of them in turns. Who wrote.
async fn turns(world: &World, cores: &mut [&mut Core], seconds: u64) -> BTreeSet<&'static str> {
    let mut wrote = BTreeSet::new();
    for second in 0..seconds {
        world.swarm().tick(Duration::from_secs(1));
        let (first, count) = (usize::try_from(second).unwrap(), cores.len());
        for n in 0..count {
            let core = &mut cores[(first + n) % count];
            if core.pass(world).await {
                wrote.insert(core.service);
            }
        }
    }
    wrote
}

/// Two cores with different settings would undo each other's work for ever.
#[tokio::test]
async fn of_several_cores_one_acts_and_the_next_takes_over() {
    let mut swarm = with_authority(Swarm::three_nodes()).overlay("demo");
    route(&mut swarm, "shop", "demo");
    let make = |swarm: &mut Swarm, name: &str| {
        swarm.service(name).secret(ownership::AUTHORITY_SECRET).create();
        swarm.settle();
        swarm.tick(Duration::from_secs(1));
    };
    make(&mut swarm, "interlock_core");
    make(&mut swarm, CORE);
    let world = World::new(swarm, settings("")).await;
    let core = |service, settings| Core { service, settings, mind: Mind::default() };
    let mut older = core("interlock_core", "[Extensions.default]\nPublishedPort = 8080\n");
    let mut younger = core(CORE, "[Extensions.default]\nPublishedPort = 9090\n");
    let mut by_hand = core("", "[Extensions.default]\nPublishedPort = 7070\n");
    let port = || world.swarm().service_json(PROXY)["Spec"]["EndpointSpec"]["Ports"][0]["PublishedPort"].clone();

    // Whoever begins, the older one acts, once the younger one can have seen it.
    let _first = younger.pass(&world).await;
    let wrote = turns(&world, &mut [&mut by_hand, &mut younger, &mut older], 120).await;
    assert_eq!((wrote, port()), (BTreeSet::from(["interlock_core"]), json!(8080)));

    // It goes, and its service stays: the next one takes over after a minute. Once it asks for no tasks, at once.
    world.swarm().script.fate_of("interlock_core", Fate::Reject { why: "No such image".into() });
    let break_it = |spec: &mut Value| spec["TaskTemplate"]["ForceUpdate"] = json!(1);
    world.swarm().edit_service("interlock_core", break_it).unwrap();
    assert_eq!(turns(&world, &mut [&mut by_hand, &mut younger], 55).await, BTreeSet::new());
    assert_eq!(turns(&world, &mut [&mut by_hand, &mut younger], 60).await, BTreeSet::from([CORE]));
    assert_eq!(port(), json!(9090));

    // It comes back, and acts when the younger one has seen it. The two never undo each other's work.
    world.swarm().script.forget_fates();
    world.swarm().tick(Duration::from_secs(10));
    let mut older = core("interlock_core", "[Extensions.default]\nPublishedPort = 8080\n");
    assert_eq!(turns(&world, &mut [&mut older, &mut younger, &mut by_hand], 14).await, BTreeSet::new());
    let wrote = turns(&world, &mut [&mut older, &mut younger, &mut by_hand], 60).await;
    assert_eq!((wrote, port()), (BTreeSet::from(["interlock_core"]), json!(8080)));

    // Without its service the younger one is core at once, and without any whoever is there.
    world.swarm().remove_service("interlock_core").unwrap();
    assert_eq!(turns(&world, &mut [&mut by_hand, &mut younger], 30).await, BTreeSet::from([CORE]));
    world.swarm().edit_service(CORE, |spec| spec["Mode"]["Replicated"]["Replicas"] = json!(0)).unwrap();
    assert_eq!(turns(&world, &mut [&mut by_hand], 30).await, BTreeSet::from([""]));
    assert_eq!(port(), json!(7070));
}
