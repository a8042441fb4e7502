//! Who gets which request: the routes of all services put together, and conflicts between them decided.
//!
//! There is one rule for conflicts: the oldest service decides (by creation time, then id), the others keep what does not
//! conflict, and are told. A service that asks for protection which the oldest one's options do not give gets no requests there.

use std::collections::BTreeMap;

use crate::labels;
use crate::labels::options::{Canary, RedirectTarget, RouteOptions};
use crate::problem::{Effect, Problem, Severity, Subject, shown};
use crate::routes::model::{Certificate, Model, Route, Tls};
use crate::settings::HostPolicy;
use crate::units::{Cluster, HostPattern, PathPrefix};

/// The virtual hosts of one service cluster.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Routes<'a> {
    /// By host pattern.
    pub virtual_hosts: BTreeMap<&'a HostPattern, VirtualHost<'a>>,
    /// What answers for hosts that no pattern matches.
    pub default: Option<VirtualHost<'a>>,
}

mod live;
pub mod model;

pub(crate) use live::live;
pub use live::{Live, LiveRoutes, Place};

/// What one host pattern serves.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VirtualHost<'a> {
    /// By path.
    pub locations: BTreeMap<&'a PathPrefix, Location<'a>>,
    /// The certificate, with the service that chose it.
    pub certificate: Option<(&'a Certificate, &'a Route)>,
    /// The services that get TLS connections as they are, the oldest first. Then locations are for plain HTTP.
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
            let claim = if policy == HostPolicy::Stack { routes.claim(host) } else { None };
            match claim.filter(|(_, elder)| elder.stack != route.stack) {
                Some((claim, elder)) => problems.push(not_its_host(route, elder, host, claim)),
                None => problems.extend(routes.virtual_hosts.entry(host).or_default().join(route, Some(host))),
            }
        }
        if route.default_backend {
            match &routes.default {
                Some(default) => problems.extend(second_default(route, default, policy)),
                None => problems.extend(routes.default.get_or_insert_default().join(route, None)),
            }
        }
    }
    let hosts = clusters.values().flat_map(|routes| routes.virtual_hosts.values().chain(&routes.default));
    problems.extend(hosts.flat_map(VirtualHost::without_effect));
    problems.sort();
    problems.dedup();
    (clusters, problems)
}

impl<'a> Routes<'a> {
    /// Who gets the requests for a host so far: the host itself, or the narrowest wildcard over it, with the oldest service there.
    fn claim(&self, host: &HostPattern) -> Option<(&'a HostPattern, &'a Route)> {
        host.and_wider().find_map(|claim| {
            let (claim, serves) = self.virtual_hosts.get_key_value(&claim)?;
            Some((*claim, serves.owner()?))
        })
    }
}

impl<'a> VirtualHost<'a> {
    /// Adds a route to a host, as far as its elders leave room.
    fn join(&mut self, route: &'a Route, host: Option<&HostPattern>) -> Vec<Problem> {
        if let Some(elder) = self.other_way(route) {
            return vec![passthrough_overruled(route, elder)];
        }
        let mut problems = Vec::new();
        if route.asks.tls == Tls::Passthrough {
            problems.extend(self.redirect(route, host));
            self.passthrough.push(route);
            return problems;
        }
        // Who is left out leaves nothing behind, no certificate either.
        match self.locations.get_mut(&route.path).map(|location| location.join(route)) {
            Some(Err(left_out)) => return left_out,
            Some(Ok(told)) => problems.extend(told),
            None => {}
        }
        match (&route.asks.tls, self.certificate) {
            (Tls::Terminated(wanted), Some((certificate, elder))) if wanted != certificate => {
                problems.push(overruled(route, elder, "ssl_cert", wanted.certificate.as_str()));
            }
            (Tls::Terminated(wanted), None) => self.certificate = Some((wanted, route)),
            _ => {}
        }
        problems.extend(self.redirect(route, host));
        self.locations.entry(&route.path).or_insert_with(|| Location {
            rewrite: route.rewrite,
            options: &route.asks.options,
            members: vec![route],
        });
        problems
    }

    /// Takes the redirects that a route asks for. One takes all requests of the host, so it is for its oldest service to ask for it.
    fn redirect(&mut self, route: &'a Route, host: Option<&HostPattern>) -> Vec<Problem> {
        let mut problems = Vec::new();
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
        problems
    }

