//! Label sets that are made to cost as much as they can: none is in the way of another service, and each costs a process no more memory
//! than 64 MB, and time of the order of what the largest service costs that budgets allow.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Instant;

use crate::support::Scenario;
use crate::support::bombs::{BOMBS, Bomb, SECRETS};
use crate::support::routes::{inputs, labelled};
use crate::support::site::{HITLESS, REMOTE, Site, extension};
use crate::support::tenant::{neighbour, of_tenant};
use crate::support::world::route;
use interlock_core::kinds;
use interlock_core::problem::{Effect, MOST_PROBLEMS, Subject};
use interlock_core::reconcile::{Inputs, reconcile_embedded};
use interlock_core::routes::model;
use interlock_core::settings::Budget;
use interlock_core::swarm::{Labels, Service, Task};

/// A variable of the environment that says which label set a process of its own shall measure.
const MEASURED: &str = "INTERLOCK_TEST_BOMB";

/// How much more memory a process may need for a label set, in KiB.
const MOST_MEMORY: u64 = 64 << 10;

fn with(bomb: &Bomb, percent: usize) -> Inputs {
    let mut inputs = of_tenant(&[], &SECRETS, "");
    Arc::make_mut(&mut inputs.snapshot.services[1]).spec.labels = bomb.of(percent).into_iter().collect::<Labels>();
    inputs
}

fn bomb(name: &str) -> &'static Bomb {
    BOMBS.iter().find(|bomb| bomb.name == name).unwrap()
}

/// What a label set cost a process of its own: nanoseconds of a processor, and KiB of memory more than it had.
fn cost(name: &str) -> (u64, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "budgets::a_process_of_its_own", "--ignored", "--nocapture"]).env(MEASURED, name);
    let ran = child.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&ran.stderr));
    let line = said.lines().find_map(|line| line.split_once("cost ")).unwrap().1;
    let (nanos, memory) = line.split_once(' ').unwrap();
    (nanos.parse().unwrap(), memory.parse().unwrap())
}

/// Four routes of 256 hosts: as many as one service may have.
const LARGEST: &str = "hosts, as many as are allowed";

#[test]
#[ignore = "others start it in a process of its own"]
#[expect(clippy::disallowed_methods, reason = "it is a process of this test, and is asked by a variable")]
fn a_process_of_its_own() {
    let name = std::env::var(MEASURED).unwrap();
    let inputs = if name == LARGEST { with(&BOMBS[0], 2) } else { with(bomb(&name), 100) };
    drop(reconcile_embedded(&of_tenant(&[], &SECRETS, "")));
    let (memory, time) = (peak(), busy());
    drop(reconcile_embedded(&inputs));
    println!("cost {} {}", busy() - time, peak() - memory);
}

fn busy() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse().unwrap()
}

fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Whatever the labels are: all is rendered, the neighbour's part is what it is alone, the file grows by what one service may have at
/// most, what is not served is told, and in few words. And it costs little.
fn does_no_harm(name: &str) {
    let inputs = with(bomb(name), 100);
    let (outcome, renderings) = reconcile_embedded(&inputs);
    crate::claims::pipeline::is_not_larger_than_estimated(&inputs, &renderings);
    let files: Vec<_> = renderings.values().flat_map(|rendering| rendering.result.as_ref().unwrap()).collect();
    let alone = neighbour().text();
    let size: usize = files.iter().map(|file| file.content.len()).sum();
    assert!(size <= alone.len() + Budget::default().bytes as usize, "{name}: {size} bytes");
    let server =
        &alone[alone.find("    server {\n        listen 80;\n        server_name shop.example.com;").unwrap()..];
    let server = &server[..server.find("\n    }\n").unwrap()];
    assert!(files.iter().any(|file| file.content.contains(server)), "{name}: the neighbour is not served");
    let told: Vec<_> = outcome.problems.iter().map(ToString::to_string).collect();
    assert!(told.len() <= MOST_PROBLEMS + 1, "{name}: {told:#?}");
    assert!(told.iter().all(|line| line.len() < 1000), "{name}: {told:#?}");
    let is_served = files.iter().any(|file| file.content.contains("127.30.0.66"));
    let left_out = outcome.problems.iter().any(|problem| problem.effect == Effect::LeftOut);
    let ignored = outcome.problems.iter().any(|problem| problem.effect == Effect::Ignored);
    assert!(is_served || left_out || ignored, "{name}: nothing is served and nothing told");

    static MOST_TIME: LazyLock<u64> = LazyLock::new(|| 6 * cost(LARGEST).0);
    let (time, memory) = cost(name);
    assert!(memory <= MOST_MEMORY, "{name}: {memory} KiB");
    assert!(time <= *MOST_TIME, "{name}: {time} ns, and {} would be six times the largest service", *MOST_TIME);
}

macro_rules! do_no_harm {
    ($($test:ident: $name:literal;)*) => {
        $(#[test]
        fn $test() {
            does_no_harm($name);
        })*

        #[test]
        fn each_label_set_has_a_test() {
            assert_eq!(BOMBS.iter().map(|bomb| bomb.name).collect::<Vec<_>>(), [$($name),*]);
        }
    };
}

