//! What the proxies of a service cluster shall do, without a word of any proxy's language.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::hash;
use crate::model::Route;
use crate::names::{Cluster, HostPattern, Invalid, NetworkId, PathPrefix, SecretId, text_type};
use crate::routes::{Location, Routes, VirtualHost as ResolvedHost};
use crate::settings::{Extension, Kind, ProxyOptions};

/// All proxy configs, by service cluster and generation.
pub type ProxyConfigs = BTreeMap<(Cluster, Generation), ProxyConfig>;

/// What a proxy task can serve, as its networks and secrets decide it: the hash of their sorted ids.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Generation(String);
text_type!(Generation);

impl FromStr for Generation {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        hex16(text).map(Self).ok_or_else(|| Invalid::new("is no generation", "16 hexadecimal digits"))
    }
}

impl Generation {
    /// The generation of a proxy with these networks and secrets.
    pub fn of(networks: &BTreeSet<NetworkId>, secrets: &BTreeSet<SecretId>) -> Self {
        let networks = networks.iter().map(NetworkId::as_str);
        let secrets = secrets.iter().map(SecretId::as_str);
        let ids: Vec<_> = networks.chain(["/"]).chain(secrets).collect();
        Self(hash::hex16(ids.join("\n").as_bytes()))
    }
}

/// A name for the content of a [`ProxyConfig`]: equal content, equal revision, on every machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Revision(String);
text_type!(Revision);

impl FromStr for Revision {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        hex16(text).map(Self).ok_or_else(|| Invalid::new("is no revision", "16 hexadecimal digits"))
    }
}

fn hex16(text: &str) -> Option<String> {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (text.len() == 16 && text.bytes().all(digit)).then(|| text.to_owned())
}

/// What the proxies of a service cluster shall do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProxyConfig {
    /// The service cluster.
    pub cluster: Cluster,
    /// A name for all of the rest.
    pub revision: Revision,
    /// What the settings say about the proxy's own behaviour. How and where it is deployed is no part of it: a change of that
    /// changes no file.
    pub proxy: ProxySettings,
    /// What each host serves.
    pub virtual_hosts: BTreeMap<HostPattern, VirtualHost>,
    /// What is served for all other hosts; `None` is a 503.
    pub default: Option<VirtualHost>,
    /// Where requests go. Never without a server.
    pub upstreams: BTreeMap<UpstreamName, Vec<SocketAddr>>,
}

/// What the settings say about a proxy's own behaviour.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProxySettings {
    /// Which program it is.
    pub kind: Kind,
    /// Where it reads its configuration, an absolute path.
    pub config_path: String,
    /// The port on which it listens for HTTP.
    pub port: u16,
    /// The port that clients see.
    pub published_port: u16,
    /// The options of its kind.
    pub options: ProxyOptions,
    /// The version of the program whose features may be used; `None` for the oldest that is supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<ProxyVersion>,
}

/// The version of a proxy program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProxyVersion {
    /// `1` of 1.30.7.
    pub major: u16,
    /// `30` of 1.30.7.
    pub minor: u16,
    /// `7` of 1.30.7.
    pub patch: u16,
}

impl fmt::Display for ProxyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { major, minor, patch } = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl FromStr for ProxyVersion {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut numbers = text.split('.').map(|number| number.parse::<u16>().ok());
        match (numbers.next().flatten(), numbers.next().flatten(), numbers.next(), numbers.next()) {
            (Some(major), Some(minor), None, None) => Ok(Self { major, minor, patch: 0 }),
            (Some(major), Some(minor), Some(Some(patch)), None) => Ok(Self { major, minor, patch }),
            _ => Err(Invalid::new("is no version", "write it like 1.30.7")),
        }
    }
}

impl TryFrom<String> for ProxyVersion {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<ProxyVersion> for String {
    fn from(version: ProxyVersion) -> Self {
        version.to_string()
    }
}

impl ProxySettings {
    fn of(extension: &Extension, version: Option<ProxyVersion>) -> Self {
        Self {
            kind: extension.kind,
            config_path: extension.proxy_config_path.clone(),
            port: extension.target_port,
            published_port: extension.published_port,
            options: extension.options.clone(),
            version,
        }
    }
}

/// What a host serves, by path prefix. The longest prefix decides.
pub type VirtualHost = BTreeMap<PathPrefix, Forward>;

/// What is done with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forward {
    /// Whether the path prefix is removed first.
    pub rewrite: bool,
    /// Where it goes; `None` while no task is running, which is a 503.
    pub upstream: Option<UpstreamName>,
}

/// The name of an upstream: `shop.8080`, or for services that share requests `shop-v1.8080+shop-v2.8080`. Of letters, digits,
/// `-`, `_`, `.` and `+` only, at most 255 of them. Different sets of targets have different names, as service names have
/// neither dots nor plus signs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct UpstreamName(String);
text_type!(UpstreamName);

