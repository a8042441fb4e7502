//! What a problem says would be right is right: whoever follows it is served, and is told nothing else about it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::support::tenant::{Told, of_tenant, told};
use interlock_core::labels::{self, Label, PREFIX, TABLE};
use interlock_core::problem::{Problem, Severity};
use interlock_core::swarm::VirtualIp;
use interlock_core::units::Invalid;

type Pairs<'a> = Vec<(&'a str, &'a str)>;

const SECRETS: [&str; 4] = ["shop.cert", "users", "ca.pem", "session"];
const ADDRESS: &str = "127.30.0.66:8080";
const SETTINGS: &str = "[Extensions.default]\nPublishMode = \"host\"\n";

fn tenant(labels: &[(&str, &str)]) -> Told {
    let mut inputs = of_tenant(labels, &SECRETS, SETTINGS);
    let service = Arc::make_mut(&mut inputs.snapshot.services[1]);
    let network = service.spec.networks[0].clone();
    service.virtual_ips = vec![VirtualIp { network, address: "127.30.0.66".parse().unwrap() }];
    told(&inputs)
}

/// What a label needs beside it to mean something.
fn beside(label: &Label) -> Pairs<'static> {
    match label.key {
        "context_root_rewrite" => vec![("context_root", "/app")],
        "ssl_key" | "ssl_only" | "hsts" => vec![("ssl_cert", "shop.cert")],
        "ssl_backend_ca" => vec![("ssl_backend", "true"), ("ssl_backend_tls_verify", "required")],
        "ssl_backend_tls_verify" => vec![("ssl_backend", "true"), ("ssl_backend_ca", "ca.pem")],
        "redirects" => vec![("hosts", "tenant.example.com,old.example.com")],
        "fail_timeout" => vec![("max_fails", "1")],
        _ => Vec::new(),
    }
}

fn with<'a>(label: &'a Label, value: &'a str) -> Told {
    let mut labels = beside(label);
    labels.push((label.key, value));
    tenant(&labels)
}

/// Why the label is refused.
fn refused(told: &Told, key: &str) -> Vec<Problem> {
    about(told, key).into_iter().filter(|problem| problem.severity == Severity::Error).collect()
}

fn about(told: &Told, key: &str) -> Vec<Problem> {
    let named = |problem: &&Problem| problem.label.as_deref() == Some(&format!("{PREFIX}{key}"));
    told.problems.iter().filter(named).cloned().collect()
}

/// What is said would be right when a label's value breaks its contract.
fn advice(label: &Label, wrong: &str) -> Vec<&'static str> {
    let key = format!("{PREFIX}{}", label.key);
    let hosts = (format!("{PREFIX}hosts"), "tenant.example.com".to_owned());
    let findings = labels::read(&[hosts, (key.clone(), wrong.to_owned())].into()).findings;
    findings.into_iter().filter(|finding| finding.key == key).map(|finding| finding.invalid.right).collect()
}

/// The values that an advice spells out: what stands behind `like`, or a choice of words.
fn advised(right: &str) -> Vec<String> {
    if let Some((_, example)) = right.split_once(" like ") {
        let example = example.split(", separated").next().unwrap().split(": ").next().unwrap();
        return example.split(" or ").map(|value| value.split(", as ").next().unwrap().to_owned()).collect();
    }
    let Some(words) = right.strip_prefix("write ") else { return Vec::new() };
    let words: Vec<_> = words.split(" or ").flat_map(|words| words.split(", ")).map(str::to_owned).collect();
    let are_values = words.len() > 1 && words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase()));
    if are_values { words } else { Vec::new() }
}

/// The characters that an advice names in backquotes, inside of a word.
fn characters(right: &str) -> Vec<String> {
    let quoted = right.split('`').skip(1).step_by(2).filter(|it| it.chars().count() == 1);
    quoted.map(|character| format!("a{character}b")).collect()
}

const WRONG: &[&str] = &[
    "a b",
    "30 s",
    "",
    "-1",
    "99999999",
    "1500ms",
    "x;y",
    "$x",
    "*",
    "https://x/y",
    "/a/../b",
    "é",
    "a:b c",
    "ftp://x,y",
];

