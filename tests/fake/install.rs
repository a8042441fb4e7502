//! Setting interlock up and taking it away, on a fake Swarm through the real adapter.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::settings;
use crate::support::world::{Mind, World, route, with_authority};
use interlock_core::deployment::AgentFile;
use interlock_core::docker::{Client, Endpoint};
use interlock_core::install::{self, Core};
use interlock_core::kinds::{self, RenderError, Rendering, Renderings};
use interlock_core::ownership;
use interlock_core::plan::{Action, Created};
use interlock_core::proxy_config::ProxyConfig;
use interlock_core::reconcile::{Inputs, Outcome, reconcile, reconcile_embedded};
use interlock_core::runtime::{self, Error, Options, Progress};
use interlock_core::swarm::Snapshot;
use interlock_core::trust::Authority;
use interlock_testkit::script::{Fate, Fault, Rule};
use interlock_testkit::{ApiError, Engine, Swarm, server};
use serde_json::{Value, json};
use tokio::sync::watch;

const SETTINGS: &str = "[Extensions.default]\nHitlessServiceUpdate = true\n";

struct Site {
    handle: server::Handle,
    _folder: tempfile::TempDir,
}

impl Site {
    fn new(swarm: Swarm) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let handle = server::serve(Arc::new(Mutex::new(swarm)), folder.path()).unwrap().with_clock(30.0);
        Self { handle, _folder: folder }
    }

    fn options(&self) -> Options {
        Options::new(Endpoint::at(self.handle.url()))
    }

    async fn install(&self, text: &str) -> Result<Vec<String>, Error> {
        let mut done = Vec::new();
        let tell = |progress| {
            if let Progress::Done(step) = progress {
                done.push(step.action.object());
            }
        };
        runtime::install(&core(text), None, &self.options(), Duration::from_secs(60), tell).await?;
        Ok(done)
    }

    async fn snapshot(&self) -> Snapshot {
        let client = Client::connect(&self.options().endpoint).await.unwrap();
        client.observe(jiff::Timestamp::UNIX_EPOCH).await.unwrap().snapshot
    }

    fn core(&self) -> Value {
        self.handle.swarm().service_json("interlock-core")["Spec"].clone()
    }
}

fn core(text: &str) -> Core {
    Core {
        name: "interlock-core".to_owned(),
        image: "interlock:1".to_owned(),
        settings: settings(text),
        text: text.to_owned(),
    }
}

#[tokio::test]
async fn installing_twice_writes_once() {
    let site = Site::new(Swarm::three_nodes());
    let planned = install::install(&site.snapshot().await, &core(SETTINGS), None).0;
    assert_eq!(site.handle.swarm().writes(), 0, "a plan is no write");
    let done = site.install(SETTINGS).await.unwrap();
    assert_eq!(done, planned.steps.iter().map(|step| step.action.object()).collect::<Vec<_>>());
    assert_eq!(done.len(), 5, "two networks, the authority, the settings, core: {done:?}");
    let writes = site.handle.swarm().writes();
    assert_eq!(site.install(SETTINGS).await.unwrap(), [""; 0]);
    assert_eq!(site.handle.swarm().writes(), writes);

    let container = &site.core()["TaskTemplate"]["ContainerSpec"];
    assert_eq!(container["Secrets"][0]["File"]["Name"], "interlock-authority");
    assert_eq!(container["Configs"][0]["File"]["Name"], "/etc/interlock/config.toml");
    assert_eq!(container["ReadOnly"], true);
    // What stands in the secret is an authority, and its fingerprint is its label.
    let secret = site.snapshot().await.secrets.remove(0);
    let pem = String::from_utf8(site.handle.swarm().secret_bytes(&secret.name).unwrap()).unwrap();
    let authority = interlock_core::trust::Authority::from_pem(&pem).unwrap();
    assert_eq!(secret.labels[interlock_core::ownership::FINGERPRINT], authority.fingerprint().to_string());
}

