//! Laws that hold on any Swarm, fake or real.

use std::collections::BTreeSet;

use interlock_core::ownership;
use interlock_core::plan::Plan;
use interlock_core::swarm::Service;

use super::world::{Mind, World};

/// Apply a plan, observe, plan again: empty. And a world that has converged stays so, for a fresh process too.
pub async fn plan_again_is_empty(world: &World, name: &str) {
    let mut mind = Mind::default();
    let _done = world.pass(&mut mind).await.unwrap();
    let again = world.pass(&mut mind).await.unwrap();
    assert!(again.is_empty(), "{name}:\n{again}");
    world.settle().await;
    world.converge(&mut mind).await;
    for _ in 0..3 {
        let plan = world.pass(&mut Mind::default()).await.unwrap();
        assert!(plan.is_empty() && plan.waiting.is_empty(), "{name}:\n{plan}");
    }
}

/// Applying a plan twice leaves the same behind as applying it once.
pub async fn twice_does_no_harm(world: &World, name: &str) {
    let mut mind = Mind::default();
    let (outcome, observation) = world.decide(&mut mind).await.unwrap();
    let failed = world.apply(&outcome.plan, &observation).await;
    assert!(failed.is_empty(), "{name}: {failed:?}");
    let made = world.made().await;
    // The second time some calls are refused, as what they create exists.
    let _ = world.apply(&outcome.plan, &observation).await;
    assert_eq!(world.made().await, made, "{name}");
    world.settle().await;
    world.converge(&mut mind).await;
    assert_eq!(world.made().await, made, "{name}");
}

/// A process that ends after so many steps leaves nothing behind that the next one does not use or remove.
pub async fn stopped_after(world: &World, steps: usize, name: &str) {
    let (outcome, observation) = world.decide(&mut Mind::default()).await.unwrap();
    let begun = Plan { steps: outcome.plan.steps.into_iter().take(steps).collect(), ..Plan::default() };
    let failed = world.apply(&begun, &observation).await;
    assert!(failed.is_empty(), "{name}: {failed:?}");
    world.settle().await;
    let mut mind = Mind::default();
    world.converge(&mut mind).await;
    world.age(&mut mind).await;
    let snapshot = world.observe().await.unwrap().snapshot;
    let is_ours =
        |service: &&Service| ownership::is_our_proxy(service) || ownership::is_our_extension(&snapshot, service);
    let ours = snapshot.services().filter(is_ours);
    let specs = ours.flat_map(|service| [Some(&service.spec), service.previous.as_ref()]).flatten();
    let used: BTreeSet<_> = specs.flat_map(|spec| &spec.configs).map(|config| config.name.as_str()).collect();
    let made = snapshot.configs.iter().filter(|config| ownership::is_ours(&config.labels));
    let left: Vec<_> = made.filter(|config| !used.contains(config.name.as_str())).collect();
    assert!(left.is_empty(), "{name}: orphaned after {steps} steps: {left:?}");
}
