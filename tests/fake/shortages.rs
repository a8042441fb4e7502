//! Services that lack tasks, as Swarm tells of them: reported once, with Swarm's reason, and not before it is certain.

use std::sync::Arc;
use std::time::Duration;

use crate::support::settings;
use crate::support::world::{Mind, World, route};
use interlock_core::problem::{Problem, Severity};
use interlock_core::reconcile::{Inputs, reconcile_embedded};
use interlock_core::swarm::{NodeState, Task, TaskState};
use interlock_core::units::TaskId;
use interlock_testkit::Swarm;
use interlock_testkit::script::Fate;
use jiff::SignedDuration;
use serde_json::json;

fn texts(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// What is reported when so much time has passed on a Swarm with these services.
async fn reported(mut swarm: Swarm, toml: &str) -> Vec<String> {
    swarm.tick(Duration::from_secs(12));
    let world = World::new(swarm, settings(toml)).await;
    let (outcome, _) = world.decide(&mut Mind::default()).await.unwrap();
    texts(&outcome.problems)
}

#[tokio::test]
async fn an_image_that_nobody_has_is_reported_with_swarms_reason() {
    let mut swarm = Swarm::three_nodes().overlay("demo");
    swarm.script.fate_of("shop", Fate::Reject { why: "No such image: shop:nosuch".to_owned() });
    route(&mut swarm, "shop", "demo");
    route(&mut swarm, "blog", "demo");
    let told = reported(swarm, "").await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("service shop: none of its tasks runs (No such image: shop:nosuch); push"), "{told:?}");
}

#[tokio::test]
async fn labels_of_containers_are_reported_and_their_values_are_not_read() {
    let mut swarm = Swarm::three_nodes().overlay("demo");
    let labels = json!({ "com.docker.lb.hosts": "shop.example.com", "com.docker.lb.port": "80", "mine": "x" });
    swarm
        .service("shop")
        .network("demo")
        .with(|spec| spec["TaskTemplate"]["ContainerSpec"]["Labels"] = labels)
        .create();
    swarm.settle();
    let world = World::new(swarm, settings("")).await;
    let snapshot = world.observe().await.unwrap().snapshot;
    assert!(!serde_json::to_string(&snapshot).unwrap().contains("shop.example.com"));
    let (outcome, _) = world.decide(&mut Mind::default()).await.unwrap();
    let told = texts(&outcome.problems);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("com.docker.lb.hosts is a label of its containers"), "{told:?}");
}

/// What proxies that cannot start are to core's log, `--dry-run` and `install`.
#[tokio::test]
async fn proxies_that_no_node_can_run_are_an_error_with_swarms_reason() {
    let mut swarm = Swarm::three_nodes().overlay("demo");
    swarm.script.fate_of("interlock-proxy", Fate::Reject { why: "No such image: nginx:nosuch".to_owned() });
    route(&mut swarm, "shop", "demo");
    swarm.settle();
    let world = World::new(swarm, settings("")).await;
    let mut mind = Mind::default();
    let _ = world.pass(&mut mind).await.unwrap();
    let mut told = Vec::new();
    for second in 0..40 {
        world.swarm().tick(Duration::from_secs(1));
        let (outcome, _) = world.decide(&mut mind).await.unwrap();
        told.push(texts(&outcome.problems));
        assert_eq!(outcome.problems.is_empty(), second < 20, "second {second}: {told:?}");
    }
    told.dedup();
    assert_eq!(told.len(), 2, "the text does not change: {told:?}");
    let told = &told[1][0];
    assert!(told.contains("no task of service interlock-proxy runs (No such image: nginx:nosuch)"), "{told}");
    // Whoever looks for the first time does not wait.
    let (outcome, _) = world.decide(&mut Mind::default()).await.unwrap();
    assert_eq!(&texts(&outcome.problems), std::slice::from_ref(told));
}

