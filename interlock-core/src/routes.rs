//! Who gets which request: the routes of all services put together, and conflicts between them decided.
//!
//! There is one rule for conflicts: the oldest service decides (by creation time, then id), the others keep what does not
//! conflict, and are told. A service that asks for protection which the oldest one's options do not give gets no requests there.

use std::collections::BTreeMap;

use crate::labels::PREFIX;
use crate::model::{Certificate, Model, Route, Tls};
use crate::names::{Cluster, HostPattern, PathPrefix};
use crate::options::{RedirectTarget, RouteOptions};
use crate::problem::{Effect, Problem, Severity, Subject, shown};
use crate::settings::HostPolicy;

/// The virtual hosts of one service cluster.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Routes<'a> {
    /// By host pattern.
    pub virtual_hosts: BTreeMap<&'a HostPattern, VirtualHost<'a>>,
    /// What answers for hosts that no pattern matches.
    pub default: Option<VirtualHost<'a>>,
}

/// What one host pattern serves.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VirtualHost<'a> {
    /// By path.
    pub locations: BTreeMap<&'a PathPrefix, Location<'a>>,
    /// The certificate, with the service that chose it.
    pub certificate: Option<(&'a Certificate, &'a Route)>,
    /// The services that get TLS connections as they are, the oldest first. Then there are no locations.
    pub passthrough: Vec<&'a Route>,
    /// Where plain HTTP requests are sent, and by whom.
    pub redirect_http: Option<(&'a RedirectTarget, &'a Route)>,
    /// Where HTTPS requests are sent, and by whom.
    pub redirect_https: Option<(&'a RedirectTarget, &'a Route)>,
}

/// What one path of a host serves.
#[derive(Debug, Clone, PartialEq)]
pub struct Location<'a> {
    /// Whether the path is removed from requests.
    pub rewrite: bool,
    /// What the oldest service asks for.
    pub options: &'a RouteOptions,
    /// The routes that share the requests, the oldest first. Never empty.
    pub members: Vec<&'a Route>,
}

/// Puts the routes of each service cluster together.
pub fn resolve(model: &Model, policy: HostPolicy) -> (BTreeMap<&Cluster, Routes<'_>>, Vec<Problem>) {
    let mut by_age: Vec<&Route> = model.routes.iter().collect();
    by_age.sort_by(|a, b| (&a.seniority, &a.name).cmp(&(&b.seniority, &b.name)));
    let mut clusters: BTreeMap<&Cluster, Routes<'_>> = BTreeMap::new();
    let mut problems = Vec::new();
    for route in by_age {
        let routes = clusters.entry(&route.cluster).or_default();
        for host in &route.hosts {
            let serves = routes.virtual_hosts.entry(host).or_default();
            match serves.owner().filter(|elder| policy == HostPolicy::Stack && elder.stack != route.stack) {
                Some(elder) => problems.push(not_its_host(route, elder, host)),
                None => problems.extend(serves.join(route, Some(host))),
            }
        }
        if route.default_backend {
            match &routes.default {
                Some(default) => problems.extend(second_default(route, default)),
                None => problems.extend(routes.default.get_or_insert_default().join(route, None)),
            }
        }
    }
    problems.sort();
    problems.dedup();
    (clusters, problems)
}

impl<'a> VirtualHost<'a> {
    /// Adds a route to a host, as far as its elders leave room.
    fn join(&mut self, route: &'a Route, host: Option<&HostPattern>) -> Vec<Problem> {
        if let Some(elder) = self.other_way(route) {
            return vec![passthrough_overruled(route, elder)];
        }
        let mut problems = Vec::new();
        match (&route.asks.tls, self.certificate) {
            (Tls::Terminated(wanted), Some((certificate, elder))) if wanted != certificate => {
                problems.push(overruled(route, elder, "ssl_cert", wanted.certificate.as_str()));
            }
            (Tls::Terminated(wanted), None) => self.certificate = Some((wanted, route)),
            _ => {}
        }
        // A redirect takes all requests of the host, so it is for its oldest service to ask for one.
        let owner = self.owner().filter(|elder| elder.seniority != route.seniority);
        for redirect in route.asks.redirects.iter().filter(|redirect| Some(&redirect.from_host) == host) {
            let place = if redirect.from_https { &mut self.redirect_https } else { &mut self.redirect_http };
            let is_same = place.is_some_and(|(to, _)| *to == redirect.to);
            match owner {
                Some(elder) if !is_same => {
                    problems.push(overruled(route, elder, "redirects", redirect.to.as_str()));
                }
                _ => *place = place.or(Some((&redirect.to, route))),
            }
        }
        if route.asks.tls == Tls::Passthrough {
            self.passthrough.push(route);
            return problems;
        }
        let Some(location) = self.locations.get_mut(&route.path) else {
            self.locations.insert(
                &route.path,
                Location { rewrite: route.rewrite, options: &route.asks.options, members: vec![route] },
            );
            return problems;
        };
        problems.extend(location.join(route));
        problems
    }

