//! Everything that the templates print, decided.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::ser::Error as _;
use serde::{Serialize, Serializer};

use super::directives;
use super::{HEALTH_PORT, print};
use crate::names::{HostPattern, PathPrefix};
use crate::proxy_config::{Forward, ProxyConfig, UpstreamName, VirtualHost};
use crate::render::RenderError;

/// How many idle connections to an upstream each worker keeps. They go after 2 s, so this bounds bursts only, and nginx
/// reserves memory for each in each upstream.
const KEEPALIVE: u32 = 8;

/// Headers by which applications know who asked, and which nobody but a proxy may set. Those that this proxy does not set
/// itself are removed from what clients send.
const CLEARED_HEADERS: &[&str] = &[
    "Forwarded",
    "Proxy",
    "X-Forwarded-Prefix",
    "X-Forwarded-Server",
    "X-Forwarded-Ssl",
    "X-Original-Host",
    "X-Original-URL",
    "X-Rewrite-URL",
];

const NO_ROUTE: &str = "503 Service Unavailable: no service answers for this host";
const NO_PATH: &str = "503 Service Unavailable: no service answers for this path";
const NO_TASK: &str = "503 Service Unavailable: no task of the service is running";

/// The main file.
#[derive(Serialize)]
pub(super) struct View<'a> {
    cluster: &'a str,
    revision: String,
    main: Vec<String>,
    worker_connections: u32,
    http: Vec<String>,
    hashes: Vec<String>,
    published_port: u16,
    cleared_headers: &'static [&'static str],
    info_headers: Vec<String>,
    health_port: u16,
    port: u16,
    pub(super) upstreams: Section<Upstream<'a>>,
    default_locations: Vec<Location>,
    pub(super) unavailable: Option<Unavailable<'a>>,
    pub(super) plain: Option<Plain<'a>>,
    pub(super) servers: Section<Server<'a>>,
}

/// A list that stands in the file, or in files that it includes.
///
/// For a template that it is given to, it is its text, printed by a template of its own: what handlebars hands to a partial, it copies
/// as a whole, and each item once more.
pub(super) struct Section<T> {
    template: &'static str,
    items: Vec<T>,
    includes: Vec<String>,
    /// Printed once, as it is long.
    text: OnceCell<String>,
}

impl<T: Serialize> Section<T> {
    fn of(template: &'static str, items: Vec<T>) -> Self {
        Self { template, items, includes: Vec::new(), text: OnceCell::new() }
    }

    pub(super) fn text(&self) -> Result<&str, RenderError> {
        if let Some(text) = self.text.get() {
            return Ok(text);
        }
        #[derive(Serialize)]
        struct Lists<'a, T> {
            includes: &'a [String],
            items: &'a [T],
        }
        let text = print(self.template, &Lists { includes: &self.includes, items: &self.items })?;
        Ok(self.text.get_or_init(|| text))
    }

    /// Takes the list out in so many parts, for files whose paths it then includes instead.
    pub(super) fn split(&mut self, paths: Vec<String>) -> Vec<Self> {
        let whole = std::mem::replace(self, Self { includes: paths, ..Self::of(self.template, Vec::new()) });
        if self.includes.len() == 1 {
            return vec![whole];
        }
        let each = whole.items.len().div_ceil(self.includes.len());
        let mut rest = whole.items.into_iter();
        self.includes.iter().map(|_| Self::of(self.template, rest.by_ref().take(each).collect())).collect()
    }
}

impl<T: Serialize> Serialize for Section<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.text().map_err(S::Error::custom)?;
        // The line that it stands in ends by itself.
        serializer.serialize_str(text.strip_suffix('\n').unwrap_or(text))
    }
}

#[derive(Serialize)]
pub(super) struct Upstream<'a> {
    name: &'a UpstreamName,
    servers: &'a [SocketAddr],
    keepalive: u32,
}

/// Hosts without a running task on any path.
#[derive(Serialize)]
pub(super) struct Unavailable<'a> {
    message: &'static str,
    pub(super) names: Section<&'a HostPattern>,
}

/// Hosts that send every path to one upstream.
#[derive(Serialize)]
pub(super) struct Plain<'a> {
    pub(super) map: Section<MapEntry<'a>>,
    pub(super) names: Section<&'a HostPattern>,
}

#[derive(Serialize)]
pub(super) struct MapEntry<'a> {
    host: &'a HostPattern,
    upstream: &'a UpstreamName,
}

/// A host with paths of its own.
#[derive(Serialize)]
pub(super) struct Server<'a> {
    host: &'a HostPattern,
    port: u16,
    locations: Vec<Location>,
}

#[derive(Serialize)]
struct Location {
    r#match: String,
    directive: String,
}

