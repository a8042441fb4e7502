//! What the proxies of a service cluster shall do, without a word of any proxy's language.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::labels::BackendMode;
use crate::labels::options::{BackendProtocol, Balance, Canary, RedirectTarget, RouteOptions};
use crate::routes::model::{Certificate, Health, Route};
use crate::routes::{Location, VirtualHost as ResolvedHost};
use crate::settings::{Extension, ProxyKind, PublishMode};
use crate::units::hash;
use crate::units::{
    Cluster, Hashed, HostPattern, Invalid, NetworkId, PathPrefix, ProxyVersion, SecretId, overlap, text_type, without,
};

mod builder;
pub mod template;
mod weights;

pub(crate) use builder::Builder;
pub use builder::build;

/// All proxy configs, by service cluster and generation.
pub type ProxyConfigs = BTreeMap<(Cluster, Generation), Arc<ProxyConfig>>;

/// What a proxy task can serve, as its networks and secrets decide it: the hash of their sorted ids.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Generation(Arc<str>);
text_type!(Generation);

impl FromStr for Generation {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        hex16(text)
            .map(|text| Self(text.into()))
            .ok_or_else(|| Invalid::new("is no generation", "16 hexadecimal digits"))
    }
}

impl Generation {
    /// The generation of a proxy with these networks and secrets.
    pub fn of(networks: &BTreeSet<NetworkId>, secrets: &BTreeSet<SecretId>) -> Self {
        let networks = networks.iter().map(NetworkId::as_str);
        let secrets = secrets.iter().map(SecretId::as_str);
        let ids: Vec<_> = networks.chain(["/"]).chain(secrets).collect();
        Self(hash::hex16(ids.join("\n").as_bytes()).into())
    }
}

/// A name for the content of a [`ProxyConfig`]: equal content, equal revision, on every machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Revision(Arc<str>);
text_type!(Revision);

impl FromStr for Revision {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        hex16(text).map(|text| Self(text.into())).ok_or_else(|| Invalid::new("is no revision", "16 hexadecimal digits"))
    }
}

impl Revision {
    /// A hash over those of the settings, and of all hosts and upstreams with their names.
    fn of(config: &ProxyConfig) -> Self {
        let ProxyConfig { cluster, revision: _, proxy, virtual_hosts, default, upstreams } = config;
        let own = hash::digest(&serde_json::to_vec(&(cluster, proxy)).unwrap_or_default());
        let mut pieces = hash::Pieces::default();
        pieces.add(&own);
        // No name has a line end, and all hashes are of one length.
        for (pattern, host) in virtual_hosts {
            pieces.add(pattern.host().as_str().as_bytes());
            pieces.add(if pattern.is_wildcard() { b"*\n" } else { b".\n" });
            pieces.add(host.digest());
        }
        pieces.add(&[u8::from(default.is_some())]);
        default.iter().for_each(|host| pieces.add(host.digest()));
        for (name, upstream) in upstreams {
            pieces.add(name.as_str().as_bytes());
            pieces.add(b"\n");
            pieces.add(upstream.digest());
        }
        Self(pieces.hex16().into())
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
    pub virtual_hosts: BTreeMap<HostPattern, Hashed<VirtualHost>>,
    /// What is served for all other hosts; `None` is a 503.
    pub default: Option<Hashed<VirtualHost>>,
    /// Where requests go. Never without a server.
    pub upstreams: BTreeMap<UpstreamName, Hashed<Upstream>>,
}

impl ProxyConfig {
    /// One that serves nothing, and has no revision yet.
    fn empty(cluster: &Cluster, proxy: &ProxySettings) -> Self {
        Self {
            cluster: cluster.clone(),
            revision: Revision("".into()),
            proxy: proxy.clone(),
            virtual_hosts: BTreeMap::new(),
            default: None,
            upstreams: BTreeMap::new(),
        }
    }
}

/// What the settings say about a proxy's own behaviour.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProxySettings {
    /// The program, with its options.
    pub kind: ProxyKind,
    /// Where it reads its configuration, an absolute path.
    pub config_path: String,
    /// The port on which it listens for HTTP.
    pub port: u16,
    /// The port that clients see.
    pub published_port: u16,
    /// The port on which it listens for TLS.
    pub ssl_port: u16,
    /// The TLS port that clients see.
    pub published_ssl_port: u16,
    /// Networks whose word about who a client is counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<IpNet>,
    /// Whether connections begin with the PROXY protocol.
    #[serde(skip_serializing_if = "is_default")]
    pub proxy_protocol: bool,
    /// Subnets of the overlay networks that it is attached to, sorted. Clients do not come from there: applications are there, which could
    /// otherwise say that they are whoever `allow` and `TrustedProxies` name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overlays: Vec<IpNet>,
    /// A path at which the proxy itself answers 200, for every host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_path: Option<PathPrefix>,
    /// The version of the program whose features may be used; `None` for the oldest that is supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<ProxyVersion>,
    /// The operator's own template; `None` for the built-in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
}

