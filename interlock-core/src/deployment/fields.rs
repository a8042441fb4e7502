//! What the settings say about our own services themselves, field by field.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::kinds::nginx::HEALTH_PORT;
use crate::settings::{Extension, LogFormat, PublishMode};
use crate::units::Cluster;
use crate::units::hash;

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

/// The user of our images, by its number: nobody else's files are readable for it.
pub(super) const USER: u32 = 10_001;

/// The field with the number of tasks.
pub(crate) const REPLICAS: &str = "replicas";

pub(super) const NO_NEW_PRIVILEGES: &str = "no new privileges";
pub(super) const LOG: &str = "log";

const LABEL: &str = "label ";
const CONTAINER_LABEL: &str = "container label ";

/// Where each field stands in the spec. Names are what people read in plans.
const FIELDS: &[(&str, &[&str])] = &[
    ("image", &["TaskTemplate", "ContainerSpec", "Image"]),
    ("arguments", &["TaskTemplate", "ContainerSpec", "Args"]),
    ("stop signal", &["TaskTemplate", "ContainerSpec", "StopSignal"]),
    ("stop grace period", &["TaskTemplate", "ContainerSpec", "StopGracePeriod"]),
    ("health check", &["TaskTemplate", "ContainerSpec", "Healthcheck"]),
    ("user", &["TaskTemplate", "ContainerSpec", "User"]),
    ("mounts", &["TaskTemplate", "ContainerSpec", "Mounts"]),
    ("read-only root", &["TaskTemplate", "ContainerSpec", "ReadOnly"]),
    ("dropped capabilities", &["TaskTemplate", "ContainerSpec", "CapabilityDrop"]),
    (NO_NEW_PRIVILEGES, &["TaskTemplate", "ContainerSpec", "Privileges", "NoNewPrivileges"]),
    (LOG, &["TaskTemplate", "LogDriver"]),
    ("constraints", &["TaskTemplate", "Placement", "Constraints"]),
    ("placement preferences", &["TaskTemplate", "Placement", "Preferences"]),
    ("restart policy", &["TaskTemplate", "RestartPolicy"]),
    (REPLICAS, &["Mode", "Replicated", "Replicas"]),
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
pub(super) fn proxy(
    cluster: &Cluster,
    extension: &Extension,
    has_active_worker: bool,
    replicas: u64,
) -> BTreeMap<String, Field> {
    let published_on_host = extension.publish_mode == PublishMode::Host;
    let hitless = extension.hitless_service_update;
    // A port that is published on the host is free for the new task only when the old one is gone. In the mesh Swarm places a new task on a
    // node without one, and when the old one still counts that may be the node of the other new one: both would go with it.
    let stops_first = published_on_host || replicas > 1;
    let order = if stops_first { "stop-first" } else { "start-first" };
    let port = |target: u16, published: u16| {
        json!({
            "Protocol": "tcp",
            "TargetPort": target,
            "PublishedPort": published,
            "PublishMode": if published_on_host { "host" } else { "ingress" },
        })
    };
    let mut fields = named([
        ("image", json!(extension.proxy_image)),
        ("arguments", json!(agent_arguments(extension))),
        ("stop signal", json!(extension.proxy_stop_signal)),
        ("stop grace period", json!(nanos(extension.proxy_stop_grace_period))),
        ("health check", if hitless { agent_health_check() } else { health_check() }),
        ("constraints", json!(proxy_constraints(extension, has_active_worker))),
        ("placement preferences", preferences(&extension.proxy_placement_preferences)),
        ("restart policy", restart_policy()),
        (REPLICAS, json!(replicas)),
        ("update policy", policy("rollback", order, extension.proxy_update_delay)),
        ("rollback policy", policy("pause", order, extension.proxy_update_delay)),
        // The routing mesh needs a virtual IP. Without it, one address less on each network.
        ("endpoint mode", json!(if published_on_host { "dnsrr" } else { "vip" })),
        (
            "ports",
            json!([
                port(extension.target_port, extension.published_port),
                port(extension.target_ssl_port, extension.published_ssl_port)
            ]),
        ),
    ]);
    if hitless {
        fields.extend(named([
            ("mounts", agent_mounts(cluster)),
            ("read-only root", json!(true)),
            ("dropped capabilities", json!(["ALL"])),
        ]));
    }
    fields.extend(labels(&extension.proxy_labels, &extension.proxy_container_labels));
    fields
}

/// On which nodes proxies run.
pub(super) fn proxy_constraints(extension: &Extension, has_active_worker: bool) -> Vec<String> {
    match &extension.proxy_constraints {
        Some(constraints) => constraints.clone(),
        None if has_active_worker => vec!["node.role==worker".to_owned()],
        None => Vec::new(),
    }
}

/// The fields of an extension service.
pub(super) fn extension(extension: &Extension, core: &str) -> BTreeMap<String, Field> {
    // Interlock's own had no others than -D, so that files with options alone mean them beside what makes it connect.
    let are_options = extension.args.iter().all(|argument| argument.starts_with('-'));
    let arguments = if are_options {
        let kind = extension.kind.name().to_string();
        let usual = ["extension", &kind, "--core", core].map(str::to_owned);
        json!([&usual[..], &log_arguments(extension, &extension.args), &extension.args].concat())
    } else {
        json!(extension.args)
    };
    let mut fields = named([
        ("image", json!(extension.image)),
        ("arguments", arguments),
        ("constraints", json!(extension.constraints)),
        ("placement preferences", preferences(&extension.placement_preferences)),
        ("restart policy", restart_policy()),
        (REPLICAS, json!(1)),
        // Two at once do no harm, and an answer comes from the old one until the new one works.
        ("update policy", policy("rollback", "start-first", Duration::ZERO)),
        ("rollback policy", policy("pause", "start-first", Duration::ZERO)),
        ("endpoint mode", json!("dnsrr")),
        ("user", json!(format!("{USER}:{USER}"))),
        // The checker works in a folder of its own there, and may write nowhere else.
        ("mounts", json!([tmpfs("/run", 16 << 20), tmpfs("/tmp", 256 << 20)])),
        ("read-only root", json!(true)),
        ("dropped capabilities", json!(["ALL"])),
    ]);
    fields.extend(labels(&extension.labels, &extension.container_labels));
    fields
}

/// The arguments of the proxies. Only in hitless delivery they are known to be those of an agent.
fn agent_arguments(extension: &Extension) -> Vec<String> {
    let format = match extension.hitless_service_update {
        true => log_arguments(extension, &extension.proxy_args),
        false => Vec::new(),
    };
    [&format[..], &extension.proxy_args].concat()
}

/// What makes a program of interlock's log as core does. The default is left out, so that nothing is replaced for it.
fn log_arguments(extension: &Extension, own: &[String]) -> Vec<String> {
    let is_said = own.iter().any(|argument| argument.starts_with("--log-format"));
    match extension.log_format {
        LogFormat::Json if !is_said => vec!["--log-format".to_owned(), "json".to_owned()],
        LogFormat::Json | LogFormat::Text => Vec::new(),
    }
}

/// The fields of core's own service.
pub(super) fn core(image: &str) -> BTreeMap<String, Field> {
    named([
        ("image", json!(image)),
        ("arguments", json!(["reconcile", "--config", SETTINGS_PATH])),
        ("constraints", json!(["node.role==manager"])),
        ("restart policy", restart_policy()),
        (REPLICAS, json!(1)),
        // Two at once that have different settings would undo each other's work. Without core, proxies go on with what they have.
        ("update policy", policy("rollback", "stop-first", Duration::ZERO)),
        ("rollback policy", policy("pause", "stop-first", Duration::ZERO)),
        // Peers dial its tasks; a virtual IP would stand in between.
        ("endpoint mode", json!("dnsrr")),
        ("mounts", json!([{ "Type": "bind", "Source": SOCKET, "Target": SOCKET }, tmpfs("/tmp", 256 << 20)])),
        ("read-only root", json!(true)),
        ("dropped capabilities", json!(["ALL"])),
    ])
}

/// Where core reads its settings.
pub(super) const SETTINGS_PATH: &str = "/etc/interlock/config.toml";
/// The engine of the node that core runs on.
const SOCKET: &str = "/var/run/docker.sock";

fn named<const N: usize>(fields: [(&str, Value); N]) -> BTreeMap<String, Field> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), Field { value })).collect()
}