/// Only the proxy's checker understands an operator's lines.
#[tokio::test]
async fn options_that_nginx_refuses_leave_those_of_before_in_force() {
    let with = |line: &str| format!("{SETTINGS}[Extensions.default.Config]\nHTTPOptions = [{line:?}]\n");
    let site = Site::new(Swarm::three_nodes().overlay("demo"));
    site.install(&with("good on;")).await.unwrap();
    site.install(&with("bad on;")).await.unwrap();
    route(&mut site.handle.swarm(), "shop", "demo");
    site.handle.swarm().settle();
    let mut inputs = Inputs::new(site.snapshot().await, settings(&with("bad on;")));
    let decide = |inputs: &Inputs| {
        let outcome = reconcile(inputs);
        let config = outcome.proxy_configs.values().next().unwrap().clone();
        let text = kinds::render(&config, usize::MAX / 64).result.unwrap()[0].content.clone();
        let told = outcome.problems.iter().filter(|it| it.to_string().contains("rejects the options")).count();
        (outcome, ["good on;", "bad on;"].map(|line| text.contains(line)), told)
    };
    let refuses = |outcome: &Outcome| -> Renderings {
        let error = || Err(RenderError::RefusedSettings("unknown directive \"bad\"".to_owned()));
        let configs = outcome.proxy_configs.iter();
        configs.map(|(key, it)| (key.clone(), Rendering { revision: it.revision.clone(), result: error() })).collect()
    };
    let (outcome, lines, told) = decide(&inputs);
    assert_eq!((lines, told), ([false, true], 0), "who has not looked takes it");
    inputs.renderings = refuses(&outcome);
    let (outcome, lines, told) = decide(&inputs);
    assert_eq!((lines, told), ([true, false], 1), "{:?}", outcome.problems);
    // It stays so while routes change.
    inputs.memory = outcome.memory.clone();
    inputs.renderings.clear();
    route(&mut site.handle.swarm(), "blog", "demo");
    site.handle.swarm().settle();
    inputs.snapshot = site.snapshot().await;
    let (changed, lines, told) = decide(&inputs);
    assert_eq!((lines, told), ([true, false], 1), "{:?}", changed.problems);
    assert_ne!(changed.proxy_configs, outcome.proxy_configs);
    // If those of before are refused as well, there is nothing to fall back to.
    inputs.renderings = refuses(&changed);
    let (outcome, lines, told) = decide(&inputs);
    assert_eq!(lines, [false, true], "{:?}", outcome.problems);
    inputs.memory = outcome.memory;
    inputs.renderings = refuses(&decide(&inputs).0);
    let problems = decide(&inputs).0.problems;
    assert!(problems.iter().any(|it| it.to_string().contains("unknown directive")), "{told} {problems:?}");
}

/// A newer NGINX may refuse what an older one accepted. What was accepted may protect, and the settings before it may not.
#[tokio::test]
async fn options_that_were_accepted_once_are_not_given_up_for_those_of_before() {
    let with = |line: &str| format!("{SETTINGS}[Extensions.default.Config]\nHTTPOptions = [{line:?}]\n");
    let site = Site::new(Swarm::three_nodes().overlay("demo"));
    site.install(&with("weak on;")).await.unwrap();
    site.install(&with("strong on;")).await.unwrap();
    route(&mut site.handle.swarm(), "shop", "demo");
    site.handle.swarm().settle();
    let secret = site.snapshot().await.secrets.remove(0);
    let pem = String::from_utf8(site.handle.swarm().secret_bytes(&secret.name).unwrap()).unwrap();
    let authority = Some(Arc::new(Authority::from_pem(&pem).unwrap()));
    let client = Client::connect(&site.options().endpoint).await.unwrap().with_authority(authority);
    let look = || async { client.observe(jiff::Timestamp::UNIX_EPOCH).await.unwrap() };
    let observation = look().await;
    let mut inputs = Inputs::new(observation.snapshot.clone(), settings(&with("strong on;")));
    let (accepted, _) = reconcile_embedded(&inputs);
    let mut created = Created::default();
    for step in &accepted.plan.steps {
        client.apply(&step.action, &observation.specs, &mut created).await.unwrap();
    }
    // Core notes that they were accepted: a hash without a message behind it.
    let noted = || site.handle.swarm().service_json("interlock-proxy")["Spec"]["Labels"][ownership::OPTIONS].clone();
    let before = noted();
    assert!(before.as_str().is_some_and(|noted| !noted.contains(' ')), "{before}");
    // With another NGINX all is refused, whatever routes change. What was accepted before is served on.
    inputs.memory = accepted.memory;
    for service in ["blog", "wiki"] {
        route(&mut site.handle.swarm(), service, "demo");
        site.handle.swarm().settle();
        let observation = look().await;
        inputs.snapshot = observation.snapshot;
        let wanted = reconcile(&inputs).proxy_configs;
        let error = RenderError::RefusedSettings("unknown directive \"strong\"".to_owned());
        let refused = |it: &ProxyConfig| Rendering { revision: it.revision.clone(), result: Err(error.clone()) };
        inputs.renderings = wanted.iter().map(|(key, config)| (key.clone(), refused(config))).collect();
        let outcome = reconcile(&inputs);
        for config in outcome.proxy_configs.values() {
            let text = kinds::render(config, usize::MAX / 64).result.unwrap()[0].content.clone();
            assert!(text.contains("strong on;") && !text.contains("weak on;"), "{text}");
        }
        let text = |it: &Rendering| it.result.as_ref().unwrap()[0].content.clone();
        let delivered: Vec<_> = outcome.deliveries.values().map(text).collect();
        assert!(!delivered.is_empty() && delivered.iter().all(|text| text.contains("strong on;")), "{delivered:?}");
        let told = outcome.problems.iter().filter(|it| it.to_string().contains("unknown directive")).count();
        assert_eq!(told, 1, "{:?}", outcome.problems);
        // The note stays, so that a core that starts anew decides alike.
        for step in &outcome.plan.steps {
            client.apply(&step.action, &observation.specs, &mut created).await.unwrap();
        }
        assert_eq!(noted(), before, "{}", outcome.plan);
        inputs.memory = outcome.memory;
    }
}