/// A template of the operator's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Template {
    /// The config object that it stands in.
    pub name: String,
    /// What stands in it; `None` when there is no such object.
    pub text: Option<Arc<str>>,
}

impl ProxySettings {
    /// What the settings of a service cluster say, with what is known of its proxies and of its template.
    pub fn of(extension: &Extension, version: Option<ProxyVersion>, template: Option<Template>) -> Self {
        let sees_addresses = extension.publish_mode == PublishMode::Host || !extension.trusted_proxies.is_empty();
        Self {
            kind: extension.kind.clone().settled(sees_addresses),
            config_path: extension.proxy_config_path.clone(),
            port: extension.target_port,
            published_port: extension.client_port.unwrap_or(extension.published_port),
            ssl_port: extension.target_ssl_port,
            published_ssl_port: extension.client_ssl_port.unwrap_or(extension.published_ssl_port),
            health_path: extension.health_path.clone(),
            trusted_proxies: extension.trusted_proxies.clone(),
            proxy_protocol: extension.proxy_protocol,
            overlays: Vec::new(),
            version,
            template,
        }
    }

    /// Networks whose word about who a client is counts, without the overlays in them, sorted.
    pub(crate) fn believed(&self) -> Vec<IpNet> {
        if !self.overlays.iter().any(|overlay| self.trusted_proxies.iter().any(|trusted| overlap(trusted, overlay))) {
            return self.trusted_proxies.clone();
        }
        let mut believed: Vec<_> =
            self.trusted_proxies.iter().flat_map(|trusted| without(*trusted, &self.overlays)).collect();
        believed.sort();
        believed.dedup();
        believed
    }
}

/// What a host serves.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct VirtualHost {
    /// By path prefix. The longest prefix decides.
    pub locations: BTreeMap<PathPrefix, Forward>,
    /// What is done with TLS connections.
    #[serde(skip_serializing_if = "is_default")]
    pub tls: Tls,
    /// Where plain HTTP requests are sent, whatever the locations say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect_http: Option<RedirectTarget>,
    /// Where HTTPS requests are sent, whatever the locations say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect_https: Option<RedirectTarget>,
}

impl VirtualHost {
    /// The upstreams that it uses.
    pub fn upstreams(&self) -> impl Iterator<Item = &UpstreamName> {
        let passthrough = match &self.tls {
            Tls::Passthrough(upstream) => upstream.as_ref(),
            Tls::None | Tls::Terminated(_) => None,
        };
        let forwards = self.locations.values();
        let in_locations = forwards.flat_map(|it| it.upstream.iter().chain(it.canaries.iter().map(|to| &to.upstream)));
        in_locations.chain(passthrough)
    }
}

/// What is done with TLS connections for a host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub enum Tls {
    /// They are closed.
    #[default]
    None,
    /// They end at the proxy.
    Terminated(Certificate),
    /// They go there as they are; closed while no task is running. Then locations are for plain HTTP.
    Passthrough(Option<UpstreamName>),
}

/// What is done with a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Forward {
    /// Whether the path prefix is removed first.
    pub rewrite: bool,
    /// Where it goes; `None` while no task is running, which is a 503.
    pub upstream: Option<UpstreamName>,
    /// Where it goes instead when it carries something. The first that fits decides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub canaries: Vec<CanaryForward>,
    /// What else is asked for.
    #[serde(skip_serializing_if = "is_default")]
    pub options: RouteOptions,
}

/// Where requests go that carry something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CanaryForward {
    /// What they carry.
    pub canary: Canary,
    /// Where they go.
    pub upstream: UpstreamName,
}

/// Tasks that share requests.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Upstream {
    /// In the order in which they are tried. Never empty.
    pub servers: Vec<Server>,
    /// How one is chosen.
    #[serde(skip_serializing_if = "is_default")]
    pub balance: Balance,
    /// Whether one of the servers is a virtual IP: Swarm chooses a task for each connection there, so connections that are kept for long keep
    /// requests from new tasks.
    #[serde(skip_serializing_if = "is_default")]
    pub virtual_ip: bool,
}

/// A task that gets requests, or all of a service's behind its virtual IP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Server {
    /// Where it is.
    pub address: SocketAddr,
    /// Its share, in proportion to the others': at least 1.
    pub weight: u32,
    /// When it counts as failed.
    #[serde(skip_serializing_if = "is_default")]
    pub health: Health,
}

impl From<SocketAddr> for Server {
    fn from(address: SocketAddr) -> Self {
        Self { address, weight: 1, health: Health::default() }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The name of an upstream: `shop.8080`, or for services that share requests `shop-v1.8080+shop-v2.8080`; where connections or choice
/// are special, with a hash of that behind: `shop.8080+1f2e3d4c`. Of letters, digits, `-`, `_`, `.` and `+` only. Names that would be
/// longer than 100 characters are cut, with a hash of the whole behind: ours have at most as many.
/// Different sets of targets have different names, as service names have neither dots nor plus signs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct UpstreamName(Arc<str>);
text_type!(UpstreamName);

impl FromStr for UpstreamName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+');
        if (1..=255).contains(&text.len()) && text.bytes().all(inside) {
            return Ok(Self(text.into()));
        }
        Err(Invalid::new("is no upstream's name", "1 to 255 letters, digits, `-`, `_`, `.` and `+`"))
    }
}