impl FromStr for UpstreamName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+');
        if (1..=255).contains(&text.len()) && text.bytes().all(inside) {
            return Ok(Self(text.to_owned()));
        }
        Err(Invalid::new("is no upstream's name", "1 to 255 letters, digits, `-`, `_`, `.` and `+`"))
    }
}

impl UpstreamName {
    /// A name that no service has, for comparing structures.
    pub(crate) fn harmless(number: usize) -> Self {
        Self(format!("u{number:09}"))
    }

    fn of(members: &[&Route]) -> Self {
        let mut parts: Vec<_> = members.iter().map(|route| member_name(route)).collect();
        parts.sort();
        parts.dedup();
        let joined = parts.join("+");
        if joined.len() <= 255 {
            return Self(joined);
        }
        Self(format!("{}+{}-more.{}", parts[0], parts.len() - 1, hash::hex16(joined.as_bytes())))
    }
}

/// One service's part of an upstream's name. A named route may use another network for the same port, so it has its name in it.
fn member_name(route: &Route) -> String {
    match route.name.as_str() {
        "" => format!("{}.{}", route.service, route.port),
        name => format!("{}.{}.{name}", route.service, route.port),
    }
}

/// Builds the config of one service cluster.
pub fn build(
    cluster: &Cluster,
    extension: &Extension,
    version: Option<ProxyVersion>,
    routes: &Routes<'_>,
) -> ProxyConfig {
    let mut upstreams = BTreeMap::new();
    let served = routes.virtual_hosts.iter().filter(|(host, paths)| has_target(paths) || shadows(host, routes));
    let virtual_hosts = served.map(|(host, paths)| ((*host).clone(), virtual_host(paths, &mut upstreams))).collect();
    let default = routes.default.as_ref().map(|paths| virtual_host(paths, &mut upstreams));
    let mut config = ProxyConfig {
        cluster: cluster.clone(),
        revision: Revision(String::new()),
        proxy: ProxySettings::of(extension, version),
        virtual_hosts,
        default,
        upstreams,
    };
    config.revision = revision(&config);
    config
}

fn has_target(paths: &ResolvedHost<'_>) -> bool {
    paths.values().flat_map(|location| &location.members).any(|route| !route.targets.is_empty())
}

/// Whether a host without a running task has to stand in the config all the same, because another answer would take its place.
/// Otherwise it is left to the 503 for unknown hosts: a service that was just created would cost the proxies an update, and once
/// more when its first task runs.
fn shadows(host: &HostPattern, routes: &Routes<'_>) -> bool {
    let parents =
        host.host().as_str().match_indices('.').filter_map(|(dot, _)| host.host().as_str()[dot + 1..].parse().ok());
    routes.default.is_some()
        || parents.map(HostPattern::Wildcard).any(|wildcard| routes.virtual_hosts.contains_key(&wildcard))
}

fn virtual_host(paths: &ResolvedHost<'_>, upstreams: &mut BTreeMap<UpstreamName, Vec<SocketAddr>>) -> VirtualHost {
    paths.iter().map(|(path, location)| ((*path).clone(), forward(location, upstreams))).collect()
}

fn forward(location: &Location<'_>, upstreams: &mut BTreeMap<UpstreamName, Vec<SocketAddr>>) -> Forward {
    let Location { rewrite, members } = location;
    let targets = interleaved(members);
    if targets.is_empty() {
        return Forward { rewrite: *rewrite, upstream: None };
    }
    let name = UpstreamName::of(members);
    upstreams.insert(name.clone(), targets);
    Forward { rewrite: *rewrite, upstream: Some(name) }
}

/// The targets of all members, each member's spread evenly over the list. Proxies try them in this order, so when all tasks of
/// one service are gone at once, the next try goes to another service's.
fn interleaved(members: &[&Route]) -> Vec<SocketAddr> {
    let mut placed = Vec::new();
    for (member, route) in members.iter().enumerate() {
        for (i, target) in (0_u64..).zip(&route.targets) {
            // The middle of the i-th of as many equal parts as the member has targets.
            let place = ((2 * i + 1) << 32) / (2 * route.targets.len() as u64);
            placed.push((place, member, *target));
        }
    }
    placed.sort_unstable();
    let mut seen = BTreeSet::new();
    placed.into_iter().map(|(_, _, target)| target).filter(|target| seen.insert(*target)).collect()
}

fn revision(config: &ProxyConfig) -> Revision {
    // Maps are sorted and nothing in it is a time, so equal configs have equal bytes.
    let bytes = serde_json::to_vec(config).unwrap_or_default();
    Revision(hash::hex16(&bytes))
}
