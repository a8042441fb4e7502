//! Laws over every fixture that need nothing but the pure part.

use std::sync::Arc;

use crate::support::Scenario;
use interlock_core::kinds;
use interlock_core::kinds::nginx::parse_back;
use interlock_core::labels::FindingKind;
use interlock_core::problem::Subject;
use interlock_core::proxy_config::ProxyConfig;
use interlock_core::reconcile::{Inputs, reconcile, reconcile_embedded};
use interlock_core::swarm::{Labels, Service, Snapshot};
use interlock_core::units::HostPattern;

/// A few fixed orders are enough to find code that depends on order, and a failure repeats.
fn shuffled(snapshot: &Snapshot, seed: u64) -> Snapshot {
    fn shuffle<T>(list: &mut [T], seed: u64) {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for i in (1..list.len()).rev() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            list.swap(i, usize::try_from(state % (i as u64 + 1)).unwrap());
        }
    }
    let mut shuffled = snapshot.clone();
    shuffle(&mut shuffled.nodes, seed);
    shuffle(&mut shuffled.networks, seed);
    shuffle(&mut shuffled.services, seed);
    shuffle(&mut shuffled.tasks, seed);
    shuffle(&mut shuffled.configs, seed);
    shuffle(&mut shuffled.secrets, seed);
    shuffled
}

#[test]
fn the_order_of_a_snapshot_changes_no_byte() {
    for scenario in Scenario::all() {
        let inputs = scenario.inputs();
        let (outcome, renderings) = reconcile_embedded(&inputs);
        for seed in 1..=5 {
            let other = Inputs { snapshot: shuffled(&inputs.snapshot, seed), ..inputs.clone() };
            let (other, others) = reconcile_embedded(&other);
            assert_eq!(outcome.plan, other.plan, "{}", scenario.name);
            assert_eq!(outcome.problems, other.problems, "{}", scenario.name);
            assert!(renderings == others, "{}", scenario.name);
        }
    }
}

#[test]
fn without_a_rendering_nothing_that_is_deployed_changes() {
    for scenario in Scenario::all() {
        let outcome = reconcile(&scenario.inputs());
        for step in &outcome.plan.steps {
            let object = step.action.object();
            let of_proxies = object.starts_with("service interlock-proxy")
                || object.starts_with("config ") && !object.ends_with(".extension");
            assert!(!of_proxies, "{}: {step}", scenario.name);
        }
    }
}

#[test]
fn every_upstream_address_is_that_of_a_task_that_runs_and_shall_run() {
    for scenario in Scenario::all() {
        let (outcome, _) = reconcile_embedded(&scenario.inputs());
        let snapshot = &scenario.state.snapshot;
        for config in outcome.proxy_configs.values() {
            for target in config.upstreams.values().flat_map(|upstream| &upstream.servers).map(|server| &server.address)
            {
                let serving = snapshot.tasks().filter(|task| task.serves()).any(|task| {
                    task.networks.iter().any(|network| network.addresses.contains(&target.ip()))
                        || task.host_ports.iter().any(|port| port.published == target.port())
                });
                let virtual_ips = snapshot.services().flat_map(|service| &service.virtual_ips);
                let serving = serving || virtual_ips.into_iter().any(|vip| vip.address == target.ip());
                assert!(serving, "{}: {target}", scenario.name);
            }
        }
    }
}

/// Values that would change the structure of a configuration if they got into it.
const HOSTILE: &[&str] = &[
    "evil.example.com; return 200 pwned; #",
    "evil.example.com\n}\nserver { listen 80; }",
    "evil.example.com\rx",
    "\"evil.example.com",
    "'evil.example.com",
    "evil.example.com {",
    "}",
    "~^.*$",
    "$hostname",
    "_",
    "",
    "default",
    "{{revision}}",
    "/app\"; root /; \"",
    "/app{ alias /; }",
    "/\\",
    "/app\u{2028}",
    "evil.example.com\0",
    "8080; include /etc/passwd",
    "../../etc/passwd",
];

