//! Rolls that fail, that take long, and what new tasks get with each: which of it is tried again, and which is not.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::settings;
use crate::support::world::{Mind, World, route, with_authority};
use interlock_core::kinds::Rendering;
use interlock_core::ownership;
use interlock_core::plan::{Action, Plan};
use interlock_core::reconcile::{Inputs, reconcile, reconcile_embedded};
use interlock_core::swarm::Snapshot;
use interlock_testkit::Swarm;
use interlock_testkit::script::Fate;
use jiff::SignedDuration;
use serde_json::{Value, json};

const PROXY: &str = "interlock-proxy";
const HITLESS: &str = "EndpointOverride = \"core.test:8080\"\n[Extensions.default]\nHitlessServiceUpdate = true\nPublishMode = \"host\"\n";

async fn deployed(toml: &str) -> (World, Mind) {
    let mut swarm = with_authority(Swarm::three_nodes()).overlay("demo").overlay("back");
    route(&mut swarm, "shop", "demo");
    swarm.settle();
    let world = World::new(swarm, settings(toml)).await;
    let mut mind = Mind::default();
    world.converge(&mut mind).await;
    (world, mind)
}

fn container(world: &World) -> Value {
    world.swarm().service_json(PROXY)["Spec"]["TaskTemplate"]["ContainerSpec"].clone()
}

/// The configuration that the proxy service mounts.
fn mounted(world: &World) -> String {
    let name = container(world)["Configs"][0]["ConfigName"].as_str().unwrap().to_owned();
    String::from_utf8(world.swarm().config_bytes(&name).unwrap()).unwrap()
}

/// Tasks with an image of this name meet this fate.
fn fate_of_image(world: &World, name: &'static str, fate: Fate) {
    let has = move |spec: &Value| {
        spec["TaskTemplate"]["ContainerSpec"]["Image"].as_str().is_some_and(|image| image.contains(name))
    };
    world.swarm().script.fate_when(PROXY, move |task| has(task.spec), fate);
}

fn no_such_image() -> Fate {
    Fate::Reject { why: "No such image".into() }
}

fn with_image(toml: &str, image: &str) -> String {
    format!("{toml}ProxyImage = \"{image}\"\n")
}

fn restarts(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| step.restarts_tasks)
}

#[tokio::test]
async fn a_hitless_roll_that_failed_is_not_repeated_with_every_route() {
    let (mut world, mut mind) = deployed(HITLESS).await;
    fate_of_image(&world, "broken", no_such_image());
    world.settings = settings(&with_image(HITLESS, "broken:1"));
    assert!(restarts(&world.pass(&mut mind).await.unwrap()));
    world.swarm().settle();
    let writes = world.swarm().writes();
    for name in ["one", "two", "three"] {
        route(&mut world.swarm(), name, "demo");
        world.swarm().settle();
        let (outcome, _) = world.decide(&mut mind).await.unwrap();
        assert!(outcome.plan.is_empty(), "{}", outcome.plan);
        assert!(outcome.problems[0].to_string().contains("No such image"), "{:?}", outcome.problems);
        let text = |rendering: &Rendering| rendering.result.as_ref().unwrap()[0].content.clone();
        let sent: Vec<_> = outcome.deliveries.values().map(text).collect();
        assert!(sent[0].contains(&format!("{name}.example.com")), "running tasks get it all the same");
    }
    // Nor while there are no files, whether they may still come or not.
    let snapshot = world.observe().await.unwrap().snapshot;
    let mut inputs = Inputs { memory: mind.memory, ..Inputs::new(snapshot, world.settings.clone()) };
    for seconds in [0, 14, 20] {
        inputs.snapshot.observed_at += SignedDuration::from_secs(seconds);
        let outcome = reconcile(&inputs);
        assert!(outcome.plan.is_empty(), "{}", outcome.plan);
        assert!(outcome.problems.iter().any(|problem| problem.to_string().contains("No such image")));
        inputs.memory = outcome.memory;
    }
    assert_eq!(world.swarm().writes(), writes);
}

