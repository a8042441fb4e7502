//! Why a route cannot be, as its owner is told.

use std::borrow::Cow;

use crate::labels;
use crate::problem::{Effect, Problem, Severity, Subject, shown};
use crate::swarm::Labels;
use crate::units::RouteName;

/// Why a route cannot be, or a label does nothing.
pub(crate) struct Refusal {
    /// Its name in the table until it is known under which key it stands.
    pub(super) label: Option<(Cow<'static, str>, String)>,
    wrong: String,
    right: String,
    /// What holds where it is only a warning.
    warns: Effect,
}

impl Refusal {
    pub(super) fn new(wrong: impl Into<String>, right: impl Into<String>) -> Self {
        Self { label: None, wrong: wrong.into(), right: right.into(), warns: Effect::Ignored }
    }

    /// The label counts all the same.
    pub(super) fn served(self) -> Self {
        Self { warns: Effect::Served, ..self }
    }

    pub(super) fn about(mut self, label: &'static str, value: impl Into<String>) -> Self {
        self.label = Some((label.into(), value.into()));
        self
    }

    /// Says the label as its owner wrote it.
    pub(super) fn written(mut self, labels: &Labels, route: &RouteName) -> Self {
        if let Some((key, value)) = &mut self.label {
            *key = labels::written(labels, route, key).into();
            if let Some(written) = labels.get(&**key).filter(|_| value.is_empty()) {
                written.clone_into(value);
            }
        }
        if labels::are_legacy(labels) && self.right.contains(labels::PREFIX) {
            self.right += ", and write all its labels as com.docker.lb labels: the older ones are then ignored";
        }
        self
    }

    pub(super) fn warning(self, service: &str) -> Problem {
        let effect = self.warns;
        Problem { severity: Severity::Warning, ..self.problem(service, effect) }
    }

    pub(super) fn problem(self, service: &str, effect: Effect) -> Problem {
        let Self { label, wrong, right, warns: _ } = self;
        let (label, value) = label.map(|(key, value)| (shown(&key), shown(&value))).unzip();
        let value = value.filter(|value| !value.is_empty());
        Problem::new(Severity::Error, Subject::Service(service.to_owned()), wrong, right, effect).about(label, value)
    }
}