/// The tasks of before go on, so that nobody would notice.
#[tokio::test]
async fn a_roll_that_hangs_is_an_error() {
    let mut swarm = Swarm::three_nodes().overlay("demo");
    let is_new = |spec: &serde_json::Value| spec["TaskTemplate"]["ContainerSpec"]["Image"] == "nginx:2";
    swarm.script.fate_when("interlock-proxy", move |task| is_new(task.spec), Fate::NeverStart);
    route(&mut swarm, "shop", "demo");
    swarm.settle();
    let world = World::new(swarm, settings("")).await;
    let mut mind = Mind::default();
    world.converge(&mut mind).await;
    let world = world.with(settings("[Extensions.default]\nProxyImage = \"nginx:2\"\n"));
    let _ = world.pass(&mut mind).await.unwrap();
    for second in 1..=70 {
        world.swarm().tick(Duration::from_secs(1));
        let (outcome, _) = world.decide(&mut mind).await.unwrap();
        assert!(outcome.plan.steps.is_empty(), "{}", outcome.plan);
        assert_eq!(outcome.problems.is_empty(), second < 61, "second {second}: {:?}", outcome.problems);
        for problem in outcome.problems {
            assert_eq!(problem.severity, Severity::Error);
            let text = problem.to_string();
            assert!(text.contains("not all tasks of service interlock-proxy run (one has been starting"), "{text}");
        }
    }
}

/// What a task ended with long ago is not why another one takes its time.
#[tokio::test]
async fn an_old_failure_is_no_reason() {
    let mut inputs = running().await;
    let shop = inputs.snapshot.services().find(|service| service.spec.name == "shop").unwrap().id.clone();
    let mut old = inputs.snapshot.tasks().find(|task| task.service == shop).unwrap().clone();
    (old.id, old.desired, old.state) = ("old".into(), TaskState::Shutdown, TaskState::Failed);
    old.error = "task: non-zero exit (1)".to_owned();
    old.ended_at = Some(inputs.snapshot.observed_at);
    inputs.snapshot.tasks.push(old.into());
    inputs.snapshot.observed_at += SignedDuration::from_hours(1);
    assert_eq!(look(&mut inputs, 0, TaskState::Preparing, ""), [""; 0]);
    assert_eq!(look(&mut inputs, 59, TaskState::Preparing, ""), [""; 0]);
    assert!(look(&mut inputs, 1, TaskState::Preparing, "")[0].contains("one has been prepared for over a minute"));
}

/// Inputs with two tasks of shop that run.
async fn running() -> Inputs {
    let mut swarm = Swarm::three_nodes().overlay("demo");
    route(&mut swarm, "shop", "demo");
    swarm.settle();
    let world = World::new(swarm, settings("")).await;
    world.converge(&mut Mind::default()).await;
    let mut inputs = Inputs::new(world.observe().await.unwrap().snapshot, world.settings.clone());
    inputs.memory = reconcile_embedded(&inputs).0.memory;
    inputs
}

fn look(inputs: &mut Inputs, seconds: i64, state: TaskState, error: &str) -> Vec<String> {
    inputs.snapshot.observed_at += SignedDuration::from_secs(seconds);
    let shop = inputs.snapshot.services().find(|service| service.spec.name == "shop").unwrap().id.clone();
    let task = inputs.snapshot.tasks.iter_mut().find(|task| task.service == shop).unwrap();
    let task = Arc::make_mut(task);
    task.state = state;
    task.error = error.to_owned();
    let (outcome, renderings) = reconcile_embedded(inputs);
    inputs.memory = outcome.memory;
    inputs.renderings = renderings;
    texts(&outcome.problems)
}

#[tokio::test]
async fn a_task_that_is_replaced_in_time_is_no_problem() {
    let mut inputs = running().await;
    assert_eq!(look(&mut inputs, 0, TaskState::Pending, "no suitable node"), [""; 0]);
    assert_eq!(look(&mut inputs, 19, TaskState::Preparing, ""), [""; 0]);
    assert_eq!(look(&mut inputs, 0, TaskState::Running, ""), [""; 0]);
    // An hour later it begins anew.
    assert_eq!(look(&mut inputs, 31, TaskState::Running, ""), [""; 0]);
    assert_eq!(look(&mut inputs, 3600, TaskState::Pending, "no suitable node"), [""; 0]);
    assert_eq!(look(&mut inputs, 20, TaskState::Pending, "no suitable node").len(), 1);
}

