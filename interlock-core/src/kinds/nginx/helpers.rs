//! Maps and zones that locations need, gathered while these are made.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::location::NO_TASK;
use super::section::Printed;
use crate::labels::options::{Balance, Canary, RateLimit, Token};
use crate::proxy_config::{CanaryForward, Forward, ProxyConfig, UpstreamName};
use crate::units::hash;
use crate::units::{CookieName, PathPrefix};

/// An upstream that answers 503.
const NONE: &str = "no-task";

/// What means something else to a map than the text that it is.
const MAP_WORDS: &[&str] = &["default", "hostnames", "include", "volatile"];

/// What locations need in the http context.
#[derive(Default)]
pub(super) struct Helpers {
    /// Those that sessions stick by.
    cookies: BTreeSet<CookieName>,
    canary_cookies: BTreeSet<CookieName>,
    /// By variable.
    canaries: BTreeMap<String, CanaryMap>,
    zones: BTreeMap<String, RateLimit>,
    needs_none: bool,
    grpc: bool,
}

/// The map from what a request carries to the name of an upstream.
#[derive(Clone, Serialize)]
pub(super) struct CanaryMap {
    variable: String,
    /// The variable that has what a request carries.
    source: String,
    /// The value that it must have. Nothing for a request that does not carry it, whose upstream that is then.
    value: String,
    upstream: String,
    otherwise: String,
}

/// A map for the http context, or what goes with some.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Map {
    /// From the header to the value of a cookie. A name has letters, digits, `_`, `-` and `.` only, of which the point alone means something to a
    /// regular expression: it is escaped.
    Found { name: String, cookie: String },
    /// From the value of a cookie to what sessions stick by.
    Sticky { value: String, cookie: String },
    /// To the upstream of a canary.
    Canary(CanaryMap),
    /// The upstream that answers with a text.
    NoTask(&'static str),
    /// From HTTP's codes to those of gRPC.
    GrpcStatus,
}

impl Printed for Map {
    const INCLUDE: &'static str = "include";

    fn template(&self) -> &'static str {
        match self {
            Self::Found { .. } => "found_cookie",
            Self::Sticky { .. } => "sticky",
            Self::Canary(_) => "canary",
            Self::NoTask(_) => "no_task",
            Self::GrpcStatus => "grpc_status",
        }
    }
}

/// A zone for a rate limit.
#[derive(Serialize)]
pub(super) struct Zone {
    zone: String,
    per_second: u32,
}

impl Helpers {
    pub(super) fn of(config: &ProxyConfig) -> Self {
        let cookie = |balance: &Balance| match balance {
            Balance::Cookie(cookie) => Some(cookie.clone()),
            Balance::RoundRobin | Balance::IpHash => None,
        };
        let hosts = config.virtual_hosts.values().chain(&config.default);
        let mut protocols = hosts.flat_map(|host| host.locations.values()).map(|it| it.options.backend_protocol);
        Self {
            cookies: config.upstreams.values().filter_map(|upstream| cookie(&upstream.balance)).collect(),
            grpc: protocols.any(|protocol| protocol.is_grpc()),
            ..Self::default()
        }
    }

    /// What stands behind the scheme: an upstream's name, or a variable that has one.
    pub(super) fn upstream(&mut self, forward: &Forward) -> String {
        let stable = forward.upstream.as_ref().map(ToString::to_string);
        let mut otherwise = stable.unwrap_or_else(|| {
            self.needs_none |= !forward.canaries.is_empty();
            NONE.to_owned()
        });
        for CanaryForward { canary, upstream } in forward.canaries.iter().rev() {
            if let Canary::Cookie(name, _) = canary {
                self.canary_cookies.insert(name.clone());
            }
            let (source, value) = sign(canary);
            let name = hash::hex16(format!("{source} {value:?} {upstream} {otherwise}").as_bytes());
            let variable = format!("$canary_{}", &name[..8]);
            let upstream = upstream.to_string();
            let (value, upstream, otherwise_to) = match value {
                None => (String::new(), otherwise, upstream),
                Some(value) => {
                    let escape = if MAP_WORDS.contains(&value.as_str()) { "\\" } else { "" };
                    (format!("{escape}{value}"), upstream, otherwise)
                }
            };
            let map = CanaryMap { variable: variable.clone(), source, value, upstream, otherwise: otherwise_to };
            self.canaries.insert(variable.clone(), map);
            otherwise = variable;
        }
        otherwise
    }

    /// The zone in which a route's clients are counted: its own, whatever its hosts are.
    pub(super) fn zone(&mut self, rate: RateLimit, path: &PathPrefix, forward: &Forward) -> String {
        let canaries = forward.canaries.iter().map(|canary| &canary.upstream);
        let upstreams: Vec<_> = forward.upstream.iter().chain(canaries).map(UpstreamName::as_str).collect();
        let name = format!("rate_{}", &hash::hex16(format!("{} {path}", upstreams.join(" ")).as_bytes())[..8]);
        self.zones.insert(name.clone(), rate);
        name
    }

    /// The zones in which the clients of routes are counted.
    pub(super) fn rate_limits(&self) -> Vec<Zone> {
        self.zones.iter().map(|(zone, rate)| Zone { zone: zone.clone(), per_second: rate.per_second }).collect()
    }

    /// Whether a route speaks gRPC.
    pub(super) fn has_grpc(&self) -> bool {
        self.grpc
    }

    /// Maps and more for the http context.
    pub(super) fn into_maps(self) -> Vec<Map> {
        let found = self.cookies.union(&self.canary_cookies).filter(|cookie| !is_plain(cookie));
        let found = found.map(|it| Map::Found { name: it.as_str().replace('.', "[.]"), cookie: short(it) });
        let sticky = self.cookies.iter().map(|it| Map::Sticky { value: value_of(it), cookie: short(it) });
        let canaries = self.canaries.into_values().map(Map::Canary);
        let none = self.needs_none.then_some(Map::NoTask(NO_TASK));
        found.chain(sticky).chain(canaries).chain(none).chain(self.grpc.then_some(Map::GrpcStatus)).collect()
    }

    /// What another host needs, as well.
    pub(super) fn extend(&mut self, more: &Self) {
        let Self { cookies, canary_cookies, canaries, zones, needs_none, grpc } = more;
        self.cookies.extend(cookies.iter().cloned());
        self.canary_cookies.extend(canary_cookies.iter().cloned());
        self.canaries.extend(canaries.iter().map(|(variable, map)| (variable.clone(), map.clone())));
        self.zones.extend(zones.iter().map(|(zone, rate)| (zone.clone(), *rate)));
        self.needs_none |= needs_none;
        self.grpc |= grpc;
    }
}

/// The variable with the value of a cookie that a request carries.
///
/// NGINX has variables for names of letters, digits and `_`, and would silently take `$cookie_connect` for `connect.sid`. Other cookies are
/// found in the header.
fn value_of(cookie: &CookieName) -> String {
    if is_plain(cookie) { format!("$cookie_{cookie}") } else { format!("$cookie_value_{}", short(cookie)) }
}

fn is_plain(cookie: &CookieName) -> bool {
    cookie.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Names of variables are short, whatever a cookie's name is.
pub(super) fn short(cookie: &CookieName) -> String {
    hash::hex16(cookie.as_str().as_bytes())[..8].to_owned()
}

/// The variable that has what a request carries, and the value that it must have.
fn sign(canary: &Canary) -> (String, Option<&Token>) {
    match canary {
        Canary::Header(name, value) => (format!("$http_{}", name.variable()), value.as_ref()),
        Canary::Cookie(name, value) => (value_of(name), value.as_ref()),
    }
}
