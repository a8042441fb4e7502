//! The ways to write what a route asks for: today's labels, and those of interlock's predecessors. The first dialect that claims a service
//! is the one that counts there.

use std::collections::BTreeMap;

use super::{FindingKind, Findings, Reading};
use crate::swarm::Labels;
use crate::units::{Invalid, RouteName};

mod interlock1;
mod mesh;
mod today;

pub(super) use today::key_of;

/// A way to write what a route asks for.
pub(super) trait Dialect: Sync {
    /// Whether the labels of a service are written so.
    fn claims(&self, labels: &Labels) -> bool;

    /// Reads them.
    fn read(&self, labels: &Labels) -> Reading;

    /// The key that one of today's labels stands under here, or would.
    fn written(&self, labels: &Labels, route: &RouteName, key: &str) -> Option<String>;

    /// What is written of each route: which requests it gets, and the protection that it asks for.
    fn protection<'a>(&self, labels: &'a Labels) -> BTreeMap<&'a str, Written<'a>>;

    /// The labels that name routes, which do nothing beside those of an earlier dialect.
    fn naming<'a>(&self, labels: &'a Labels) -> Vec<(&'a str, &'a str)>;

    /// Whether a route may name no port.
    fn may_have_no_port(&self) -> bool {
        false
    }
}

/// By precedence. None of them claims a service without labels.
const DIALECTS: [&dyn Dialect; 3] = [&today::Today, &mesh::Mesh, &interlock1::Interlock1];

/// The dialect of a service, today's for one without labels.
pub(super) fn of(labels: &Labels) -> &'static dyn Dialect {
    DIALECTS.into_iter().find(|dialect| dialect.claims(labels)).unwrap_or(DIALECTS[0])
}

/// Whether the labels of a service are today's.
pub(super) fn are_todays(labels: &Labels) -> bool {
    DIALECTS[0].claims(labels)
}

/// What is told of labels of predecessors on a service that has some of today's.
fn shadowed(labels: &Labels, findings: &mut Findings) {
    for (key, value) in DIALECTS[1..].iter().flat_map(|dialect| dialect.naming(labels)) {
        let right = "remove it, or the com.docker.lb labels";
        let invalid = || Invalid::new("is ignored: the service also has com.docker.lb. labels", right);
        findings.add(key, value, FindingKind::Inert, invalid);
    }
}

/// What is written of a route.
pub(super) struct Written<'a> {
    /// What says which requests it gets: the values of today's labels for it, or all in one where another dialect has one label for it.
    pub(super) scope: Vec<Option<&'a str>>,
    /// The protection that it asks for, as today's labels write it.
    pub(super) protection: BTreeMap<&'static str, &'a str>,
}
