//! The labels of a service: one table, from which reading, `interlock labels` and the tests come.
//!
//! Labels are hostile input: whoever may deploy an app writes them. A label in the table is read completely or it is a
//! [`Finding`]; nothing is guessed. A service is taken as a whole: one bad label, and none of its labels count.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;

use crate::labels::options::{BackendProtocol, ByteSize, Canary, HeaderEdit, RateLimit, TimeSpan};
use crate::swarm::Labels;
use crate::units::{Cluster, CookieName, HostPattern, Invalid, NetworkName, PathPrefix, Port, RouteName, SecretName};

mod findings;
mod legacy;
pub mod options;
mod protection;
mod table;
mod values;

use findings::Findings;
pub use findings::MOST_FINDINGS;
pub(crate) use protection::{harmless, protect_alike, protect_as_much};
pub use table::TABLE;
pub(crate) use values::names_usual_port;
pub use values::{BackendMode, Redirect, TlsVerify};

/// What all keys begin with.
pub const PREFIX: &str = "com.docker.lb.";

/// The longest value that is looked at, in bytes. One service can carry 1.5 MB of labels.
const LONGEST_VALUE: usize = 64 * 1024;

/// How many routes a service may have.
pub const MOST_ROUTES: usize = 256;

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    /// The key without [`PREFIX`].
    pub key: &'static str,
    /// What values look like, in a few words.
    pub syntax: &'static str,
    /// What holds without the label.
    pub default: &'static str,
    /// A value that is right.
    pub example: &'static str,
    /// A value that is wrong.
    pub counterexample: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// Whether a named route has it from the labels without a suffix, when it has none of its own.
    pub inherited: bool,
    /// Of a label that keeps somebody or something away: the value with which it does not, empty where each does. A service that asks for
    /// protection is not published without it: not by its earlier labels, nor beside an older service whose options do not give it.
    pub protects: Option<&'static str>,
    /// Reads a value into its field.
    pub(crate) set: fn(&mut RouteLabels, &str) -> Result<(), Invalid>,
}

/// What the labels of one route say. A field is `None` when its label is absent. Long lists that named routes inherit are shared by them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the table documents each under the same name")]
pub struct RouteLabels {
    pub hosts: Option<Vec<HostPattern>>,
    pub port: Option<Port>,
    pub network: Option<NetworkName>,
    pub context_root: Option<PathPrefix>,
    pub context_root_rewrite: Option<bool>,
    pub default_backend: Option<bool>,
    pub service_cluster: Option<Cluster>,
    pub backend_mode: Option<BackendMode>,
    pub ssl_cert: Option<SecretName>,
    pub ssl_key: Option<SecretName>,
    pub ssl_only: Option<bool>,
    pub ssl_passthrough: Option<bool>,
    pub ssl_backend: Option<bool>,
    pub ssl_backend_tls_verify: Option<TlsVerify>,
    pub websocket_endpoints: Option<Arc<Vec<PathPrefix>>>,
    pub sticky_session_cookie: Option<CookieName>,
    pub ip_hash: Option<bool>,
    pub redirects: Option<Vec<Redirect>>,
    pub max_fails: Option<u32>,
    pub fail_timeout: Option<TimeSpan>,
    pub weight: Option<u32>,
    pub backend_protocol: Option<BackendProtocol>,
    pub ssl_backend_ca: Option<SecretName>,
    pub canary_header: Option<Canary>,
    pub canary_cookie: Option<Canary>,
    pub max_body_size: Option<ByteSize>,
    pub connect_timeout: Option<TimeSpan>,
    pub read_timeout: Option<TimeSpan>,
    pub send_timeout: Option<TimeSpan>,
    pub rate_limit: Option<RateLimit>,
    pub allow: Option<Arc<Vec<IpNet>>>,
    pub basic_auth: Option<SecretName>,
    pub raw_paths: Option<bool>,
    pub hsts: Option<TimeSpan>,
    pub compress: Option<bool>,
    pub request_headers: Option<Arc<Vec<HeaderEdit>>>,
    pub response_headers: Option<Arc<Vec<HeaderEdit>>>,
}

