//! One service of ours: created, or changed where it differs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::{Action, Change, Step, brief, merge};
use super::{Attempt, Planned, label_change, started_at};
use crate::deployment::generations::Attached;
use crate::deployment::{self, ConfigData, ConfigFile, Content, IdentitySecret, NoContent, OwnService};
use crate::ownership;
use crate::problem::{Effect, Problem, Severity, Subject};
use crate::proxy_config::Revision;
use crate::swarm::placement;
use crate::swarm::{Holder, Labels, Service, SwarmIndex};
use crate::units::{Cluster, ConfigId, NetworkId, Role, SecretId};

pub(super) struct ServiceDiff<'a> {
    pub(super) snapshot: &'a SwarmIndex<'a>,
    pub(super) cluster: &'a Cluster,
    pub(super) wanted: &'a OwnService,
    pub(super) attempt: Option<&'a Attempt>,
}

#[derive(Default)]
pub(super) struct Outcome {
    pub(super) problem: Option<Problem>,
    pub(super) waiting: Option<String>,
    pub(super) attempt: Attempt,
    pub(super) delivered: Option<Revision>,
}

impl ServiceDiff<'_> {
    pub(super) fn plan(&self) -> (Vec<Step>, Outcome) {
        let existing = self.snapshot.named(&self.wanted.name);
        if existing.is_none_or(|service| self.wanted.owns(self.snapshot, service))
            && let Some(problem) = self.no_node()
        {
            let attempt = self.attempt.cloned().unwrap_or_default();
            return (Vec::new(), Outcome { problem: Some(problem), attempt, ..Outcome::default() });
        }
        match existing {
            // That is told for all service clusters together.
            Some(service) if self.wanted.most == Some(0) && self.wanted.owns(self.snapshot, service) => {
                let attempt = self.attempt.cloned().unwrap_or_default();
                (Vec::new(), Outcome { attempt, ..Outcome::default() })
            }
            None => self.create(),
            Some(service) if !self.wanted.owns(self.snapshot, service) => (Vec::new(), self.not_ours()),
            Some(service) => self.update(service),
        }
    }

    fn create(&self) -> (Vec<Step>, Outcome) {
        let Ok(content) = &self.wanted.content else { return (Vec::new(), Outcome::default()) };
        let mut steps: Vec<_> = self.missing_identity(content).chain(self.missing_configs(content)).collect();
        let mut changes = self.field_changes(&Value::Null);
        changes.extend(self.label_changes(&BTreeMap::new()));
        changes.push(networks_change(content, String::new()));
        changes.push(self.configs_change(content, String::new()));
        if content.identity.is_some() || !content.secrets.is_empty() {
            changes.push(self.identity_change(content, String::new()));
        }
        let mut spec = json!({ "Name": self.wanted.name });
        merge(&mut spec, &changes);
        let action = Action::CreateService { name: self.wanted.name.clone(), spec };
        let reason = match self.wanted.role {
            Role::Core => "there is no core yet".to_owned(),
            role => format!("the service cluster has no {role} service yet"),
        };
        steps.push(self.step(action, reason, false));
        (steps, Outcome::default())
    }

    fn update(&self, service: &Service) -> (Vec<Step>, Outcome) {
        let changes = self.changes(service);
        let (steps, mut outcome) = self.update_whole(service, changes.clone());
        if steps.is_empty()
            && let Some(step) = self.scaled(service, &changes, &mut outcome.attempt)
        {
            return (vec![step], outcome);
        }
        (steps, outcome)
    }

    fn update_whole(&self, service: &Service, changes: Vec<Change>) -> (Vec<Step>, Outcome) {
        let known = self.attempt.cloned().unwrap_or_default();
        let attempt = Attempt { rolling: self.rolling(service), ..known };
        let mut outcome = Outcome { attempt, ..Outcome::default() };
        if let Some(reason) = self.still_rolling(service) {
            outcome.waiting = Some(reason);
            // What is being taken back is not solved.
            outcome.problem = self.taken_back(service);
            return (Vec::new(), outcome);
        }
        outcome.delivered = self.delivered(service, &changes);
        if let Some(step) = self.stalled(service) {
            outcome.problem = Some(self.failed(service, "it takes longer than its tasks can need"));
            return (vec![step], outcome);
        }
        if let Some(problem) = self.failed_before(service, &changes) {
            outcome.problem = Some(problem);
            return (Vec::new(), outcome);
        }
        if changes.is_empty() {
            return (Vec::new(), outcome);
        }
        if self.wanted.content == Err(NoContent::OnTheWay) && changes.iter().any(replaces_tasks) {
            outcome.waiting =
                Some(format!("{} waits for files of its extension, or for word of its proxies", self.wanted.name));
            return (Vec::new(), outcome);
        }
        if let Some(step) = self.paused(service) {
            return (vec![step], outcome);
        }
        let mut steps = Vec::new();
        if let Ok(content) = &self.wanted.content {
            let touches = |key: &str| changes.iter().any(|change| change.path.last().is_some_and(|last| last == key));
            steps.extend(self.missing_identity(content).filter(|_| touches("Secrets")));
            steps.extend(self.missing_configs(content).filter(|_| touches("Configs")));
        }
        let before = started_at(service);
        outcome.attempt.planned = Some(Planned { target: self.wanted.target(), before, added: self.added(service) });
        outcome.attempt.failed = None;
        steps.push(self.update_step(service, changes));
        (steps, outcome)
    }

    /// What tasks get of applications that they have not.
    fn added(&self, service: &Service) -> BTreeSet<Attached> {
        let Ok(content) = &self.wanted.content else { return BTreeSet::new() };
        let control = ownership::proxy_network(self.cluster);
        let networks = content.networks.iter().filter(|network| network.name != control);
        let networks =
            networks.filter_map(|network| network.id.clone()).filter(|id| !service.spec.networks.contains(id));
        let secrets = content.secrets.iter().map(|secret| secret.id.clone());
        let secrets = secrets.filter(|id| !service.spec.secrets.contains(id));
        networks.map(Attached::Network).chain(secrets.map(Attached::Secret)).collect()
    }

    pub(super) fn update_step(&self, service: &Service, changes: Vec<Change>) -> Step {
        let summaries: Vec<_> =
            changes.iter().map(|change| change.summary.as_str()).filter(|s| !s.is_empty()).collect();
        let reason =
            if summaries.is_empty() { "its labels of interlock's own differ".to_owned() } else { summaries.join(", ") };
        let restarts = changes.iter().any(replaces_tasks);
        let action = Action::UpdateService {
            id: service.id.clone(),
            name: self.wanted.name.clone(),
            version: service.version,
            changes,
        };
        self.step(action, reason, restarts)
    }

    pub(super) fn step(&self, action: Action, reason: impl Into<String>, restarts_tasks: bool) -> Step {
        Step { cluster: Some(self.cluster.clone()), action, reason: reason.into(), restarts_tasks }
    }

    /// Constraints that no node meets: Swarm would end the tasks that run and start no others.
    fn no_node(&self) -> Option<Problem> {
        let constraints = &self.wanted.fields.get("constraints")?.value;
        let each = constraints.as_array().into_iter().flatten().filter_map(Value::as_str);
        if placement::is_possible(&self.snapshot.nodes, each) {
            return None;
        }
        Some(Problem::new(
            Severity::Error,
            Subject::Cluster(self.cluster.clone()),
            format!("no node meets the constraints of service {}: {}", self.wanted.name, brief(constraints)),
            "label a node (`docker node update --label-add`), or change the constraints in the settings".to_owned(),
            Effect::Kept,
        ))
    }

    fn not_ours(&self) -> Outcome {
        let key = match self.wanted.role {
            Role::Core => "name for core",
            Role::Extension => "ServiceName",
            Role::Proxy => "ProxyServiceName",
        };
        let problem = Problem::new(
            Severity::Error,
            Subject::Cluster(self.cluster.clone()),
            format!("a service named {} exists that interlock did not create", self.wanted.name),
            format!("remove it, or set another {key}"),
            Effect::Kept,
        );
        Outcome { problem: Some(problem), ..Outcome::default() }
    }

    fn config_id(&self, name: &str) -> Option<&ConfigId> {
        self.snapshot.configs.iter().find(|config| config.name == name).map(|config| &config.id)
    }

    fn missing_identity(&self, content: &Content) -> impl Iterator<Item = Step> {
        content.identity.iter().filter(|identity| identity.id.is_none()).map(|identity| {
            let action = self.create_identity(identity);
            let reason = match self.wanted.role {
                Role::Core => "it signs the certificates of extensions and proxies".to_owned(),
                role => format!("the {role} shows it to core"),
            };
            self.step(action, reason, false)
        })
    }

    fn missing_configs(&self, content: &Content) -> impl Iterator<Item = Step> {
        content.configs.iter().filter(|config| self.config_id(&config.name).is_none()).map(|config| {
            let (name, labels) = (config.name.clone(), config.labels.clone());
            let action = match &config.data {
                ConfigData::Text(data) => Action::CreateConfig { name, labels, data: data.clone() },
                ConfigData::Manifest(manifest) => Action::CreateManifest { name, labels, manifest: manifest.clone() },
            };
            let reason = match config.labels.get(ownership::REVISION) {
                Some(revision) => format!("revision {revision} needs it"),
                None if self.wanted.role == Role::Core => "it holds the settings".to_owned(),
                None if self.wanted.role == Role::Extension => "it tells the extension whom to follow".to_owned(),
                None => "it tells the proxies' agents who they are".to_owned(),
            };
            self.step(action, reason, false)
        })
    }

    fn create_identity(&self, identity: &IdentitySecret) -> Action {
        let name = identity.name.clone();
        let holder = match self.wanted.role {
            Role::Core => return Action::CreateAuthority { name },
            Role::Extension => Holder::Extension,
            Role::Proxy => Holder::Proxy,
        };
        let mut labels = Labels::from([
            (ownership::OWNER.to_owned(), ownership::OWNER_VALUE.to_owned()),
            (ownership::CLUSTER.to_owned(), self.cluster.to_string()),
            (ownership::ROLE.to_owned(), self.wanted.role.to_string()),
        ]);
        let signer = self.snapshot.authority.as_ref();
        labels.extend(signer.map(|signer| (ownership::AUTHORITY.to_owned(), signer.to_string())));
        Action::CreateIdentity { name, holder, cluster: self.cluster.clone(), labels }
    }

    /// What running tasks get from core instead of by these changes.
    fn delivered(&self, service: &Service, changes: &[Change]) -> Option<Revision> {
        let content = self.wanted.content.as_ref().ok().filter(|content| content.hitless)?;
        let differs = !same_configs(service, content, false) && !changes.iter().any(replaces_tasks);
        content.revision.clone().filter(|_| differs)
    }

    fn changes(&self, service: &Service) -> Vec<Change> {
        let applied = service.spec.labels.get(ownership::APPLIED).and_then(|text| serde_json::from_str(text).ok());
        let mut changes = self.field_changes(&applied.unwrap_or(Value::Null));
        changes.extend(self.fewer_tasks(service, &changes));
        let mut boots_what_it_should = true;
        if let Ok(content) = &self.wanted.content {
            changes.extend(self.attachment_changes(service, content));
            // What is worth no roll of its own goes along with one.
            let replaced = changes.iter().any(replaces_tasks);
            let differs = !same_configs(service, content, replaced);
            // Running tasks get newer revisions from core. The mounted one is renewed whenever tasks are replaced anyway.
            let renew = !content.hitless || changes.iter().any(replaces_tasks) || !can_boot(service, content);
            if differs && renew {
                let summary = match &content.revision {
                    Some(revision) => format!("configuration: revision {revision}"),
                    None => "other settings".to_owned(),
                };
                changes.push(self.configs_change(content, summary));
            }
            boots_what_it_should = !differs || renew;
            changes.extend(self.renewed_identity(content, &changes));
        }
        changes.extend(self.label_changes(&service.spec.labels));
        if !boots_what_it_should {
            // The label names what is mounted.
            changes.retain(|change| change.path.last().is_none_or(|key| key != ownership::REVISION));
        }
        changes
    }

    fn attachment_changes(&self, service: &Service, content: &Content) -> Vec<Change> {
        let mut changes = Vec::new();
        let now: BTreeSet<_> = service.spec.networks.iter().collect();
        let wanted: BTreeSet<_> = content.networks.iter().filter_map(|network| network.id.as_ref()).collect();
        if now != wanted || wanted.len() != content.networks.len() {
            let new = content.networks.iter().filter(|network| network.id.as_ref().is_none_or(|id| !now.contains(id)));
            let attached = new.map(|network| network.name.clone()).collect::<Vec<_>>().join(", ");
            let detached = self.network_names(now.difference(&wanted).copied());
            let parts = [("attached: ", attached), ("detached: ", detached)];
            let parts: Vec<_> = parts
                .iter()
                .filter(|(_, names)| !names.is_empty())
                .map(|(what, names)| format!("networks {what}{names}"))
                .collect();
            changes.push(networks_change(content, parts.join(", ")));
        }
        changes.extend(self.secret_changes(service, content));
        changes
    }

    /// New tasks get an identity of their own. Those of before show theirs until they are replaced.
    fn renewed_identity(&self, content: &Content, changes: &[Change]) -> Option<Change> {
        let has_another = content.identity.as_ref().is_some_and(|identity| identity.today.is_some());
        let goes_along = changes.iter().any(|change| change.path.last().is_some_and(|key| key == "Secrets"));
        if !has_another || goes_along || !changes.iter().any(replaces_tasks) {
            return None;
        }
        Some(self.identity_change(content, "identity: renewed".to_owned()))
    }

    fn secret_changes(&self, service: &Service, content: &Content) -> Option<Change> {
        let now: BTreeSet<_> = service.spec.secrets.iter().collect();
        let identity = content.identity.as_ref();
        let own = identity.and_then(|identity| identity.today.as_ref().or(identity.id.as_ref()));
        let has_identity = identity.is_none() || own.is_some_and(|id| now.contains(id));
        let wanted: BTreeSet<_> = content.secrets.iter().map(|secret| &secret.id).chain(own).collect();
        if has_identity && now == wanted {
            return None;
        }
        let name = |id: &&SecretId| {
            let known = self.snapshot.secrets.iter().find(|secret| secret.id == **id);
            known.map_or_else(|| id.to_string(), |secret| secret.name.clone())
        };
        let is_identity = |name: &String| name.starts_with(ownership::IDENTITY_PREFIX);
        let names =
            |ids: Vec<&SecretId>| ids.iter().map(name).filter(|name| !is_identity(name)).collect::<Vec<_>>().join(", ");
        let attached = names(wanted.difference(&now).copied().collect());
        let detached = names(now.difference(&wanted).copied().collect());
        let identity = if has_identity { String::new() } else { "identity".to_owned() };
        let parts = [("", identity), ("secrets attached: ", attached), ("secrets detached: ", detached)];
        let parts: Vec<_> =
            parts.iter().filter(|(_, names)| !names.is_empty()).map(|(what, names)| format!("{what}{names}")).collect();
        Some(self.identity_change(content, if parts.is_empty() { "identity".to_owned() } else { parts.join(", ") }))
    }

    fn network_names<'n>(&self, ids: impl Iterator<Item = &'n NetworkId>) -> String {
        let name = |id: &NetworkId| {
            let known = self.snapshot.networks.iter().find(|network| network.id == *id);
            known.map_or_else(|| id.to_string(), |network| network.name.clone())
        };
        ids.map(name).collect::<Vec<_>>().join(", ")
    }

    /// The fields that the settings ask for differently than when they were last applied. What somebody changed by hand in a
    /// field that the settings did not touch since stays.
    fn field_changes(&self, applied: &Value) -> Vec<Change> {
        let mut changes = Vec::new();
        for (name, field) in &self.wanted.fields {
            let before = applied.get(name).and_then(Value::as_str);
            let Some(path) = deployment::path_of(name) else { continue };
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
            .filter(|(name, _)| !self.wanted.fields.contains_key(name.as_str()));
        for (name, _) in gone {
            let Some(path) = deployment::path_of(name) else { continue };
            changes.push(Change { path, value: None, summary: format!("{name}: removed") });
        }
        changes
    }

    fn label_changes(&self, now: &BTreeMap<String, String>) -> Vec<Change> {
        let wanted = self.wanted.own_labels(self.cluster);
        let differing = wanted.into_iter().filter(|(key, value)| now.get(key) != Some(value));
        differing.map(|(key, value)| label_change(key, &value)).collect()
    }

    fn identity_change(&self, content: &Content, summary: String) -> Change {
        let path = ["TaskTemplate", "ContainerSpec", "Secrets"].map(str::to_owned).to_vec();
        Change { path, value: Some(deployment::secret_refs(self.wanted.role, content)), summary }
    }

    fn configs_change(&self, content: &Content, summary: String) -> Change {
        let refs = deployment::config_refs(content, |name| self.config_id(name).map(|id| id.as_str().to_owned()));
        let path = ["TaskTemplate", "ContainerSpec", "Configs"].map(str::to_owned).to_vec();
        Change { path, value: Some(refs), summary }
    }
}