/// A newer engine is asked for more. Core that moves to a manager with an older one changes nothing, and is asked for nothing else when it
/// moves back.
#[tokio::test]
async fn m7_core_is_given_what_the_engine_has() {
    let site = Site::new(Swarm::three_nodes());
    site.handle.swarm().engine = Engine::v20_10();
    site.install(SETTINGS).await.unwrap();
    let template = || site.core()["TaskTemplate"].clone();
    let log = json!({ "Name": "json-file", "Options": { "max-size": "10m", "max-file": "5" } });
    assert_eq!((&template()["ContainerSpec"]["Privileges"], &template()["LogDriver"]), (&Value::Null, &log));
    site.handle.swarm().engine = Engine::v27();
    site.install(SETTINGS).await.unwrap();
    let privileges = json!({ "NoNewPrivileges": true });
    assert_eq!((&template()["ContainerSpec"]["Privileges"], &template()["LogDriver"]), (&privileges, &log));
    let writes = site.handle.swarm().writes();
    for engine in [Engine::v20_10(), Engine::v27()] {
        site.handle.swarm().engine = engine;
        assert_eq!(site.install(SETTINGS).await.unwrap(), [""; 0]);
    }
    assert_eq!(site.handle.swarm().writes(), writes);
}

#[tokio::test]
async fn other_settings_are_another_config_and_one_update() {
    let site = Site::new(Swarm::three_nodes());
    site.install(SETTINGS).await.unwrap();
    let authority = site.snapshot().await.secrets;
    let more = format!("{SETTINGS}ProxyReplicas = 3\n");
    let done = site.install(&more).await.unwrap();
    assert_eq!(done.iter().filter(|object| object.starts_with("service ")).count(), 1, "{done:?}");
    assert_eq!(site.snapshot().await.secrets, authority, "the authority stays");
    // The one of before may be needed to go back; the one before that is not.
    site.install(&format!("{SETTINGS}ProxyReplicas = 4\n")).await.unwrap();
    assert_eq!(site.snapshot().await.configs.len(), 2);
}

#[tokio::test]
async fn what_somebody_else_has_under_our_name_is_in_the_way() {
    let mut swarm = Swarm::three_nodes();
    swarm.service("interlock-core").create();
    swarm.settle();
    let site = Site::new(swarm);
    let error = site.install(SETTINGS).await.unwrap_err();
    assert!(
        error.to_string().contains("a service named interlock-core exists that interlock did not create"),
        "{error}"
    );
    assert_eq!(site.handle.swarm().writes(), 0);
}

#[tokio::test]
async fn a_core_that_does_not_start_is_told_with_the_reason() {
    let mut swarm = Swarm::three_nodes();
    swarm.script.fate_of("interlock-core", Fate::Reject { why: "no such image".to_owned() });
    let site = Site::new(swarm);
    let limit = Duration::from_secs(3);
    let error = runtime::install(&core(SETTINGS), None, &site.options(), limit, |_| ()).await.unwrap_err();
    assert!(error.to_string().contains("no such image"), "{error}");
}

