//! Reading a service spec: the few members that Swarm's behaviour depends on.

use serde_json::Value;
use std::time::Duration;

/// How many tasks a service wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Replicated(u64),
    Global,
    ReplicatedJob(u64),
    GlobalJob,
}

impl Mode {
    pub(super) fn of(spec: &Value) -> Self {
        let mode = &spec["Mode"];
        if mode.get("Global").is_some() {
            Mode::Global
        } else if mode.get("GlobalJob").is_some() {
            Mode::GlobalJob
        } else if let Some(job) = mode.get("ReplicatedJob") {
            Mode::ReplicatedJob(job["TotalCompletions"].as_u64().or(job["MaxConcurrent"].as_u64()).unwrap_or(1))
        } else {
            Mode::Replicated(mode["Replicated"]["Replicas"].as_u64().unwrap_or(1))
        }
    }

    pub(super) fn same_kind(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }

    pub(super) fn global(self) -> bool {
        matches!(self, Mode::Global | Mode::GlobalJob)
    }

    pub(super) fn job(self) -> bool {
        matches!(self, Mode::ReplicatedJob(_) | Mode::GlobalJob)
    }
}

/// What `UpdateConfig` or `RollbackConfig` says, with Swarm's defaults (docker-facts, section 4).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct UpdateConfig {
    /// 0 means all at once.
    pub(super) parallelism: usize,
    pub(super) delay: Duration,
    pub(super) monitor: Duration,
    pub(super) action: FailureAction,
    pub(super) max_failure_ratio: f64,
    pub(super) start_first: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureAction {
    Pause,
    Continue,
    Rollback,
}

impl UpdateConfig {
    pub(super) fn of(config: Option<&Value>) -> Self {
        let monitor = Duration::from_secs(5);
        let Some(config) = config else {
            return Self {
                parallelism: 1,
                delay: Duration::ZERO,
                monitor,
                action: FailureAction::Pause,
                max_failure_ratio: 0.0,
                start_first: false,
            };
        };
        Self {
            parallelism: config["Parallelism"].as_u64().unwrap_or(0) as usize,
            delay: nanos(&config["Delay"]).unwrap_or_default(),
            monitor: nanos(&config["Monitor"]).filter(|d| !d.is_zero()).unwrap_or(monitor),
            action: match text(config, "FailureAction") {
                "continue" => FailureAction::Continue,
                "rollback" => FailureAction::Rollback,
                _ => FailureAction::Pause,
            },
            max_failure_ratio: config["MaxFailureRatio"].as_f64().unwrap_or(0.0),
            start_first: text(config, "Order") == "start-first",
        }
    }
}

/// A duration in nanoseconds, as the API writes them.
pub(super) fn nanos(value: &Value) -> Option<Duration> {
    value.as_u64().map(Duration::from_nanos)
}

/// The network targets of a service's tasks; the service-level list counts only where the template has none.
pub(super) fn network_targets(spec: &Value) -> Vec<&str> {
    let own = spec["TaskTemplate"]["Networks"].as_array().filter(|list| !list.is_empty());
    let list = own.or_else(|| spec["Networks"].as_array());
    list.into_iter().flatten().map(|n| text(n, "Target")).collect()
}

pub(super) fn ports(spec: &Value) -> impl Iterator<Item = &Value> {
    spec["EndpointSpec"]["Ports"].as_array().into_iter().flatten()
}

pub(super) fn ports_of_mode<'v>(spec: &'v Value, mode: &'static str) -> impl Iterator<Item = &'v Value> {
    ports(spec).filter(move |port| text(port, "PublishMode") == mode)
}

pub(super) fn wants_vip(spec: &Value) -> bool {
    text(&spec["EndpointSpec"], "Mode") != "dnsrr"
}

/// How long after its start a container passes its first probe, if it has one.
pub(super) fn first_probe(spec: &Value) -> Option<Duration> {
    let check = spec["TaskTemplate"]["ContainerSpec"].get("Healthcheck")?;
    let test = check["Test"].as_array().filter(|test| !test.is_empty())?;
    if test[0].as_str() == Some("NONE") {
        return None;
    }
    let interval = nanos(&check["Interval"]).filter(|d| !d.is_zero()).unwrap_or(Duration::from_secs(30));
    let in_start = nanos(&check["StartInterval"]).filter(|d| !d.is_zero() && nanos(&check["StartPeriod"]).is_some());
    Some(in_start.unwrap_or(interval))
}

/// A string member, or nothing.
pub(crate) fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