impl RouteLabels {
    /// Whether anything asks for requests. Labels without one of these do nothing.
    pub fn asks_for_requests(&self) -> bool {
        self.hosts.is_some() || self.default_backend == Some(true)
    }
}

/// Something about one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The whole key, as the owner wrote it.
    pub key: String,
    /// The whole value, as the owner wrote it.
    pub value: String,
    /// What it is.
    pub kind: FindingKind,
    /// What is wrong and what would be right.
    pub invalid: Invalid,
}

/// What a finding means for the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    /// The label breaks its contract: none of the service's labels count.
    Bad,
    /// The label does nothing.
    Inert,
}

/// The labels of one service, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    /// The routes that ask for requests, by name.
    pub routes: BTreeMap<RouteName, RouteLabels>,
    /// What is wrong, in the keys' order: at most [`MOST_FINDINGS`] of each kind.
    pub findings: Vec<Finding>,
    /// How many more of a kind there are.
    pub more: BTreeMap<FindingKind, usize>,
}

/// Reads all `com.docker.lb.*` labels of a service; of one that has none, those of interlock's predecessors.
pub fn read(labels: &Labels) -> Reading {
    if !are_todays(labels) {
        return legacy::read(labels);
    }
    let mut read: BTreeMap<RouteName, RouteLabels> = BTreeMap::new();
    let mut findings = Findings::default();
    let mut keys = Vec::new();
    let ours = labels.range(PREFIX.to_owned()..).take_while(|(key, _)| key.starts_with(PREFIX));
    for (key, value) in ours {
        let mut found = |kind, invalid| findings.add(key, value, kind, || invalid);
        let (base, suffix) = split_key(&key[PREFIX.len()..]);
        let Some(label) = TABLE.iter().find(|label| label.key == base) else {
            findings.add(key, value, FindingKind::Inert, || unknown(base));
            continue;
        };
        let route = match suffix.parse::<RouteName>() {
            Ok(route) if !suffix.is_empty() || base.len() == key.len() - PREFIX.len() => route,
            Ok(_) => {
                let right = "remove the dot, or write a route's name after it";
                found(FindingKind::Bad, Invalid::new("ends with a dot", right));
                continue;
            }
            Err(invalid) => {
                found(FindingKind::Bad, invalid);
                continue;
            }
        };
        if read.len() == MOST_ROUTES && !read.contains_key(&route) {
            found(FindingKind::Bad, too_many_routes());
            continue;
        }
        let read = text(value).and_then(|value| (label.set)(read.entry(route.clone()).or_default(), value));
        match read {
            Ok(()) => keys.push((key, label, route)),
            Err(invalid) => found(FindingKind::Bad, invalid),
        }
    }
    of_no_route(labels, &keys, &mut findings);
    legacy::shadowed(labels, &mut findings);
    if read.len() > 1
        && let Some(base) = read.get(&RouteName::default()).cloned()
    {
        let named = read.iter_mut().filter(|(name, _)| !name.as_str().is_empty());
        named.for_each(|(_, own)| *own = inherit(std::mem::take(own), &base));
    }
    read.retain(|_, route| route.asks_for_requests());
    // Where something else is wrong, a misspelt label most likely, that is the reason.
    if read.is_empty() && findings.is_empty() {
        without_hosts(labels, &keys, &mut findings);
    }
    let (findings, more) = findings.into_parts();
    Reading { routes: read, findings, more }
}

fn too_many_routes() -> Invalid {
    Invalid::new(
        format!("exceeds the {MOST_ROUTES} routes that a service may have"),
        "spread the routes over several services",
    )
}

