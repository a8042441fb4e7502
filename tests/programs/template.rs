//! K6: templates of operators' own, on the real nginx, and over time on a fake Swarm.

use crate::support::nginx::{Nginx, accepts, application};
use crate::support::pki::Authority;
use crate::support::routes::{app, inputs, labelled, status};
use crate::support::settings;
use crate::support::world::{Mind, World, route, with_authority};
use interlock_core::kinds::{RenderError, Rendering};
use interlock_core::ownership;
use interlock_core::problem::Effect;
use interlock_core::proxy_config::template;
use interlock_core::reconcile::{Inputs, reconcile_embedded};
use interlock_core::swarm::{Config, Labels, Snapshot};
use interlock_testkit::Swarm;
use serde_json::json;

const TOML: &str = "[Extensions.default]\nTemplate = \"ours\"\n";
/// The one that the documentation shows.
const EXAMPLE: &str = include_str!("../../docs/own-template.conf.hbs");

fn config(name: &str, data: &str) -> Config {
    let created_at = "2026-01-01T00:00:00Z".parse().unwrap();
    Config { id: name.into(), name: name.to_owned(), created_at, labels: Labels::new(), data: data.to_owned() }
}

/// What is made of these services with this template.
fn made(mut inputs: Inputs, template: &str) -> Rendering {
    inputs.snapshot.configs.push(config("ours", template));
    let (_, renderings) = reconcile_embedded(&inputs);
    renderings.into_values().next().unwrap()
}

#[test]
fn k6_the_documented_template_routes_as_it_says() {
    let authority = Authority::new();
    let pair = authority.pair("shop.example.com");
    let (shop, app_address) = ("127.13.1.1", "127.13.1.2");
    application("shop", &format!("{shop}:19300"));
    application("below", &format!("{app_address}:19300"));
    let tls = [("hosts", "shop.example.com"), ("ssl_cert", "shop.pem"), ("ip_hash", "true")];
    let below = [("hosts", "shop.example.com"), ("context_root", "/below"), ("ssl_cert", "shop.pem")];
    let services = labelled("shop", 19_300, &tls) + &labelled("below", 19_300, &below);
    let tasks = [("shop", shop), ("below", app_address)];
    let toml = format!("{TOML}[Extensions.default.Config]\nHTTPOptions = [\"add_header X-Option yes;\"]\n");
    let files = made(inputs(&services, &tasks, &["shop.pem"], &toml), EXAMPLE).result.unwrap();
    accepts(&files).unwrap();
    let nginx = Nginx::start_with(&files, &[("shop.pem", &(pair.certificate + &pair.key))]);
    let answer = nginx.get("shop.example.com", "/x");
    assert!(app(&answer) == Some("shop") && answer.contains("X-Served-By: interlock/"), "{answer}{}", nginx.log());
    assert_eq!(app(&nginx.get("shop.example.com", "/below/x")), Some("below"));
    assert_eq!(app(&nginx.get("shop.example.com", "/belowground")), Some("shop"));
    assert_eq!(status(&nginx.get("other.example.com", "/")), "503");
}

#[test]
fn every_fixture_can_be_rendered_by_the_documented_template() {
    for scenario in crate::support::Scenario::for_nginx() {
        let mut inputs = scenario.inputs();
        for extension in inputs.settings.extensions.values_mut() {
            extension.template = Some("example".to_owned());
        }
        inputs.snapshot.configs.push(config("example", EXAMPLE));
        for rendering in reconcile_embedded(&inputs).1.into_values() {
            rendering.result.unwrap_or_else(|error| panic!("{}: {error}", scenario.name));
        }
    }
}

#[test]
fn what_is_wrong_with_a_template_is_told_with_its_place() {
    let services = labelled("shop", 80, &[("hosts", "shop.example.com")]);
    let inputs = || inputs(&services, &[("shop", "10.0.0.1")], &[], TOML);
    for (text, wrong) in [
        ("http {\n  listen {{Portt}};\n}", "line 2, column 10: there is no Portt"),
        ("{{#each Hosts}}", "line 1, column 16: this is no Handlebars"),
        ("{{nobody 1}}", "nobody"),
        ("{{#*inline \"a\"}}{{> b}}{{/inline}}{{#*inline \"b\"}}{{> a}}{{/inline}}{{> a}}", "inline"),
    ] {
        let error = made(inputs(), text).result.unwrap_err();
        assert!(matches!(error, RenderError::Template(_)) && error.to_string().contains(wrong), "{text}: {error}");
    }
    let (outcome, renderings) = reconcile_embedded(&inputs());
    let error = renderings.into_values().next().unwrap().result.unwrap_err();
    assert_eq!(error, RenderError::NoTemplate("ours".to_owned()));
    let told: Vec<_> = outcome.problems.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|told| told.contains("its template ours does not exist as a config object")), "{told:?}");
}

