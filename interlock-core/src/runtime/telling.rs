//! Saying what is wrong once: when it begins, and when it has ended.

use std::collections::{BTreeMap, BTreeSet};

use crate::docker::{self, ErrorKind};
use crate::names::Cluster;
use crate::plan::{Plan, Step};
use crate::problem::{Problem, Severity};
use crate::snapshot::Engine;

/// What was told already.
#[derive(Debug, Default)]
pub(super) struct Told {
    problems: BTreeSet<Problem>,
    waiting: BTreeMap<Cluster, String>,
    failures: BTreeMap<Option<Cluster>, String>,
    unreadable: Option<ErrorKind>,
    connected: bool,
    disconnected: Option<String>,
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
    pub(super) fn outcome(&mut self, problems: &[Problem], plan: &Plan) {
        let (begun, over) = self.problems(problems);
        for problem in begun {
            match problem.severity {
                Severity::Error => tracing::error!("{problem}"),
                Severity::Warning => tracing::warn!("{problem}"),
            }
        }
        for problem in over {
            tracing::info!("solved: {problem}");
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
            tracing::warn!("the Swarm cannot be read, what runs stays as it is: {}", chain(error));
        }
        self.unreadable = Some(error.kind());
    }

    /// Logs that there is no connection, unless it is for the same reason as before.
    pub(super) fn disconnected(&mut self, error: &docker::Error) {
        let text = chain(error);
        if self.disconnected.as_ref() != Some(&text) {
            tracing::warn!("{text}; what runs stays as it is, and connecting is tried again");
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
            tracing::info!("the Swarm can be read again");
        }
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
    use crate::problem::{Effect, Subject};

    fn problem(name: &str) -> Problem {
        Problem {
            severity: Severity::Warning,
            subject: Subject::Service(name.to_owned()),
            label: None,
            value: None,
            wrong: String::new(),
            right: String::new(),
            effect: Effect::Ignored,
        }
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
