//! A service that asks for protection is never published without it: every label of the table, in every case in which it cannot be given.

use std::sync::Arc;

use crate::support::tenant::{Told, of_tenant, told};
use interlock_core::labels::{Label, PREFIX, TABLE};
use interlock_core::problem::Effect;
use interlock_core::reconcile::Inputs;
use interlock_core::swarm::Labels;

const ADDRESS: &str = "127.30.0.66:8080";
const SECRETS: [&str; 3] = ["shop.cert", "users", "ca.pem"];
/// What is wrong with a label that has nothing to do with protection.
const WRONG: (&str, &str) = ("weight", "20%");

type Pairs<'a> = Vec<(&'a str, &'a str)>;

/// What a service has to say to get what a label asks for.
fn asks(label: &Label) -> Pairs<'static> {
    match label.key {
        "ssl_only" => vec![("ssl_only", "true"), ("ssl_cert", "shop.cert")],
        "ssl_backend_ca" | "ssl_backend_tls_verify" => {
            vec![("ssl_backend", "true"), ("ssl_backend_tls_verify", "required"), ("ssl_backend_ca", "ca.pem")]
        }
        "basic_auth" => vec![("basic_auth", "users")],
        key => vec![(key, label.example)],
    }
}

fn tenant(labels: &[(&str, &str)]) -> Inputs {
    of_tenant(labels, &SECRETS, "")
}

/// The tenant with these labels, after it was served by others.
fn after(before: &[(&str, &str)], now: &[(&str, &str)]) -> Told {
    let mut inputs = tenant(now);
    let was = tenant(before).snapshot.services[1].spec.labels.clone();
    assert!(told(&tenant(before)).serves(ADDRESS), "{before:?}");
    let service = Arc::make_mut(&mut inputs.snapshot.services[1]);
    if before.len().is_multiple_of(2) {
        Arc::make_mut(&mut inputs.memory.last_good).insert(service.id.clone(), Arc::new(was));
    } else {
        // A fresh process goes by what Swarm keeps.
        let mut spec = service.spec.clone();
        spec.labels = was;
        service.previous = Some(spec);
    }
    told(&inputs)
}

fn is_withheld(told: &Told) -> bool {
    let left_out = told.problems.iter().any(|problem| problem.effect == Effect::LeftOut);
    assert_ne!(left_out, told.serves(ADDRESS), "{:?}", told.problems);
    left_out
}

fn protecting() -> impl Iterator<Item = &'static Label> {
    TABLE.iter().filter(|label| label.guard.protects())
}

#[test]
fn a_wrong_value_withholds_what_was_open_if_the_label_protects() {
    for label in TABLE {
        let told = after(&[], &[(label.key, label.counterexample)]);
        assert_eq!(is_withheld(&told), label.guard.protects(), "{}: {:?}", label.key, told.problems);
        let effect = if label.guard.protects() { Effect::LeftOut } else { Effect::LastGood };
        assert!(told.problems.iter().all(|problem| problem.effect == effect), "{}: {:?}", label.key, told.problems);
    }
}

#[test]
fn a_missing_secret_withholds_what_was_open_if_the_label_protects() {
    let tls = [("ssl_backend", "true"), ("ssl_backend_tls_verify", "required")];
    for missing in [
        vec![("basic_auth", "nosuch")],
        [&tls[..], &[("ssl_backend_ca", "nosuch")]].concat(),
        vec![("ssl_only", "true"), ("ssl_cert", "nosuch")],
        vec![("ssl_only", "true"), ("ssl_cert", "shop.cert"), ("ssl_key", "nosuch")],
    ] {
        assert!(is_withheld(&after(&[], &missing)), "{missing:?}");
    }
    // A certificate alone keeps nobody away: plain HTTP is served with and without it.
    assert!(!is_withheld(&after(&[], &[("ssl_cert", "nosuch")])));
}

#[test]
fn what_a_service_asks_for_withholds_what_was_open_whatever_else_is_wrong() {
    for label in protecting() {
        let wanted = [asks(label), vec![WRONG]].concat();
        assert!(is_withheld(&after(&[], &wanted)), "{}", label.key);
        assert!(is_withheld(&after(&[("compress", "true")], &wanted)), "{}", label.key);
    }
}

#[test]
fn the_last_good_labels_come_back_if_they_give_the_same_protection() {
    for label in protecting() {
        let asks = asks(label);
        let told = after(&asks, &[&asks[..], &[WRONG]].concat());
        assert!(!is_withheld(&told), "{}: {:?}", label.key, told.problems);
        // They may give more.
        let told = after(&[&asks[..], &[("raw_paths", "false")]].concat(), &[WRONG]);
        assert!(!is_withheld(&told), "{}: {:?}", label.key, told.problems);
        if let Some(off) = label.off {
            assert!(!is_withheld(&after(&[], &[(label.key, off), WRONG])), "{}={off}", label.key);
        }
    }
}