/// Whether the service mounts what it shall. `anew`: whether what would do today does not.
fn same_configs(service: &Service, content: &Content, anew: bool) -> bool {
    let now: BTreeSet<_> = service.spec.configs.iter().map(|config| (&config.name, &config.target)).collect();
    let name = |config: &'_ ConfigFile| config.today.clone().filter(|_| !anew).unwrap_or_else(|| config.name.clone());
    let names: Vec<_> = content.configs.iter().map(name).collect();
    let ours = names.iter().zip(&content.configs).map(|(name, config)| (name, &config.target));
    let wanted: BTreeSet<_> = ours.chain(content.kept.iter().map(|kept| (&kept.name, &kept.target))).collect();
    now == wanted
}

/// Whether tasks can start with what is mounted: there is a first file at its place, and the agent's file is the wanted one.
fn can_boot(service: &Service, content: &Content) -> bool {
    let at = |target: &str| service.spec.configs.iter().find(|config| config.target == target);
    let agent = content.configs.iter().find(|config| config.target == deployment::AGENT_FILE);
    content.configs.first().is_none_or(|main| at(&main.target).is_some())
        && agent.is_none_or(|agent| {
            let mounted = at(&agent.target).map(|mounted| &mounted.name);
            mounted.is_some_and(|name| *name == agent.name || Some(name) == agent.today.as_ref())
        })
}

fn networks_change(content: &Content, summary: String) -> Change {
    let path = ["TaskTemplate", "Networks"].map(str::to_owned).to_vec();
    Change { path, value: Some(deployment::network_refs(&content.networks)), summary }
}

/// Whether Swarm replaces tasks because of it.
fn replaces_tasks(change: &Change) -> bool {
    match change.path.first().map(String::as_str) {
        Some("TaskTemplate") => change.path.get(1).is_none_or(|key| key != "Placement"),
        Some("EndpointSpec") => true,
        _ => false,
    }
}