fn labels<'a>(
    of_service: &'a BTreeMap<String, String>,
    of_container: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = (String, Field)> + 'a {
    let label = |prefix: &'static str| {
        move |(key, value): (&String, &String)| (format!("{prefix}{key}"), Field { value: json!(value) })
    };
    of_service.iter().map(label(LABEL)).chain(of_container.iter().map(label(CONTAINER_LABEL)))
}

fn restart_policy() -> Value {
    json!({ "Condition": "any", "Delay": nanos(Duration::from_secs(1)) })
}

fn policy(on_failure: &str, order: &str, delay: Duration) -> Value {
    json!({
        "Parallelism": 1,
        "Delay": nanos(delay),
        "FailureAction": on_failure,
        // Longer than two health checks; a failure after this time is no failure of the update any more.
        "Monitor": nanos(Duration::from_secs(5)),
        "MaxFailureRatio": 0,
        "Order": order,
    })
}

/// What an agent writes to, its root being read-only: its revisions in memory, and on a volume of the node the last good ones, for a
/// start without core, and the proxy's temporary files, which may be large.
fn agent_mounts(cluster: &Cluster) -> Value {
    json!([
        { "Type": "volume", "Source": format!("interlock-proxy-{}", cluster.slug()), "Target": "/var/lib/interlock" },
        tmpfs("/run", 256 << 20),
        tmpfs("/tmp", 64 << 20),
    ])
}

