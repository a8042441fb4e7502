//! Hitless delivery over time: what proxies get without new tasks, what they need new ones for, and what follows for both kinds of tasks
//! that live meanwhile. The decisions; how files travel is in `tests/fake/control.rs`.

use std::sync::Arc;
use std::time::Duration;

use crate::support::settings;
use crate::support::world::{Mind, World, route, with_authority};
use interlock_core::kinds::RenderError;
use interlock_core::ownership;
use interlock_core::plan::{Action, Plan};
use interlock_core::problem::{Effect, Subject};
use interlock_core::reconcile::{Memory, Outcome};
use interlock_core::routes::model::Suspect;
use interlock_core::settings::Settings;
use interlock_core::trust::Authority;
use interlock_testkit::Swarm;
use interlock_testkit::script::Fate;
use serde_json::{Value, json};

const PROXY: &str = "interlock-proxy";
const HITLESS: &str = "EndpointOverride = \"core.test:8080\"\n[Extensions.default]\nHitlessServiceUpdate = true\nPublishMode = \"host\"\n";

fn hitless() -> Settings {
    settings(HITLESS)
}

fn with_shop() -> Swarm {
    let mut swarm = with_authority(Swarm::three_nodes()).overlay("demo").overlay("back");
    route(&mut swarm, "shop", "demo");
    swarm.settle();
    swarm
}

async fn deployed(settings: Settings) -> (World, Mind) {
    let world = World::new(with_shop(), settings).await;
    let mut mind = Mind::default();
    world.converge(&mut mind).await;
    (world, mind)
}

/// What core sends, all service clusters and generations together.
fn delivered(outcome: &Outcome) -> Vec<String> {
    let files =
        |rendering: &interlock_core::kinds::Rendering| rendering.result.as_ref().unwrap()[0].content.to_string();
    outcome.deliveries.values().map(files).collect()
}

fn restarts(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| step.restarts_tasks)
}

fn spec(world: &World) -> Value {
    world.swarm().service_json(PROXY)["Spec"].clone()
}

