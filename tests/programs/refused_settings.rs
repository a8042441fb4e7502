//! Settings that are read without complaint and that NGINX refuses: they are to blame, and no service is.

use std::collections::BTreeSet;

use crate::support::routes::{inputs, labelled};
use interlock_core::extension::render_and_check;
use interlock_core::kinds::{Checker, RenderError};
use interlock_core::reconcile::reconcile_embedded;
use interlock_core::settings::{Settings, Shape, Status, reference};

const SECTION: &str = "Extensions.<name>.Config";

/// Values of one key that somebody may write. What the settings refuse themselves does not get to NGINX.
fn values(name: &str, shape: Shape) -> Vec<String> {
    let text = |text: &str| format!("{text:?}");
    match shape {
        Shape::Text | Shape::IntegerOrText => [
            "nonsense",
            "nonsense:nonsense",
            "1 1k",
            "4 1",
            "0",
            "/nowhere/at/all",
            "syslog:nonsense",
            "$no_such_variable",
            "65535 64k",
            "1k",
            "1g",
        ]
        .map(text)
        .into(),
        Shape::List if name == "GlobalOptions" => {
            vec!["[\"no_such on;\"]".into(), "[\"pid a b;\"]".into(), "[\"events {}\"]".into()]
        }
        Shape::List => vec!["[\"no_such on;\"]".into(), "[\"server { listen bad; }\"]".into()],
        Shape::Integer | Shape::Seconds => vec!["1".into(), "2147483647".into()],
        Shape::Boolean | Shape::Map | Shape::OneOf(_) => Vec::new(),
    }
}

/// A host of each kind: some keys only count where there is one.
fn services() -> String {
    labelled("plain", 80, &[("hosts", "plain.example.com")])
        + &labelled("secure", 80, &[("hosts", "secure.example.com"), ("ssl_cert", "pair")])
        + &labelled("raw", 443, &[("hosts", "raw.example.com"), ("ssl_passthrough", "true")])
        + &labelled("rpc", 80, &[("hosts", "rpc.example.com"), ("ssl_cert", "pair"), ("backend_protocol", "grpc")])
}

#[tokio::test]
async fn no_service_is_blamed_for_any_key_of_the_settings() {
    let checker = Checker::find("nginx").await.unwrap();
    let tasks = [("plain", "127.0.0.2"), ("secure", "127.0.0.3"), ("raw", "127.0.0.4"), ("rpc", "127.0.0.5")];
    let mut refused = BTreeSet::new();
    for key in reference().into_iter().filter(|key| key.section == SECTION && matches!(key.status, Status::Works)) {
        for value in values(key.name, key.shape) {
            let toml = format!(
                "[Extensions.default]\nPublishMode = \"host\"\n[Extensions.default.Config]\n{} = {value}\n",
                key.name
            );
            if Settings::parse(&toml).is_err() {
                continue;
            }
            let inputs = inputs(&services(), &tasks, &["pair"], &toml);
            let configs = reconcile_embedded(&inputs).0.proxy_configs;
            let rendering = render_and_check(configs.values().next().unwrap(), 1_000_000, Some(&checker)).await;
            match rendering.result {
                Ok(_) => {}
                Err(RenderError::RefusedSettings(_)) => drop(refused.insert(key.name)),
                Err(error) => panic!("{} = {value}: {error:?}", key.name),
            }
        }
    }
    for name in ["GlobalOptions", "HTTPOptions", "TCPOptions", "SSLCiphers", "MainLogFormat"] {
        assert!(refused.contains(name), "nothing is wrong with {name}: {refused:?}");
    }
}