#[tokio::test]
async fn a_template_that_fails_keeps_what_is_deployed_and_says_so() {
    let mut swarm = Swarm::three_nodes().overlay("demo");
    route(&mut swarm, "shop", "demo");
    swarm.settle();
    let world = World::new(swarm, settings("")).await;
    let mut mind = Mind::default();
    world.converge(&mut mind).await;
    let built_in = mounted(&world);

    let world = world.with(settings(TOML));
    world.swarm().config("ours", "{{Nothing}}");
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    assert!(outcome.plan.is_empty(), "{}", outcome.plan);
    assert!(outcome.problems.iter().any(|problem| problem.effect == Effect::Kept), "{:?}", outcome.problems);
    assert_eq!(mounted(&world), built_in);

    // Mended, as config objects are: by another one of the same name.
    world.swarm().remove_config("ours").unwrap();
    world.swarm().config("ours", "# {{Revision}}\nevents {}\nhttp {\n{{Health}}\n}\n");
    world.converge(&mut mind).await;
    assert_ne!(mounted(&world), built_in);

    let world = world.with(settings(""));
    world.converge(&mut mind).await;
    assert_eq!(mounted(&world), built_in, "the built-in one is back");
}

/// The config object that the proxies are started with.
fn mounted(world: &World) -> String {
    let spec = world.swarm().service_json("interlock-proxy");
    spec["Spec"]["TaskTemplate"]["ContainerSpec"]["Configs"][0]["ConfigName"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn k6_a_template_that_is_mounted_in_the_extension_counts_while_it_is_there() {
    let mut swarm = with_authority(Swarm::three_nodes()).overlay("demo");
    route(&mut swarm, "shop", "demo");
    swarm.settle();
    let toml = "EndpointOverride = \"core.test:8080\"\n[Extensions.default]\nImage = \"interlock:1\"\n";
    let world = World::new(swarm, settings(toml)).await;
    let mut mind = Mind::default();
    world.converge(&mut mind).await;
    let id = world.swarm().config("by-hand", "# by hand {{Revision}}\nevents {}\nhttp {\n{{Health}}\n}\n");
    let path = template::PATH;
    let mount = json!([{ "ConfigID": id, "ConfigName": "by-hand", "File": { "Name": path, "UID": "0", "GID": "0", "Mode": 0o444 } }]);
    world
        .swarm()
        .edit_service("interlock-extension", |spec| spec["TaskTemplate"]["ContainerSpec"]["Configs"] = mount)
        .unwrap();
    world.converge(&mut mind).await;
    let observation = world.observe().await.unwrap();
    assert!(served(&observation.snapshot).contains("# by hand"), "{}", served(&observation.snapshot));
    let configs = world.swarm().service_json("interlock-extension")["Spec"]["TaskTemplate"]["ContainerSpec"]["Configs"]
        .as_array()
        .cloned()
        .unwrap();
    assert!(configs.iter().any(|config| config["ConfigName"] == "by-hand"), "what somebody mounted stays: {configs:?}");

    world
        .swarm()
        .edit_service("interlock-extension", |spec| spec["TaskTemplate"]["ContainerSpec"]["Configs"] = json!([]))
        .unwrap();
    world.converge(&mut mind).await;
    assert!(served(&world.observe().await.unwrap().snapshot).contains("Written by interlock"));
}

/// Anybody who may name and label a service can mount something there.
#[tokio::test]
async fn a_template_in_a_service_that_only_looks_like_the_extension_is_nobodys() {
    let mut swarm = Swarm::three_nodes().overlay("demo");
    route(&mut swarm, "shop", "demo");
    swarm.config("theirs", "# theirs\nevents {}\nhttp {\n{{Health}}\n}\n");
    swarm
        .service("interlock-extension")
        .label(ownership::OWNER, ownership::OWNER_VALUE)
        .label(ownership::TYPE, ownership::TYPE_EXTENSION)
        .config("theirs", template::PATH)
        .create();
    swarm.settle();
    let snapshot = World::new(swarm, settings("")).await.observe().await.unwrap().snapshot;
    for toml in ["", "[Extensions.default]\nImage = \"interlock:1\"\n"] {
        let (outcome, _) = reconcile_embedded(&Inputs::new(snapshot.clone(), settings(toml)));
        assert!(outcome.proxy_configs.values().all(|config| config.proxy.template.is_none()), "{toml}");
    }
}

/// What the mounted config object holds.
fn served(snapshot: &Snapshot) -> &str {
    let proxy = snapshot.services().find(|service| service.spec.name == "interlock-proxy").unwrap();
    let main = proxy.spec.configs.iter().find(|mount| mount.target == "/etc/nginx/nginx.conf").unwrap();
    &snapshot.configs.iter().find(|config| config.id == main.id).unwrap().data
}