#[test]
fn each_value_that_an_advice_spells_out_is_taken() {
    let (mut followed, mut silent) = (BTreeSet::new(), Vec::new());
    for label in TABLE {
        for wrong in WRONG {
            for right in advice(label, wrong) {
                let values = advised(right);
                if values.is_empty() {
                    silent.push(right);
                }
                // A name that an advice gives as an example need not exist.
                let exists = !matches!(label.key, "network" | "service_cluster") && !right.contains("docker ");
                for value in values.iter().filter(|_| exists) {
                    // Of a list of headers it is a name that is wrong.
                    let is_name = label.key.ends_with("_headers");
                    let value = if is_name { format!("-{value}") } else { value.clone() };
                    if !followed.insert((label.key, value.clone())) {
                        continue;
                    }
                    let told = with(label, &value);
                    assert!(
                        refused(&told, label.key).is_empty(),
                        "{}={wrong:?}: {}\n{:?}",
                        label.key,
                        right,
                        told.problems
                    );
                }
            }
        }
    }
    silent.sort();
    silent.dedup();
    assert!(followed.len() > 40, "only {followed:?} were followed");
    assert!(silent.len() < 25, "advice without an example: {silent:#?}");
}

#[test]
fn each_character_that_an_advice_allows_is_taken() {
    for label in TABLE.iter().filter(|label| ["sticky_session_cookie", "canary_cookie"].contains(&label.key)) {
        for wrong in WRONG {
            for right in advice(label, wrong) {
                for value in characters(right) {
                    let told = with(label, &value);
                    assert!(refused(&told, label.key).is_empty(), "{}={value}: {:?}", label.key, told.problems);
                }
            }
        }
    }
}

#[test]
fn a_unit_that_an_advice_names_is_taken() {
    for label in TABLE {
        let names_ms = |problem: &Problem| problem.right.contains(" ms,");
        let told = with(label, "30 s");
        if about(&told, label.key).iter().any(names_ms) {
            assert!(refused(&with(label, "1500ms"), label.key).is_empty(), "{}", label.key);
        }
    }
}

