//! From what is and what should be to the actions in between. Equal means no action.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{Action, Change, Plan, Step, Waiting};
use crate::desired::{self, Content, Desired, Proxy};
use crate::names::{Cluster, ConfigId};
use crate::ownership;
use crate::problem::{Effect, Problem, Severity, Subject};
use crate::snapshot::{Config, Service, Snapshot, UpdateState};

/// When each service cluster's last update was planned: what a failed update is compared with.
pub type Attempts = BTreeMap<Cluster, Attempt>;

/// An update that was planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// A name for what the service should have become.
    pub target: String,
    /// The update status that stood on the service when it was planned.
    pub before: Option<jiff::Timestamp>,
}

/// Plans for all service clusters. Those that are in the way of nothing come first: removed clusters, then the others by name.
pub fn diff(snapshot: &Snapshot, desired: &Desired, attempts: &Attempts) -> (Plan, Attempts, Vec<Problem>) {
    let mut plan = Plan::default();
    let mut problems = Vec::new();
    let mut next = Attempts::new();
    let mut gone = BTreeSet::new();
    for service in sorted_proxies(snapshot) {
        let wanted = desired.values().any(|proxy| proxy.name == service.spec.name);
        if !wanted {
            gone.insert(&service.id);
            plan.steps.push(remove_service(service));
        }
    }
    for (cluster, proxy) in desired {
        let diff = ClusterDiff { snapshot, cluster, proxy, attempt: attempts.get(cluster) };
        let (steps, outcome) = diff.plan();
        plan.steps.extend(steps);
        problems.extend(outcome.problem);
        plan.waiting.extend(outcome.waiting.map(|reason| Waiting { cluster: cluster.clone(), reason }));
        if let Some(attempt) = outcome.attempt {
            next.insert(cluster.clone(), attempt);
        }
    }
    plan.steps.extend(orphans(snapshot, desired));
    (plan, next, problems)
}

/// Our proxy services in a stable order.
fn sorted_proxies(snapshot: &Snapshot) -> Vec<&Service> {
    let mut proxies: Vec<_> = snapshot.services.iter().filter(|service| ownership::is_our_proxy(service)).collect();
    proxies.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
    proxies
}

fn remove_service(service: &Service) -> Step {
    let Service { id, spec, .. } = service;
    Step {
        cluster: ownership::cluster_of(&spec.labels).unwrap_or_default(),
        action: Action::RemoveService { id: id.clone(), name: spec.name.clone() },
        reason: "no extension of the settings has this proxy service any more".to_owned(),
        restarts_tasks: true,
    }
}

/// Config objects of service clusters that the settings do not have any more.
fn orphans(snapshot: &Snapshot, desired: &Desired) -> Vec<Step> {
    let of_no_cluster =
        |config: &&Config| ownership::cluster_of(&config.labels).is_none_or(|cluster| !desired.contains_key(&cluster));
    sorted_configs(snapshot)
        .into_iter()
        .filter(of_no_cluster)
        .map(|config| remove_config(config, Cluster::default()))
        .collect()
}

fn sorted_configs(snapshot: &Snapshot) -> Vec<&Config> {
    let ours =
        |config: &&Config| ownership::is_ours(&config.labels) && config.name.starts_with(ownership::CONFIG_PREFIX);
    let mut configs: Vec<_> = snapshot.configs.iter().filter(ours).collect();
    configs.sort_by(|a, b| a.name.cmp(&b.name));
    configs
}

fn remove_config(config: &Config, cluster: Cluster) -> Step {
    Step {
        cluster: ownership::cluster_of(&config.labels).unwrap_or(cluster),
        action: Action::RemoveConfig { id: config.id.clone(), name: config.name.clone() },
        reason: "nothing refers to it any more".to_owned(),
        restarts_tasks: false,
    }
}

struct ClusterDiff<'a> {
    snapshot: &'a Snapshot,
    cluster: &'a Cluster,
    proxy: &'a Proxy,
    attempt: Option<&'a Attempt>,
}