#[tokio::test]
async fn settings_that_were_mended_are_tried_with_the_routes_of_before() {
    let classic = "[Extensions.default]\n";
    // A core that is installed anew knows nothing of before; one whose operator takes the change back does.
    for (image, fresh) in [("fixed:1", true), ("fixed:1", false), ("", false)] {
        let (mut world, mut mind) = deployed(classic).await;
        fate_of_image(&world, "broken", no_such_image());
        world.settings = settings(&with_image(classic, "broken:1"));
        route(&mut world.swarm(), "late", "demo");
        world.swarm().settle();
        assert!(restarts(&world.pass(&mut mind).await.unwrap()));
        world.swarm().settle();
        assert!(!mounted(&world).contains("late.example.com"), "Swarm took it back");
        world.settings = settings(&if image.is_empty() { classic.to_owned() } else { with_image(classic, image) });
        if fresh {
            mind = Mind::default();
        }
        world.converge(&mut mind).await;
        assert!(mounted(&world).contains("late.example.com"), "image {image:?}, fresh: {fresh}");
        assert!(container(&world)["Image"].as_str().unwrap().contains(image));
    }
}

#[tokio::test]
async fn a_roll_of_many_tasks_goes_on_as_long_as_they_come_up() {
    let (mut world, mut mind) = deployed("[Extensions.default]\n").await;
    let by_hand = |spec: &mut Value| {
        spec["Mode"]["Replicated"]["Replicas"] = json!(8);
        spec["UpdateConfig"]["Delay"] = json!(150_000_000_000_u64);
    };
    world.swarm().edit_service(PROXY, by_hand).unwrap();
    world.swarm().settle();
    fate_of_image(&world, "slow", Fate::StartAfter(Duration::from_secs(90)));
    world.settings = settings("[Extensions.default]\nProxyImage = \"slow:1\"\n");
    assert!(restarts(&world.pass(&mut mind).await.unwrap()));
    for _ in 0..150 {
        world.swarm().tick(Duration::from_secs(20));
        let plan = world.pass(&mut mind).await.unwrap();
        assert!(!restarts(&plan), "{plan}");
        if plan.waiting.is_empty() {
            break;
        }
    }
    assert!(container(&world)["Image"].as_str().unwrap().contains("slow"));
    let status = world.swarm().service_json(PROXY)["UpdateStatus"]["State"].clone();
    assert_eq!((status, world.swarm().running(PROXY).len()), (json!("completed"), 8));
}

/// A Swarm without a leader starts no task, and an engine that hangs shows none. What a roll needs is counted while core looks.
#[tokio::test]
async fn time_in_which_nobody_looked_does_not_count_for_a_roll() {
    let (mut world, mut mind) = deployed("[Extensions.default]\n").await;
    fate_of_image(&world, "slow", Fate::StartAfter(Duration::from_secs(90)));
    world.settings = settings("[Extensions.default]\nProxyImage = \"slow:1\"\n");
    assert!(restarts(&world.pass(&mut mind).await.unwrap()));
    world.swarm().tick(Duration::from_secs(5));
    assert!(!world.pass(&mut mind).await.unwrap().waiting.is_empty());

    let snapshot = world.observe().await.unwrap().snapshot;
    let mut inputs = Inputs { memory: mind.memory, ..Inputs::new(snapshot, world.settings.clone()) };
    let mut look_after = |seconds| {
        inputs.snapshot.observed_at += SignedDuration::from_secs(seconds);
        let (outcome, renderings) = reconcile_embedded(&inputs);
        (inputs.memory, inputs.renderings) = (outcome.memory, renderings);
        outcome.plan
    };
    for seconds in [600, 3, 600, 3] {
        let plan = look_after(seconds);
        assert!(plan.is_empty() && !plan.waiting.is_empty(), "{plan}");
    }
    let looks = (0..60).take_while(|_| look_after(3).is_empty()).count();
    assert!((20..45).contains(&looks), "it is still taken back when it is late: {looks}");
}

#[tokio::test]
async fn tasks_of_both_kinds_are_served_while_an_update_is_paused() {
    let (world, mut mind) = deployed(HITLESS).await;
    world.swarm().edit_service(PROXY, |spec| spec["UpdateConfig"]["FailureAction"] = json!("pause")).unwrap();
    let many = |spec: &Value| spec["TaskTemplate"]["Networks"].as_array().is_some_and(|all| all.len() > 2);
    world.swarm().script.fate_when(PROXY, move |task| many(task.spec), Fate::FailOnStart { exit: 1 });
    route(&mut world.swarm(), "late", "back");
    world.swarm().settle();
    world.gather(&mut mind).await;
    assert!(restarts(&world.pass(&mut mind).await.unwrap()));
    world.swarm().settle();
    assert_eq!(world.swarm().service_json(PROXY)["UpdateStatus"]["State"], "paused");
    for mind in [&mut mind, &mut Mind::default()] {
        let (outcome, _) = world.decide(mind).await.unwrap();
        assert_eq!(outcome.deliveries.len(), 2, "{:?}", outcome.deliveries.keys());
    }
}