/// Core with another image.
fn with_image(image: &str) -> Core {
    Core { image: image.to_owned(), ..core(SETTINGS) }
}

/// For a moment after it was told of an update Swarm does not show any, and with another image alone the tasks of before have all configs.
#[tokio::test]
async fn an_update_that_swarm_has_not_begun_is_waited_for() {
    let swarm = Arc::new(Mutex::new(Swarm::three_nodes()));
    let folder = tempfile::tempdir().unwrap();
    let site = Site { handle: server::serve(swarm.clone(), folder.path()).unwrap(), _folder: folder };
    let (passes, mut passing) = watch::channel(true);
    let clock = tokio::spawn(async move {
        while passing.wait_for(|passes| *passes).await.is_ok() {
            swarm.lock().unwrap().tick(Duration::from_millis(200));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    site.install(SETTINGS).await.unwrap();
    passes.send(false).unwrap();
    let tell = |progress| {
        if let Progress::Done(step) = progress
            && step.restarts_tasks
        {
            let passes = passes.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(300)).await;
                passes.send(true).unwrap();
            });
        }
    };
    runtime::install(&with_image("interlock:2"), None, &site.options(), Duration::from_secs(60), tell).await.unwrap();
    clock.abort();
    assert_eq!(site.handle.swarm().service_json("interlock-core")["UpdateStatus"]["State"], "completed");
}

#[tokio::test]
async fn an_update_that_fails_is_told_and_not_tried_again() {
    // Whoever runs it again wants it tried again.
    for (action, ends, runs) in [("rollback", "rollback_completed", 2), ("pause", "paused", 1)] {
        let mut swarm = Swarm::three_nodes();
        let broken = |spec: &Value| spec["TaskTemplate"]["ContainerSpec"]["Image"] == "broken:1";
        swarm.script.fate_when("interlock-core", move |task| broken(task.spec), Fate::FailOnStart { exit: 3 });
        let site = Site::new(swarm);
        site.install(SETTINGS).await.unwrap();
        let by_hand = |spec: &mut Value| spec["UpdateConfig"]["FailureAction"] = json!(action);
        site.handle.swarm().edit_service("interlock-core", by_hand).unwrap();
        for _ in 0..runs {
            site.handle.swarm().forget_calls();
            let (broken, limit) = (with_image("broken:1"), Duration::from_secs(10));
            let error = runtime::install(&broken, None, &site.options(), limit, |_| ()).await.unwrap_err().to_string();
            let told = "the update of service interlock-core failed (task: non-zero exit (3))";
            assert!(error.starts_with(told), "{error}");
            let swarm = site.handle.swarm();
            assert_eq!(swarm.service_json("interlock-core")["UpdateStatus"]["State"], ends);
            assert_eq!(swarm.calls().iter().filter(|call| call.path.contains("/update")).count(), 1);
        }
        // What is mended is done.
        runtime::install(&core(SETTINGS), None, &site.options(), Duration::from_secs(60), |_| ()).await.unwrap();
        assert_eq!(site.handle.swarm().running("interlock-core").len(), 1);
    }
}

/// Settings of before that somebody else's service mounts are left alone.
#[tokio::test]
async fn settings_that_somebody_else_mounts_hold_nothing_up() {
    let site = Site::new(Swarm::three_nodes());
    site.install(SETTINGS).await.unwrap();
    let mounted = site.snapshot().await.configs.remove(0).name;
    site.handle.swarm().service("tenant").config(&mounted, "/mine").create();
    for replicas in 3..5 {
        site.install(&format!("{SETTINGS}ProxyReplicas = {replicas}\n")).await.unwrap();
    }
    assert!(site.snapshot().await.configs.iter().any(|config| config.name == mounted));
}