#[derive(Default)]
struct Outcome {
    problem: Option<Problem>,
    waiting: Option<String>,
    attempt: Option<Attempt>,
}

impl ClusterDiff<'_> {
    fn plan(&self) -> (Vec<Step>, Outcome) {
        let existing = self.snapshot.services.iter().find(|service| service.spec.name == self.proxy.name);
        match existing {
            None => self.create(),
            Some(service) if !ownership::is_ours(&service.spec.labels) => (Vec::new(), self.not_ours()),
            Some(service) => self.update(service),
        }
    }

    fn create(&self) -> (Vec<Step>, Outcome) {
        let Some(content) = &self.proxy.content else { return (Vec::new(), Outcome::default()) };
        let mut steps = self.missing_configs(content);
        let mut changes = self.field_changes(&Value::Null);
        changes.extend(self.label_changes(&BTreeMap::new()));
        changes.push(self.networks_change(content, String::new()));
        changes.push(self.configs_change(content, String::new()));
        let mut spec = json!({ "Name": self.proxy.name });
        super::merge(&mut spec, &changes);
        let action = Action::CreateService { name: self.proxy.name.clone(), spec };
        steps.push(self.step(action, "the service cluster has no proxy service yet", false));
        let keep: BTreeSet<_> = content.configs.iter().map(|config| config.name.as_str()).collect();
        steps.extend(self.collect_garbage(&keep, &BTreeSet::new()));
        (steps, Outcome::default())
    }

    fn update(&self, service: &Service) -> (Vec<Step>, Outcome) {
        let mut outcome = Outcome { attempt: self.attempt.cloned(), ..Outcome::default() };
        if let Some(reason) = self.still_rolling(service) {
            outcome.waiting = Some(reason);
            return (Vec::new(), outcome);
        }
        let changes = self.changes(service);
        if let Some(problem) = self.failed_before(service, changes.is_empty()) {
            outcome.problem = Some(problem);
            return (Vec::new(), outcome);
        }
        let mut steps = Vec::new();
        let mut keep: BTreeSet<_> = service.spec.configs.iter().map(|config| config.name.as_str()).collect();
        if let Some(content) = &self.proxy.content {
            keep.extend(content.configs.iter().map(|config| config.name.as_str()));
            steps.extend(self.missing_configs(content));
        }
        if changes.is_empty() {
            // Without an update the previous spec stays the previous one, and a rollback needs its configs.
            keep.extend(service.previous.iter().flat_map(|spec| &spec.configs).map(|config| config.name.as_str()));
        } else {
            outcome.attempt = Some(Attempt { target: self.proxy.fingerprint(), before: started_at(service) });
            steps.push(self.update_step(service, changes));
        }
        let live = self.snapshot.tasks.iter().filter(|task| task.service == service.id && !task.state.is_terminal());
        let live: BTreeSet<_> = live.flat_map(|task| &task.configs).collect();
        steps.extend(self.collect_garbage(&keep, &live));
        (steps, outcome)
    }

    fn update_step(&self, service: &Service, changes: Vec<Change>) -> Step {
        let summaries: Vec<_> =
            changes.iter().map(|change| change.summary.as_str()).filter(|s| !s.is_empty()).collect();
        let reason =
            if summaries.is_empty() { "its labels of interlock's own differ".to_owned() } else { summaries.join(", ") };
        let restarts = changes.iter().any(|change| match change.path.first().map(String::as_str) {
            Some("TaskTemplate") => change.path.get(1).is_none_or(|key| key != "Placement"),
            Some("EndpointSpec") => true,
            _ => false,
        });
        let action = Action::UpdateService {
            id: service.id.clone(),
            name: self.proxy.name.clone(),
            version: service.version,
            changes,
        };
        self.step(action, reason, restarts)
    }

    fn step(&self, action: Action, reason: impl Into<String>, restarts_tasks: bool) -> Step {
        Step { cluster: self.cluster.clone(), action, reason: reason.into(), restarts_tasks }
    }

    /// One roll at a time: what changes during one goes into the next. A roll that takes far longer than its tasks can need is
    /// not waited for, since Swarm itself sets no limit.
    fn still_rolling(&self, service: &Service) -> Option<String> {
        let update = service.update.as_ref().filter(|update| update.state.in_progress())?;
        let patience = self.proxy.replicas.max(1).saturating_mul(self.proxy.seconds_per_task);
        let since = update.started_at.map(|start| self.snapshot.observed_at.duration_since(start)).unwrap_or_default();
        let stalled = since > SignedDuration::from_secs(i64::try_from(patience).unwrap_or(i64::MAX));
        if stalled && update.state == UpdateState::Updating {
            return None;
        }
        Some(format!("service {} is still being updated", self.proxy.name))
    }

    /// An update that Swarm took back is not tried again until the inputs ask for something else.
    fn failed_before(&self, service: &Service, nothing_to_change: bool) -> Option<Problem> {
        let update = service.update.as_ref().filter(|update| update.state.failed())?;
        let tried_by_us = self
            .attempt
            .is_some_and(|attempt| attempt.target == self.proxy.fingerprint() && attempt.before != update.started_at);
        if !(tried_by_us
            || self.content_was_tried(service)
            || (nothing_to_change && update.state == UpdateState::Paused))
        {
            return None;
        }
        let task_error = self
            .snapshot
            .tasks
            .iter()
            .filter(|task| task.service == service.id)
            .map(|task| task.error.as_str())
            .find(|e| !e.is_empty());
        let why = task_error.unwrap_or(&update.message);
        Some(Problem {
            severity: Severity::Error,
            subject: Subject::Cluster(self.cluster.clone()),
            label: None,
            value: None,
            wrong: format!("the last update of service {} failed ({})", self.proxy.name, crate::problem::shown(why)),
            right: format!(
                "see `docker service ps {}`; the next change of labels or settings is tried again",
                self.proxy.name
            ),
            effect: Effect::Kept,
        })
    }

    /// Whether the wanted configs existed already when the failed update began, and are not in use now: then it was with them
    /// that it failed. This is all that a fresh process can know.
    fn content_was_tried(&self, service: &Service) -> bool {
        let (Some(content), Some(began)) = (&self.proxy.content, started_at(service)) else { return false };
        let differs = !self.same_configs(service, content);
        let existed =
            |name: &str| self.snapshot.configs.iter().any(|config| config.name == name && config.created_at <= began);
        differs && content.configs.iter().all(|config| existed(&config.name))
    }

    fn not_ours(&self) -> Outcome {
        let problem = Problem {
            severity: Severity::Error,
            subject: Subject::Cluster(self.cluster.clone()),
            label: None,
            value: None,
            wrong: format!("a service named {} exists that interlock did not create", self.proxy.name),
            right: "remove it, or set another ProxyServiceName".to_owned(),
            effect: Effect::Kept,
        };
        Outcome { problem: Some(problem), ..Outcome::default() }
    }

    fn config_id(&self, name: &str) -> Option<&ConfigId> {
        self.snapshot.configs.iter().find(|config| config.name == name).map(|config| &config.id)
    }

    fn missing_configs(&self, content: &Content) -> Vec<Step> {
        let missing = content.configs.iter().filter(|config| self.config_id(&config.name).is_none());
        missing
            .map(|config| {
                let action = Action::CreateConfig {
                    name: config.name.clone(),
                    labels: config.labels.clone(),
                    data: config.data.clone(),
                };
                self.step(action, format!("revision {} needs it", content.revision), false)
            })
            .collect()
    }

    fn changes(&self, service: &Service) -> Vec<Change> {
        let applied = service.spec.labels.get(ownership::APPLIED).and_then(|text| serde_json::from_str(text).ok());
        let mut changes = self.field_changes(&applied.unwrap_or(Value::Null));
        if let Some(content) = &self.proxy.content {
            let now: BTreeSet<_> = service.spec.networks.iter().cloned().collect();
            if now != content.networks {
                let attached = self.network_names(content.networks.difference(&now));
                let detached = self.network_names(now.difference(&content.networks));
                let parts = [("attached: ", attached), ("detached: ", detached)];
                let parts: Vec<_> = parts
                    .iter()
                    .filter(|(_, names)| !names.is_empty())
                    .map(|(what, names)| format!("networks {what}{names}"))
                    .collect();
                changes.push(self.networks_change(content, parts.join(", ")));
            }
            if !self.same_configs(service, content) {
                let summary = format!("configuration: revision {}", content.revision);
                changes.push(self.configs_change(content, summary));
            }
        }
        changes.extend(self.label_changes(&service.spec.labels));
        changes
    }

    fn same_configs(&self, service: &Service, content: &Content) -> bool {
        let now: BTreeSet<_> = service.spec.configs.iter().map(|config| (&config.name, &config.target)).collect();
        let wanted: BTreeSet<_> = content.configs.iter().map(|config| (&config.name, &config.target)).collect();
        now == wanted
    }

    fn network_names<'n>(&self, ids: impl Iterator<Item = &'n crate::names::NetworkId>) -> String {
        let name = |id: &crate::names::NetworkId| {
            self.snapshot
                .networks
                .iter()
                .find(|network| network.id == *id)
                .map_or(id.to_string(), |network| network.name.clone())
        };
        ids.map(name).collect::<Vec<_>>().join(", ")
    }

    /// The fields that the settings ask for differently than when they were last applied. What somebody changed by hand in a
    /// field that the settings did not touch since stays.
    fn field_changes(&self, applied: &Value) -> Vec<Change> {
        let mut changes = Vec::new();
        for (name, field) in &self.proxy.fields {
            let before = applied.get(name).and_then(Value::as_str);
            let Some(path) = desired::path_of(name) else { continue };
            if before != Some(field.fingerprint().as_str()) {
                changes.push(Change {
                    path,
                    value: Some(field.value.clone()),
                    summary: format!("{name}: {}", brief(&field.value)),
                });
            }
        }
        let gone = applied
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| !self.proxy.fields.contains_key(name.as_str()));
        for (name, _) in gone {
            let Some(path) = desired::path_of(name) else { continue };
            changes.push(Change { path, value: None, summary: format!("{name}: removed") });
        }
        changes
    }

    fn label_changes(&self, now: &BTreeMap<String, String>) -> Vec<Change> {
        let wanted = self.proxy.own_labels(self.cluster);
        let differing = wanted.into_iter().filter(|(key, value)| now.get(key) != Some(value));
        differing
            .map(|(key, value)| Change {
                path: vec!["Labels".to_owned(), key],
                value: Some(json!(value)),
                summary: String::new(),
            })
            .collect()
    }

    fn networks_change(&self, content: &Content, summary: String) -> Change {
        let targets: Vec<_> = content.networks.iter().map(|id| json!({ "Target": id })).collect();
        Change { path: vec!["TaskTemplate".to_owned(), "Networks".to_owned()], value: Some(json!(targets)), summary }
    }

    fn configs_change(&self, content: &Content, summary: String) -> Change {
        let refs = desired::config_refs(&content.configs, |name| self.config_id(name).map(|id| id.as_str().to_owned()));
        let path = ["TaskTemplate", "ContainerSpec", "Configs"].map(str::to_owned).to_vec();
        Change { path, value: Some(refs), summary }
    }

    fn collect_garbage(&self, keep: &BTreeSet<&str>, live: &BTreeSet<&ConfigId>) -> Vec<Step> {
        let mine = |config: &&Config| ownership::cluster_of(&config.labels).as_ref() == Some(self.cluster);
        let unused = |config: &&Config| !keep.contains(config.name.as_str()) && !live.contains(&config.id);
        let configs = sorted_configs(self.snapshot).into_iter().filter(mine).filter(unused);
        configs.map(|config| remove_config(config, self.cluster.clone())).collect()
    }
}

fn started_at(service: &Service) -> Option<jiff::Timestamp> {
    service.update.as_ref().and_then(|update| update.started_at)
}

/// A value for people: as short as it can be.
fn brief(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(_) => "changed".to_owned(),
        other => crate::problem::shown(&other.to_string()),
    }
}