#[test]
fn a_younger_service_that_asks_for_protection_is_left_out_beside_one_that_does_not() {
    for label in protecting() {
        let mut inputs = tenant(&asks(label));
        let mut elder = (*inputs.snapshot.services[1]).clone();
        elder.id = "elder".into();
        elder.spec.name = "elder".to_owned();
        elder.created_at = "2020-01-01T00:00:00Z".parse().unwrap();
        elder.spec.labels.retain(|key, _| ["hosts", "port"].iter().any(|kept| *key == format!("{PREFIX}{kept}")));
        inputs.snapshot.services.insert(0, elder.into());
        Arc::make_mut(&mut inputs.snapshot.services[2]).created_at = "2025-01-01T00:00:00Z".parse().unwrap();
        let told = told(&inputs);
        // TLS that goes through stands beside plain HTTP.
        let alone = label.key != "ssl_passthrough";
        assert_eq!(told.serves(ADDRESS), !alone, "{}: {:?}", label.key, told.problems);
        assert_eq!(told.problems.iter().any(|problem| problem.effect == Effect::LeftOut), alone, "{}", label.key);
    }
}

/// What a route asks for counts for its requests, whatever it is called and whichever route had them before.
#[test]
fn routes_of_a_service_are_compared_by_the_requests_that_they_get() {
    let all = |path: &'static str, suffix: &'static str, allow: Option<&'static str>| -> Pairs<'static> {
        let key = |key: &str| -> &'static str { format!("{key}{suffix}").leak() };
        let mut pairs = vec![(key("hosts"), "tenant.example.com"), (key("port"), "8080"), (key("context_root"), path)];
        pairs.extend(allow.map(|networks| (key("allow"), networks)));
        pairs
    };
    const NET: Option<&str> = Some("192.0.2.0/24");
    let open = || all("/", ".open", None);
    for (before, now, withheld) in [
        // Nothing about protection changed.
        ([all("/admin", ".admin", NET), open()], [all("/admin", ".admin", NET), open()], false),
        // The path that is protected moved, to one that was open.
        ([all("/admin", ".admin", NET), open()], [all("/secret", ".admin", NET), open()], true),
        // It is another route that protects it.
        ([all("/admin", ".admin", NET), open()], [all("/admin", ".boss", NET), open()], true),
        // Each of the earlier ones protects.
        ([all("/a", ".a", NET), all("/b", ".b", NET)], [all("/c", ".c", NET), all("/b", ".b", NET)], false),
        // The two changed places.
        ([all("/", ".a", None), all("/x", ".b", NET)], [all("/", ".a", NET), all("/x", ".b", None)], true),
        // Other networks.
        ([all("/", ".a", NET), open()], [all("/", ".a", Some("198.51.100.0/24")), open()], true),
        // The one with protection goes.
        ([all("/a", ".a", NET), open()], [open(), vec![]], false),
    ] {
        let now = [now.concat(), vec![("weight.open", "20%"), ("weight.b", "20%"), ("weight.a", "20%")]].concat();
        let (mut inputs, mut was) = (tenant(&now), tenant(&before.concat()));
        let without = |labels: &mut Labels| {
            labels.remove(&format!("{PREFIX}hosts"));
        };
        without(&mut Arc::make_mut(&mut inputs.snapshot.services[1]).spec.labels);
        without(&mut Arc::make_mut(&mut was.snapshot.services[1]).spec.labels);
        let id = inputs.snapshot.services[1].id.clone();
        Arc::make_mut(&mut inputs.memory.last_good).insert(id, Arc::new(was.snapshot.services[1].spec.labels.clone()));
        let told = told(&inputs);
        assert_eq!(is_withheld(&told), withheld, "{before:?}\n{now:?}\n{:?}", told.problems);
    }
}

/// By the routing mesh every client has an address of the mesh. Whom to let in can only be told where somebody says who the client is.
#[test]
fn allow_is_withheld_where_all_clients_look_alike() {
    let mesh = |trusted: &str| {
        let toml = format!("[Extensions.default]\nTrustedProxies = [{trusted}]\n");
        let mut inputs = of_tenant(&[("allow", "172.16.0.0/12")], &[], &toml);
        let mut ingress = inputs.snapshot.networks[0].clone();
        (ingress.id, ingress.name, ingress.ingress) = ("mesh".into(), "ingress".to_owned(), true);
        ingress.subnets = vec!["10.0.0.0/24".parse().unwrap()];
        inputs.snapshot.networks.push(ingress);
        inputs
    };
    for (trusted, withheld) in [("", true), ("\"198.51.100.0/24\"", true), ("\"10.0.0.0/24\"", false)] {
        let told = told(&mesh(trusted));
        assert_eq!(is_withheld(&told), withheld, "{trusted}: {:?}", told.problems);
    }
    // What was open before does not come back.
    let mut inputs = mesh("");
    let service = Arc::make_mut(&mut inputs.snapshot.services[1]);
    service.previous = Some(service.spec.clone());
    service.previous.as_mut().unwrap().labels.remove("com.docker.lb.allow");
    assert!(is_withheld(&told(&inputs)));
    // On the hosts they are seen.
    assert!(!is_withheld(&told(&tenant(&[("allow", "172.16.0.0/12")]))));
}