/// Whether any of them is one of today's.
fn are_todays(labels: &Labels) -> bool {
    labels.range(PREFIX.to_owned()..).next().is_some_and(|(key, _)| key.starts_with(PREFIX))
}

/// The key that a label of a route stands under, or would: the route's own, the one without a suffix that it inherits, or that of a
/// predecessor.
pub(crate) fn written(labels: &Labels, route: &RouteName, key: &str) -> String {
    if let Some(legacy) = legacy::written(labels, route, key).filter(|_| !are_todays(labels)) {
        return legacy;
    }
    let base = format!("{PREFIX}{key}");
    let own = format!("{base}.{route}");
    let is_inherited = TABLE.iter().any(|label| label.key == key && label.inherited) && !labels.contains_key(&own);
    if route.as_str().is_empty() || is_inherited { base } else { own }
}

/// Whether what a service is routed by are labels of a predecessor.
pub(crate) fn are_legacy(labels: &Labels) -> bool {
    !are_todays(labels)
}

/// Labels of Interlock 1 need no port.
pub(crate) fn may_have_no_port(labels: &Labels) -> bool {
    !are_todays(labels) && legacy::is_v1(labels)
}

/// What is said about a route that nothing makes one, a mistyped name most likely. Protection that was meant for another one is no
/// trifle: that one must not be published without.
fn of_no_route(labels: &Labels, keys: &[(&String, &'static Label, RouteName)], findings: &mut Findings) {
    let names = |route: &RouteName| {
        ["hosts", "default_backend"].iter().any(|key| {
            let dot = if route.as_str().is_empty() { "" } else { "." };
            labels.contains_key(&format!("{PREFIX}{key}{dot}{route}"))
        })
    };
    for (key, label, route) in keys.iter().filter(|(_, _, route)| !route.as_str().is_empty() && !names(route)) {
        let kind = if label.protects.is_some() { FindingKind::Bad } else { FindingKind::Inert };
        let value = labels.get(*key).map_or("", String::as_str);
        let right = "use the suffix of a route that has hosts, or give this route hosts with the same suffix";
        let wrong = || format!("belongs to route {route}, which has neither hosts nor default_backend");
        findings.add(key, value, kind, || Invalid::new(wrong(), right));
    }
}

/// What is said about labels that ask for no requests: one of them, the port if it is there.
fn without_hosts(labels: &Labels, keys: &[(&String, &'static Label, RouteName)], findings: &mut Findings) {
    let plain = || keys.iter().filter(|(_, label, route)| route.as_str().is_empty() && label.key != "hosts");
    let Some((key, ..)) = plain().find(|(_, label, _)| label.key == "port").or_else(|| plain().next()) else { return };
    let value = labels.get(*key).map_or("", String::as_str);
    let right = "add com.docker.lb.hosts=shop.example.com, or com.docker.lb.default_backend=true";
    findings
        .add(key, value, FindingKind::Inert, || Invalid::new("does nothing without hosts or default_backend", right));
}

/// The values of the labels that name hosts, as they are written.
pub fn hosts(labels: &Labels) -> impl Iterator<Item = &str> {
    const HOSTS: &str = "com.docker.lb.hosts";
    let own = labels.range(HOSTS.to_owned()..).take_while(|(key, _)| key.starts_with(HOSTS));
    own.map(|(_, value)| value.as_str())
}

/// The networks that any route of a service lets in by `allow`.
pub(crate) fn allowed(labels: &Labels) -> Vec<IpNet> {
    const ALLOW: &str = "com.docker.lb.allow";
    let mut own = labels.range(ALLOW.to_owned()..).take_while(|(key, _)| key.starts_with(ALLOW));
    if own.next().is_none() {
        return Vec::new();
    }
    read(labels).routes.into_values().flat_map(|route| route.allow.unwrap_or_default().to_vec()).collect()
}

/// Splits `hosts.admin` into the table's key and the route's name.
fn split_key(key: &str) -> (&str, &str) {
    key.split_once('.').unwrap_or((key, ""))
}

fn unknown(key: &str) -> Invalid {
    // The comparison takes time and memory by the product of the two lengths.
    let short = if key.len() < 64 { TABLE.iter() } else { [].iter() };
    let nearest = short.map(|label| (strsim::damerau_levenshtein(label.key, key), label.key)).min();
    let wrong = match nearest {
        Some((distance, near)) if distance <= 3 => {
            format!("is not a label of interlock: did you mean {PREFIX}{near}?")
        }
        _ => "is not a label of interlock".to_owned(),
    };
    Invalid { wrong, right: "`interlock labels` lists them all" }
}

/// What no value may hold, whatever its type: control characters, and those that make text look like other text. Tabs may stand around the
/// items of lists, as blanks may.
fn text(value: &str) -> Result<&str, Invalid> {
    if value.len() > LONGEST_VALUE {
        return Err(Invalid::new("is longer than 64 KiB", "write less"));
    }
    let hidden = |c: char| {
        c.is_control() && c != '\t'
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffd}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    match value.chars().find(|&c| hidden(c)) {
        Some(c) => {
            Err(Invalid::new(format!("holds the character U+{:04X}", c as u32), "write visible characters only"))
        }
        None => Ok(value),
    }
}

/// A named route has the labels without a suffix as defaults, but for those that say what the route is.
fn inherit(own: RouteLabels, base: &RouteLabels) -> RouteLabels {
    let base = base.clone();
    RouteLabels {
        hosts: own.hosts,
        port: own.port,
        context_root: own.context_root,
        redirects: own.redirects,
        default_backend: own.default_backend,
        network: own.network.or(base.network),
        context_root_rewrite: own.context_root_rewrite.or(base.context_root_rewrite),
        service_cluster: own.service_cluster.or(base.service_cluster),
        backend_mode: own.backend_mode.or(base.backend_mode),
        ssl_cert: own.ssl_cert.or(base.ssl_cert),
        ssl_key: own.ssl_key.or(base.ssl_key),
        ssl_only: own.ssl_only.or(base.ssl_only),
        ssl_passthrough: own.ssl_passthrough.or(base.ssl_passthrough),
        ssl_backend: own.ssl_backend.or(base.ssl_backend),
        ssl_backend_tls_verify: own.ssl_backend_tls_verify.or(base.ssl_backend_tls_verify),
        websocket_endpoints: own.websocket_endpoints.or(base.websocket_endpoints),
        sticky_session_cookie: own.sticky_session_cookie.or(base.sticky_session_cookie),
        ip_hash: own.ip_hash.or(base.ip_hash),
        max_fails: own.max_fails.or(base.max_fails),
        fail_timeout: own.fail_timeout.or(base.fail_timeout),
        weight: own.weight.or(base.weight),
        backend_protocol: own.backend_protocol.or(base.backend_protocol),
        ssl_backend_ca: own.ssl_backend_ca.or(base.ssl_backend_ca),
        canary_header: own.canary_header.or(base.canary_header),
        canary_cookie: own.canary_cookie.or(base.canary_cookie),
        max_body_size: own.max_body_size.or(base.max_body_size),
        connect_timeout: own.connect_timeout.or(base.connect_timeout),
        read_timeout: own.read_timeout.or(base.read_timeout),
        send_timeout: own.send_timeout.or(base.send_timeout),
        rate_limit: own.rate_limit.or(base.rate_limit),
        allow: own.allow.or(base.allow),
        basic_auth: own.basic_auth.or(base.basic_auth),
        raw_paths: own.raw_paths.or(base.raw_paths),
        hsts: own.hsts.or(base.hsts),
        compress: own.compress.or(base.compress),
        request_headers: own.request_headers.or(base.request_headers),
        response_headers: own.response_headers.or(base.response_headers),
    }
}

#[cfg(test)]
mod tests;
