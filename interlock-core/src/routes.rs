//! Who gets which request: the routes of all services put together, and conflicts between them decided.
//!
//! There is one rule for conflicts: the oldest service decides (by creation time, then id), the others keep what does not
//! conflict, and are told. A service that asks for protection which the oldest one's options do not give gets no requests there.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::labels;
use crate::labels::options::{Canary, RedirectTarget, RouteOptions};
use crate::problem::{Effect, Problem, Severity, Subject, shown};
use crate::routes::model::{Certificate, Route, Tls};
use crate::settings::HostPolicy;
use crate::units::{HostPattern, PathPrefix};

/// The virtual hosts of one service cluster.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Routes {
    /// By host pattern.
    pub virtual_hosts: BTreeMap<HostPattern, Arc<VirtualHost>>,
    /// What answers for hosts that no pattern matches.
    pub default: Option<Arc<VirtualHost>>,
}

pub mod live;
pub mod model;
mod table;

pub use live::{Live, LiveRoutes, Place};
pub(crate) use table::Table;
pub use table::resolve;

/// What one host pattern serves, and which service decided each part of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VirtualHost {
    /// By path.
    pub locations: BTreeMap<PathPrefix, Location>,
    /// The certificate, with the route that chose it.
    pub certificate: Option<(Certificate, Arc<Route>)>,
    /// The routes that get TLS connections as they are, the oldest first. Then locations are for plain HTTP.
    pub passthrough: Vec<Arc<Route>>,
    /// Where plain HTTP requests are sent, and by whom.
    pub redirect_http: Option<(RedirectTarget, Arc<Route>)>,
    /// Where HTTPS requests are sent, and by whom.
    pub redirect_https: Option<(RedirectTarget, Arc<Route>)>,
    /// What younger routes asked for here and did not get.
    pub lost: Vec<Lost>,
}

/// What one path of a host serves.
#[derive(Debug, Clone, PartialEq)]
pub struct Location {
    /// The oldest of the routes: its labels decide.
    pub decides: Arc<Route>,
    /// The routes that share the requests, the oldest first: the one that decides, and others.
    pub members: Vec<Arc<Route>>,
}

/// A label of a route that does not count, as an older route decided otherwise; or all of the route.
#[derive(Debug, Clone, PartialEq)]
pub struct Lost {
    /// Whose label.
    pub route: Arc<Route>,
    /// Who decided.
    pub to: Arc<Route>,
    /// The label, what is wrong with it, and what that costs.
    pub problem: Problem,
}

impl Location {
    fn of(route: &Arc<Route>) -> Self {
        Self { decides: Arc::clone(route), members: vec![Arc::clone(route)] }
    }

    /// What is done with its requests, as far as all members have to agree.
    pub fn options(&self) -> &RouteOptions {
        &self.decides.asks.options
    }

    /// Whether the path is removed from requests.
    pub fn rewrite(&self) -> bool {
        self.decides.rewrite
    }
}

impl VirtualHost {
    /// What these routes, the oldest first, make of a host. Of a default backend there is one alone, so the others get nothing.
    fn of(host: Option<&HostPattern>, routes: &[Arc<Route>], policy: HostPolicy) -> (Self, Vec<Problem>) {
        let mut serves = Self::default();
        let mut problems = Vec::new();
        for (place, route) in routes.iter().enumerate() {
            match (host, place) {
                (None, 1..) => problems.extend(second_default(route, &serves, policy)),
                _ => problems.extend(serves.join(route, host)),
            }
        }
        problems.extend(serves.without_effect());
        problems.extend(serves.lost.iter().map(|lost| lost.problem.clone()));
        (serves, problems)
    }

    /// Adds a route to a host, as far as its elders leave room.
    fn join(&mut self, route: &Arc<Route>, host: Option<&HostPattern>) -> Vec<Problem> {
        if let Some(elder) = self.other_way(route) {
            self.lose(route, &elder, passthrough_overruled(route, &elder));
            return Vec::new();
        }
        if route.asks.tls == Tls::Passthrough {
            self.redirect(route, host);
            self.passthrough.push(Arc::clone(route));
            return Vec::new();
        }
        let mut problems = Vec::new();
        // Who is left out leaves nothing behind, no certificate either.
        if let Some(location) = self.locations.get_mut(&route.path) {
            let elder = Arc::clone(&location.decides);
            let Joined { is_in, lost, told } = location.join(route);
            problems.extend(told);
            lost.into_iter().for_each(|problem| self.lose(route, &elder, problem));
            if !is_in {
                return problems;
            }
        }
        match (&route.asks.tls, &self.certificate) {
            (Tls::Terminated(wanted), Some((certificate, elder))) if wanted != certificate => {
                let elder = Arc::clone(elder);
                let problem = overruled(route, &elder, "ssl_cert", wanted.certificate.as_str());
                self.lose(route, &elder, problem);
            }
            (Tls::Terminated(wanted), None) => self.certificate = Some((wanted.clone(), Arc::clone(route))),
            _ => {}
        }
        self.redirect(route, host);
        self.locations.entry(route.path.clone()).or_insert_with(|| Location::of(route));
        problems
    }

