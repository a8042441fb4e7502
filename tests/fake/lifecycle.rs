//! What happens over time: changes, failures, hands of other people. Each test tells one story on a Swarm that keeps state.

use std::time::Duration;

use crate::support::settings;
use crate::support::world::{Mind, World, route, with_authority};
use interlock_core::ownership;
use interlock_core::plan::Plan;
use interlock_core::problem::Effect;
use interlock_testkit::Swarm;
use interlock_testkit::script::{Fault, Rule};
use serde_json::{Value, json};

const PROXY: &str = "interlock-proxy";

fn with_shop() -> Swarm {
    let mut swarm = Swarm::three_nodes().overlay("demo").overlay("back");
    route(&mut swarm, "shop", "demo");
    swarm.settle();
    swarm
}

async fn deployed() -> (World, Mind) {
    let world = World::new(with_shop(), settings("")).await;
    let mut mind = Mind::default();
    world.converge(&mut mind).await;
    (world, mind)
}

/// The configuration that the proxy service mounts.
fn mounted(world: &World) -> String {
    let spec = world.swarm().service_json(PROXY);
    let name = spec["Spec"]["TaskTemplate"]["ContainerSpec"]["Configs"][0]["ConfigName"].as_str().unwrap().to_owned();
    String::from_utf8(world.swarm().config_bytes(&name).unwrap()).unwrap()
}

fn networks(world: &World) -> usize {
    world.swarm().service_json(PROXY)["Spec"]["TaskTemplate"]["Networks"].as_array().map_or(0, Vec::len)
}