#[tokio::test]
async fn uninstalling_removes_what_is_ours_and_nothing_else() {
    let mut swarm = Swarm::three_nodes().overlay("demo");
    swarm.service("shop").network("demo").label("com.docker.lb.hosts", "shop.example.com").create();
    // Somebody copied our labels.
    swarm
        .service("lookalike")
        .label("com.docker.interlock.owner", "interlock")
        .label("type", "com.docker.interlock.core")
        .create();
    swarm.create_secret(json!({ "Name": "mine", "Labels": {}, "Data": "c2VjcmV0" })).unwrap();
    swarm.settle();
    let site = Site::new(swarm);
    let before = site.snapshot().await;
    site.install(SETTINGS).await.unwrap();
    let done = runtime::uninstall(false, &site.options(), Duration::from_secs(60), |_| ()).await.unwrap();
    assert_eq!(done, 5);
    let after = site.snapshot().await;
    assert_eq!((after.networks, after.secrets, after.configs), (before.networks, before.secrets, before.configs));
    let names = |services: &[Arc<interlock_core::swarm::Service>]| -> Vec<_> {
        services.iter().map(|service| service.spec.name.clone()).collect()
    };
    assert_eq!(names(&after.services), names(&before.services));
    assert_eq!(runtime::uninstall(false, &site.options(), Duration::from_secs(60), |_| ()).await.unwrap(), 0);
}

/// A core without our labels, as somebody deployed it by hand.
fn with_core_by_hand() -> Swarm {
    let mut swarm = with_authority(Swarm::three_nodes()).overlay("demo");
    route(&mut swarm, "shop", "demo");
    swarm.service("lb").secret(ownership::AUTHORITY_SECRET).create();
    swarm.settle();
    swarm
}

#[tokio::test]
async fn uninstalling_beside_a_core_by_hand_says_what_to_remove_first() {
    let site = Site::new(with_core_by_hand());
    let writes = site.handle.swarm().writes();
    let error = runtime::uninstall(false, &site.options(), Duration::from_secs(60), |_| ()).await.unwrap_err();
    assert!(error.to_string().contains("docker service rm lb"), "{error}");
    assert_eq!(site.handle.swarm().writes(), writes);
    site.handle.swarm().remove_service("lb").unwrap();
    assert_eq!(runtime::uninstall(false, &site.options(), Duration::from_secs(60), |_| ()).await.unwrap(), 1);
}

/// Who does not know whose task it is, a run by hand, finds the same core as core itself.
#[tokio::test]
async fn a_core_by_hand_is_known_by_the_authority() {
    let world = World::new(with_core_by_hand(), settings(SETTINGS)).await;
    let (outcome, _) = world.decide(&mut Mind::default()).await.unwrap();
    let addresses: Vec<_> = outcome
        .plan
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::CreateConfig { data, .. } => AgentFile::from_toml(data).ok().map(|file| file.core),
            _ => None,
        })
        .collect();
    assert_eq!(addresses, ["tasks.lb:8080"], "{}", outcome.plan);
}

/// An engine that is busy is asked again: another core's address would replace all proxies.
#[tokio::test]
async fn an_engine_that_does_not_say_whose_task_we_are_is_asked_again() {
    let site = Site::new(Swarm::three_nodes());
    let asked = || async {
        let client = Client::connect(&site.options().endpoint).await.unwrap();
        client.as_container("core").await.map(drop)
    };
    asked().await.unwrap();
    for (answer, is_asked_again) in [(500, true), (403, false)] {
        let fault = Fault::Refuse(ApiError::new(answer, "not now"));
        site.handle.swarm().script.rule(Rule::any("/containers/", fault));
        assert_eq!(asked().await.is_err(), is_asked_again, "{answer}");
        site.handle.swarm().script.forget_rules();
    }
}

/// The stack file and `install` describe the same core.
#[test]
fn the_stack_file_is_what_install_makes() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/stack.yml")).unwrap();
    let snapshot = Snapshot::empty(jiff::Timestamp::UNIX_EPOCH);
    let (plan, _) = install::install(&snapshot, &core(SETTINGS), None);
    let spec = plan.steps.iter().find_map(|step| match &step.action {
        interlock_core::plan::Action::CreateService { spec, .. } => Some(spec),
        _ => None,
    });
    let container = &spec.unwrap()["TaskTemplate"]["ContainerSpec"];
    let arguments = serde_json::to_string(&container["Args"]).unwrap().replace(',', ", ");
    assert!(text.contains(&format!("command: {arguments}")), "{arguments}");
    for mount in container["Mounts"].as_array().unwrap() {
        assert!(text.contains(&format!("target: {}", mount["Target"].as_str().unwrap())), "{mount}");
    }
    for reference in [&container["Configs"][0], &container["Secrets"][0]] {
        assert!(text.contains(&format!("target: {}", reference["File"]["Name"].as_str().unwrap())), "{reference}");
    }
    let update = &spec.unwrap()["UpdateConfig"];
    for (key, value) in [("order", &update["Order"]), ("failure_action", &update["FailureAction"])] {
        assert!(text.contains(&format!("{key}: {}", value.as_str().unwrap())), "{key}");
    }
    for (name, _) in interlock_core::deployment::core_networks(&settings(SETTINGS)) {
        assert!(text.contains(&format!("  {name}:\n    external: true")), "{name}");
    }
    assert!(
        text.contains("cap_drop: [ALL]") && text.contains("read_only: true") && text.contains("endpoint_mode: dnsrr")
    );
}

