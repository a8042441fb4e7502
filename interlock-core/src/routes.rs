//! Who gets which request: the routes of all services put together, and conflicts between them decided.
//!
//! There is one rule for conflicts: the oldest service decides (by creation time, then id), the others keep what does not
//! conflict, and are told.

use std::collections::BTreeMap;

use crate::labels::PREFIX;
use crate::model::{Model, Route};
use crate::names::{Cluster, HostPattern, PathPrefix};
use crate::problem::{Effect, Problem, Severity, Subject, shown};

/// The virtual hosts of one service cluster.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Routes<'a> {
    /// By host pattern.
    pub virtual_hosts: BTreeMap<&'a HostPattern, VirtualHost<'a>>,
    /// What answers for hosts that no pattern matches.
    pub default: Option<VirtualHost<'a>>,
}

/// What one host pattern serves, by path.
pub type VirtualHost<'a> = BTreeMap<&'a PathPrefix, Location<'a>>;

/// What one path of a host serves.
#[derive(Debug, Clone, PartialEq)]
pub struct Location<'a> {
    /// Whether the path is removed from requests.
    pub rewrite: bool,
    /// The routes that share the requests, the oldest first. Never empty.
    pub members: Vec<&'a Route>,
}

/// Puts the routes of each service cluster together.
pub fn resolve(model: &Model) -> (BTreeMap<&Cluster, Routes<'_>>, Vec<Problem>) {
    let mut by_age: Vec<&Route> = model.routes.iter().collect();
    by_age.sort_by(|a, b| (&a.seniority, &a.name).cmp(&(&b.seniority, &b.name)));
    let mut clusters: BTreeMap<&Cluster, Routes<'_>> = BTreeMap::new();
    let mut problems = Vec::new();
    for route in by_age {
        let routes = clusters.entry(&route.cluster).or_default();
        let mut overruled_by = None;
        for host in &route.hosts {
            let paths = routes.virtual_hosts.entry(host).or_default();
            overruled_by = overruled_by.or(join(paths, route));
        }
        if route.default_backend {
            match &routes.default {
                Some(default) => problems.extend(second_default(route, default)),
                None => routes.default = Some(BTreeMap::from([(&route.path, alone(route))])),
            }
        }
        problems.extend(overruled_by.map(|elder| rewrite_overruled(route, elder)));
    }
    (clusters, problems)
}

fn alone(route: &Route) -> Location<'_> {
    Location { rewrite: route.rewrite, members: vec![route] }
}

/// Adds a route to a host. Returns the older route that decides where the two disagree.
fn join<'a>(paths: &mut VirtualHost<'a>, route: &'a Route) -> Option<&'a Route> {
    let location = paths.entry(&route.path).or_insert_with(|| Location { rewrite: route.rewrite, members: Vec::new() });
    location.members.push(route);
    if location.rewrite == route.rewrite { None } else { location.members.first().copied() }
}

fn rewrite_overruled(route: &Route, elder: &Route) -> Problem {
    Problem {
        severity: Severity::Warning,
        subject: Subject::Service(route.service.clone()),
        label: Some(format!("{PREFIX}context_root_rewrite")),
        value: Some(route.rewrite.to_string()),
        wrong: format!("differs from that of service {}, which shares its host and path", shown(&elder.service)),
        right: "set it alike on both".to_owned(),
        effect: Effect::Overruled,
    }
}

fn second_default(route: &Route, default: &VirtualHost<'_>) -> Option<Problem> {
    let elder = default.values().find_map(|location| location.members.first())?;
    Some(Problem {
        severity: Severity::Warning,
        subject: Subject::Service(route.service.clone()),
        label: Some(format!("{PREFIX}default_backend")),
        value: None,
        wrong: format!("is set on service {}, too", shown(&elder.service)),
        right: "let one service of a service cluster be the default backend".to_owned(),
        effect: Effect::Overruled,
    })
}