fn networks(world: &World) -> usize {
    spec(world)["TaskTemplate"]["Networks"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn apps_come_change_and_go_without_a_write() {
    let (world, mut mind) = deployed(hitless()).await;
    let writes = world.swarm().writes();
    route(&mut world.swarm(), "blog", "demo");
    world.swarm().settle();
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    assert!(outcome.plan.is_empty(), "{}", outcome.plan);
    assert!(outcome.plan.to_string().contains("is delivered by the running core"), "{}", outcome.plan);
    assert!(delivered(&outcome)[0].contains("blog.example.com"));
    world
        .swarm()
        .edit_service("blog", |spec| spec["Labels"]["com.docker.lb.hosts"] = json!("new.example.com"))
        .unwrap();
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    assert!(outcome.plan.is_empty() && delivered(&outcome)[0].contains("new.example.com"), "{}", outcome.plan);
    world.swarm().remove_service("blog").unwrap();
    world.swarm().settle();
    let (outcome, _) = world.decide(&mut Mind::default()).await.unwrap();
    assert!(outcome.plan.is_empty() && !delivered(&outcome)[0].contains("new.example.com"), "{}", outcome.plan);
    assert_eq!(world.swarm().writes(), writes);
}

#[tokio::test]
async fn a_network_that_proxies_lack_replaces_them_and_both_generations_get_what_they_can_serve() {
    let (world, mut mind) = deployed(hitless()).await;
    route(&mut world.swarm(), "late", "back");
    world.swarm().settle();
    world.gather(&mut mind).await;
    let (outcome, observation) = world.decide(&mut mind).await.unwrap();
    assert!(outcome.plan.to_string().contains("networks attached: back"), "{}", outcome.plan);
    assert!(restarts(&outcome.plan));
    // The boot copy is renewed with it.
    assert!(outcome.plan.to_string().contains("configuration: revision"), "{}", outcome.plan);
    let texts = delivered(&outcome);
    assert_eq!(texts.len(), 2);
    assert_eq!(texts.iter().filter(|text| text.contains("late.example.com")).count(), 1);
    assert!(texts.iter().all(|text| text.contains("shop.example.com")));
    assert!(world.apply(&outcome.plan, &observation).await.is_empty());

    // During the roll tasks of the old generation go on getting what changes.
    world.swarm().tick(Duration::from_millis(500));
    route(&mut world.swarm(), "blog", "demo");
    world.swarm().tick(Duration::from_millis(900));
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    assert!(!outcome.plan.waiting.is_empty(), "{}", outcome.plan);
    let texts = delivered(&outcome);
    assert_eq!(texts.len(), 2, "{texts:?}");
    world.swarm().settle();
    world.converge(&mut mind).await;
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    let texts = delivered(&outcome);
    assert_eq!(texts.len(), 1);
    assert!(["late", "blog", "shop"].iter().all(|name| texts[0].contains(&format!("{name}.example.com"))), "{texts:?}");
}

#[tokio::test]
async fn a_network_stays_as_long_as_anybody_uses_it_and_goes_when_nobody_does() {
    let (world, mut mind) = deployed(hitless()).await;
    route(&mut world.swarm(), "late", "back");
    world.swarm().service("other").network("back").create();
    world.swarm().settle();
    world.converge(&mut mind).await;
    assert_eq!(networks(&world), 3, "demo, back and the control network");
    world.swarm().remove_service("late").unwrap();
    world.swarm().settle();
    for _ in 0..3 {
        let plan = world.pass(&mut mind).await.unwrap();
        assert!(plan.is_empty(), "{plan}");
        world.swarm().tick(Duration::from_secs(60));
    }
    // Its owner cannot remove it while proxies are attached; not at once, as each detaching replaces them.
    world.swarm().remove_service("other").unwrap();
    world.swarm().settle();
    let plan = world.pass(&mut mind).await.unwrap();
    assert!(plan.is_empty(), "{plan}");
    world.swarm().tick(Duration::from_secs(8));
    let plan = world.pass(&mut mind).await.unwrap();
    assert!(plan.to_string().contains("networks detached: back"), "{plan}");
    world.swarm().settle();
    world.converge(&mut mind).await;
    world.swarm().remove_network("back").unwrap();
}

/// A service on two networks.
fn add_both(swarm: &mut Swarm) {
    let both =
        swarm.service("both").label("com.docker.lb.hosts", "both.example.com").label("com.docker.lb.port", "8080");
    both.label("com.docker.lb.network", "back").network("demo").network("back").create();
}

#[tokio::test]
async fn an_owner_who_toggles_networks_costs_one_roll() {
    let (world, mut mind) = deployed(hitless()).await;
    add_both(&mut world.swarm());
    world.swarm().settle();
    world.converge(&mut mind).await;
    for round in 0..10 {
        let network = if round % 2 == 0 { "demo" } else { "back" };
        world.swarm().edit_service("both", |spec| spec["Labels"]["com.docker.lb.network"] = json!(network)).unwrap();
        world.swarm().tick(Duration::from_secs(1));
        let plan = world.pass(&mut mind).await.unwrap();
        assert!(plan.is_empty(), "{plan}");
    }
}

#[tokio::test]
async fn networks_of_the_settings_are_all_from_the_start() {
    let fixed = format!("{HITLESS}Networks = [\"demo\", \"back\"]\n");
    let (world, mut mind) = deployed(settings(&fixed)).await;
    assert_eq!(networks(&world), 3);
    route(&mut world.swarm(), "late", "back");
    world.swarm().settle();
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    assert!(outcome.plan.is_empty(), "{}", outcome.plan);
    assert!(delivered(&outcome)[0].contains("late.example.com"));
}

#[tokio::test]
async fn deliveries_are_switched_both_ways_on_a_living_system() {
    let (mut world, mut mind) = deployed(settings("")).await;
    assert_eq!(spec(&world)["TaskTemplate"]["ContainerSpec"]["Secrets"], Value::Null);
    world.settings = hitless();
    let plan = world.pass(&mut mind).await.unwrap();
    assert!(restarts(&plan), "{plan}");
    world.swarm().settle();
    world.converge(&mut mind).await;
    let container = spec(&world)["TaskTemplate"]["ContainerSpec"].clone();
    assert_eq!(container["Configs"].as_array().unwrap().len(), 3, "{container}");
    assert_eq!(container["Secrets"].as_array().unwrap().len(), 1, "{container}");
    assert_eq!(container["ReadOnly"], true);
    assert_eq!(networks(&world), 2);

    world.settings = settings("");
    world.converge(&mut mind).await;
    let container = spec(&world)["TaskTemplate"]["ContainerSpec"].clone();
    assert_eq!(container["Configs"].as_array().unwrap().len(), 1, "{container}");
    assert!(container["Secrets"].as_array().is_none_or(Vec::is_empty), "{container}");
    assert_eq!(container.get("ReadOnly"), None, "{container}");
    assert_eq!(networks(&world), 1);
    // What was only there for it goes as soon as no rollback could need it and it is no longer new: the identity and the network.
    route(&mut world.swarm(), "blog", "demo");
    world.swarm().settle();
    world.converge(&mut mind).await;
    world.age(&mut mind).await;
    let snapshot = world.observe().await.unwrap().snapshot;
    assert!(!snapshot.secrets.iter().any(|secret| secret.name.starts_with(ownership::IDENTITY_PREFIX)));
    assert!(!snapshot.networks.iter().any(|network| network.name == "interlock-default"));
}

#[tokio::test]
async fn an_identity_that_was_removed_or_that_another_authority_signed_is_replaced() {
    let (world, mut mind) = deployed(hitless()).await;
    let first = spec(&world)["TaskTemplate"]["ContainerSpec"]["Secrets"][0]["SecretName"].clone();
    world.swarm().edit_service(PROXY, |spec| spec["TaskTemplate"]["ContainerSpec"]["Secrets"] = json!([])).unwrap();
    world.swarm().settle();
    world.swarm().remove_secret(first.as_str().unwrap()).unwrap();
    world.converge(&mut mind).await;
    let second = spec(&world)["TaskTemplate"]["ContainerSpec"]["Secrets"][0]["SecretName"].clone();
    assert!(second.is_string());

    world.swarm().remove_secret(ownership::AUTHORITY_SECRET).unwrap();
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    assert!(outcome.plan.is_empty(), "{}", outcome.plan);
    assert!(outcome.problems.iter().any(|problem| problem.right.contains("interlock install --ca-only")));
    let authority = Arc::new(Authority::generate().unwrap());
    crate::support::world::add_authority(&mut world.swarm(), &authority);
    let world = world.of_authority(authority);
    world.converge(&mut mind).await;
    let third = spec(&world)["TaskTemplate"]["ContainerSpec"]["Secrets"][0]["SecretName"].clone();
    assert_ne!(second, third);
}

/// Has the extension of a service cluster refuse what is asked for now, as if it had never been rendered before, and blame these hosts.
async fn refuses(world: &World, mind: &mut Mind, cluster: &str, hosts: &[&str]) {
    let before = mind.memory.clone();
    let (outcome, _) = world.decide(mind).await.unwrap();
    mind.memory = before;
    let suspect =
        |host: &&str| Suspect { host: format!("{host}.example.com").parse().ok(), path: "/".parse().unwrap() };
    let refusal = RenderError::Refused { message: "no".to_owned(), suspects: hosts.iter().map(suspect).collect() };
    for key in outcome.proxy_configs.keys().filter(|(of, _)| of.as_str() == cluster) {
        mind.renderings.get_mut(key).unwrap().result = Err(refusal.clone());
    }
}

fn effects(outcome: &Outcome, service: &str) -> Vec<Effect> {
    let about = |subject: &Subject| *subject == Subject::Service(service.to_owned());
    outcome.problems.iter().filter(|problem| about(&problem.subject)).map(|problem| problem.effect).collect()
}

#[tokio::test]
async fn a_service_that_a_checker_refuses_is_withheld_until_its_labels_change() {
    let (world, mut mind) = deployed(hitless()).await;
    route(&mut world.swarm(), "odd", "demo");
    world.swarm().settle();
    refuses(&world, &mut mind, "", &["odd"]).await;
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    assert!(delivered(&outcome)[0].contains("shop.example.com"), "what was good stays");
    for _ in 0..2 {
        let (outcome, _) = world.decide(&mut mind).await.unwrap();
        let left_out = outcome.problems.iter().find(|problem| problem.effect == Effect::LeftOut).unwrap().to_string();
        assert!(
            left_out.contains("service odd") && left_out.contains("NGINX rejects the configuration of its routes: no"),
            "{left_out}"
        );
        assert!(!delivered(&outcome)[0].contains("odd.example.com"));
    }
    world
        .swarm()
        .edit_service("odd", |spec| spec["Labels"]["com.docker.lb.hosts"] = json!("fine.example.com"))
        .unwrap();
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    assert!(outcome.problems.is_empty(), "{:?}", outcome.problems);
    assert!(delivered(&outcome)[0].contains("fine.example.com"));
}

#[tokio::test]
async fn an_extension_cannot_take_all_new_routes_away_by_refusing_them() {
    let (world, mut mind) = deployed(hitless()).await;
    let names = ["one", "two", "three", "four"];
    names.iter().for_each(|name| route(&mut world.swarm(), name, "demo"));
    world.swarm().settle();
    refuses(&world, &mut mind, "", &names).await;
    for _ in 0..2 {
        let (outcome, _) = world.decide(&mut mind).await.unwrap();
        assert!(outcome.problems.iter().all(|problem| problem.effect == Effect::Kept), "{:?}", outcome.problems);
        assert!(delivered(&outcome)[0].contains("shop.example.com"));
    }
}

/// Its word against routes that serve counts for nothing, whatever changed besides: tasks, other services, or nothing at all.
#[tokio::test]
async fn h5_an_extension_takes_no_route_away_that_serves() {
    let (world, mut mind) = deployed(hitless()).await;
    route(&mut world.swarm(), "blog", "demo");
    world.swarm().settle();
    let _ = world.decide(&mut mind).await.unwrap();
    let changes: [fn(&World); 3] = [
        |_| (),
        |world| {
            world.swarm().edit_service("shop", |spec| spec["Mode"] = json!({"Replicated": {"Replicas": 3}})).unwrap()
        },
        |world| route(&mut world.swarm(), "late", "demo"),
    ];
    for change in changes {
        change(&world);
        world.swarm().settle();
        refuses(&world, &mut mind, "", &["shop", "blog"]).await;
        for _ in 0..2 {
            let (outcome, _) = world.decide(&mut mind).await.unwrap();
            assert_eq!((effects(&outcome, "shop"), effects(&outcome, "blog")), (vec![], vec![]));
            let text = delivered(&outcome).remove(0);
            assert!(text.contains("shop.example.com") && text.contains("blog.example.com"), "{text}");
        }
    }
}

/// A core that has just begun knows nothing of earlier renderings, but what the proxies run.
#[tokio::test]
async fn h5_a_fresh_core_believes_nothing_of_what_the_proxies_run() {
    let (world, mut mind) = deployed(hitless()).await;
    mind.memory = Memory::default();
    refuses(&world, &mut mind, "", &["shop"]).await;
    for _ in 0..2 {
        let (outcome, _) = world.decide(&mut mind).await.unwrap();
        assert_eq!(effects(&outcome, "shop"), []);
    }
}

/// The labels that serve stay in force, as long as they protect as much as the new ones.
#[tokio::test]
async fn h5_changed_labels_that_are_refused_leave_the_route_as_it_serves() {
    for (change, protects, serves) in
        [(("max_fails", "3"), false, Effect::LastGood), (("allow", "10.9.0.0/16"), true, Effect::LeftOut)]
    {
        let (world, mut mind) = deployed(hitless()).await;
        label(&world, "shop", &[change]);
        refuses(&world, &mut mind, "", &["shop"]).await;
        for _ in 0..2 {
            let _ = world.decide(&mut mind).await.unwrap();
            let (outcome, _) = world.decide(&mut mind).await.unwrap();
            assert_eq!(effects(&outcome, "shop"), [serves], "{change:?}");
            let text = delivered(&outcome).remove(0);
            assert_eq!(text.contains("shop.example.com"), !protects, "{change:?}: {text}");
        }
    }
}

/// What an extension refuses is counted for its own service cluster.
#[tokio::test]
async fn refusals_of_one_service_cluster_do_not_count_for_another() {
    let east = "[Extensions.east]\nServiceCluster = \"east\"\nPublishMode = \"host\"\nPublishedPort = 8090\nPublishedSSLPort = 8453\n";
    let (mut swarm, names) = (with_shop(), ["one", "two", "three"]);
    names.iter().chain(&["odd"]).for_each(|name| route(&mut swarm, name, "demo"));
    swarm.settle();
    let world = World::new(swarm, settings(&format!("{HITLESS}{east}"))).await;
    label(&world, "odd", &[("service_cluster", "east")]);
    world.swarm().settle();
    let mut mind = Mind::default();
    refuses(&world, &mut mind, "", &names).await;
    let of_default = mind.renderings.clone();
    refuses(&world, &mut mind, "east", &["odd"]).await;
    mind.renderings.extend(of_default.into_iter().filter(|((cluster, _), _)| cluster.as_str().is_empty()));
    let _ = world.decide(&mut mind).await.unwrap();
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    let left_out = outcome.problems.iter().filter(|problem| problem.effect == Effect::LeftOut).count();
    assert_eq!(left_out, 4, "{:?}", outcome.problems);
}

/// What the proxies' tasks have under /run/secrets for routes.
fn secrets(world: &World) -> Vec<String> {
    let secrets = spec(world)["TaskTemplate"]["ContainerSpec"]["Secrets"].as_array().cloned().unwrap_or_default();
    let name = |secret: &Value| secret["SecretName"].as_str().unwrap().to_owned();
    secrets.iter().map(name).filter(|name| !name.starts_with(ownership::IDENTITY_PREFIX)).collect()
}

fn label(world: &World, service: &str, labels: &[(&str, &str)]) {
    let edit = |spec: &mut Value| {
        for (key, value) in labels {
            spec["Labels"][format!("com.docker.lb.{key}")] = json!(value);
        }
    };
    world.swarm().edit_service(service, edit).unwrap();
}

#[tokio::test]
async fn a_new_certificate_replaces_proxies_and_the_old_one_is_shown_until_then() {
    let mut swarm = with_shop();
    for name in ["old.pem", "new.pem", "staff"] {
        swarm.create_secret(json!({ "Name": name, "Data": "c2VjcmV0" })).unwrap();
    }
    let world = World::new(swarm, hitless()).await;
    let mut mind = Mind::default();
    world.converge(&mut mind).await;
    label(&world, "shop", &[("ssl_cert", "old.pem")]);
    world.gather(&mut mind).await;
    let (outcome, observation) = world.decide(&mut mind).await.unwrap();
    assert!(outcome.plan.to_string().contains("secrets attached: old.pem"), "{}", outcome.plan);
    assert!(restarts(&outcome.plan));
    let shows = |text: &str, name: &str| text.contains(&format!("ssl_certificate $secrets/{name};"));
    // Running tasks have no certificate yet, and serve the rest.
    let texts = delivered(&outcome);
    assert_eq!(texts.iter().filter(|text| shows(text, "old.pem")).count(), 1, "{texts:?}");
    assert!(texts.iter().all(|text| text.contains("shop.example.com")));
    assert!(world.apply(&outcome.plan, &observation).await.is_empty());
    world.swarm().settle();
    world.converge(&mut mind).await;
    assert_eq!(secrets(&world), ["old.pem"]);

    for fresh in [false, true] {
        let (from, to) = if fresh { ("new.pem", "old.pem") } else { ("old.pem", "new.pem") };
        // The next roll is not at once.
        world.swarm().tick(Duration::from_secs(90));
        label(&world, "shop", &[("ssl_cert", to)]);
        // A core that was just started knows the service's previous labels.
        let mut mind = if fresh { Mind::default() } else { std::mem::take(&mut mind) };
        if !fresh {
            world.gather(&mut mind).await;
        }
        let (outcome, observation) = world.decide(&mut mind).await.unwrap();
        let texts = delivered(&outcome);
        assert_eq!(texts.iter().filter(|text| shows(text, from)).count(), 1, "{texts:?}");
        assert_eq!(texts.iter().filter(|text| shows(text, to)).count(), 1, "{texts:?}");
        assert!(world.apply(&outcome.plan, &observation).await.is_empty());
        world.swarm().settle();
        world.converge(&mut mind).await;
        assert_eq!(secrets(&world), [to], "what is not needed went in the same roll");
    }

    // What protects a route is never missing: tasks that lack the users do not serve it.
    let mut mind = Mind::default();
    world.converge(&mut mind).await;
    label(&world, "shop", &[("basic_auth", "staff")]);
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    let texts = delivered(&outcome);
    assert!(
        texts.iter().all(|text| text.contains("auth_basic_user_file") || !text.contains("proxy_pass")),
        "{texts:?}"
    );
    world.converge(&mut mind).await;

    // A service whose tasks are away needs what it names when they are back.
    let had = secrets(&world);
    world.swarm().scale("shop", 0);
    world.swarm().settle();
    for _ in 0..4 {
        world.swarm().tick(Duration::from_secs(20));
        let plan = world.pass(&mut mind).await.unwrap();
        assert!(!restarts(&plan), "{plan}");
    }
    assert_eq!(secrets(&world), had);

    // Nobody needs a certificate any more: it stays for a while, and then its owner can remove it.
    world.swarm().remove_service("shop").unwrap();
    world.swarm().settle();
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    assert!(!restarts(&outcome.plan), "{}", outcome.plan);
    world.swarm().tick(Duration::from_secs(90));
    world.converge(&mut mind).await;
    assert_eq!(secrets(&world), Vec::<String>::new());
}

#[tokio::test]
async fn a_certificate_that_is_no_secret_keeps_the_last_good_route() {
    let (world, mut mind) = deployed(hitless()).await;
    label(&world, "shop", &[("ssl_cert", "nowhere.pem")]);
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    assert!(outcome.plan.is_empty(), "{}", outcome.plan);
    let told: Vec<_> = outcome.problems.iter().map(ToString::to_string).collect();
    assert!(told[0].contains("com.docker.lb.ssl_cert=\"nowhere.pem\" is not a secret of this Swarm"), "{told:?}");
    assert!(delivered(&outcome)[0].contains("shop.example.com"));
    world.swarm().create_secret(json!({ "Name": "nowhere.pem", "Data": "c2VjcmV0" })).unwrap();
    world.converge(&mut mind).await;
    assert_eq!(secrets(&world), ["nowhere.pem"]);
}

#[tokio::test]
async fn a_roll_that_takes_too_long_is_taken_back() {
    let (mut world, mut mind) = deployed(hitless()).await;
    let before = spec(&world);
    let has = |spec: &Value| spec["TaskTemplate"]["ContainerSpec"]["Image"] == "slow:1";
    world.swarm().script.fate_when(PROXY, move |task| has(task.spec), Fate::StartAfter(Duration::from_secs(3600)));
    world.settings = settings(&format!("{HITLESS}ProxyImage = \"slow:1\"\n"));
    let _roll = world.pass(&mut mind).await.unwrap();
    world.swarm().tick(Duration::from_secs(30));
    let plan = world.pass(&mut mind).await.unwrap();
    assert!(plan.is_empty() && !plan.waiting.is_empty(), "{plan}");
    for _ in 0..8 {
        world.swarm().tick(Duration::from_secs(15));
        let plan = world.pass(&mut mind).await.unwrap();
        assert!(plan.is_empty() && !plan.waiting.is_empty(), "{plan}");
    }
    world.swarm().tick(Duration::from_secs(15));
    let (outcome, observation) = world.decide(&mut mind).await.unwrap();
    assert!(matches!(outcome.plan.steps[0].action, Action::RollBackService { .. }), "{}", outcome.plan);
    assert!(outcome.problems.iter().any(|problem| problem.effect == Effect::Kept), "{:?}", outcome.problems);
    assert!(world.apply(&outcome.plan, &observation).await.is_empty());
    world.swarm().settle();
    assert_eq!(spec(&world)["TaskTemplate"], before["TaskTemplate"]);
    assert_eq!(world.swarm().running(PROXY).len(), 2);
    let plan = world.pass(&mut mind).await.unwrap();
    assert!(plan.is_empty(), "it is not tried again: {plan}");
}

#[tokio::test]
async fn what_one_cluster_does_touches_no_object_of_another() {
    let two = settings(
        "[Extensions.a]\nServiceCluster = \"a\"\nHitlessServiceUpdate = true\nPublishMode = \"host\"\n\
         [Extensions.b]\nServiceCluster = \"b\"\nPublishMode = \"host\"\nPublishedPort = 8090\nPublishedSSLPort = 8453\n",
    );
    let mut swarm = with_authority(Swarm::three_nodes()).overlay("demo").overlay("back");
    for (name, cluster) in [("one", "a"), ("two", "b")] {
        swarm
            .service(name)
            .label("com.docker.lb.hosts", &format!("{name}.example.com"))
            .label("com.docker.lb.port", "8080")
            .label("com.docker.lb.service_cluster", cluster)
            .network("demo")
            .create();
    }
    swarm.settle();
    let world = World::new(swarm, two).await;
    let mut mind = Mind::default();
    world.converge(&mut mind).await;
    let version = |name: &str| world.swarm().service_json(name)["Version"]["Index"].clone();
    let (a, b) = (version("interlock-proxy-a"), version("interlock-proxy-b"));
    world.swarm().edit_service("one", |spec| spec["Labels"]["com.docker.lb.hosts"] = json!("uno.example.com")).unwrap();
    world.converge(&mut mind).await;
    assert_eq!((version("interlock-proxy-a"), version("interlock-proxy-b")), (a.clone(), b.clone()));
    world.swarm().edit_service("two", |spec| spec["Labels"]["com.docker.lb.hosts"] = json!("dos.example.com")).unwrap();
    world.converge(&mut mind).await;
    assert_eq!(version("interlock-proxy-a"), a);
    assert_ne!(version("interlock-proxy-b"), b);
}
