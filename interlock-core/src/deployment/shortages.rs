//! Services that lack tasks: how many Swarm shall run, how many do, and why not, in Swarm's own words.
//!
//! Swarm starts tasks again and again, so the newest task says little. A service lacks tasks as long as any task that Swarm wants does not
//! run. That is reported after a while, and it has ended when all tasks have run for a while. A task that is being replaced is not missing
//! before it has ended: it may take the time that its service gives it, and with a port of the node the next one waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::ownership;
use crate::problem::{Effect, Problem, Severity, Subject, shown};
use crate::routes::model::Model;
use crate::settings::Settings;
use crate::swarm::index::{Entry, Key};
use crate::swarm::{Mode, Node, NodeState, Service, SwarmIndex, Task, TaskState};
use crate::units::{Cluster, ServiceId, TaskId};

/// How long tasks may be missing for a reason that Swarm names. Most of these end by themselves.
const PATIENCE: SignedDuration = SignedDuration::from_secs(20);
/// How long nothing may change about the tasks when Swarm names no reason: a large image takes its time.
const PATIENCE_WITHOUT_REASON: SignedDuration = SignedDuration::from_secs(60);
/// How long all tasks run until it counts as over, and how long a problem keeps its text: a task that fails again and again is one problem.
const CALM: SignedDuration = SignedDuration::from_secs(30);

/// How long what a task ended with may be why others are missing. Swarm keeps such tasks for ever.
const FRESH: SignedDuration = SignedDuration::from_mins(10);

/// What is remembered of services that lack tasks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shortages {
    /// Whether anybody has looked before. Whoever looks for the first time cannot know since when.
    looked: bool,
    services: BTreeMap<ServiceId, Shortage>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Shortage {
    since: Timestamp,
    /// Since when at each look.
    lasts: Timestamp,
    /// The tasks that Swarm wanted when these changed last.
    tasks: BTreeSet<TaskId>,
    changed: Timestamp,
    /// Since when all tasks run.
    well: Option<Timestamp>,
    /// What is reported, and since when in these words.
    reported: Option<(Problem, Timestamp)>,
}

/// A service that is looked at.
struct Watched<'a> {
    service: &'a Service,
    wanted: Vec<&'a Task>,
    /// How many tasks are about to end.
    ending: usize,
    reason: Option<Reason>,
    what: What,
}

/// Why tasks are missing, in Swarm's words.
#[derive(Debug, Clone)]
pub(crate) enum Reason {
    /// What a task waits for.
    Waits(String),
    /// What a task ended with.
    Ended(String),
}

impl Reason {
    pub(crate) fn text(&self) -> &str {
        let (Self::Waits(text) | Self::Ended(text)) = self;
        text
    }
}

/// What a service is for.
#[derive(Debug, Clone)]
enum What {
    /// It has routes.
    Routed,
    /// It is the proxy service of this service cluster.
    Proxies(Cluster),
    /// It is the extension service of this service cluster.
    Extension(Cluster),
}

impl Shortages {
    /// What is known after a look at this snapshot, and what to report.
    pub(crate) fn renewed(
        &self,
        snapshot: &SwarmIndex<'_>,
        settings: &Settings,
        model: &Model,
    ) -> (Self, Vec<Problem>) {
        let now = snapshot.observed_at;
        let mut shortages = Self { looked: true, services: BTreeMap::new() };
        let mut problems = Vec::new();
        for watched in watched(snapshot, settings, model, self) {
            if watched.service.spec.mode == Mode::Replicated(0) {
                problems.push(watched.without_replicas());
                continue;
            }
            let before = self.services.get(&watched.service.id);
            let Some(shortage) = watched.look(before, self.looked, now) else { continue };
            problems.extend(shortage.reported.as_ref().map(|(problem, _)| problem.clone()));
            shortages.services.insert(watched.service.id.clone(), shortage);
        }
        (shortages, problems)
    }
}

