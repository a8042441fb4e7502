//! What the settings say about the proxy service itself, field by field.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::hash;
use crate::render::nginx::HEALTH_PORT;
use crate::settings::{Extension, PublishMode};

/// One field of a service's spec as the settings ask for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its value in the Docker API's shape.
    pub value: Value,
}

impl Field {
    /// A short name for the value. The service carries it, so that a later run knows whether the settings changed.
    pub fn fingerprint(&self) -> String {
        hash::hex16(self.value.to_string().as_bytes())[..8].to_owned()
    }
}

const LABEL: &str = "label ";
const CONTAINER_LABEL: &str = "container label ";

/// Where each field stands in the spec. Names are what people read in plans.
const FIELDS: &[(&str, &[&str])] = &[
    ("image", &["TaskTemplate", "ContainerSpec", "Image"]),
    ("arguments", &["TaskTemplate", "ContainerSpec", "Args"]),
    ("stop signal", &["TaskTemplate", "ContainerSpec", "StopSignal"]),
    ("stop grace period", &["TaskTemplate", "ContainerSpec", "StopGracePeriod"]),
    ("health check", &["TaskTemplate", "ContainerSpec", "Healthcheck"]),
    ("constraints", &["TaskTemplate", "Placement", "Constraints"]),
    ("placement preferences", &["TaskTemplate", "Placement", "Preferences"]),
    ("restart policy", &["TaskTemplate", "RestartPolicy"]),
    ("replicas", &["Mode", "Replicated", "Replicas"]),
    ("update policy", &["UpdateConfig"]),
    ("rollback policy", &["RollbackConfig"]),
    ("endpoint mode", &["EndpointSpec", "Mode"]),
    ("ports", &["EndpointSpec", "Ports"]),
];

/// The place of a field in the spec; `None` for a name that no version of interlock wrote.
pub(crate) fn path_of(name: &str) -> Option<Vec<String>> {
    let owned = |path: &[&str]| path.iter().map(|&key| key.to_owned()).collect();
    if let Some(key) = name.strip_prefix(LABEL) {
        return Some(owned(&["Labels", key]));
    }
    if let Some(key) = name.strip_prefix(CONTAINER_LABEL) {
        return Some(owned(&["TaskTemplate", "ContainerSpec", "Labels", key]));
    }
    FIELDS.iter().find(|(known, _)| *known == name).map(|(_, path)| owned(path))
}

/// The fields of a proxy service.
pub(super) fn of(extension: &Extension, has_active_worker: bool) -> BTreeMap<String, Field> {
    let published_on_host = extension.publish_mode == PublishMode::Host;
    let constraints = match &extension.proxy_constraints {
        Some(constraints) => json!(constraints),
        None if has_active_worker => json!(["node.role==worker"]),
        None => json!([]),
    };
    let preferences: Vec<_> = extension.proxy_placement_preferences.iter().map(|text| preference(text)).collect();
    let policy = |on_failure: &str| {
        json!({
            "Parallelism": 1,
            "Delay": nanos(extension.proxy_update_delay),
            "FailureAction": on_failure,
            // Longer than two health checks; a failure after this time is no failure of the update any more.
            "Monitor": nanos(Duration::from_secs(5)),
            "MaxFailureRatio": 0,
            // A port that is published on the host is free for the new task only when the old one is gone.
            "Order": if published_on_host { "stop-first" } else { "start-first" },
        })
    };
    let port = |target: u16, published: u16| {
        json!({
            "Protocol": "tcp",
            "TargetPort": target,
            "PublishedPort": published,
            "PublishMode": if published_on_host { "host" } else { "ingress" },
        })
    };
    let mut fields = BTreeMap::from(
        [
            ("image", json!(extension.proxy_image)),
            ("arguments", json!(extension.proxy_args)),
            ("stop signal", json!(extension.proxy_stop_signal)),
            ("stop grace period", json!(nanos(extension.proxy_stop_grace_period))),
            ("health check", health_check()),
            ("constraints", constraints),
            ("placement preferences", json!(preferences)),
            ("restart policy", json!({ "Condition": "any", "Delay": nanos(Duration::from_secs(1)) })),
            ("replicas", json!(extension.proxy_replicas)),
            ("update policy", policy("rollback")),
            ("rollback policy", policy("pause")),
            // The routing mesh needs a virtual IP. Without it, one address less on each network.
            ("endpoint mode", json!(if published_on_host { "dnsrr" } else { "vip" })),
            (
                "ports",
                json!([
                    port(extension.target_port, extension.published_port),
                    port(extension.target_ssl_port, extension.published_ssl_port)
                ]),
            ),
        ]
        .map(|(name, value)| (name.to_owned(), Field { value })),
    );
    let label = |(key, value): (&String, &String)| (format!("{LABEL}{key}"), Field { value: json!(value) });
    fields.extend(extension.proxy_labels.iter().map(label));
    let label = |(key, value): (&String, &String)| (format!("{CONTAINER_LABEL}{key}"), Field { value: json!(value) });
    fields.extend(extension.proxy_container_labels.iter().map(label));
    fields
}

/// Stock images differ in what they have: curl, wget or neither. Where there is neither, that the master process lives must do.
fn health_check() -> Value {
    let url = format!("http://127.0.0.1:{HEALTH_PORT}/healthz");
    let script = format!(
        "if command -v wget >/dev/null; then wget -q -O /dev/null {url}; elif command -v curl >/dev/null; then curl -fs -o /dev/null {url}; fi"
    );
    json!({
        "Test": ["CMD-SHELL", script],
        "Interval": nanos(Duration::from_secs(2)),
        "Timeout": nanos(Duration::from_secs(3)),
        "Retries": 3,
        "StartPeriod": 0,
    })
}

fn preference(text: &str) -> Value {
    json!({ "Spread": { "SpreadDescriptor": text.strip_prefix("spread=").unwrap_or(text) } })
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
