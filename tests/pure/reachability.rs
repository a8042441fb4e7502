//! Tasks that run and do not accept connections: one problem a service, by what proxies report.

use std::sync::Arc;

use crate::support::routes::{inputs, labelled, service};
use interlock_core::peers::{AgentReport, Failure};
use interlock_core::reconcile::{Inputs, reconcile_embedded};
use interlock_core::swarm::{TaskState, VirtualIp};
use interlock_core::units::Cluster;
use jiff::SignedDuration;

const REFUSES: Failure = Failure { refuses: true, is_lasting: false };
const LASTING: Failure = Failure { refuses: true, is_lasting: true };
const SILENT: Failure = Failure { refuses: false, is_lasting: true };
const NOTHING: [&str; 0] = [];

/// Two tasks of shop and one of blog.
fn two_services() -> Inputs {
    let services = labelled("shop", 8081, &[("hosts", "shop.example.com")])
        + &labelled("blog", 80, &[("hosts", "blog.example.com")]);
    inputs(&services, &[("shop", "10.0.1.5"), ("shop", "10.0.1.6"), ("blog", "10.0.1.7")], &[], "")
}

/// What is reported so many seconds later, when a proxy reports this.
fn told_by(inputs: &mut Inputs, seconds: i64, number: u8, unreachable: &[(&str, Failure)]) -> Vec<String> {
    inputs.snapshot.observed_at += SignedDuration::from_secs(seconds);
    let report = AgentReport {
        cluster: Cluster::default(),
        generation: "00000000000000aa".parse().unwrap(),
        address: [10, 0, 5, number].into(),
        hostname: format!("proxy-{number}"),
        version: None,
        version_warning: String::new(),
        secrets: Default::default(),
        running: None,
        refused: None,
        unreachable: unreachable.iter().map(|(address, failure)| (address.parse().unwrap(), *failure)).collect(),
    };
    inputs.reports.agents.insert(number.into(), report);
    let (outcome, renderings) = reconcile_embedded(inputs);
    (inputs.memory, inputs.renderings) = (outcome.memory, renderings);
    outcome.problems.iter().map(ToString::to_string).collect()
}

fn told(unreachable: &[(&str, Failure)]) -> Vec<String> {
    told_by(&mut two_services(), 0, 1, unreachable)
}

#[test]
fn a_wrong_port_is_one_problem_of_the_service_with_what_to_do() {
    assert_eq!(
        told(&[("10.0.1.5:8081", REFUSES), ("10.0.1.6:8081", REFUSES)]),
        [
            "service shop: tasks refuse connections at port 8081 (2 of 2 tasks); set com.docker.lb.port to the port that the application \
             listens on, and let it listen on all addresses, not on 127.0.0.1 only (it gets no requests)"
        ]
    );
    let silent = told(&[("10.0.1.5:8081", SILENT), ("10.0.1.6:8081", SILENT)]);
    assert_eq!(silent.len(), 1, "{silent:?}");
    assert!(
        silent[0].starts_with("service shop: tasks do not answer connections at port 8081 (2 of 2 tasks); see `docker")
    );
}

/// A rolling update, a task that starts slowly, one that ends: the others get its requests.
#[test]
fn some_of_the_tasks_count_only_when_it_lasts() {
    assert_eq!(told(&[("10.0.1.5:8081", REFUSES)]), NOTHING);
    let lasting = told(&[("10.0.1.5:8081", LASTING), ("10.0.1.6:8081", LASTING), ("10.0.1.7:80", LASTING)]);
    assert_eq!(lasting.len(), 2, "{lasting:?}");
    let some = told(&[("10.0.1.5:8081", LASTING)]);
    assert_eq!(some.len(), 1, "{some:?}");
    assert!(some[0].starts_with("service shop: tasks refuse connections at port 8081 (1 of 2 tasks); see `docker"));
    assert!(some[0].ends_with("(it is published anyway)"), "{some:?}");
}

#[test]
fn only_tasks_count_that_the_route_has_now() {
    let both = [("10.0.1.5:8081", LASTING), ("10.0.1.6:8081", LASTING)];
    let mut inputs = two_services();
    Arc::make_mut(&mut inputs.snapshot.tasks[0]).desired = TaskState::Shutdown;
    let one = told_by(&mut inputs, 0, 1, &both);
    assert!(one.len() == 1 && one[0].contains("(1 of 1 tasks)"), "{one:?}");
    // Whatever else a proxy says is about nobody.
    assert_eq!(told(&[("10.0.1.5:8080", LASTING), ("10.0.1.99:8081", LASTING), ("[::1]:8081", LASTING)]), NOTHING);
    let mut inputs = two_services();
    inputs.snapshot.tasks.retain(|task| task.service != "shop".into());
    assert_eq!(told_by(&mut inputs, 0, 1, &both), NOTHING);
}