    /// The oldest service that has a part in it.
    fn owner(&self) -> Option<&'a Route> {
        let members = self.locations.values().flat_map(|location| location.members.first());
        members.chain(self.passthrough.first()).copied().min_by_key(|route| &route.seniority)
    }

    /// The elder that has TLS end somewhere else than this route does. Plain HTTP is beside it, until one of both wants none.
    fn other_way(&self, route: &Route) -> Option<&'a Route> {
        let only_tls = |route: &Route| route.asks.options.ssl_only;
        match route.asks.tls {
            Tls::Passthrough => {
                let plain = || self.locations.values().find_map(|location| location.members.first()).copied();
                self.certificate.map(|(_, elder)| elder).or_else(|| plain().filter(|_| only_tls(route)))
            }
            Tls::Terminated(_) => self.passthrough.first().copied(),
            Tls::None => self.passthrough.iter().find(|elder| only_tls(elder)).copied(),
        }
    }

    /// How a label about TLS comes to mean something. Beside a service that TLS is passed through to no certificate is shown.
    fn way_to_tls(&self, otherwise: &str) -> String {
        match self.passthrough.is_empty() {
            true => format!("set com.docker.lb.ssl_cert to the secret with a certificate, or {otherwise}"),
            false => format!("{otherwise}: with ssl_passthrough TLS ends at the service"),
        }
    }

    /// Labels that do nothing beside those of the others.
    fn without_effect(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let has_tls = self.certificate.is_some();
        if let Some((_, route)) = self.redirect_https.filter(|_| !has_tls) {
            let wrong = "redirects https, but the host has no TLS here";
            problems.push(inert(route, "redirects", wrong, self.way_to_tls("remove the redirect of https")));
        }
        for location in self.locations.values() {
            let with_hsts = location.members.iter().filter(|route| !has_tls && route.asks.options.hsts.is_some());
            problems.extend(with_hsts.map(|route| {
                let right = self.way_to_tls("remove it");
                inert(route, "hsts", "does nothing: the host has no TLS here", right)
            }));
            problems.extend(location.nobody_else());
        }
        problems
    }
}

impl<'a> Location<'a> {
    /// Adds a route, and says what of it does not count; or says why it cannot be one of them.
    fn join(&mut self, route: &'a Route) -> Result<Vec<Problem>, Vec<Problem>> {
        let Some(elder) = self.members.first().copied() else { return Ok(Vec::new()) };
        let mut differ: Vec<_> = self.options.differences(&route.asks.options).into_iter().collect();
        if self.rewrite != route.rewrite {
            differ.push("context_root_rewrite");
        }
        if let Some(option) = differ.iter().find(|option| labels::must_agree(option, &route.asks.options)) {
            return Err(vec![unprotected(route, elder, label_of(option, route, elder))]);
        }
        if self.rewrite && !route.asks.canaries.is_empty() {
            return Err(vec![canary_beside_rewrite(route, elder)]);
        }
        let mut problems: Vec<_> = differ
            .iter()
            .map(|label| {
                let value = if *label == "context_root_rewrite" { route.rewrite.to_string() } else { String::new() };
                overruled(route, elder, label_of(label, route, elder), &value)
            })
            .collect();
        let is_same =
            |other: &&&Route| other.seniority == route.seniority && other.asks.canaries == route.asks.canaries;
        problems.extend(self.members.iter().find(is_same).map(|other| second_of_service(route, other)));
        self.members.push(route);
        Ok(problems)
    }

    /// What is told when requests are left that no service gets.
    fn nobody_else(&self) -> Option<Problem> {
        let stable: Vec<_> = self.members.iter().filter(|route| route.asks.canaries.is_empty()).collect();
        let first = self.members.first()?;
        if stable.is_empty() {
            let wrong = "is set on all services with its host and path, so other requests get 503";
            let right = "remove it from the service that should get the other requests";
            return Some(Problem { effect: Effect::Served, ..inert(first, canary_label(first), wrong, right) });
        }
        let has_no_share = stable.iter().all(|route| route.asks.weight == Some(0));
        has_no_share.then(|| {
            let wrong = "is 0 on all services with its host and path, so requests get 503";
            let right = "give one of these services a weight of at least 1";
            Problem { effect: Effect::LeftOut, ..inert(stable.first().unwrap_or(&first), "weight", wrong, right) }
        })
    }
}