impl UpstreamName {
    /// How long a name of ours is at most.
    pub(crate) const LONGEST: usize = 110;

    /// The name of a route's upstream while it shares its requests with no other.
    pub(crate) fn alone(route: &Route) -> Self {
        Self::of(&[route], &route.asks.options)
    }

    /// A name that no service has, for comparing structures.
    pub(crate) fn harmless(number: usize) -> Self {
        Self(format!("u{number:09}").into())
    }

    fn of(members: &[&Route], options: &RouteOptions) -> Self {
        let mut parts: Vec<_> = members.iter().map(|route| member_name(route)).collect();
        parts.sort();
        parts.dedup();
        let joined = parts.join("+");
        let mut name = if joined.len() <= 100 {
            joined
        } else {
            let first: String = parts[0].chars().take(64).collect();
            format!("{first}+{}-more.{}", parts.len() - 1, hash::hex16(joined.as_bytes()))
        };
        // What one connection is like must be the same for all who share it.
        let special = (&options.balance, options.backend_protocol, &options.ssl_backend_ca);
        if special != (&Balance::default(), BackendProtocol::default(), &None) {
            let special = serde_json::to_vec(&special).unwrap_or_default();
            name = format!("{name}+{}", &hash::hex16(&special)[..8]);
        }
        Self(name.into())
    }
}

/// One service's part of an upstream's name. A named route may use another network for the same port, so it has its name in it.
fn member_name(route: &Route) -> String {
    match route.name.as_str() {
        "" => format!("{}.{}", route.service, route.port),
        name => format!("{}.{}.{name}", route.service, route.port),
    }
}

fn has_target(host: &ResolvedHost) -> bool {
    let members = host.locations.values().flat_map(|location| &location.members);
    members.chain(&host.passthrough).any(|route| !route.targets.is_empty())
        || host.redirect_http.is_some()
        || host.redirect_https.is_some()
}

type Upstreams = BTreeMap<UpstreamName, Upstream>;

fn virtual_host(host: &ResolvedHost, upstreams: &mut Upstreams) -> VirtualHost {
    let mut locations: BTreeMap<_, _> =
        host.locations.iter().map(|(path, location)| ((*path).clone(), forward(location, upstreams))).collect();
    if host.passthrough.iter().any(|route| route.asks.options.ssl_only) {
        let options = RouteOptions { ssl_only: true, ..RouteOptions::default() };
        locations.insert(PathPrefix::root(), Forward { options, ..Forward::default() });
    }
    let passthrough: Vec<_> = host.passthrough.iter().map(Arc::as_ref).collect();
    let target = |redirect: &Option<(RedirectTarget, Arc<Route>)>| redirect.as_ref().map(|(to, _)| to.clone());
    VirtualHost {
        locations,
        tls: match &host.certificate {
            Some((certificate, _)) => Tls::Terminated(certificate.clone()),
            None if host.passthrough.is_empty() => Tls::None,
            None => Tls::Passthrough(upstream(&passthrough, &RouteOptions::default(), 0, upstreams)),
        },
        redirect_http: target(&host.redirect_http),
        redirect_https: target(&host.redirect_https),
    }
}

fn forward(location: &Location, upstreams: &mut Upstreams) -> Forward {
    let options = location.options();
    let is_stable = |route: &&Route| route.asks.canaries.is_empty();
    let (stable, canaries): (Vec<&Route>, Vec<&Route>) = location.members.iter().map(Arc::as_ref).partition(is_stable);
    let mut canaries_by_sign: BTreeMap<&Canary, Vec<&Route>> = BTreeMap::new();
    // A canary with weight 0 is a preview: those who ask for it get it.
    for route in canaries {
        route.asks.canaries.iter().for_each(|canary| canaries_by_sign.entry(canary).or_default().push(route));
    }
    let canaries = canaries_by_sign.into_iter().filter_map(|(canary, routes)| {
        Some(CanaryForward { canary: canary.clone(), upstream: upstream(&routes, options, 1, upstreams)? })
    });
    let canaries = canaries.collect();
    let upstream = upstream(&stable, options, 0, upstreams);
    Forward { rewrite: location.rewrite(), upstream, canaries, options: options.clone() }
}

/// The upstream of these routes, if one of them has a task and a share of the requests: at least this one.
fn upstream(members: &[&Route], options: &RouteOptions, least: u32, upstreams: &mut Upstreams) -> Option<UpstreamName> {
    let servers = weights::servers(members, &options.balance, least);
    if servers.is_empty() {
        return None;
    }
    let name = UpstreamName::of(members, options);
    let virtual_ip = members.iter().any(|route| route.backend == BackendMode::Vip);
    upstreams.insert(name.clone(), Upstream { servers, balance: options.balance.clone(), virtual_ip });
    Some(name)
}