/// Labels, a part of the advice, and the labels of somebody who follows it.
fn followed() -> Vec<(Pairs<'static>, &'static str, Pairs<'static>)> {
    let redirects = ("redirects", "https://tenant.example.com,https://new.example.com");
    let http = ("redirects", "http://tenant.example.com,https://new.example.com");
    vec![
        (
            vec![redirects],
            "set com.docker.lb.ssl_cert to the secret with a certificate",
            vec![redirects, ("ssl_cert", "shop.cert")],
        ),
        (vec![redirects], "or remove the redirect of https", vec![http]),
        (
            vec![redirects, ("ssl_passthrough", "true")],
            "remove the redirect of https: with ssl_passthrough TLS ends at the service",
            vec![http, ("ssl_passthrough", "true")],
        ),
        (
            vec![("hsts", "1d")],
            "set com.docker.lb.ssl_cert to the secret with a certificate",
            vec![("hsts", "1d"), ("ssl_cert", "shop.cert")],
        ),
        (vec![("hsts", "1d")], "or remove it", vec![]),
        (
            vec![("ssl_only", "true")],
            "set com.docker.lb.ssl_cert to the secret with a certificate",
            vec![("ssl_only", "true"), ("ssl_cert", "shop.cert")],
        ),
        (
            vec![("ssl_key", "shop.cert")],
            "set com.docker.lb.ssl_cert to the certificate's secret",
            vec![("ssl_key", "shop.cert"), ("ssl_cert", "shop.cert")],
        ),
        (
            vec![("ssl_key", "shop.cert"), ("ssl_passthrough", "true")],
            "remove it: with ssl_passthrough",
            vec![("ssl_passthrough", "true")],
        ),
        (
            vec![("ssl_backend_tls_verify", "required")],
            "and set com.docker.lb.ssl_backend=true",
            vec![("ssl_backend_tls_verify", "required"), ("ssl_backend_ca", "ca.pem"), ("ssl_backend", "true")],
        ),
        (
            vec![("ssl_backend_tls_verify", "required"), ("ssl_backend", "true")],
            "set com.docker.lb.ssl_backend_ca to the secret with the authorities",
            vec![("ssl_backend_tls_verify", "required"), ("ssl_backend", "true"), ("ssl_backend_ca", "ca.pem")],
        ),
        (
            vec![("ssl_backend_tls_verify", "required"), ("ssl_backend_ca", "ca.pem")],
            "set com.docker.lb.ssl_backend=true",
            vec![("ssl_backend_tls_verify", "required"), ("ssl_backend_ca", "ca.pem"), ("ssl_backend", "true")],
        ),
        (
            vec![("ssl_backend_tls_verify", "required"), ("ssl_backend_ca", "ca.pem")],
            "or backend_protocol to https or grpcs",
            vec![("ssl_backend_tls_verify", "required"), ("ssl_backend_ca", "ca.pem"), ("backend_protocol", "grpcs")],
        ),
        (
            vec![("ssl_backend_ca", "ca.pem"), ("ssl_backend", "true")],
            "set com.docker.lb.ssl_backend_tls_verify=required",
            vec![("ssl_backend_ca", "ca.pem"), ("ssl_backend", "true"), ("ssl_backend_tls_verify", "required")],
        ),
        (
            vec![("context_root_rewrite", "true")],
            "set com.docker.lb.context_root",
            vec![("context_root_rewrite", "true"), ("context_root", "/app")],
        ),
        (
            vec![("sticky_session_cookie", "session"), ("ip_hash", "true")],
            "remove one of the two labels",
            vec![("ip_hash", "true")],
        ),
        (
            vec![("ssl_cert", "shop.cert"), ("ssl_passthrough", "true")],
            "remove one of the two labels",
            vec![("ssl_passthrough", "true")],
        ),
        (
            vec![("ssl_cert", "shop.cert"), ("ssl_passthrough", "true")],
            "remove one of the two labels",
            vec![("ssl_cert", "shop.cert")],
        ),
        (
            vec![("max_body_size", "1m"), ("ssl_passthrough", "true")],
            "remove one of the two labels",
            vec![("max_body_size", "0"), ("ssl_passthrough", "true")],
        ),
        (
            vec![("allow", "192.0.2.0/24"), ("ssl_passthrough", "true")],
            "remove one of the two labels",
            vec![("ssl_passthrough", "true")],
        ),
        (
            vec![("redirects", "http://old.example.com,https://new.example.com")],
            "add it to com.docker.lb.hosts",
            vec![
                ("hosts", "tenant.example.com,old.example.com"),
                ("redirects", "http://old.example.com,https://new.example.com"),
            ],
        ),
        (vec![("redirects", "http://tenant.example.com,http://tenant.example.com")], "", vec![http]),
        (
            vec![
                ("hosts", "tenant.example.com,old.example.com"),
                (
                    "redirects",
                    "http://tenant.example.com,http://old.example.com;http://old.example.com,http://tenant.example.com",
                ),
            ],
            "point one redirect at a host that is not redirected",
            vec![
                ("hosts", "tenant.example.com,old.example.com"),
                (
                    "redirects",
                    "http://tenant.example.com,http://old.example.com;http://old.example.com,https://new.example.com",
                ),
            ],
        ),
        (vec![("service_cluster", "ux")], "remove the label, or add the cluster to the settings", vec![]),
        (
            vec![("backend_mode", "vip"), ("ip_hash", "true")],
            "or set backend_mode=task",
            vec![("backend_mode", "task"), ("ip_hash", "true")],
        ),
        (
            vec![("backend_mode", "vip"), ("ip_hash", "true")],
            "remove sticky_session_cookie or ip_hash",
            vec![("backend_mode", "vip")],
        ),
        (vec![("hosts", "*")], "set com.docker.lb.default_backend=true", vec![("default_backend", "true")]),
        (vec![("hosts", "https://tenant.example.com")], "write the host alone", vec![("hosts", "tenant.example.com")]),
        (
            vec![("hosts", "tenant.example.com/app")],
            "and the path into com.docker.lb.context_root",
            vec![("hosts", "tenant.example.com"), ("context_root", "/app")],
        ),
        (vec![("allow", "10.0.0.1/8")], "write that network, or the address alone", vec![("allow", "10.0.0.0/8")]),
        (vec![("allow", "10.0.0.1/8")], "write that network, or the address alone", vec![("allow", "10.0.0.1")]),
        (
            vec![("backend_protocol", "grpc"), ("context_root", "/a"), ("context_root_rewrite", "true")],
            "remove one of the two labels",
            vec![("backend_protocol", "grpc"), ("context_root", "/a")],
        ),
        (vec![("weight", "20%")], "in digits", vec![("weight", "20")]),
    ]
}

#[test]
fn whoever_follows_an_advice_is_served_and_told_nothing_else() {
    for (before, advice, after) in followed() {
        let told = tenant(&before);
        let said = |problem: &Problem| problem.right.contains(advice);
        assert!(told.problems.iter().any(said), "{before:?}: {advice:?}\n{:#?}", told.problems);
        let told = tenant(&after);
        assert_eq!(told.problems, [], "{before:?}, then {after:?}");
        assert!(told.serves(ADDRESS), "{after:?}");
    }
}

/// The advice that was refused next.
#[test]
fn what_is_never_advised() {
    let right = |key: &str, value: &str| {
        let problems = about(&tenant(&[(key, value)]), key);
        problems.first().unwrap_or_else(|| panic!("{key}={value} is taken")).right.clone()
    };
    assert!(!right("fail_timeout", "30 s").contains("ms"));
    let port = |text: &str| text.parse::<interlock_core::units::Port>();
    let Err(Invalid { right, .. }) = port("80a") else { panic!("it is none") };
    assert!(advised(right).iter().all(|value| port(value).is_ok()), "{right}");
}