#[test]
fn hostile_services_change_no_other_services_bytes() {
    let evil = hostile_services();
    assert!(evil.len() > 250, "only {} hostile values are tried", evil.len());
    for scenario in Scenario::all() {
        let inputs = scenario.inputs();
        let (_, good) = reconcile_embedded(&inputs);
        let mut other = inputs.clone();
        other.snapshot.services.extend(evil.iter().cloned());
        let (outcome, renderings) = reconcile_embedded(&other);
        assert!(good == renderings, "{}: run with one value at a time to find which", scenario.name);
        for service in &evil {
            let told =
                outcome.problems.iter().any(|problem| problem.subject == Subject::Service(service.spec.name.clone()));
            assert!(told, "{}: {:?}", scenario.name, service.spec.labels);
        }
    }
}

/// One service for each label of the table and each value that breaks that label's contract.
fn hostile_services() -> Vec<Arc<Service>> {
    let pairs =
        interlock_core::labels::TABLE.iter().flat_map(|label| HOSTILE.iter().map(move |value| (label.key, *value)));
    let services = pairs.enumerate().filter_map(|(i, (key, value))| {
        let mut labels: Labels = [("hosts", "evil.example.net"), ("port", "8080")]
            .map(|(key, value)| (format!("com.docker.lb.{key}"), value.to_owned()))
            .into();
        labels.insert(format!("com.docker.lb.{key}"), value.to_owned());
        let bad =
            interlock_core::labels::read(&labels).findings.iter().any(|finding| finding.kind != FindingKind::Inert);
        bad.then(|| hostile(i, labels))
    });
    services.map(Arc::new).collect()
}

fn hostile(number: usize, labels: Labels) -> Service {
    let mut spec = interlock_core::swarm::ServiceSpec { name: format!("evil-{number}"), labels, ..Default::default() };
    spec.networks.push("net-demo".into());
    Service {
        id: format!("svc-evil-{number}").as_str().into(),
        version: 99,
        created_at: "2025-01-01T00:00:00Z".parse().unwrap(),
        spec,
        previous: None,
        virtual_ips: Vec::new(),
        update: None,
    }
}

#[test]
fn a_configuration_beyond_the_limit_is_split_into_files_that_say_the_same() {
    let config = many_hosts(3000);
    let whole = kinds::render(&config, usize::MAX).result.unwrap();
    assert_eq!(whole.len(), 1);
    let limit = whole[0].content.len() / 4;
    let parts = kinds::render(&config, limit).result.unwrap();
    assert!(parts.len() > 4 && parts.iter().all(|file| file.content.len() <= limit), "{} files", parts.len());
    let paths: std::collections::BTreeSet<_> = parts.iter().map(|file| &file.path).collect();
    assert_eq!(paths.len(), parts.len());
    let flat = |directives: Vec<parse_back::Directive>| format!("{directives:?}");
    assert!(flat(parse_back::parse(&parts).unwrap()) == flat(parse_back::parse(&whole).unwrap()));
    let refused = kinds::render(&config, 2000).result.unwrap_err();
    assert!(refused.to_string().contains("is the most that"), "{refused}");
}

fn many_hosts(count: usize) -> Arc<ProxyConfig> {
    let scenario = Scenario::all().into_iter().find(|scenario| scenario.name == "one-host").unwrap();
    let mut inputs = scenario.inputs();
    let service = (*inputs.snapshot.services[0]).clone();
    for i in 0..count {
        let mut service = service.clone();
        service.id = format!("svc-{i}").as_str().into();
        service.spec.name = format!("app-{i}");
        service.spec.labels.insert("com.docker.lb.hosts".into(), format!("host-{i}.example.com"));
        if i % 10 == 0 {
            service.spec.labels.insert("com.docker.lb.context_root".into(), "/app".into());
        }
        let mut task = (*inputs.snapshot.tasks[0]).clone();
        task.service = service.id.clone();
        task.id = format!("task-{i}").as_str().into();
        inputs.snapshot.tasks.push(task.into());
        inputs.snapshot.services.push(service.into());
    }
    let config = reconcile(&inputs).proxy_configs.into_values().next().unwrap();
    assert!(config.virtual_hosts.contains_key(&"host-7.example.com".parse::<HostPattern>().unwrap()));
    config
}