/// The label by which two routes ask for different options: one that the first of them has, or else the other.
fn label_of(option: &'static str, route: &Route, elder: &Route) -> &'static str {
    let written = |route: &Route| labels::of_option(option).find(|key| route.labels.contains_key(&route.label(key)));
    written(route).or_else(|| written(elder)).unwrap_or(option)
}

fn overruled(route: &Route, elder: &Route, label: &str, value: &str) -> Problem {
    let key = route.label(label);
    Problem::new(
        Severity::Warning,
        Subject::Service(route.service.clone()),
        format!("differs from that of service {}, which shares its host and path", shown(&elder.service)),
        "set the same value on both services",
        Effect::Overruled,
    )
    .about(
        Some(shown(&key)),
        if value.is_empty() { route.labels.get(&key).map(|value| shown(value)) } else { Some(shown(value)) },
    )
}

fn inert(route: &Route, label: &str, wrong: &str, right: impl Into<String>) -> Problem {
    Problem {
        wrong: wrong.to_owned(),
        right: right.into(),
        effect: Effect::Ignored,
        ..overruled(route, route, label, "")
    }
}

fn second_of_service(route: &Route, other: &Route) -> Problem {
    let wrong = if other.name.as_str().is_empty() {
        "leads to the same host and path as the service's route without a suffix: both share the requests".to_owned()
    } else {
        format!("leads to the same host and path as the service's route {}: both share the requests", other.name)
    };
    let right = "give one route its own context_root: a route does not inherit it";
    Problem { effect: Effect::Served, ..inert(route, "hosts", &wrong, right) }
}

fn canary_beside_rewrite(route: &Route, elder: &Route) -> Problem {
    Problem {
        severity: Severity::Error,
        wrong: format!("cannot be combined with context_root_rewrite, which service {} has", shown(&elder.service)),
        right: "remove one of the two labels".to_owned(),
        effect: Effect::LeftOut,
        ..overruled(route, elder, canary_label(route), "")
    }
}

/// The label that makes a route a canary.
fn canary_label(route: &Route) -> &'static str {
    let by_header = route.asks.canaries.iter().any(|canary| matches!(canary, Canary::Header(..)));
    if by_header { "canary_header" } else { "canary_cookie" }
}

fn unprotected(route: &Route, elder: &Route, label: &str) -> Problem {
    Problem {
        severity: Severity::Error,
        right: "set the same value on both services, or give one of them another host or path".to_owned(),
        effect: Effect::LeftOut,
        ..overruled(route, elder, label, "")
    }
}

fn not_its_host(route: &Route, elder: &Route, host: &HostPattern, claim: &HostPattern) -> Problem {
    let elder = shown(&elder.service);
    let wrong = if host == claim {
        format!("names {host}, which service {elder} of another stack has")
    } else {
        format!("names {host}, which is under {claim} of service {elder} of another stack")
    };
    Problem {
        severity: Severity::Error,
        wrong,
        right: "use another host: HostPolicy is stack".to_owned(),
        effect: Effect::LeftOut,
        ..overruled(route, route, "hosts", "")
    }
}

fn passthrough_overruled(route: &Route, elder: &Route) -> Problem {
    Problem {
        severity: Severity::Error,
        wrong: format!("differs from that of service {}, which shares its host", shown(&elder.service)),
        right: "set the same value on both services, or give one of them another host".to_owned(),
        effect: Effect::LeftOut,
        ..overruled(route, elder, "ssl_passthrough", "")
    }
}

fn second_default(route: &Route, default: &VirtualHost<'_>, policy: HostPolicy) -> Option<Problem> {
    let elder = default.locations.values().find_map(|location| location.members.first())?;
    let of_stack = policy == HostPolicy::Stack && elder.stack != route.stack;
    let name = shown(&elder.service);
    let (severity, wrong, right) = if of_stack {
        let right = "remove it: HostPolicy is stack, and the default backend belongs to the stack that had it first";
        (Severity::Error, format!("is set on service {name} of another stack, too"), right)
    } else {
        let right = "set it on only one service of each service cluster";
        (Severity::Warning, format!("is set on service {name}, too"), right)
    };
    Some(
        Problem::new(
            severity,
            Subject::Service(route.service.clone()),
            wrong,
            right,
            if of_stack { Effect::LeftOut } else { Effect::Overruled },
        )
        .about(Some(shown(&route.label("default_backend"))), None),
    )
}