/// The services whose tasks matter: those with routes, and our own.
fn watched<'a>(snapshot: &SwarmIndex<'a>, settings: &Settings, model: &Model, before: &Shortages) -> Vec<Watched<'a>> {
    let mut names = BTreeMap::new();
    for (cluster, extension) in settings.clusters() {
        names.insert(extension.proxy_service_name.as_str(), What::Proxies(cluster.clone()));
        if extension.image.is_some() {
            names.insert(extension.service_name.as_str(), What::Extension(cluster));
        }
    }
    let is_away = |node: &&Node| matches!(node.state, NodeState::Down | NodeState::Disconnected);
    let away: BTreeSet<_> = snapshot.nodes.iter().filter(is_away).map(|node| &node.id).collect();
    // Of all others nothing is told.
    let mut entries: BTreeMap<Key, &Entry> =
        snapshot.unsteady().map(|entry| (Key::of(&entry.service), entry)).collect();
    let known = before.services.keys().filter_map(|id| Some(Key::of(snapshot.service(id)?)));
    entries.extend(known.filter_map(|key| Some((key.clone(), &**snapshot.at(&key)?))));
    let entries = entries.into_values().filter(|entry| entry.service.spec.mode != Mode::Job);
    let services = entries.filter_map(|Entry { service, tasks }| {
        let is_ours = ownership::is_our_proxy(service) || ownership::is_our_extension(snapshot, service);
        let what = match names.get(service.spec.name.as_str()).filter(|_| is_ours) {
            Some(what) => what.clone(),
            None if model.is_routed(service) => What::Routed,
            None => return None,
        };
        let tasks: Vec<_> = tasks.iter().map(Arc::as_ref).collect();
        let is_fresh = |task: &&&Task| {
            let age = task.ended_at.map(|ended| snapshot.observed_at.duration_since(ended));
            age.is_none_or(|age| age <= FRESH)
        };
        let reason = reason(service, &tasks.iter().filter(is_fresh).copied().collect::<Vec<_>>());
        let (wanted, others): (Vec<_>, Vec<_>) = tasks.into_iter().partition(|task| task.is_wanted());
        // Of a node that is away nobody knows whether they do.
        let ends =
            |task: &&Task| !task.state.is_terminal() && !task.node.as_ref().is_none_or(|node| away.contains(node));
        Some(Watched { service, wanted, ending: others.into_iter().filter(ends).count(), reason, what })
    });
    services.collect()
}

/// Why tasks are missing: what one says that waits, else the one that ended last. Those that ended before the last update had another spec.
pub(crate) fn reason(service: &Service, tasks: &[&Task]) -> Option<Reason> {
    let says = |task: &&&Task| !task.serves() && !task.error.is_empty();
    let waiting = tasks.iter().filter(|task| task.is_wanted()).filter(says).min_by_key(|task| &task.error);
    let began = service.update.as_ref().and_then(|update| update.started_at);
    let ended = tasks.iter().filter(|task| !task.is_wanted() && task.state.is_terminal()).filter(says);
    let ended = ended.filter(|task| began.is_none_or(|began| task.ended_at.is_none_or(|ended| ended >= began)));
    let task = waiting.or_else(|| ended.max_by_key(|task| (task.ended_at, &task.id)))?;
    let text = without_ids(&task.error);
    Some(if task.state.is_terminal() { Reason::Ended(text) } else { Reason::Waits(text) })
}

/// What Swarm says, without the ids of tasks, containers and images in it: those differ each time.
fn without_ids(said: &str) -> String {
    let is_id = |word: &str| {
        word.len() >= 20 && word.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()) && {
            word.bytes().any(|b| b.is_ascii_digit())
        }
    };
    let mut text = String::new();
    for part in said.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let word = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        text.push_str(if is_id(word) { "…" } else { word });
        text.push_str(&part[word.len()..]);
    }
    text
}