fn tmpfs(target: &str, bytes: u64) -> Value {
    json!({ "Type": "tmpfs", "Target": target, "TmpfsOptions": { "SizeBytes": bytes, "Mode": 0o1777 } })
}

/// Our own image asks by itself. The agent waits up to 10 s for core before its proxy listens.
fn agent_health_check() -> Value {
    patient(json!(["CMD", "interlock", "proxy", "health"]), Duration::from_secs(20))
}

/// Our own image asks by itself. Stock images differ in what they have: curl, wget or neither. Where there is neither, that the master process
/// lives must do.
fn health_check() -> Value {
    let url = format!("http://127.0.0.1:{HEALTH_PORT}/healthz");
    let script = format!(
        "if command -v interlock >/dev/null; then interlock proxy health; elif command -v wget >/dev/null; then wget -q -O /dev/null {url}; elif command -v curl >/dev/null; then curl -fs -o /dev/null {url}; fi"
    );
    patient(json!(["CMD-SHELL", script]), Duration::ZERO)
}

/// A check that often says that a proxy has come up, and ends none in a hurry. On a node without processor time checks fail
/// by themselves, while the proxy answers requests. An agent finds an NGINX that died without any check, so what is left to
/// find is one that hangs. Core's own check gives up sooner: without core, proxies go on.
fn patient(test: Value, start_period: Duration) -> Value {
    json!({
        "Test": test,
        "Interval": nanos(Duration::from_secs(2)),
        "Timeout": nanos(Duration::from_secs(10)),
        "Retries": 15,
        "StartPeriod": nanos(start_period),
    })
}

fn preferences(texts: &[String]) -> Value {
    let preference =
        |text: &String| json!({ "Spread": { "SpreadDescriptor": text.strip_prefix("spread=").unwrap_or(text) } });
    texts.iter().map(preference).collect()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Core's check gives up after 10 s of failures, or 25 s without processor time: see deploy/Dockerfile.
    #[test]
    fn a_proxy_is_ended_later_than_core_because_of_its_checks() {
        for check in [agent_health_check(), health_check()] {
            let seconds = |key: &str| check[key].as_u64().unwrap_or_default() / 1_000_000_000;
            let retries = check["Retries"].as_u64().unwrap_or_default();
            assert!(retries * seconds("Interval") >= 30, "checks that fail at once: {check}");
            assert!(
                retries * (seconds("Interval") + seconds("Timeout")) >= 180,
                "checks without processor time: {check}"
            );
        }
    }

    #[test]
    fn options_stand_behind_what_makes_an_extension_connect_and_commands_instead_of_it() {
        let arguments = |args: &[&str]| {
            let args = args.iter().map(|&argument| argument.to_owned()).collect();
            let settings = Extension { args, ..Extension::new("default") };
            extension(&settings, "core:8080")["arguments"].value.clone()
        };
        assert_eq!(arguments(&[]), json!(["extension", "nginx", "--core", "core:8080"]));
        assert_eq!(arguments(&["-D"]), json!(["extension", "nginx", "--core", "core:8080", "-D"]));
        assert_eq!(arguments(&["serve", "--all"]), json!(["serve", "--all"]));
    }
}