/// The identity that new tasks get.
fn identity(world: &World) -> String {
    let secrets = container(world)["Secrets"].clone();
    secrets[0]["SecretName"].as_str().unwrap().to_owned()
}

async fn identities(world: &World) -> Vec<String> {
    let secrets = world.observe().await.unwrap().snapshot.secrets;
    let mut names: Vec<_> = secrets.into_iter().map(|secret| secret.name).collect();
    names.retain(|name| name.starts_with(ownership::IDENTITY_PREFIX));
    names.sort();
    names
}

fn numbered(numbers: &[u8]) -> Vec<String> {
    numbers.iter().map(|number| format!("{}proxy.default.{number}", ownership::IDENTITY_PREFIX)).collect()
}

#[tokio::test]
async fn an_identity_is_replaced_with_each_roll_and_the_one_of_before_can_be_removed() {
    let (mut world, mut mind) = deployed(HITLESS).await;
    assert_eq!(identities(&world).await, numbered(&[1]));
    let first = identity(&world);
    assert!(world.swarm().remove_secret(&first).is_err(), "it is in use");
    route(&mut world.swarm(), "blog", "demo");
    world.swarm().settle();
    world.converge(&mut mind).await;
    assert_eq!(identities(&world).await, numbered(&[1]), "no roll, no other identity");

    // What the documentation says for revoking one: any change of the settings that replaces tasks.
    world.settings = settings(&format!("{HITLESS}[Extensions.default.ProxyContainerLabels]\nidentity = \"2\"\n"));
    let plan = world.pass(&mut mind).await.unwrap();
    assert!(plan.to_string().contains("identity: renewed"), "{plan}");
    world.swarm().settle();
    world.converge(&mut mind).await;
    assert_eq!(identity(&world), numbered(&[2])[0]);
    // Swarm may have to go back to it; who knows better removes it, and it stays removed.
    world.swarm().remove_secret(&first).unwrap();
    let writes = world.swarm().writes();
    world.converge(&mut mind).await;
    world.converge(&mut Mind::default()).await;
    assert_eq!((identities(&world).await, world.swarm().writes()), (numbered(&[2]), writes));
    assert_eq!(world.swarm().running(PROXY).len(), 2);
}

#[tokio::test]
async fn a_roll_that_fails_costs_one_identity_and_the_next_takes_it() {
    let (mut world, mut mind) = deployed(HITLESS).await;
    fate_of_image(&world, "broken", no_such_image());
    world.settings = settings(&with_image(HITLESS, "broken:1"));
    let _roll = world.pass(&mut mind).await.unwrap();
    world.swarm().settle();
    for _ in 0..3 {
        assert!(world.pass(&mut mind).await.unwrap().is_empty());
    }
    assert_eq!((identity(&world), identities(&world).await), (numbered(&[1])[0].clone(), numbered(&[1, 2])));
    world.settings = settings(&with_image(HITLESS, "fixed:1"));
    world.converge(&mut mind).await;
    assert_eq!((identity(&world), identities(&world).await), (numbered(&[2])[0].clone(), numbered(&[1, 2])));
}

/// A run without the authority's key, `reconcile --once`, must not fail for want of it.
#[tokio::test]
async fn who_cannot_issue_identities_leaves_services_theirs() {
    let (world, _) = deployed(HITLESS).await;
    let snapshot = world.observe().await.unwrap().snapshot;
    let authority = snapshot.authority.clone();
    for issues in [true, false] {
        let snapshot = Snapshot { authority: authority.clone().filter(|_| issues), ..snapshot.clone() };
        let inputs = Inputs::new(snapshot, settings(&with_image(HITLESS, "other:1")));
        let (outcome, _) = reconcile_embedded(&inputs);
        assert!(restarts(&outcome.plan), "{}", outcome.plan);
        let makes = outcome.plan.steps.iter().any(|step| matches!(step.action, Action::CreateIdentity { .. }));
        assert_eq!(makes, issues, "{}", outcome.plan);
    }
}

