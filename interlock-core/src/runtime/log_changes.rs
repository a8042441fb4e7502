//! Saying what is wrong once: when it begins, and when it has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::deciding::Undecided;
use crate::docker::{self, ErrorKind};
use crate::labels;
use crate::plan::{Plan, Step};
use crate::problem::{Problem, Severity, Subject, said, shown};
use crate::routes::live::{changed, live};
use crate::routes::{Live, LiveRoutes, Place};
use crate::swarm::{Engine, Service};
use crate::units::Cluster;

/// What was told already.
#[derive(Debug, Default)]
pub(super) struct Told {
    problems: BTreeSet<Problem>,
    waiting: BTreeMap<Cluster, String>,
    failures: BTreeMap<Option<Cluster>, String>,
    unreadable: Option<ErrorKind>,
    connected: bool,
    disconnected: Option<String>,
    live: LiveRoutes,
}

/// What became of routes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Became {
    Published(Place, Live),
    Changed(Place, Live),
    Withdrawn(Place),
}

/// How many routes a line is logged about after one decision.
const MOST_ROUTES: usize = 100;

/// Logs why there is no decision, unless it is for the same reason as the last time.
pub(super) fn undecided(undecided: &Undecided, last: Option<&Undecided>) {
    if last == Some(undecided) {
        return;
    }
    let Undecided { message, service } = undecided;
    let service = service.as_deref().map(shown);
    tracing::error!(
        service,
        "a decision failed, so what was decided before stays in force: {}; please report this with the output of `interlock snapshot`",
        said(message)
    );
}

impl Told {
    /// What is wrong now. Answers what is new about it, and what is over.
    pub(super) fn problems(&mut self, problems: &[Problem]) -> (Vec<Problem>, Vec<Problem>) {
        let now: BTreeSet<_> = problems.iter().cloned().collect();
        let begun = now.difference(&self.problems).cloned().collect();
        let over = self.problems.difference(&now).cloned().collect();
        self.problems = now;
        (begun, over)
    }

    /// Logs what is new about the problems and about what has to be waited for.
    pub(super) fn outcome(&mut self, problems: &[Problem], plan: &Plan, services: &[Arc<Service>]) {
        let (begun, over) = self.problems(problems);
        for problem in begun {
            begins(&problem, services);
        }
        for problem in over {
            ends(&problem, services);
        }
        let waiting = plan.waiting.iter().map(|waiting| (waiting.cluster.clone(), waiting.reason.clone()));
        let waiting: BTreeMap<_, _> = waiting.collect();
        for (cluster, reason) in &waiting {
            if self.waiting.get(cluster) != Some(reason) {
                tracing::info!(cluster = cluster.title(), "waiting: {reason}");
            }
        }
        self.waiting = waiting;
    }

    /// Logs which routes are published, changed or withdrawn. Of a service cluster that is seen for the first time their number: most were
    /// there before this process.
    pub(super) fn routes(&mut self, of_clusters: LiveRoutes) {
        for (cluster, now) in of_clusters {
            let Some(before) = self.live.get(&cluster) else {
                tracing::info!(cluster = cluster.title(), routes = live(&now).len(), "routes served");
                self.live.insert(cluster, now);
                continue;
            };
            let [gone, come] = changed(before, &now);
            let became = became(&gone, &come);
            for change in became.iter().take(MOST_ROUTES) {
                log(&cluster, change);
            }
            if let Some(more) = became.len().checked_sub(MOST_ROUTES).filter(|more| *more > 0) {
                tracing::info!(cluster = cluster.title(), more, "and more routes published, changed or withdrawn");
            }
            self.live.insert(cluster, now);
        }
    }

    /// Logs a step that failed, unless it failed in the same way before.
    pub(super) fn failed(&mut self, step: &Step, error: &docker::Error) {
        let text = chain(error);
        if self.failures.insert(step.cluster.clone(), text.clone()).as_ref() != Some(&text) {
            tracing::warn!(cluster = step.title(), "cannot {} {text}", step.action.verb());
        }
    }

    /// All of a service cluster's steps were done.
    pub(super) fn succeeded(&mut self, cluster: &Option<Cluster>) {
        self.failures.remove(cluster);
    }

    /// Logs that the Swarm cannot be read, unless that is known and the error is of the same kind.
    pub(super) fn unreadable(&mut self, error: &docker::Error) {
        // Which of the lists fails first is chance.
        if self.unreadable != Some(error.kind()) {
            tracing::warn!("cannot read the Swarm, nothing changes until it works again: {}", chain(error));
        }
        self.unreadable = Some(error.kind());
    }

    /// Logs that there is no connection, unless it is for the same reason as before.
    pub(super) fn disconnected(&mut self, error: &docker::Error) {
        let text = chain(error);
        if self.disconnected.as_ref() != Some(&text) {
            tracing::warn!("{text}; nothing changes until the connection is back");
        }
        self.disconnected = Some(text);
    }