/// Each proxy sees the connections of its own clients.
#[test]
fn what_several_proxies_report_is_taken_together() {
    let mut inputs = two_services();
    assert_eq!(told_by(&mut inputs, 0, 1, &[("10.0.1.5:8081", REFUSES)]), NOTHING);
    assert_eq!(told_by(&mut inputs, 0, 2, &[("10.0.1.6:8081", REFUSES)]).len(), 1);
    // Those of another service cluster have nothing to say of it.
    inputs.reports.agents.values_mut().for_each(|agent| agent.cluster = "other".parse().unwrap());
    inputs.memory = Default::default();
    assert_eq!(told_by(&mut inputs, 0, 3, &[]), NOTHING);
}

#[test]
fn a_problem_stays_as_it_is_for_a_minute_whatever_proxies_say() {
    let mut inputs = two_services();
    let (one, both) = ([("10.0.1.5:8081", LASTING)], [("10.0.1.5:8081", LASTING), ("10.0.1.6:8081", LASTING)]);
    let first = told_by(&mut inputs, 0, 1, &one);
    for second in 1..=59 {
        let said = [&one[..], &[], &both[..]][second % 3];
        assert_eq!(told_by(&mut inputs, 1, 1, said), first);
    }
    let then = told_by(&mut inputs, 1, 1, &both);
    assert!(then.len() == 1 && then[0].contains("(2 of 2 tasks)"), "{then:?}");
    assert_eq!(told_by(&mut inputs, 59, 1, &[]), then);
    assert_eq!(told_by(&mut inputs, 1, 1, &[]), NOTHING, "it is over");
    assert_eq!(told_by(&mut inputs, 600, 1, &both), then, "and begins anew");
}

#[test]
fn another_port_solves_it_at_once() {
    let mut inputs = two_services();
    let both = [("10.0.1.5:8081", LASTING), ("10.0.1.6:8081", LASTING)];
    assert_eq!(told_by(&mut inputs, 0, 1, &both).len(), 1);
    let shop = inputs.snapshot.services.iter_mut().find(|service| service.spec.name == "shop").unwrap();
    Arc::make_mut(shop).spec.labels.insert("com.docker.lb.port".to_owned(), "8080".to_owned());
    assert_eq!(told_by(&mut inputs, 1, 1, &both), NOTHING);
}

#[test]
fn a_service_with_several_ports_is_one_problem() {
    let labels = "com.docker.lb.hosts: shop.example.com, com.docker.lb.hosts.admin: admin.example.com, com.docker.lb.port.admin: \"9090\"";
    let mut inputs = inputs(&service("shop", 8081, labels), &[("shop", "10.0.1.5")], &[], "");
    let told = told_by(&mut inputs, 0, 1, &[("10.0.1.5:8081", REFUSES), ("10.0.1.5:9090", REFUSES)]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(" and at 1 other port (1 of 1 tasks); set com.docker.lb.port"), "{told:?}");
    inputs.memory = Default::default();
    let told = told_by(&mut inputs, 0, 1, &[("10.0.1.5:9090", REFUSES)]);
    assert!(told[0].contains("at port 9090 (1 of 1 tasks); set com.docker.lb.port.admin to"), "{told:?}");
}

/// Swarm chooses the task, so one that starts or ends is seen at the same address as all others.
#[test]
fn a_virtual_ip_counts_when_it_lasts() {
    let labels = [("hosts", "shop.example.com"), ("backend_mode", "vip")];
    let mut inputs = inputs(&labelled("shop", 8081, &labels), &[("shop", "10.0.1.5")], &[], "");
    let vip = VirtualIp { network: "n".into(), address: [10, 0, 1, 100].into() };
    Arc::make_mut(&mut inputs.snapshot.services[0]).virtual_ips = vec![vip];
    assert_eq!(told_by(&mut inputs, 0, 1, &[("10.0.1.100:8081", REFUSES)]), NOTHING);
    let told = told_by(&mut inputs, 0, 1, &[("10.0.1.100:8081", LASTING)]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("service shop: connections at port 8081 of its virtual IP are refused; set"),
        "{told:?}"
    );
}