/// Tasks that are replaced one after the other, each with a minute to end: the new one waits for the port of the old one.
#[tokio::test]
async fn a_task_that_waits_for_the_one_before_it_to_end_is_no_problem() {
    let mut inputs = running().await;
    let waits = "no suitable node (host-mode port already in use on 2 nodes)";
    for round in 0..4 {
        let old = replace(&mut inputs, round);
        assert_eq!(look(&mut inputs, 1, TaskState::Pending, waits), [""; 0], "{round}");
        assert_eq!(look(&mut inputs, 59, TaskState::Pending, waits), [""; 0], "{round}");
        task_of(&mut inputs, &old).state = TaskState::Shutdown;
        assert_eq!(look(&mut inputs, 0, TaskState::Pending, waits), [""; 0], "{round}");
        assert_eq!(look(&mut inputs, 2, TaskState::Preparing, ""), [""; 0], "{round}");
        assert_eq!(look(&mut inputs, 2, TaskState::Running, ""), [""; 0], "{round}");
    }
    // Once the old one has ended, the new one has the time that all have.
    let old = replace(&mut inputs, 4);
    assert_eq!(look(&mut inputs, 60, TaskState::Pending, waits), [""; 0]);
    task_of(&mut inputs, &old).state = TaskState::Shutdown;
    assert_eq!(look(&mut inputs, 0, TaskState::Pending, waits), [""; 0]);
    assert_eq!(look(&mut inputs, 19, TaskState::Pending, waits), [""; 0]);
    assert_eq!(look(&mut inputs, 1, TaskState::Pending, waits).len(), 1);
}

/// Nobody knows of a task on such a node whether it ends.
#[tokio::test]
async fn a_task_on_a_node_that_is_down_is_waited_for_by_nobody() {
    let mut inputs = running().await;
    let old = replace(&mut inputs, 0);
    let node = task_of(&mut inputs, &old).node.clone();
    inputs.snapshot.nodes.iter_mut().find(|it| Some(&it.id) == node.as_ref()).unwrap().state = NodeState::Down;
    assert_eq!(look(&mut inputs, 0, TaskState::Pending, "no suitable node"), [""; 0]);
    assert_eq!(look(&mut inputs, 20, TaskState::Pending, "no suitable node").len(), 1);
}

/// Swarm replaces a task of shop by one that comes first. Returns the id of the old one, which goes on.
fn replace(inputs: &mut Inputs, round: usize) -> TaskId {
    let shop = inputs.snapshot.services().find(|service| service.spec.name == "shop").unwrap().id.clone();
    let first = inputs.snapshot.tasks().rposition(|task| task.service == shop && task.is_wanted()).unwrap();
    let mut old = Arc::unwrap_or_clone(inputs.snapshot.tasks.remove(first));
    let new = Task { id: TaskId::new(format!("new-{round}")), ..old.clone() };
    let id = old.id.clone();
    old.desired = TaskState::Shutdown;
    inputs.snapshot.tasks.insert(0, new.into());
    inputs.snapshot.tasks.push(old.into());
    id
}

fn task_of<'i>(inputs: &'i mut Inputs, id: &TaskId) -> &'i mut Task {
    Arc::make_mut(inputs.snapshot.tasks.iter_mut().find(|task| task.id == *id).unwrap())
}

#[tokio::test]
async fn a_task_that_fails_again_and_again_is_one_problem_until_all_run_for_a_while() {
    let mut inputs = running().await;
    let mut told = Vec::new();
    for round in 0..10 {
        told.push(look(&mut inputs, 3, TaskState::Failed, &format!("task: non-zero exit ({})", 1 + round % 2)));
        told.push(look(&mut inputs, 3, TaskState::Running, ""));
    }
    told.dedup();
    assert!(told.len() <= 3 && told[0].is_empty(), "{told:?}");
    assert_eq!(told.last().unwrap().len(), 1);
    assert_eq!(look(&mut inputs, 25, TaskState::Running, "").len(), 1);
    assert_eq!(look(&mut inputs, 10, TaskState::Running, ""), [""; 0]);
}

#[tokio::test]
async fn tasks_that_never_start_are_reported_without_a_reason_after_a_minute() {
    let mut inputs = running().await;
    assert_eq!(look(&mut inputs, 0, TaskState::Starting, ""), [""; 0]);
    assert_eq!(look(&mut inputs, 59, TaskState::Starting, ""), [""; 0]);
    let told = look(&mut inputs, 1, TaskState::Starting, "");
    assert!(told[0].contains("not all of its tasks run (one has been starting for over a minute"), "{told:?}");
}