/// Whoever may label a service must not get our secrets, or what is mounted in it be ours.
#[tokio::test]
async fn a_service_with_our_name_and_labels_is_not_ours_for_that() {
    let mut swarm = with_authority(Swarm::three_nodes()).overlay("demo");
    route(&mut swarm, "shop", "demo");
    for (name, kind) in [(PROXY, ownership::TYPE_PROXY), ("interlock-extension", ownership::TYPE_EXTENSION)] {
        swarm
            .service(name)
            .label(ownership::OWNER, ownership::OWNER_VALUE)
            .label(ownership::TYPE, kind)
            .with(|spec| spec["TaskTemplate"]["ContainerSpec"]["Command"] = json!(["/bin/thief"]))
            .create();
    }
    swarm.settle();
    let toml = format!("{HITLESS}Image = \"interlock:1\"\n");
    let world = World::new(swarm, settings(&toml)).await;
    let before = [PROXY, "interlock-extension"].map(|name| world.swarm().service_json(name));
    let mut mind = Mind::default();
    for _ in 0..2 {
        let _plan = world.pass(&mut mind).await.unwrap();
    }
    assert_eq!([PROXY, "interlock-extension"].map(|name| world.swarm().service_json(name)), before);
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    for name in [PROXY, "interlock-extension"] {
        let wrong = format!("a service named {name} exists that interlock did not create");
        assert!(outcome.problems.iter().any(|problem| problem.wrong == wrong), "{:?}", outcome.problems);
    }
}

/// A new proxy cannot come up beside the old one where each node has one on the port already. What somebody wrote into the service by hand
/// stays, and so do the proxies that run; the reason is told.
#[tokio::test]
async fn start_first_where_every_node_has_a_proxy_is_taken_back_and_told() {
    let (mut world, mut mind) = deployed(HITLESS).await;
    let by_hand = |spec: &mut Value| spec["UpdateConfig"]["Order"] = json!("start-first");
    world.swarm().edit_service(PROXY, by_hand).unwrap();
    world.settings = settings(&format!("{HITLESS}ProxyContainerLabels = {{ turn = \"2\" }}\n"));
    let running =
        |world: &World| world.swarm().running(PROXY).iter().map(|task| task.meta.id.clone()).collect::<Vec<_>>();
    let before = running(&world);
    assert!(restarts(&world.pass(&mut mind).await.unwrap()));
    let mut taken_back = None;
    for _ in 0..20 {
        world.swarm().tick(Duration::from_secs(10));
        assert_eq!(running(&world), before);
        let (outcome, observation) = world.decide(&mut mind).await.unwrap();
        assert!(world.apply(&outcome.plan, &observation).await.is_empty());
        if outcome.plan.steps.iter().any(|step| matches!(step.action, Action::RollBackService { .. })) {
            taken_back = Some(outcome.problems);
            break;
        }
    }
    let told: Vec<_> = taken_back.unwrap().iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|told| told.contains("host-mode port already in use on 2 nodes")), "{told:?}");
    world.swarm().settle();
    assert_eq!(running(&world), before);
    assert_eq!(world.swarm().service_json(PROXY)["Spec"]["UpdateConfig"]["Order"], "start-first");
}

const DOWN: &str = "node3";

fn status(world: &World) -> Value {
    world.swarm().service_json(PROXY)["UpdateStatus"]["State"].clone()
}

fn replicas(world: &World) -> Value {
    world.swarm().service_json(PROXY)["Spec"]["Mode"]["Replicated"]["Replicas"].clone()
}

fn drain(world: &World, node: &str, availability: &str) {
    world.swarm().edit_node(node, |spec| spec["Availability"] = json!(availability));
}

