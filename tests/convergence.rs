//! Laws over every fixture, with the real Docker adapter on a Swarm that keeps state and refuses what Swarm refuses.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use std::collections::BTreeSet;

use interlock_core::ownership;
use interlock_testkit::Swarm;
use interlock_testkit::script::{Fault, Rule};
use support::Scenario;
use support::world::{Mind, World, swarm_of};

async fn world(scenario: &Scenario) -> World {
    World::new(swarm_of(&scenario.state.snapshot), scenario.settings.clone()).await
}

#[tokio::test]
async fn applying_a_plan_and_planning_again_gives_nothing_to_do() {
    for scenario in Scenario::all() {
        let world = world(&scenario).await;
        let mut mind = Mind::default();
        let _done = world.pass(&mut mind).await.unwrap();
        let again = world.pass(&mut mind).await.unwrap();
        assert!(again.is_empty(), "{}:\n{again}", scenario.name);
        world.converge(&mut mind).await;
        let writes = world.swarm().writes();
        for _ in 0..5 {
            // A fresh process sees the same.
            world.converge(&mut Mind::default()).await;
        }
        assert_eq!(world.swarm().writes(), writes, "{}: a converged world was written to", scenario.name);
    }
}

#[tokio::test]
async fn applying_a_plan_twice_does_no_harm() {
    for scenario in Scenario::all() {
        let world = world(&scenario).await;
        let mut mind = Mind::default();
        let (outcome, observation) = world.decide(&mut mind).await.unwrap();
        assert!(world.apply(&outcome.plan, &observation).await.is_empty(), "{}", scenario.name);
        let made = world.made().await;
        // The second time some calls are refused, as what they create exists.
        let _ = world.apply(&outcome.plan, &observation).await;
        assert_eq!(world.made().await, made, "{}", scenario.name);
        world.swarm().settle();
        world.converge(&mut mind).await;
        assert_eq!(world.made().await, made, "{}", scenario.name);
    }
}

#[tokio::test]
async fn a_crash_after_any_call_converges_with_nothing_orphaned() {
    for scenario in Scenario::all() {
        let undisturbed = world(&scenario).await;
        let before = undisturbed.swarm().writes();
        undisturbed.converge(&mut Mind::default()).await;
        let calls = undisturbed.swarm().writes() - before;
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
                world.converge(&mut Mind::default()).await;
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
            let services = swarm
                .services()
                .filter(|service| !service.json().contains(ownership::APPLIED))
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