fn lines(plan: &Plan) -> Vec<String> {
    plan.to_string().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_network_is_attached_with_its_first_route_and_detached_with_its_last() {
    let (world, mut mind) = deployed().await;
    assert_eq!(networks(&world), 1);
    route(&mut world.swarm(), "late", "back");
    world.swarm().settle();
    let plan = world.pass(&mut mind).await.unwrap();
    assert!(
        lines(&plan).iter().any(|line| line.contains("networks attached: back") && line.contains("replaces its tasks")),
        "{plan}"
    );
    world.converge(&mut mind).await;
    assert_eq!(networks(&world), 2);
    assert!(world.swarm().remove_network("back").is_err(), "it is in use");
    world.swarm().remove_service("late").unwrap();
    world.swarm().settle();
    world.converge(&mut mind).await;
    assert_eq!(networks(&world), 1);
    world.swarm().remove_network("back").unwrap();
}

#[tokio::test]
async fn tasks_behind_a_virtual_ip_come_and_go_unnoticed() {
    let mut swarm = with_shop();
    let labels = [("hosts", "vip.example.com"), ("port", "8080"), ("backend_mode", "vip")];
    let service = swarm.service("vip").network("demo").replicas(1);
    labels.iter().fold(service, |service, (key, value)| service.label(&format!("com.docker.lb.{key}"), value)).create();
    swarm.settle();
    let world = World::new(swarm, settings("")).await;
    let mut mind = Mind::default();
    world.converge(&mut mind).await;
    let edit = |spec: &mut Value| spec["TaskTemplate"]["ContainerSpec"]["Env"] = json!(["A=b"]);
    world.swarm().edit_service("vip", edit).unwrap();
    for _ in 0..40 {
        world.swarm().tick(std::time::Duration::from_millis(250));
        let plan = world.pass(&mut mind).await.unwrap();
        assert!(plan.is_empty(), "its only task is replaced: {plan}");
    }
    assert!(mounted(&world).contains("vip.example.com"));
    world.swarm().scale("vip", 0);
    world.swarm().settle();
    world.converge(&mut mind).await;
    assert!(!mounted(&world).contains("vip.8080"), "nobody is wanted behind it");
}

#[tokio::test]
async fn changes_during_a_roll_go_into_the_next_one() {
    let (world, mut mind) = deployed().await;
    route(&mut world.swarm(), "one", "demo");
    world.swarm().settle();
    let first = world.pass(&mut mind).await.unwrap();
    assert!(first.steps.iter().any(|step| step.restarts_tasks), "{first}");
    // Swarm takes a moment to begin.
    world.swarm().tick(std::time::Duration::from_millis(500));
    for name in ["two", "three"] {
        route(&mut world.swarm(), name, "demo");
        let plan = world.pass(&mut mind).await.unwrap();
        assert!(plan.steps.is_empty() && !plan.waiting.is_empty(), "{plan}");
    }
    world.swarm().settle();
    let writes = world.swarm().writes();
    world.converge(&mut mind).await;
    let text = mounted(&world);
    assert!(["one", "two", "three"].iter().all(|name| text.contains(&format!("{name}.example.com"))), "{text}");
    // One config object, one update, and what the first roll left behind.
    assert!(world.swarm().writes() - writes <= 4);
}

#[tokio::test]
async fn a_configuration_that_the_proxies_refuse_is_not_tried_again() {
    let (world, mut mind) = deployed().await;
    let good = mounted(&world);
    world.swarm().script.refuse_configs_with(PROXY, "bad.example.com");
    route(&mut world.swarm(), "bad", "demo");
    world.swarm().settle();
    let _roll = world.pass(&mut mind).await.unwrap();
    world.swarm().settle();
    assert_eq!(mounted(&world), good, "Swarm took the update back");
    let writes = world.swarm().writes();
    for mind in [&mut mind, &mut Mind::default()] {
        for _ in 0..3 {
            let (outcome, _) = world.decide(mind).await.unwrap();
            assert!(outcome.plan.is_empty(), "{}", outcome.plan);
            assert!(outcome.problems.iter().any(|problem| problem.effect == Effect::Kept), "{:?}", outcome.problems);
        }
    }
    assert_eq!(world.swarm().writes(), writes);
    // Something else to do: tried at once.
    world.swarm().remove_service("bad").unwrap();
    route(&mut world.swarm(), "other", "demo");
    world.swarm().settle();
    world.converge(&mut mind).await;
    assert!(mounted(&world).contains("other.example.com"));
    assert_eq!(world.swarm().running(PROXY).len(), 2);
}

#[tokio::test]
async fn settings_that_the_proxies_do_not_start_with_are_not_tried_again() {
    let (mut world, mut mind) = deployed().await;
    world.swarm().script.fate_when(
        PROXY,
        |task| {
            task.spec["TaskTemplate"]["ContainerSpec"]["Image"].as_str().is_some_and(|image| image.contains("broken"))
        },
        interlock_testkit::script::Fate::Reject { why: "No such image: broken:1".into() },
    );
    world.settings = settings("[Extensions.default]\nProxyImage = \"broken:1\"");
    let _roll = world.pass(&mut mind).await.unwrap();
    world.swarm().settle();
    let writes = world.swarm().writes();
    for _ in 0..3 {
        let (outcome, _) = world.decide(&mut mind).await.unwrap();
        assert!(outcome.plan.is_empty(), "{}", outcome.plan);
        assert!(outcome.problems[0].to_string().contains("No such image"), "{}", outcome.problems[0]);
    }
    assert_eq!(world.swarm().writes(), writes);
}

#[tokio::test]
async fn a_hand_edit_survives_until_the_settings_change_that_field() {
    let (mut world, mut mind) = deployed().await;
    world
        .swarm()
        .edit_service(PROXY, |spec| {
            spec["Mode"]["Replicated"]["Replicas"] = json!(3);
            spec["TaskTemplate"]["ContainerSpec"]["Env"] = json!(["X=1"]);
            spec["Labels"]["mine"] = json!("yes");
            spec["TaskTemplate"]["FieldOfANewerEngine"] = json!({ "On": true });
        })
        .unwrap();
    world.swarm().settle();
    let look = |world: &World| {
        let spec = world.swarm().service_json(PROXY)["Spec"].clone();
        let task = &spec["TaskTemplate"];
        json!([
            spec["Mode"]["Replicated"]["Replicas"],
            task["ContainerSpec"]["Env"],
            spec["Labels"]["mine"],
            task["FieldOfANewerEngine"]
        ])
    };
    let edited = json!([3, ["X=1"], "yes", { "On": true }]);
    assert!(world.pass(&mut mind).await.unwrap().is_empty());
    route(&mut world.swarm(), "late", "back");
    world.swarm().settle();
    world.converge(&mut mind).await;
    assert_eq!(look(&world), edited);
    world.settings = settings("[Extensions.default]\nProxyStopGracePeriod = \"9s\"");
    world.converge(&mut mind).await;
    assert_eq!(look(&world), edited, "another field of the settings changed");
    world.settings = settings("[Extensions.default]\nProxyStopGracePeriod = \"9s\"\nProxyReplicas = 1");
    world.converge(&mut mind).await;
    assert_eq!(look(&world)[0], 1);
    assert_eq!(look(&world)[1], json!(["X=1"]));
}

#[tokio::test]
async fn labels_of_the_settings_come_and_go_without_touching_others() {
    let (mut world, mut mind) = deployed().await;
    world.swarm().edit_service(PROXY, |spec| spec["Labels"]["mine"] = json!("yes")).unwrap();
    world.settings = settings("[Extensions.default]\n[Extensions.default.ProxyLabels]\nteam = \"edge\"");
    world.converge(&mut mind).await;
    let label = |world: &World, key: &str| world.swarm().service_json(PROXY)["Spec"]["Labels"][key].clone();
    assert_eq!((label(&world, "team"), label(&world, "mine")), (json!("edge"), json!("yes")));
    world.settings = settings("[Extensions.default]");
    world.converge(&mut mind).await;
    assert_eq!((label(&world, "team"), label(&world, "mine")), (Value::Null, json!("yes")));
}

#[tokio::test]
async fn a_proxy_service_that_somebody_removed_comes_back() {
    let (world, mut mind) = deployed().await;
    world.swarm().remove_service(PROXY).unwrap();
    world.swarm().settle();
    world.converge(&mut mind).await;
    assert_eq!(world.swarm().running(PROXY).len(), 2);
}

#[tokio::test]
async fn an_extension_that_the_settings_lose_takes_its_proxies_along_and_no_others() {
    let two = "[Extensions.default]\n[Extensions.east]\nServiceCluster = \"east\"\nPublishedPort = 9080\nPublishedSSLPort = 9443\n";
    let mut world = World::new(with_shop(), settings(two)).await;
    let mut mind = Mind::default();
    world.converge(&mut mind).await;
    assert!(world.swarm().find_service("interlock-proxy-east").is_some());
    let before = world.swarm().service_json(PROXY);
    world.age(&mut mind).await;
    world.settings = settings("[Extensions.default]");
    world.converge(&mut mind).await;
    assert!(world.swarm().find_service("interlock-proxy-east").is_none());
    assert_eq!(world.swarm().service_json(PROXY), before);
    assert_eq!(world.swarm().configs().count(), 1);
}

#[tokio::test]
async fn a_change_in_one_service_cluster_touches_no_object_of_another() {
    let two = "[Extensions.default]\n[Extensions.east]\nServiceCluster = \"east\"\nPublishedPort = 9080\nPublishedSSLPort = 9443\n";
    let world = World::new(with_shop(), settings(two)).await;
    let mut mind = Mind::default();
    world.converge(&mut mind).await;
    let before = world.swarm().service_json("interlock-proxy-east");
    route(&mut world.swarm(), "late", "back");
    world.swarm().settle();
    world.converge(&mut mind).await;
    assert_eq!(world.swarm().service_json("interlock-proxy-east"), before);
}

#[tokio::test]
async fn a_label_that_turned_bad_keeps_the_route_with_the_addresses_of_today() {
    let (world, mut mind) = deployed().await;
    world.swarm().edit_service("shop", |spec| spec["Labels"]["com.docker.lb.port"] = json!("eighty")).unwrap();
    world.swarm().settle();
    assert!(world.pass(&mut mind).await.unwrap().is_empty());
    world.swarm().scale("shop", 3);
    world.swarm().settle();
    world.converge(&mut mind).await;
    assert_eq!(mounted(&world).matches(":8080;").count(), 3);
    // Another update of the bad service: Swarm forgets the good labels, this process does not.
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    assert!(outcome.problems.iter().any(|problem| problem.effect == Effect::LastGood));
}

#[tokio::test]
async fn a_large_configuration_is_split_and_a_larger_one_refused() {
    let mut swarm = with_shop();
    for i in 0..120 {
        swarm
            .service(&format!("app-{i}"))
            .label("com.docker.lb.hosts", &format!("app-{i}.example.com"))
            .label("com.docker.lb.port", "8080")
            .network("demo")
            .create();
    }
    swarm.settle();
    let world = World::new(swarm, settings("")).await;
    let mut observation = world.observe().await.unwrap();
    let mut plan = |limit: usize| {
        observation.snapshot.engine.config_limit = Some(limit);
        let inputs = interlock_core::reconcile::Inputs::new(observation.snapshot.clone(), world.settings.clone());

        interlock_core::reconcile::reconcile_embedded(&inputs).0
    };
    let split = plan(8_000);
    assert!(split.plan.steps.len() > 3, "{}", split.plan);
    assert!(split.plan.steps.iter().all(|step| !matches!(&step.action, interlock_core::plan::Action::CreateConfig { name, data, .. } if name.len() > 64 || data.len() > 8_000)));
    assert!(world.apply(&split.plan, &world.observe().await.unwrap()).await.is_empty());
    world.swarm().settle();
    assert_eq!(world.swarm().running(PROXY).len(), 2);
    let refused = plan(1_000);
    assert!(
        refused.problems.iter().any(|problem| problem.wrong.contains("is the most that")),
        "{:?}",
        refused.problems
    );
    assert!(!refused.plan.steps.iter().any(|step| step.restarts_tasks), "{}", refused.plan);
}

const TWO: &str = "EndpointOverride = \"core.test:8080\"\n[Extensions.default]\n[Extensions.two]\n\
                   ServiceCluster = \"two\"\nHitlessServiceUpdate = true\n\
                   PublishedPort = 8090\nPublishedSSLPort = 8453\n";

/// Somebody may have made it for a service that comes next.
#[tokio::test]
async fn what_was_made_a_moment_ago_is_not_removed() {
    let (world, mut mind) = deployed().await;
    let network = ownership::proxy_network(&"two".parse().unwrap());
    let labels = json!({ ownership::OWNER: ownership::OWNER_VALUE, ownership::CLUSTER: "two" });
    world.swarm().create_network(json!({ "Name": network, "Driver": "overlay", "Labels": labels })).unwrap();
    let config = format!("{}two.0.agent", ownership::CONFIG_PREFIX);
    world.swarm().create_config(json!({ "Name": config, "Labels": labels, "Data": "YQ==" })).unwrap();
    for _ in 0..5 {
        let plan = world.pass(&mut mind).await.unwrap();
        assert!(plan.is_empty(), "{plan}");
        world.swarm().tick(Duration::from_secs(11));
    }
    world.swarm().tick(Duration::from_secs(10));
    let plan = world.pass(&mut mind).await.unwrap();
    assert_eq!(plan.steps.len(), 2, "{plan}");
}

/// A core that is about to be replaced has older settings than its service mounts.
#[tokio::test]
async fn what_the_newest_settings_on_the_swarm_want_is_not_removed() {
    let mut swarm = with_authority(with_shop());
    let labels = json!({ ownership::OWNER: ownership::OWNER_VALUE });
    let unknown = "[Extensions.default]\n[Novelties]\nKey = 1\n";
    for (name, text) in [("two", TWO), ("unknown", unknown)] {
        let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
        let name = format!("{}{name}", ownership::SETTINGS_PREFIX);
        swarm.create_config(json!({ "Name": name, "Labels": labels, "Data": data })).unwrap();
    }
    let mount = |name: &str| format!("{}{name}", ownership::SETTINGS_PREFIX);
    let core = swarm
        .service("interlock-core")
        .label(ownership::OWNER, ownership::OWNER_VALUE)
        .label(ownership::TYPE, ownership::TYPE_CORE)
        .secret(ownership::AUTHORITY_SECRET);
    core.config(&mount("two"), "/etc/interlock/config.toml").create();
    swarm
        .service("two-shop")
        .label("com.docker.lb.hosts", "two.example.com")
        .label("com.docker.lb.port", "8080")
        .label("com.docker.lb.service_cluster", "two")
        .network("demo")
        .create();
    swarm.settle();
    let mut world = World::new(swarm, settings(TWO)).await;
    world.converge(&mut Mind::default()).await;
    world.swarm().tick(Duration::from_secs(100));
    world.settings = settings("[Extensions.default]\n");
    let plan = world.pass(&mut Mind::default()).await.unwrap();
    assert!(plan.is_empty(), "{plan}");
    assert!(world.swarm().find_service("interlock-proxy-two").is_some());

    // Settings of a later version may want anything.
    let id = world.swarm().configs().find(|config| config.name() == mount("unknown")).unwrap().meta.id.clone();
    let remount = |spec: &mut Value| {
        let config = &mut spec["TaskTemplate"]["ContainerSpec"]["Configs"][0];
        (config["ConfigID"], config["ConfigName"]) = (json!(id), json!(mount("unknown")));
    };
    world.swarm().edit_service("interlock-core", remount).unwrap();
    let plan = world.pass(&mut Mind::default()).await.unwrap();
    assert!(plan.is_empty(), "{plan}");

    // Where core's own settings are the newest, what they do not want goes.
    world.swarm().remove_service("interlock-core").unwrap();
    world.swarm().settle();
    let plan = world.pass(&mut Mind::default()).await.unwrap();
    assert!(plan.to_string().contains("- service interlock-proxy-two"), "{plan}");
}

/// The list of a service's tasks is a 404 when the service is gone.
#[tokio::test]
async fn a_service_that_goes_between_two_reads_is_gone_and_no_error() {
    let (world, _) = deployed().await;
    let late = Fault::Delay(Duration::from_millis(500));
    world.swarm().script.rule(Rule::method("GET", "/services", late).times(1));
    let goes = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        world.swarm().remove_service(PROXY).unwrap();
    };
    let (observed, ()) = tokio::join!(world.observe(), goes);
    assert!(observed.unwrap().snapshot.services().all(|service| service.spec.name != PROXY));
}
