//! An extension or agents that say nothing: what runs stays, so that it has to be told.

use crate::support::settings;
use crate::support::world::{Mind, World, route, with_authority};
use interlock_core::peers::{AgentReport, Delivery};
use interlock_core::reconcile::{Inputs, reconcile, reconcile_embedded};
use interlock_testkit::Swarm;
use jiff::SignedDuration;

const HITLESS: &str = "EndpointOverride = \"core.test:8080\"\n[Extensions.default]\nHitlessServiceUpdate = true\nPublishMode = \"host\"\n";

/// What is decided from when proxies run and all has been rendered.
async fn deployed(toml: &str) -> Inputs {
    let mut swarm = with_authority(Swarm::three_nodes()).overlay("demo");
    route(&mut swarm, "shop", "demo");
    swarm.settle();
    let world = World::new(swarm, settings(toml)).await;
    world.converge(&mut Mind::default()).await;
    let mut inputs = Inputs::new(world.observe().await.unwrap().snapshot, world.settings.clone());
    inputs.renderings = reconcile_embedded(&inputs).1;
    inputs
}

/// What is told after each of these seconds.
fn told_at(inputs: &mut Inputs, seconds: [i64; 3]) -> [bool; 3] {
    let start = inputs.snapshot.observed_at;
    seconds.map(|second| {
        inputs.snapshot.observed_at = start + SignedDuration::from_secs(second);
        let outcome = reconcile(inputs);
        inputs.memory = outcome.memory;
        outcome.problems.iter().any(|problem| problem.to_string().contains("for 15 s"))
    })
}

#[tokio::test]
async fn an_extension_that_makes_no_files_is_told_after_a_while() {
    for toml in ["", "[Extensions.default]\nImage = \"interlock:1\"\n"] {
        let mut inputs = deployed(toml).await;
        assert_eq!(told_at(&mut inputs, [0, 10, 60]), [false; 3], "it has made all that there is");
        let renderings = std::mem::take(&mut inputs.renderings);
        assert_eq!(told_at(&mut inputs, [0, 14, 15]), [false, false, true]);
        inputs.renderings = renderings;
        assert_eq!(told_at(&mut inputs, [0, 14, 15]), [false; 3], "it is over");
        inputs.renderings.clear();
        assert_eq!(told_at(&mut inputs, [0, 14, 15]), [false, false, true], "and begins anew");
    }
}

#[tokio::test]
async fn proxies_that_do_not_follow_core_are_told_after_a_while() {
    let mut inputs = deployed(HITLESS).await;
    assert_eq!(told_at(&mut inputs, [0, 14, 15]), [false, false, true]);
    let (cluster, generation) = inputs.renderings.keys().next().unwrap().clone();
    let report = AgentReport {
        cluster,
        generation,
        address: [10, 0, 5, 1].into(),
        hostname: "proxy".into(),
        version: None,
        version_warning: String::new(),
        secrets: Default::default(),
        running: None,
        refused: None,
        unreachable: Default::default(),
    };
    inputs.reports.agents.insert(1, report);
    assert_eq!(told_at(&mut inputs, [0, 14, 15]), [false; 3]);
    // Proxies that get all by new tasks have no need to.
    inputs.reports.agents.clear();
    inputs.delivery = Delivery::ByNewTasks;
    assert_eq!(told_at(&mut inputs, [0, 14, 60]), [false; 3]);
    // And those that do not run cannot.
    inputs.delivery = Delivery::ByCore;
    let proxy = inputs.snapshot.services().find(|service| service.spec.name == "interlock-proxy").unwrap().id.clone();
    inputs.snapshot.tasks.retain(|task| task.service != proxy);
    assert_eq!(told_at(&mut inputs, [0, 14, 60]), [false; 3]);
}

/// A core that has just started has no files yet. Tasks that were replaced before there are any would be replaced again for them, and
/// with the identity of before.
#[tokio::test]
async fn proxies_are_not_replaced_while_their_files_are_on_the_way() {
    let mut inputs = deployed(HITLESS).await;
    inputs.settings = settings(&format!("{HITLESS}ProxyContainerLabels = {{ turn = \"2\" }}\nProxyReplicas = 3\n"));
    let renderings = std::mem::take(&mut inputs.renderings);
    let start = inputs.snapshot.observed_at;
    for second in [0, 14] {
        inputs.snapshot.observed_at = start + SignedDuration::from_secs(second);
        let outcome = reconcile(&inputs);
        assert!(outcome.plan.is_empty(), "after {second} s: {}", outcome.plan);
        assert!(outcome.plan.to_string().contains("files of its extension"), "{}", outcome.plan);
        inputs.memory = outcome.memory;
    }
    let all_at_once = reconcile(&Inputs { renderings, ..inputs.clone() }).plan.to_string();
    assert!(all_at_once.contains("turn: 2") && all_at_once.contains("identity: renewed"), "{all_at_once}");
    // They may never come.
    inputs.snapshot.observed_at = start + SignedDuration::from_secs(15);
    let plan = reconcile(&inputs).plan;
    assert!(plan.steps.iter().any(|step| step.restarts_tasks), "{plan}");
}