do_no_harm! {
    h3_hosts: "hosts";
    h3_routes: "routes";
    h3_headers_of_many_routes: "routes with headers";
    h3_headers_of_endpoints: "endpoints with headers";
    h3_headers_of_endpoints_of_hosts: "endpoints, headers and hosts";
    h3_headers_of_endpoints_of_hosts_with_tls: "the same with a certificate";
    h3_paths: "paths";
    h3_paths_of_one_host: "one host with many paths";
    h3_redirects: "redirects";
    h3_canaries: "canaries";
    h3_rate_limits: "rate limits";
    h3_allow: "allow";
    h3_basic_auth: "users";
    h3_certificates: "certificates";
    h3_passthrough: "passed through";
    h3_grpc: "grpc";
    h3_routes_that_share_a_path: "pooled with itself";
    m5_unknown_labels: "unknown labels";
    m5_a_long_unknown_label: "a long unknown label";
    m5_a_long_value: "a long value";
    m5_a_long_unknown_value: "a long unknown value";
    m5_labels_of_no_route: "labels of no route";
    m5_wrong_labels: "wrong labels";
    h3_the_routing_mesh: "the routing mesh";
    h3_interlock_1: "Interlock 1";
}

/// Whoever adds paths to the hosts of the largest service does not push it over its budget.
#[test]
fn h3_a_service_is_priced_by_its_own_labels_alone() {
    let mut inputs = with(&BOMBS[0], 2);
    let hosts = |inputs: &Inputs| {
        let config = reconcile_embedded(inputs).0.proxy_configs.into_values().next().unwrap();
        config.virtual_hosts.values().filter(|host| host.locations.keys().any(|path| path.is_root())).count()
    };
    assert_eq!(hosts(&inputs), 1 + 1024, "the largest service that is allowed is served");
    let mut other = (*inputs.snapshot.services[1]).clone();
    other.id = "zz".into();
    other.spec.name = "other".to_owned();
    for route in 0..4 {
        other.spec.labels.insert(format!("com.docker.lb.context_root.r{route}"), "/other".to_owned());
    }
    let mut task = (*inputs.snapshot.tasks[1]).clone();
    (task.id, task.service) = ("t-other".into(), other.id.clone());
    inputs.snapshot.services.push(other.into());
    inputs.snapshot.tasks.push(task.into());
    assert_eq!(hosts(&inputs), 1 + 1024);
}

/// What was served stays as it was; but not without the protection that is asked for now and cannot be given.
#[test]
fn h3_a_service_that_becomes_too_much_keeps_its_last_good_route() {
    let before = of_tenant(&[], &SECRETS, "");
    let memory = reconcile_embedded(&before).0.memory;
    for (name, effect) in [("endpoints, headers and hosts", Effect::LastGood), ("rate limits", Effect::LeftOut)] {
        let bomb = bomb(name);
        let inputs = Inputs { memory: memory.clone(), ..with(bomb, if name == "rate limits" { 5 } else { 100 }) };
        let (outcome, renderings) = reconcile_embedded(&inputs);
        let text = &renderings.values().next().unwrap().result.as_ref().unwrap()[0].content;
        assert_eq!(text.contains("server_name tenant.example.com;"), effect == Effect::LastGood, "{name}");
        let effects: Vec<_> = outcome.problems.iter().map(|problem| problem.effect).collect();
        assert_eq!(effects, [effect], "{name}: {:?}", outcome.problems);
    }
}

/// Ten thousand services with three tasks each are many, and not too many.
#[test]
fn h3_budgets_have_room_for_honest_services() {
    let mut inputs = of_tenant(&[], &[], "");
    let (service, task) = (inputs.snapshot.services.remove(1), inputs.snapshot.tasks.remove(1));
    for number in 0..10_000 {
        let mut service = Service::clone(&service);
        service.id = format!("s{number}").as_str().into();
        service.spec.name = format!("stack-{}_service-{number}", number % 100);
        let host = format!("service-{number}.stack-{}.example.com", number % 100);
        service.spec.labels.insert("com.docker.lb.hosts".to_owned(), host);
        service.spec.labels.insert("com.docker.lb.context_root".to_owned(), "/app".to_owned());
        for slot in 0..3 {
            let id = format!("t{number}-{slot}").as_str().into();
            inputs.snapshot.tasks.push(Task { id, service: service.id.clone(), ..Task::clone(&task) }.into());
        }
        inputs.snapshot.services.push(service.into());
    }
    let Inputs { snapshot, settings, memory, .. } = &inputs;
    let known =
        model::Known { last_good: Some(&memory.last_good), refused: Some(&memory.refused), paces: Some(&memory.paces) };
    let (model, problems) = model::read(snapshot, settings, kinds::prices, known);
    assert_eq!((model.routes.len(), problems), (10_001, vec![]));
}