impl Watched<'_> {
    fn runs(&self) -> usize {
        self.wanted.iter().filter(|task| task.serves()).count()
    }

    /// Whether a task is missing, or one does not run that Swarm wants, and none is about to end in its place.
    fn lacks_tasks(&self) -> bool {
        let runs = self.runs();
        let short = match self.service.spec.mode {
            Mode::Replicated(replicas) => usize::try_from(replicas).unwrap_or(usize::MAX).saturating_sub(runs),
            Mode::Global => usize::from(self.wanted.is_empty()),
            Mode::Job => 0,
        };
        short.max(self.wanted.len() - runs) > self.ending
    }

    fn is_updated(&self) -> bool {
        self.service.update.as_ref().is_some_and(|update| update.state.in_progress())
    }

    /// What is known of its shortage now; `None` if there is none.
    fn look(&self, before: Option<&Shortage>, looked: bool, now: Timestamp) -> Option<Shortage> {
        let is_over = |since: Timestamp, patience| now.duration_since(since) >= patience;
        let Some(mut shortage) = before.cloned() else {
            let tasks = self.lacks_tasks().then(|| self.wanted.iter().map(|task| task.id.clone()).collect())?;
            // A first look reports what Swarm gives a reason for.
            let reported = self.reason.as_ref().filter(|_| !looked).map(|reason| (self.problem(reason.text()), now));
            return Some(Shortage { since: now, lasts: now, tasks, changed: now, well: None, reported });
        };
        if !self.lacks_tasks() {
            let well = *shortage.well.get_or_insert(now);
            return (!is_over(well, CALM)).then_some(shortage);
        }
        if shortage.well.take().is_some() {
            shortage.lasts = now;
        }
        let tasks = self.wanted.iter().map(|task| task.id.clone()).collect();
        if shortage.tasks != tasks {
            shortage.tasks = tasks;
            shortage.changed = now;
        }
        let reason = match &self.reason {
            // What waits has waited as long as tasks have been missing. What ends again and again may run in between.
            Some(Reason::Waits(text)) => is_over(shortage.lasts, PATIENCE).then(|| text.clone()),
            Some(Reason::Ended(text)) => is_over(shortage.since, PATIENCE).then(|| text.clone()),
            None if is_over(shortage.changed, PATIENCE_WITHOUT_REASON) => Some(self.at_rest()),
            None => None,
        };
        if let Some(reason) = reason
            && shortage.reported.as_ref().is_none_or(|(_, since)| is_over(*since, CALM))
        {
            shortage.reported = Some((self.problem(&reason), now));
        }
        Some(shortage)
    }

    /// What tasks do for which Swarm gives no reason.
    fn at_rest(&self) -> String {
        match self.wanted.iter().filter(|task| !task.serves()).map(|task| task.state).min() {
            Some(TaskState::Starting) => "one has been starting for over a minute; a health check may fail",
            Some(TaskState::Preparing) => "one has been prepared for over a minute; its image may be large",
            Some(_) => "one has been waiting for over a minute",
            None => "Swarm has made no task for over a minute",
        }
        .to_owned()
    }

    fn without_replicas(&self) -> Problem {
        let name = &self.service.spec.name;
        let wrong = self.about("it has", "has") + " 0 replicas";
        self.as_problem(Severity::Warning, wrong, format!("scale it: `docker service scale {name}=1`"), self.none())
    }

    fn problem(&self, reason: &str) -> Problem {
        let name = shown(&self.service.spec.name);
        let none = self.runs() == 0;
        let wrong = match (&self.what, none) {
            (What::Routed, true) => "none of its tasks runs".to_owned(),
            (What::Routed, false) => "not all of its tasks run".to_owned(),
            (_, true) => format!("no task of service {name} runs"),
            (_, false) => format!("not all tasks of service {name} run"),
        };
        let is_ours = !matches!(self.what, What::Routed);
        let severity = match is_ours && (none || self.is_updated()) {
            true => Severity::Error,
            false => Severity::Warning,
        };
        let effect = if none { self.none() } else { Effect::Served };
        self.as_problem(severity, format!("{wrong} ({reason})"), remedy(&name, reason), effect)
    }

    /// What it means that no task runs.
    fn none(&self) -> Effect {
        match self.what {
            What::Routed | What::Proxies(_) => Effect::NoRequests,
            What::Extension(_) => Effect::Stale,
        }
    }

    /// The beginning of a sentence about the service.
    fn about(&self, routed: &str, of_cluster: &str) -> String {
        match self.what {
            What::Routed => routed.to_owned(),
            What::Proxies(_) | What::Extension(_) => {
                format!("service {} {of_cluster}", shown(&self.service.spec.name))
            }
        }
    }

    fn as_problem(&self, severity: Severity, wrong: String, right: String, effect: Effect) -> Problem {
        let subject = match &self.what {
            What::Routed => Subject::Service(self.service.spec.name.clone()),
            What::Proxies(cluster) | What::Extension(cluster) => Subject::Cluster(cluster.clone()),
        };
        Problem::new(severity, subject, wrong, right, effect)
    }
}

/// What to do about what Swarm says.
fn remedy(name: &str, reason: &str) -> String {
    let says = |part: &str| reason.contains(part);
    let first = if says("No such image") || says("pull access denied") {
        "push the image to a registry that all nodes can pull from, or load it on each node; "
    } else if says("no suitable node") {
        "compare its constraints, ports and reservations with the nodes; "
    } else if says("unhealthy") {
        "its health check fails: mend the task or the check; "
    } else if says("non-zero exit") {
        return format!("see `docker service logs {name}`");
    } else {
        ""
    };
    format!("{first}see `docker service ps --no-trunc {name}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_left_out_of_what_swarm_says() {
        let said = "starting container failed: endpoint shop.1.h5m6dm8x2k3l4n5p6q7r8s9t0 (0123456789abcdef0123456789abcdef0123456789abcdef): Bind for 0.0.0.0:8443 failed";
        assert_eq!(without_ids(said), "starting container failed: endpoint shop.1.… (…): Bind for 0.0.0.0:8443 failed");
        assert_eq!(without_ids("No such image: shop:nosuch"), "No such image: shop:nosuch");
    }
}