async fn told(world: &World, mind: &mut Mind) -> String {
    let (outcome, _) = world.decide(mind).await.unwrap();
    outcome.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A task that no node can take stays pending, and Swarm waits for it without a limit.
#[tokio::test]
async fn there_are_no_more_host_mode_proxies_than_nodes_that_can_take_one() {
    let mut swarm = with_authority(Swarm::three_nodes()).overlay("demo").overlay("back");
    swarm.edit_node(DOWN, |spec| spec["Availability"] = json!("drain"));
    route(&mut swarm, "shop", "demo");
    swarm.settle();
    let world = World::new(swarm, settings(HITLESS)).await;
    let mut mind = Mind::default();
    world.converge(&mut mind).await;
    assert_eq!((replicas(&world), world.swarm().running(PROXY).len()), (json!(1), 1));
    let said = told(&world, &mut mind).await;
    assert!(said.contains("2 are asked for and only 1 node can take one (node node3 is drained)"), "{said}");
    assert!(said.contains("set ProxyReplicas = 1, free or add a node"), "{said}");

    // A roll reaches its end.
    route(&mut world.swarm(), "late", "back");
    world.swarm().settle();
    world.swarm().tick(Duration::from_secs(60));
    world.converge(&mut mind).await;
    assert_eq!(status(&world), "completed");

    // A node that comes gets one, and nothing is told any more; one that goes takes its own along.
    let before = world.swarm().running(PROXY)[0].meta.id.clone();
    drain(&world, DOWN, "active");
    world.converge(&mut mind).await;
    assert_eq!((replicas(&world), world.swarm().running(PROXY).len()), (json!(2), 2));
    assert_eq!(told(&world, &mut mind).await, "");
    world.swarm().set_node_state(DOWN, "down");
    world.converge(&mut mind).await;
    assert_eq!(replicas(&world), json!(1));
    assert!(world.swarm().running(PROXY).iter().any(|task| task.meta.id == before), "no task was replaced");
    // While a leader is elected, nothing is known of any node.
    for node in ["node1", "node2", DOWN] {
        world.swarm().set_node_state(node, "unknown");
    }
    world.converge(&mut mind).await;
    assert_eq!(replicas(&world), json!(2));
}

#[tokio::test]
async fn a_host_port_of_another_service_takes_its_nodes_away() {
    let mut swarm = with_authority(Swarm::three_nodes()).overlay("demo");
    route(&mut swarm, "shop", "demo");
    swarm.service("other").publish_host(8443, 443).constraint("node.hostname==node2").create();
    swarm.settle();
    let world = World::new(swarm, settings(HITLESS)).await;
    let mut mind = Mind::default();
    world.converge(&mut mind).await;
    assert_eq!((replicas(&world), world.swarm().running(PROXY).len()), (json!(1), 1));
    let said = told(&world, &mut mind).await;
    assert!(said.contains("service other has port 8443 of node node2"), "{said}");
    world.swarm().service("more").publish_host(8443, 443).constraint("node.hostname==node3").create();
    world.swarm().settle();
    assert_eq!(told(&world, &mut Mind::default()).await, said, "who has a port keeps it");
}

/// Swarm would end what runs and start nothing.
#[tokio::test]
async fn nothing_changes_where_no_node_can_take_a_proxy() {
    let (mut world, mut mind) = deployed(HITLESS).await;
    world.swarm().service("squatter").publish_host(9090, 90).global().create();
    world.swarm().settle();
    let writes = world.swarm().writes();
    world.settings = settings(&format!("{HITLESS}PublishedPort = 9090\n"));
    for _ in 0..3 {
        let plan = world.pass(&mut mind).await.unwrap();
        assert!(plan.is_empty(), "{plan}");
        world.swarm().tick(Duration::from_secs(100));
    }
    assert_eq!(world.swarm().running(PROXY).len(), 2);
    assert_eq!(world.swarm().writes(), writes);
    let said = told(&world, &mut mind).await;
    assert!(said.contains("no node can take one (service squatter has port 9090 of node node2, service"), "{said}");
    assert!(said.ends_with("(interlock keeps what is deployed)"), "{said}");
    world.swarm().remove_service("squatter").unwrap();
    world.swarm().settle();
    world.converge(&mut mind).await;
    assert_eq!(world.swarm().running(PROXY).len(), 2);
}

/// Somebody asked for more by hand, or an earlier version did: the roll hangs, and so does the rollback.
#[tokio::test]
async fn a_roll_that_waits_for_a_node_is_taken_back_soon_and_its_rollback_is_cut_short() {
    for fresh in [false, true] {
        let (mut world, mut mind) = deployed(HITLESS).await;
        // The roll begins while two nodes are there, and one goes before it is through.
        fate_of_image(&world, "slow", Fate::StartAfter(Duration::from_secs(5)));
        world.settings = settings(&with_image(HITLESS, "slow:1"));
        assert!(restarts(&world.pass(&mut mind).await.unwrap()));
        world.swarm().tick(Duration::from_secs(2));
        for node in ["node2", DOWN] {
            drain(&world, node, if node == DOWN { "drain" } else { "active" });
        }
        let by_hand = |spec: &mut Value| spec["Mode"]["Replicated"]["Replicas"] = json!(4);
        world.swarm().edit_service(PROXY, by_hand).unwrap();
        if fresh {
            mind = Mind::default();
        }
        let mut seconds = 0;
        while !(replicas(&world) == json!(1) && status(&world) != "updating" && status(&world) != "rollback_started") {
            world.swarm().tick(Duration::from_secs(1));
            let _plan = world.pass(&mut mind).await.unwrap();
            seconds += 1;
            assert!(seconds < 60, "fresh {fresh}: {} {}", status(&world), replicas(&world));
        }
        world.swarm().settle();
        world.swarm().tick(Duration::from_secs(60));
        world.converge(&mut mind).await;
        assert_eq!(world.swarm().running(PROXY).len(), 1);
        assert!(container(&world)["Image"].as_str().unwrap().contains("slow"), "it was not the image that failed");
    }
}

/// A roll whose tasks come up is no reason to wait with their number; one that may be bad is.
#[tokio::test]
async fn the_number_of_proxies_changes_during_a_roll_that_works_and_after_one_that_failed() {
    let (mut world, mut mind) = deployed(HITLESS).await;
    let slow = format!("{}ProxyUpdateDelay = \"5m\"\n", with_image(HITLESS, "slow:1"));
    fate_of_image(&world, "slow", Fate::StartAfter(Duration::from_secs(5)));
    world.settings = settings(&slow);
    assert!(restarts(&world.pass(&mut mind).await.unwrap()));
    world.swarm().tick(Duration::from_secs(1));
    let one = settings(&format!("{slow}ProxyReplicas = 1\n"));
    world.settings = one.clone();
    assert!(world.pass(&mut mind).await.unwrap().is_empty(), "it may still be bad");
    for _ in 0..10 {
        world.swarm().tick(Duration::from_secs(1));
        let _plan = world.pass(&mut mind).await.unwrap();
    }
    assert_eq!(replicas(&world), json!(1));
    world.swarm().settle();

    fate_of_image(&world, "broken", no_such_image());
    world.settings = settings(&with_image(HITLESS, "broken:1"));
    for _ in 0..3 {
        let _plan = world.pass(&mut mind).await.unwrap();
        world.swarm().settle();
    }
    assert_eq!(replicas(&world), json!(2), "the settings say two again, and it is no reason to try the image again");
    for _ in 0..3 {
        world.swarm().tick(Duration::from_secs(100));
        let plan = world.pass(&mut mind).await.unwrap();
        assert!(plan.is_empty(), "{plan}");
        assert!(told(&world, &mut mind).await.contains("No such image"));
    }
}

#[tokio::test]
async fn proxies_behind_the_mesh_stand_on_different_nodes_after_each_roll() {
    let classic = "[Extensions.default]\n";
    let (mut world, mut mind) = deployed(classic).await;
    let nodes = |world: &World| {
        let swarm = world.swarm();
        swarm.running(PROXY).iter().filter_map(|task| task.node_id.clone()).collect::<BTreeSet<_>>()
    };
    // Of nodes with as many proxies Swarm takes the one with fewer tasks: here always the same.
    for (round, crowded) in ["node3", "node3", "node2", "node2"].into_iter().enumerate() {
        world.swarm().service("crowd").replicas(5).constraint(&format!("node.hostname=={crowded}")).create();
        world.swarm().settle();
        world.settings = settings(&with_image(classic, &format!("proxy:{round}")));
        world.converge(&mut mind).await;
        assert_eq!(nodes(&world).len(), 2, "{crowded}, round {round}");
        world.swarm().remove_service("crowd").unwrap();
    }
    let availability = |world: &World, value: &str| {
        world.swarm().edit_node("node2", |spec| spec["Availability"] = value.into());
        world.swarm().settle();
    };
    availability(&world, "drain");
    assert_eq!((nodes(&world).len(), world.swarm().running(PROXY).len()), (1, 2), "the other node has both");
    availability(&world, "active");
    world.settings = settings(&with_image(classic, "proxy:last"));
    world.converge(&mut mind).await;
    assert_eq!(nodes(&world).len(), 2, "a roll uses the node that came back");
}