/// Files are small here, so that few services fill them.
#[test]
fn h3_when_all_is_too_large_the_newest_are_left_out() {
    let mut inputs = of_tenant(&[], &[], "");
    inputs.snapshot.engine.config_limit = Some(20_000);
    let (service, task) = (inputs.snapshot.services.remove(1), inputs.snapshot.tasks.remove(1));
    for number in 0..900 {
        let mut service = Service::clone(&service);
        service.id = format!("s{number}").as_str().into();
        service.created_at += std::time::Duration::from_secs(number);
        // Their names say nothing of their age.
        service.spec.name = format!("s{}", 899 - number);
        service.spec.labels.insert("com.docker.lb.hosts".to_owned(), format!("h{number}.example.com"));
        let task = Task { id: format!("t{number}").as_str().into(), service: service.id.clone(), ..Task::clone(&task) };
        inputs.snapshot.services.push(service.into());
        inputs.snapshot.tasks.push(task.into());
    }
    let (outcome, renderings) = reconcile_embedded(&inputs);
    let files = renderings.values().next().unwrap().result.as_ref().unwrap();
    assert!(files.len() > 8 && files.iter().all(|file| file.content.len() <= 20_000), "{}", files.len());
    let config = outcome.proxy_configs.values().next().unwrap();
    let served = |number| config.virtual_hosts.contains_key(&format!("h{number}.example.com").parse().unwrap());
    let first = (0..900).find(|number| !served(*number)).unwrap();
    assert!(first > 300 && (first..900).all(|number| !served(number)), "from {first} on");
    let left_out = |number: u64| Subject::Service(format!("s{}", 899 - number));
    let told: BTreeSet<_> = outcome.problems.iter().map(|problem| problem.subject.clone()).collect();
    assert_eq!(told, (first..900).map(left_out).collect());
    // Who goes makes room for the oldest of them.
    inputs.snapshot.services.remove(1);
    let config = reconcile_embedded(&inputs).0.proxy_configs.into_values().next().unwrap();
    assert!(config.virtual_hosts.contains_key(&format!("h{first}.example.com").parse().unwrap()));
}

/// The estimate that budgets go by is never too low.
#[test]
fn h3_nothing_is_rendered_that_is_larger_than_estimated() {
    for scenario in Scenario::all() {
        let inputs = scenario.inputs();
        crate::claims::pipeline::is_not_larger_than_estimated(&inputs, &reconcile_embedded(&inputs).1);
    }
    for bomb in BOMBS {
        for percent in [1, 2] {
            let inputs = with(bomb, percent);
            crate::claims::pipeline::is_not_larger_than_estimated(&inputs, &reconcile_embedded(&inputs).1);
        }
    }
}

/// Each overlay of the proxies adds a line to each location that lets only some in.
#[test]
fn h3_overlays_are_in_the_estimate() {
    let named: Vec<_> = (0..50).map(|number| (format!("s{number}"), format!("/p{number}"))).collect();
    let service = |(name, path): &(String, String)| {
        labelled(name, 80, &[("hosts", "al.example.com"), ("context_root", path), ("allow", "10.0.0.0/8")])
    };
    let services: String = named.iter().map(service).collect();
    let tasks: Vec<_> = named.iter().map(|(name, _)| (name.as_str(), "127.30.0.66")).collect();
    let mut inputs = inputs(&services, &tasks, &[], "");
    let mut size = || {
        let renderings = reconcile_embedded(&inputs).1;
        crate::claims::pipeline::is_not_larger_than_estimated(&inputs, &renderings);
        inputs.snapshot.networks[0].subnets =
            (0..200).map(|net| format!("10.201.{net}.0/24").parse().unwrap()).collect();
        renderings.into_values().next().unwrap().result.unwrap()[0].content.len()
    };
    let (without, with) = (size(), size());
    assert!(with > without + 50 * 200 * 20, "{without} and {with}");
}

/// With a real core, extension and agent: what somebody else changes at the same moment arrives. Says how long it took; the first is without
/// such labels.
#[tokio::test]
async fn h3_a_change_goes_on_beside_each_label_set() {
    let site = Site::new(&format!("{HITLESS}{REMOTE}"));
    let core = site.start();
    let renders = tokio::spawn(extension(site.channel("extension").await, |_| ()));
    let mut agent = site.agent().await;
    agent.accepts("shop.example.com").await;
    for (number, bomb) in std::iter::once(None).chain(BOMBS.iter().map(Some)).enumerate() {
        let since = Instant::now();
        if let Some(bomb) = bomb {
            let mut swarm = site.handle.swarm();
            let labels = bomb.of(100);
            let service = swarm.service("bomb").network("demo");
            labels.iter().fold(service, |service, (key, value)| service.label(key, value)).create();
        }
        route(&mut site.handle.swarm(), &format!("next{number}"), "demo");
        agent.accepts(&format!("next{number}.example.com")).await;
        if bomb.is_some() {
            site.handle.swarm().remove_service("bomb").unwrap();
        }
        println!("{}: {} ms", bomb.map_or("none", |bomb| bomb.name), since.elapsed().as_millis());
    }
    assert!(!renders.is_finished(), "the extension goes on as well");
    core.stop().await;
}
