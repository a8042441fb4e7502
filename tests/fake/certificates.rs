//! What owners of certificates are told, by what proxies report.

use std::collections::BTreeMap;

use crate::support::Scenario;
use crate::support::world::{Mind, World, with_authority};
use interlock_core::peers::{AgentReport, Reports, SecretReport};
use interlock_core::proxy_config::Generation;
use interlock_core::reconcile::{Inputs, Outcome, reconcile_embedded};
use interlock_core::units::Cluster;
use interlock_testkit::Swarm;
use serde_json::json;

const ONE: &str = "a1";
const OTHER: &str = "b2";

fn fixture(name: &str, toml: &str) -> Inputs {
    let scenario = Scenario::all().into_iter().find(|scenario| scenario.name == name).unwrap();
    let mut inputs = scenario.inputs();
    if !toml.is_empty() {
        inputs.settings = crate::support::settings(toml);
    }
    inputs
}

fn secret(certificate: &str, ends: &str, key: &str) -> SecretReport {
    let hash = |text: &str| (!text.is_empty()).then(|| text.repeat(32));
    SecretReport {
        public_key: hash(certificate),
        not_after: ends.parse().ok(),
        key_of: hash(key),
        has_key: !key.is_empty(),
        unusable: None,
    }
}

/// What is told when a proxy has these secrets.
fn told(mut inputs: Inputs, secrets: &[(&str, SecretReport)]) -> Vec<String> {
    let (outcome, _) = reconcile_embedded(&inputs);
    let generation = outcome.proxy_configs.keys().next().unwrap().1.clone();
    let report = AgentReport {
        cluster: "".parse().unwrap(),
        generation,
        address: [10, 0, 5, 1].into(),
        hostname: "proxy".into(),
        version: None,
        version_warning: String::new(),
        secrets: secrets
            .iter()
            .map(|(name, secret)| (name.parse().unwrap(), secret.clone()))
            .collect::<BTreeMap<_, _>>()
            .into(),
        running: None,
        refused: None,
        unreachable: Default::default(),
    };
    inputs.reports = Reports { agents: BTreeMap::from([(1, report)]), ..Reports::default() };
    reconcile_embedded(&inputs).0.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_wrong_with_a_pair_is_told_to_its_owner() {
    // It is the first of January 2026 there.
    let (good, late, over) = ("2027-01-01T00:00:00Z", "2026-01-20T00:00:00Z", "2025-12-31T00:00:00Z");
    let shop = "service shop: com.docker.lb.";
    for (certificate, key, expected) in [
        (secret(ONE, good, ""), secret("", "", ONE), String::new()),
        (
            secret("", "", ""),
            secret("", "", ONE),
            format!(
                "{shop}ssl_cert=\"shop.cert\" holds no certificate; put one into it, as PEM (its hosts are not served over TLS)"
            ),
        ),
        (secret(ONE, good, ""), secret(ONE, good, ""), format!("{shop}ssl_key=\"shop.key\" holds no private key; ")),
        (
            secret(ONE, good, ""),
            secret("", "", OTHER),
            format!("{shop}ssl_key=\"shop.key\" does not belong to the certificate; "),
        ),
        (secret(ONE, over, ""), secret("", "", ONE), format!("{shop}ssl_cert=\"shop.cert\" ended on 2025-12-31: ")),
        (secret(ONE, late, ""), secret("", "", ONE), format!("{shop}ssl_cert=\"shop.cert\" ends on 2026-01-20; ")),
    ] {
        let told = told(fixture("label-ssl_cert", ""), &[("shop.cert", certificate), ("shop.key", key)]);
        match expected.as_str() {
            "" => assert_eq!(told, Vec::<String>::new()),
            expected => assert!(told.len() == 1 && told[0].starts_with(expected), "{expected}: {told:?}"),
        }
    }
    let unusable = SecretReport { unusable: Some("bad end line".to_owned()), ..secret(ONE, good, "") };
    let told_of = told(fixture("label-ssl_cert", ""), &[("shop.cert", unusable), ("shop.key", secret("", "", ONE))]);
    let expected = format!("{shop}ssl_cert=\"shop.cert\" cannot be used by the proxies: bad end line; ");
    assert!(told_of.len() == 1 && told_of[0].starts_with(&expected), "{told_of:?}");
    // Before any proxy has said something, nothing is wrong.
    assert_eq!(told(fixture("label-ssl_cert", ""), &[]), Vec::<String>::new());
}

/// nginx does not start with a file of authorities that is none: hitless proxies get such a route only once one of them knows better.
#[test]
fn authorities_that_are_none_cost_their_route_alone() {
    let toml = "EndpointOverride = \"core.test:8080\"\n[Extensions.default]\nHitlessServiceUpdate = true\n";
    let mut inputs = fixture("label-ssl_backend_tls_verify", toml);
    let text = |inputs: &Inputs| {
        let (_, renderings) = reconcile_embedded(inputs);
        renderings.into_values().next().unwrap().result.unwrap()[0].content.clone()
    };
    assert!(!text(&inputs).contains("proxy_ssl_trusted_certificate"), "no proxy runs that could have told");
    let generation = reconcile_embedded(&inputs).0.proxy_configs.keys().next().unwrap().1.clone();
    for (known, served) in [(secret("", "", ""), false), (secret(ONE, "2027-01-01T00:00:00Z", ""), true)] {
        let report = AgentReport {
            cluster: "".parse().unwrap(),
            generation: generation.clone(),
            address: [10, 0, 5, 1].into(),
            hostname: "proxy".into(),
            version: None,
            version_warning: String::new(),
            secrets: BTreeMap::from([("ca.pem".parse().unwrap(), known)]).into(),
            running: None,
            refused: None,
            unreachable: Default::default(),
        };
        inputs.reports = Reports { agents: BTreeMap::from([(1, report)]), ..Reports::default() };
        assert_eq!(text(&inputs).contains("proxy_ssl_trusted_certificate"), served);
        let problems = reconcile_embedded(&inputs).0.problems;
        let told = problems.iter().any(|problem| problem.to_string().contains("\"ca.pem\" holds no certificate"));
        assert_eq!(told, !served, "{problems:?}");
    }
}

/// Two proxies of three have the authorities, and one says that it has not. A single one of a single one is believed: see above.
#[test]
fn m3_a_proxy_that_says_otherwise_than_the_others_costs_nobody_a_route() {
    let toml = "EndpointOverride = \"core.test:8080\"\n[Extensions.default]\nHitlessServiceUpdate = true\n";
    let mut inputs = fixture("label-ssl_backend_tls_verify", toml);
    let generation = reconcile_embedded(&inputs).0.proxy_configs.keys().next().unwrap().1.clone();
    let report = |last: u8, secrets: BTreeMap<_, _>| AgentReport {
        cluster: "".parse().unwrap(),
        generation: generation.clone(),
        address: [10, 0, 5, last].into(),
        hostname: format!("proxy-{last}"),
        version: None,
        version_warning: String::new(),
        secrets: secrets.into(),
        running: None,
        refused: None,
        unreachable: Default::default(),
    };
    let has = || BTreeMap::from([("ca.pem".parse().unwrap(), secret(ONE, "2027-01-01T00:00:00Z", ""))]);
    // It comes first, and with several streams.
    let agents = [(1, report(1, BTreeMap::new())), (2, report(2, has())), (3, report(3, has()))];
    let more = (4..7).map(|number| (number, report(1, BTreeMap::new())));
    inputs.reports = Reports { agents: agents.into_iter().chain(more).collect(), ..Reports::default() };
    let (outcome, renderings) = reconcile_embedded(&inputs);
    let files = renderings.into_values().next().unwrap().result.unwrap();
    assert!(files[0].content.contains("proxy_ssl_trusted_certificate"));
    let told: Vec<_> = outcome.problems.iter().map(ToString::to_string).collect();
    let of_proxies: Vec<_> = told.iter().filter(|told| told.contains("reports other content")).collect();
    assert_eq!(of_proxies.len(), 1, "{told:?}");
    assert!(of_proxies[0].contains("proxy proxy-1 at 10.0.5.1 reports other content for secret ca.pem"), "{told:?}");
}

/// A service whose certificate has to be signed by these authorities.
fn verified(swarm: &mut Swarm, name: &str, authorities: &str) {
    swarm.create_secret(json!({ "Name": authorities, "Data": "c2VjcmV0" })).unwrap();
    let labels = [
        ("hosts", format!("{name}.example.com").as_str()),
        ("port", "8443"),
        ("ssl_backend", "true"),
        ("ssl_backend_tls_verify", "required"),
        ("ssl_backend_ca", authorities),
    ]
    .map(|(key, value)| (format!("com.docker.lb.{key}"), value.to_owned()));
    let service = swarm.service(name).network("demo");
    labels.iter().fold(service, |service, (key, value)| service.label(key, value)).create();
}

/// The generations that core sends files with these authorities.
fn sent_with(outcome: &Outcome, authorities: &str) -> Vec<Generation> {
    let line = format!("proxy_ssl_trusted_certificate /run/secrets/{authorities};");
    let deliveries = outcome.deliveries.iter();
    let with = deliveries.filter(|(_, rendering)| rendering.result.as_ref().unwrap()[0].content.contains(&line));
    with.map(|((_, generation), _)| generation.clone()).collect()
}

const TOML: &str = "EndpointOverride = \"core.test:8080\"\n[Extensions.default]\nHitlessServiceUpdate = true\n";

/// Proxies that run did start with these files. A core that does not know them yet must not take from them what they serve.
#[tokio::test]
async fn a_core_that_starts_anew_takes_no_verified_route_from_proxies_that_run() {
    let mut swarm = with_authority(Swarm::three_nodes()).overlay("demo");
    verified(&mut swarm, "shop", "ca.pem");
    swarm.settle();
    let mut world = World::new(swarm, crate::support::settings(TOML)).await;
    let mut mind = Mind::default();
    let (first, observation) = world.decide(&mut mind).await.unwrap();
    assert_eq!(
        sent_with(&first, "ca.pem"),
        [],
        "what a first proxy starts with holds nothing that may keep it from starting"
    );
    assert!(world.apply(&first.plan, &observation).await.is_empty());
    let (creating, _) = world.decide(&mut Mind::default()).await.unwrap();
    assert_eq!(sent_with(&creating, "ca.pem"), []);
    world.settle().await;

    let (anew, _) = world.decide(&mut Mind::default()).await.unwrap();
    let running = anew.generations[&Cluster::default()].clone();
    assert_eq!(sent_with(&anew, "ca.pem"), vec![running.clone()]);

    // What new tasks start with holds it only once somebody has said that it is good, also when they are replaced for another reason.
    world.settings = crate::support::settings(&format!("{TOML}ProxyImage = \"other:1\"\n"));
    let (rolls, _) = world.decide(&mut Mind::default()).await.unwrap();
    assert!(rolls.plan.steps.iter().any(|step| step.restarts_tasks), "{}", rolls.plan);
    assert!(!serde_json::to_string(&rolls.plan).unwrap().contains("proxy_ssl_trusted_certificate"), "{}", rolls.plan);
    world.settings = crate::support::settings(TOML);

    // Nobody has started with another file yet, until the first of the next proxies runs.
    verified(&mut world.swarm(), "blog", "other.pem");
    world.swarm().tick(std::time::Duration::from_secs(10));
    let (rolls, observation) = world.decide(&mut mind).await.unwrap();
    let next = rolls.generations[&Cluster::default()].clone();
    assert_ne!(next, running);
    assert_eq!((sent_with(&rolls, "ca.pem"), sent_with(&rolls, "other.pem")), (vec![running.clone()], vec![]));
    assert!(world.apply(&rolls.plan, &observation).await.is_empty());
    world.settle().await;
    let (anew, _) = world.decide(&mut Mind::default()).await.unwrap();
    assert_eq!((sent_with(&anew, "ca.pem"), sent_with(&anew, "other.pem")), (vec![next.clone()], vec![next]));
}