impl<'a> View<'a> {
    pub(super) fn of(config: &'a ProxyConfig) -> Self {
        let ProxyConfig { cluster, revision, proxy, virtual_hosts, default, upstreams } = config;
        let options = directives::options(proxy);
        let port = proxy.port;
        let mut map = Vec::new();
        let mut plain_names = Vec::new();
        let mut unavailable = Vec::new();
        let mut servers = Vec::new();
        for (host, paths) in virtual_hosts {
            match shape(paths) {
                Shape::Plain(upstream) => {
                    plain_names.push(host);
                    map.push(MapEntry { host, upstream });
                }
                Shape::Unavailable => unavailable.push(host),
                Shape::Own => servers.push(Server { host, port, locations: locations(paths) }),
            }
        }
        let upstreams: Vec<_> =
            upstreams.iter().map(|(name, servers)| Upstream { name, servers, keepalive: KEEPALIVE }).collect();
        Self {
            cluster: cluster.title(),
            revision: revision.to_string(),
            main: directives::main(&options),
            worker_connections: options.max_connections,
            http: directives::http(&options, proxy.version),
            hashes: hashes(virtual_hosts),
            published_port: proxy.published_port,
            cleared_headers: CLEARED_HEADERS,
            info_headers: if options.hide_info_headers { Vec::new() } else { info_headers() },
            health_port: HEALTH_PORT,
            port,
            upstreams: Section::of("upstreams", upstreams),
            default_locations: default
                .as_ref()
                .map_or_else(|| vec![Location::unavailable("/".to_owned(), NO_ROUTE)], locations),
            unavailable: (!unavailable.is_empty())
                .then(|| Unavailable { message: NO_TASK, names: Section::of("server_names", unavailable) }),
            plain: (!map.is_empty()).then(|| Plain {
                map: Section::of("map_entries", map),
                names: Section::of("server_names", plain_names),
            }),
            servers: Section::of("servers", servers),
        }
    }
}

enum Shape<'a> {
    Plain(&'a UpstreamName),
    Unavailable,
    Own,
}

fn shape(paths: &VirtualHost) -> Shape<'_> {
    if paths.values().all(|forward| forward.upstream.is_none()) && paths.keys().all(PathPrefix::is_root) {
        return Shape::Unavailable;
    }
    match paths.iter().next() {
        Some((path, Forward { upstream: Some(upstream), .. })) if paths.len() == 1 && path.is_root() => {
            Shape::Plain(upstream)
        }
        _ => Shape::Own,
    }
}

fn locations(paths: &VirtualHost) -> Vec<Location> {
    let mut locations: Vec<_> = paths.iter().flat_map(|(path, forward)| path_locations(path, forward)).collect();
    if !paths.keys().any(PathPrefix::is_root) {
        locations.push(Location::unavailable("/".to_owned(), NO_PATH));
    }
    locations
}

/// A prefix ends where a segment ends: `/app` needs one location for itself and one for what is below it.
fn path_locations(path: &PathPrefix, forward: &Forward) -> Vec<Location> {
    let Forward { rewrite, upstream } = forward;
    let matches = if path.is_root() { vec!["/".to_owned()] } else { vec![format!("= {path}"), format!("{path}/")] };
    let Some(upstream) = upstream else {
        return matches.into_iter().map(|r#match| Location::unavailable(r#match, NO_TASK)).collect();
    };
    let upstream = upstream.as_str();
    if *rewrite && !path.is_root() {
        return vec![
            Location { r#match: format!("= {path}"), directive: format!("return 301 {path}/$is_args$args") },
            Location { r#match: format!("{path}/"), directive: format!("proxy_pass http://{upstream}/") },
        ];
    }
    matches
        .into_iter()
        .map(|r#match| Location { r#match, directive: format!("proxy_pass http://{upstream}") })
        .collect()
}

impl Location {
    fn unavailable(r#match: String, message: &str) -> Self {
        Self { r#match, directive: format!("return 503 \"{message}\\n\"") }
    }
}

fn info_headers() -> Vec<String> {
    let version = env!("CARGO_PKG_VERSION");
    vec![
        "x-request-id $request_id".to_owned(),
        "x-proxy-id $hostname".to_owned(),
        format!("x-server-info interlock/{version}"),
        "x-upstream-addr $upstream_addr".to_owned(),
        "x-upstream-response-time $upstream_header_time".to_owned(),
    ]
}

/// nginx refuses a hash table whose buckets are smaller than its longest name, and searches long for a good size when there
/// are few buckets for many names.
fn hashes(virtual_hosts: &BTreeMap<HostPattern, VirtualHost>) -> Vec<String> {
    let longest = virtual_hosts.keys().map(|pattern| pattern.host().as_str().len() + 2).max().unwrap_or(0);
    // An element is a pointer, a length of two bytes and the name, rounded up to pointers; a bucket ends with a pointer.
    let element = 8 + (longest + 2).next_multiple_of(8);
    let bucket = (4 * element + 8).next_power_of_two().max(128);
    let size = (2 * virtual_hosts.len()).next_power_of_two().max(1024);
    ["server_names_hash", "map_hash"]
        .iter()
        .flat_map(|table| [format!("{table}_max_size {size};"), format!("{table}_bucket_size {bucket};")])
        .collect()
}
