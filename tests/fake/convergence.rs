//! Laws over every fixture, with the real Docker adapter on a Swarm that keeps state and refuses what Swarm refuses.

use std::collections::BTreeSet;

use crate::support::real::Lab;
use crate::support::world::{Mind, World, swarm_of};
use crate::support::{Scenario, laws};
use interlock_core::ownership;
use interlock_testkit::Swarm;
use interlock_testkit::script::{Fault, Rule};

async fn world(scenario: &Scenario) -> World {
    World::new(swarm_of(&scenario.state.snapshot), scenario.settings.clone()).await
}

#[tokio::test]
async fn applying_a_plan_and_planning_again_gives_nothing_to_do() {
    for scenario in Scenario::all() {
        let world = world(&scenario).await;
        laws::plan_again_is_empty(&world, &scenario.name).await;
        let writes = world.swarm().writes();
        world.converge(&mut Mind::default()).await;
        assert_eq!(world.swarm().writes(), writes, "{}: a converged world was written to", scenario.name);
    }
}

#[tokio::test]
async fn applying_a_plan_twice_does_no_harm() {
    for scenario in Scenario::all() {
        laws::twice_does_no_harm(&world(&scenario).await, &scenario.name).await;
    }
}

#[tokio::test]
async fn a_process_that_stops_after_any_step_leaves_nothing_orphaned() {
    for scenario in Scenario::all() {
        for steps in 0..3 {
            laws::stopped_after(&world(&scenario).await, steps, &scenario.name).await;
        }
    }
}

/// The same laws where nothing is imitated.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn the_laws_hold_on_a_real_swarm() {
    let lab = Lab::find();
    let named = |name: &str| Scenario::all().into_iter().find(|scenario| scenario.name == name).unwrap();
    laws::plan_again_is_empty(&lab.world(&named("one-host")).await, "one-host").await;
    laws::twice_does_no_harm(&lab.world(&named("paths-of-several-services")).await, "paths-of-several-services").await;
    laws::stopped_after(&lab.world(&named("bad-labels-among-good")).await, 1, "bad-labels-among-good").await;
    laws::stopped_after(&lab.world(&named("several-hosts-and-wildcards")).await, 2, "several-hosts-and-wildcards")
        .await;
    lab.clear().await;
}

#[tokio::test]
async fn a_crash_after_any_call_converges_with_nothing_orphaned() {
    for scenario in Scenario::all() {
        let undisturbed = world(&scenario).await;
        let before = undisturbed.swarm().writes();
        let mut mind = Mind::default();
        undisturbed.converge(&mut mind).await;
        let calls = undisturbed.swarm().writes() - before;
        undisturbed.age(&mut mind).await;
        let expected = undisturbed.made().await;
        for call in 1..=calls {
            for commits in [true, false] {
                let world = world(&scenario).await;
                world.swarm().script.crash_at_write(call, commits);
                let mut mind = Mind::default();
                for _ in 0..6 {
                    if world.pass(&mut mind).await.is_err() {
                        break;
                    }
                    world.swarm().settle();
                }
                assert!(world.swarm().script.crashed(), "{}: call {call} never came", scenario.name);
                world.swarm().script.revive();
                world.swarm().settle();
                let mut mind = Mind::default();
                world.converge(&mut mind).await;
                world.age(&mut mind).await;
                assert_eq!(
                    world.made().await,
                    expected,
                    "{}: crash at call {call}, committed: {commits}",
                    scenario.name
                );
            }
        }
    }
}

#[tokio::test]
async fn a_failed_read_removes_nothing() {
    for scenario in Scenario::all() {
        let world = world(&scenario).await;
        let mut mind = Mind::default();
        world.converge(&mut mind).await;
        let writes = world.swarm().writes();
        for list in ["/services", "/tasks", "/networks", "/nodes", "/configs", "/secrets"] {
            world.swarm().script.rule(Rule::method("GET", list, Fault::Drop));
            assert!(world.pass(&mut mind).await.is_err(), "{}: a read without {list} counted as one", scenario.name);
            world.swarm().script.forget_rules();
        }
        assert_eq!(world.swarm().writes(), writes, "{}", scenario.name);
    }
}

#[tokio::test]
async fn what_is_not_ours_is_never_touched() {
    for scenario in Scenario::all() {
        let mut swarm = swarm_of(&scenario.state.snapshot);
        // Names like ours, and the ownership label on somebody else's service, do not make things ours.
        swarm.config("com.docker.interlock.proxy.default.0123456789abcdef", "mine");
        swarm
            .service("lookalike")
            .label(ownership::OWNER, ownership::OWNER_VALUE)
            .label(ownership::TYPE, ownership::TYPE_PROXY)
            .create();
        swarm.settle();
        let foreign = |swarm: &Swarm| -> BTreeSet<String> {
            let is_core = |json: &str| {
                json.contains(ownership::OWNER)
                    && json.contains(&format!("{:?}:{:?}", ownership::TYPE, ownership::TYPE_CORE))
            };
            let services = swarm
                .services()
                .filter(|service| !service.json().contains(ownership::APPLIED) && !is_core(service.json()))
                .map(|service| service.json().to_owned());
            let configs = swarm
                .configs()
                .filter(|config| !config.json().contains(ownership::OWNER))
                .map(|config| config.json().to_owned());
            services.chain(configs).collect()
        };
        let before = foreign(&swarm);
        let world = World::new(swarm, scenario.settings.clone()).await;
        world.converge(&mut Mind::default()).await;
        assert_eq!(foreign(&world.swarm()), before, "{}", scenario.name);
    }
}