    fn lose(&mut self, route: &Arc<Route>, to: &Arc<Route>, problem: Problem) {
        self.lost.push(Lost { route: Arc::clone(route), to: Arc::clone(to), problem });
    }

    /// Takes the redirects that a route asks for. One takes all requests of the host, so it is for its oldest service to ask for it.
    fn redirect(&mut self, route: &Arc<Route>, host: Option<&HostPattern>) {
        let owner = self.owner().filter(|elder| elder.seniority != route.seniority).cloned();
        for redirect in route.asks.redirects.iter().filter(|redirect| Some(&redirect.from_host) == host) {
            let place = if redirect.from_https { &mut self.redirect_https } else { &mut self.redirect_http };
            let is_same = place.as_ref().is_some_and(|(to, _)| *to == redirect.to);
            match &owner {
                Some(elder) if !is_same => {
                    let problem = overruled(route, elder, "redirects", redirect.to.as_str());
                    self.lose(route, elder, problem);
                }
                _ => drop(place.get_or_insert_with(|| (redirect.to.clone(), Arc::clone(route)))),
            }
        }
    }

    /// The oldest service that has a part in it.
    fn owner(&self) -> Option<&Arc<Route>> {
        let deciding = self.locations.values().map(|location| &location.decides);
        deciding.chain(self.passthrough.first()).min_by_key(|route| &route.seniority)
    }

    /// The elder that has TLS end somewhere else than this route does. Plain HTTP is beside it, until one of both wants none.
    fn other_way(&self, route: &Route) -> Option<Arc<Route>> {
        let only_tls = |route: &Route| route.asks.options.ssl_only;
        let elder = match route.asks.tls {
            Tls::Passthrough => {
                let plain = || self.locations.values().map(|location| &location.decides).next();
                self.certificate.as_ref().map(|(_, elder)| elder).or_else(|| plain().filter(|_| only_tls(route)))
            }
            Tls::Terminated(_) => self.passthrough.first(),
            Tls::None => self.passthrough.iter().find(|elder| only_tls(elder)),
        };
        elder.cloned()
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
        if let Some((_, route)) = self.redirect_https.as_ref().filter(|_| !has_tls) {
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

/// What became of a route that came to a location.
struct Joined {
    is_in: bool,
    /// What of it does not count.
    lost: Vec<Problem>,
    /// What else there is to tell.
    told: Option<Problem>,
}

impl Location {
    /// Adds a route, unless it cannot be one of them.
    fn join(&mut self, route: &Arc<Route>) -> Joined {
        let left_out = |problem| Joined { is_in: false, lost: vec![problem], told: None };
        let elder = &self.decides;
        let mut differ: Vec<_> = self.options().differences(&route.asks.options).into_iter().collect();
        if self.rewrite() != route.rewrite {
            differ.push("context_root_rewrite");
        }
        if let Some(option) = differ.iter().find(|option| labels::must_agree(option, &route.asks.options)) {
            return left_out(unprotected(route, elder, label_of(option, route, elder)));
        }
        if self.rewrite() && !route.asks.canaries.is_empty() {
            return left_out(canary_beside_rewrite(route, elder));
        }
        let lost = differ
            .iter()
            .map(|label| {
                let value = if *label == "context_root_rewrite" { route.rewrite.to_string() } else { String::new() };
                overruled(route, elder, label_of(label, route, elder), &value)
            })
            .collect();
        let is_same =
            |other: &&Arc<Route>| other.seniority == route.seniority && other.asks.canaries == route.asks.canaries;
        let told = self.members.iter().find(is_same).map(|other| second_of_service(route, other));
        self.members.push(Arc::clone(route));
        Joined { is_in: true, lost, told }
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

fn second_default(route: &Route, default: &VirtualHost, policy: HostPolicy) -> Option<Problem> {
    let elder = default.locations.values().map(|location| &location.decides).next()?;
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