    /// The oldest service that has a part in it.
    fn owner(&self) -> Option<&'a Route> {
        let members = self.locations.values().flat_map(|location| location.members.first());
        members.chain(self.passthrough.first()).copied().min_by_key(|route| &route.seniority)
    }

    /// The elder that has TLS end somewhere else than this route does.
    fn other_way(&self, route: &Route) -> Option<&'a Route> {
        match route.asks.tls {
            Tls::Passthrough => self.locations.values().find_map(|location| location.members.first()).copied(),
            Tls::None | Tls::Terminated(_) => self.passthrough.first().copied(),
        }
    }
}

impl<'a> Location<'a> {
    fn join(&mut self, route: &'a Route) -> Vec<Problem> {
        let Some(elder) = self.members.first().copied() else { return Vec::new() };
        let mut differ: Vec<_> = self.options.differences(&route.asks.options).into_iter().collect();
        if self.rewrite != route.rewrite {
            differ.push("context_root_rewrite".to_owned());
        }
        let own = serde_json::to_value(&route.asks.options).unwrap_or_default();
        let secures = |name: &&String| RouteOptions::secures(name) && own.get(name.as_str()).is_some();
        if let Some(label) = differ.iter().find(secures) {
            return vec![unprotected(route, elder, label)];
        }
        self.members.push(route);
        let value =
            |label: &str| if label == "context_root_rewrite" { route.rewrite.to_string() } else { String::new() };
        differ.iter().map(|label| overruled(route, elder, label_of(label, &own), &value(label))).collect()
    }
}

/// The label behind an option's name.
fn label_of<'n>(option: &'n str, own: &serde_json::Value) -> &'n str {
    match option {
        "balance" if own["balance"] == "ip_hash" => "ip_hash",
        "balance" => "sticky_session_cookie",
        other => other,
    }
}

fn overruled(route: &Route, elder: &Route, label: &str, value: &str) -> Problem {
    Problem {
        severity: Severity::Warning,
        subject: Subject::Service(route.service.clone()),
        label: Some(format!("{PREFIX}{label}")),
        value: (!value.is_empty()).then(|| shown(value)),
        wrong: format!("differs from that of service {}, which shares its host and path", shown(&elder.service)),
        right: "set it alike on both".to_owned(),
        effect: Effect::Overruled,
    }
}

fn unprotected(route: &Route, elder: &Route, label: &str) -> Problem {
    Problem {
        severity: Severity::Error,
        right: "set it alike on both, or give one of them another host or path".to_owned(),
        effect: Effect::LeftOut,
        ..overruled(route, elder, label, "")
    }
}

fn not_its_host(route: &Route, elder: &Route, host: &HostPattern) -> Problem {
    Problem {
        severity: Severity::Error,
        wrong: format!("names {host}, which service {} of another stack has", shown(&elder.service)),
        right: "use another host: HostPolicy is stack".to_owned(),
        effect: Effect::LeftOut,
        ..overruled(route, elder, "hosts", "")
    }
}

fn passthrough_overruled(route: &Route, elder: &Route) -> Problem {
    Problem {
        severity: Severity::Error,
        wrong: format!("differs from that of service {}, which shares its host", shown(&elder.service)),
        right: "set it alike on both, or give one of them another host".to_owned(),
        effect: Effect::LeftOut,
        ..overruled(route, elder, "ssl_passthrough", if route.asks.tls == Tls::Passthrough { "true" } else { "" })
    }
}

fn second_default(route: &Route, default: &VirtualHost<'_>) -> Option<Problem> {
    let elder = default.locations.values().find_map(|location| location.members.first())?;
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