    /// Logs that there is a connection, unless that is known: connections are renewed from time to time.
    pub(super) fn connected(&mut self, engine: &Engine) {
        let Engine { version, api_version, config_limit: _, address_pools: _, log_driver: _ } = engine;
        if self.disconnected.take().is_some() || !self.connected {
            tracing::info!("connected to Docker {version}, API {api_version}");
        }
        self.connected = true;
    }

    /// It can be read.
    pub(super) fn readable(&mut self) {
        if self.unreadable.take().is_some() {
            tracing::info!("reading the Swarm works again");
        }
    }
}

/// Logs a problem: a sentence for people, and what a program may look for as fields.
fn begins(problem: &Problem, services: &[Arc<Service>]) {
    let (service, cluster) = subject(problem);
    let host = service.and_then(|name| hosts(name, services));
    let (label, effect) = (problem.label.as_deref(), problem.effect.name());
    match problem.severity {
        Severity::Error => tracing::error!(service, cluster, label, effect, host, "{problem}"),
        Severity::Warning => tracing::warn!(service, cluster, label, effect, host, "{problem}"),
    }
}

/// Logs that a problem is solved, with the fields of the line that reported it, so that a program finds both.
fn ends(problem: &Problem, services: &[Arc<Service>]) {
    let (service, cluster) = subject(problem);
    let host = service.and_then(|name| hosts(name, services));
    let (label, effect) = (problem.label.as_deref(), problem.effect.name());
    tracing::info!(service, cluster, label, effect, host, "problem solved: {problem}");
}

/// The service or the service cluster that a problem is about.
fn subject(problem: &Problem) -> (Option<&str>, Option<&str>) {
    match &problem.subject {
        Subject::Service(name) => (Some(name), None),
        Subject::Cluster(cluster) => (None, Some(cluster.title())),
    }
}

/// The hosts that a service asks for, as its owner wrote them.
fn hosts(name: &str, services: &[Arc<Service>]) -> Option<String> {
    let service = services.iter().find(|service| service.spec.name == name)?;
    let values: Vec<_> = labels::hosts(&service.spec.labels).collect();
    (!values.is_empty()).then(|| shown(&values.join(",")))
}

fn became(before: &BTreeMap<Place, Live>, now: &BTreeMap<Place, Live>) -> Vec<Became> {
    let gone = before.keys().filter(|place| !now.contains_key(place)).cloned().map(Became::Withdrawn);
    let others = now.iter().filter_map(|(place, live)| match before.get(place) {
        None => Some(Became::Published(place.clone(), live.clone())),
        Some(before) if before != live => Some(Became::Changed(place.clone(), live.clone())),
        Some(_) => None,
    });
    others.chain(gone).collect()
}

fn log(cluster: &Cluster, became: &Became) {
    let (Became::Published(place, _) | Became::Changed(place, _) | Became::Withdrawn(place)) = became;
    let Place { host, path, service } = place;
    let (cluster, host) = (cluster.title(), host.as_deref().unwrap_or("*"));
    match became {
        Became::Published(_, live) => {
            tracing::info!(%host, %path, %service, tasks = live.tasks, %cluster, "route published")
        }
        Became::Changed(_, live) => {
            tracing::info!(%host, %path, %service, tasks = live.tasks, %cluster, "route changed")
        }
        Became::Withdrawn(_) => tracing::info!(%host, %path, %service, %cluster, "route withdrawn"),
    }
}

/// Logs a step that was done.
pub(super) fn done(step: &Step) {
    let Step { cluster: _, action, reason, restarts_tasks: _ } = step;
    tracing::info!(cluster = step.title(), reason, "{} {}", action.verb(), action.object());
}

/// An error with its reasons, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Effect;

    fn problem(name: &str) -> Problem {
        Problem::new(
            Severity::Warning,
            Subject::Service(name.to_owned()),
            String::new(),
            String::new(),
            Effect::Ignored,
        )
    }

    #[test]
    fn of_routes_it_is_told_which_come_change_and_go() {
        let place = |service: &str| Place { host: Some("a.test".into()), path: "/".into(), service: service.into() };
        let live = |tasks| Live { tasks, ..Live::default() };
        let before = BTreeMap::from([(place("same"), live(1)), (place("scaled"), live(1)), (place("gone"), live(1))]);
        let now = BTreeMap::from([(place("same"), live(1)), (place("scaled"), live(2)), (place("new"), live(3))]);
        let told = [
            Became::Published(place("new"), live(3)),
            Became::Changed(place("scaled"), live(2)),
            Became::Withdrawn(place("gone")),
        ];
        assert_eq!(became(&before, &now), told);
        assert_eq!(became(&now, &now), []);
    }

    #[test]
    fn a_problem_is_told_when_it_begins_and_when_it_ends() {
        let mut told = Told::default();
        assert_eq!(told.problems(&[problem("a")]), (vec![problem("a")], vec![]));
        assert_eq!(told.problems(&[problem("a")]), (vec![], vec![]));
        assert_eq!(told.problems(&[problem("b")]), (vec![problem("b")], vec![problem("a")]));
        assert_eq!(told.problems(&[]), (vec![], vec![problem("b")]));
    }
}