/// Somebody who may create secrets could have made one, and would then speak for core.
#[tokio::test]
async fn k2_an_authority_that_nothing_proves_is_not_adopted() {
    let planted = Authority::generate().unwrap();
    let mut swarm = Swarm::three_nodes();
    crate::support::world::add_authority(&mut swarm, &planted);
    let site = Site::new(swarm);
    let fingerprint = planted.fingerprint();
    for adopts in [None, Some(Authority::generate().unwrap().fingerprint())] {
        let limit = Duration::from_secs(60);
        let refused = runtime::install(&core(SETTINGS), adopts.as_ref(), &site.options(), limit, |_| ()).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("nothing proves that interlock made it"), "{refused}");
        let refused = runtime::authority(&settings(SETTINGS), adopts.as_ref(), &site.options(), limit, |_| ()).await;
        assert!(refused.unwrap_err().to_string().contains("nothing proves"));
        assert_eq!(site.handle.swarm().writes(), 0);
    }
    // Who knows its fingerprint knows that it is his. What the problem advises works.
    let (_, problem) = install::install(&site.snapshot().await, &core(SETTINGS), None);
    assert!(problem.unwrap().right.contains(&format!("--adopt-authority {fingerprint}")));
    let (options, limit) = (site.options(), Duration::from_secs(60));
    let installed = runtime::install(&core(SETTINGS), Some(&fingerprint), &options, limit, |_| ()).await.unwrap();
    assert_eq!(installed.authority, None, "none was made");
    // From now on core has it.
    assert_eq!(site.install(SETTINGS).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn what_install_makes_it_knows_again() {
    let site = Site::new(Swarm::three_nodes());
    let (options, limit) = (site.options(), Duration::from_secs(60));
    let made = runtime::authority(&settings(SETTINGS), None, &options, limit, |_| ()).await.unwrap().authority;
    let refused = runtime::install(&core(SETTINGS), None, &options, limit, |_| ()).await.unwrap_err();
    assert!(refused.to_string().contains(&format!("--adopt-authority {}", made.clone().unwrap())), "{refused}");
    runtime::install(&core(SETTINGS), made.as_ref(), &options, limit, |_| ()).await.unwrap();
}

/// Two cores would change each other's work for ever.
#[tokio::test]
async fn a_core_of_another_name_is_in_the_way_of_a_second_one() {
    let refused = |snapshot: &Snapshot, name: &str| {
        let core = Core { name: name.to_owned(), ..core(SETTINGS) };
        let (plan, problem) = install::install(snapshot, &core, None);
        assert!(plan.is_empty());
        problem.unwrap().to_string()
    };
    let by_hand = Site::new(with_core_by_hand());
    let text = refused(&by_hand.snapshot().await, "interlock-core");
    assert!(text.contains("core already runs as service lb") && text.contains("docker service rm lb"), "{text}");
    let site = Site::new(Swarm::three_nodes());
    site.install(SETTINGS).await.unwrap();
    let text = refused(&site.snapshot().await, "second");
    assert!(
        text.contains("core already runs as service interlock-core") && text.contains("--name interlock-core"),
        "{text}"
    );
}

#[tokio::test]
async fn whoever_installs_hears_that_proxies_lack_nodes() {
    let site = Site::new(Swarm::new());
    let text = "[Extensions.default]\nPublishMode = \"host\"\n";
    let mut problems = Vec::new();
    let tell = |progress| {
        if let Progress::Problem(problem) = progress {
            problems.push(problem.to_string());
        }
    };
    runtime::install(&core(text), None, &site.options(), Duration::from_secs(60), tell).await.unwrap();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("2 are asked for and only 1 node can take one"), "{problems:?}");
}
