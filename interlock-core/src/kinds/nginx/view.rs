//! Everything that the templates print, decided.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::block::{Block, Location, NO_TASK};
use super::helpers::{self, Helpers};
use super::limits::{self, Counted, Refused};
use super::listen::{self, Listen};
use super::section::Section;
use super::servers::{self, Maker, Server};
use super::{HEALTH_PORT, directives, headers, too_large};
use crate::kinds::RenderError;
use crate::labels::options::Balance;
use crate::proxy_config::{self, Forward, ProxyConfig, Revision, Tls, UpstreamName, VirtualHost};
use crate::settings::nginx::Options;
use crate::units::{Hashed, HostPattern, PathPrefix};

/// How many idle connections to an upstream each worker keeps. They go after 2 s, so this bounds bursts only: what more requests at once
/// need is connected anew each time, which costs as much as the rest of a request. nginx reserves memory for each in each upstream, some
/// 150 bytes, so that many upstreams get fewer, in steps: a number that changed with each upstream would change all of them.
const fn keepalive(upstreams: usize) -> u32 {
    match upstreams {
        0..=512 => 64,
        513..=1024 => 32,
        1025..=2048 => 16,
        _ => 8,
    }
}

/// Up to so many hosts that send everything to one upstream have servers of their own: nginx looks for an upstream that a variable names
/// by going through all of them, with each request (27 us a request instead of 22 with 100 upstreams, 41 instead of 23 with 1,000). More hosts
/// share a server: 10,000 blocks take nginx twice as long to read, and several times as much memory.
const MOST_SERVERS: usize = 1000;

/// How many names a server has at most, so that a list of servers can be cut into files.
const NAMES_OF_A_SERVER: usize = 500;

/// The main file.
#[derive(Serialize)]
pub(super) struct View<'a> {
    cluster: &'a str,
    revision: String,
    main: Vec<String>,
    worker_connections: u32,
    http: Vec<String>,
    hashes: Vec<String>,
    /// The operator's lines. NGINX takes no size of a table once a block has filled one, and these may have blocks, as may what follows.
    raw: Vec<String>,
    host: &'static str,
    set_headers: Vec<String>,
    next_upstream: Vec<String>,
    info_headers: Vec<String>,
    pub(super) blocks: Section<Block>,
    health: Section<Health<'a>>,
    /// The line for HTTP.
    listen: String,
    /// The same for the server for other hosts.
    default_listen: String,
    pub(super) upstreams: Section<Upstream<'a>>,
    /// The variable by which requests for other hosts are refused.
    default_refused: &'static str,
    pub(super) default_locations: Section<Location>,
    pub(super) tls: Option<TlsView>,
    pub(super) stream: Option<Stream<'a>>,
    /// Where balancers ask, for the servers that many hosts share.
    shared_locations: Section<Location>,
    pub(super) unavailable: Option<Unavailable<'a>>,
    pub(super) plain: Option<Plain<'a>>,
    pub(super) servers: Section<Server>,
}

#[derive(Serialize)]
pub(super) struct Upstream<'a> {
    name: &'a UpstreamName,
    /// How a server is chosen, if not in turns.
    balance: Option<String>,
    servers: Vec<String>,
    /// The same tasks once more, for when each of them counts as failed.
    backups: Vec<String>,
    keepalive: u32,
    /// Whether a connection is given up after a second of requests: Swarm chooses the task with each one.
    moves_on: bool,
}

impl<'a> Upstream<'a> {
    /// For requests.
    ///
    /// NGINX counts a failure when a task closes its connection or sends a head that is too large, which a client's request may well cause. A few of
    /// these would take each task out. So all tasks stand here once more as backups, which never count as failed: NGINX asks those
    /// while each other one does. No hash takes backups. There a task is never taken out, unless its labels say so.
    fn http(name: &'a UpstreamName, upstream: &'a proxy_config::Upstream, keepalive: u32) -> Self {
        let servers = &upstream.servers;
        let fails = |it: &proxy_config::Server| it.health.max_fails != Some(0);
        let in_turns = upstream.balance == Balance::RoundRobin;
        let backups = in_turns && servers.len() > 1 && servers.iter().any(fails);
        let otherwise = if in_turns || servers.len() < 2 { None } else { Some(0) };
        Self {
            name,
            balance: balance(upstream),
            servers: servers.iter().map(|it| server(it, otherwise)).collect(),
            backups: if backups { servers.iter().map(backup).collect() } else { Vec::new() },
            keepalive,
            moves_on: upstream.virtual_ip,
        }
    }

    /// For connections. Only what no task takes counts as failed.
    fn stream(name: &'a UpstreamName, upstream: &'a proxy_config::Upstream) -> Self {
        let servers = upstream.servers.iter().map(|it| server(it, None)).collect();
        Self { name, balance: balance(upstream), servers, backups: Vec::new(), keepalive: 0, moves_on: false }
    }
}

fn balance(upstream: &proxy_config::Upstream) -> Option<String> {
    match &upstream.balance {
        Balance::RoundRobin => None,
        Balance::IpHash => Some("ip_hash".to_owned()),
        Balance::Cookie(cookie) => Some(format!("hash {} consistent", helpers::sticky(cookie))),
    }
}

/// `max_fails`: what is written where the labels say nothing.
fn server(server: &proxy_config::Server, max_fails: Option<u32>) -> String {
    let proxy_config::Server { address, weight, health } = server;
    let mut line = address.to_string();
    if *weight != 1 {
        line += &format!(" weight={weight}");
    }
    if let Some(fails) = health.max_fails.or(max_fails) {
        line += &format!(" max_fails={fails}");
    }
    if let Some(timeout) = health.fail_timeout {
        line += &format!(" fail_timeout={timeout}");
    }
    line
}

fn backup(server: &proxy_config::Server) -> String {
    let proxy_config::Server { address, weight, health: _ } = server;
    match weight {
        1 => format!("{address} max_fails=0 backup"),
        weight => format!("{address} weight={weight} max_fails=0 backup"),
    }
}

/// The server that says which revision is served.
#[derive(Serialize)]
pub(super) struct Health<'a> {
    port: u16,
    revision: &'a Revision,
}

impl<'a> Health<'a> {
    pub(super) fn section(revision: &'a Revision) -> Section<Self> {
        Section::of("health", vec![Self { port: HEALTH_PORT, revision }])
    }
}

/// What there is for TLS.
#[derive(Serialize)]
pub(super) struct TlsView {
    lines: Vec<String>,
    pub(super) servers: Section<Server>,
}

/// The stream context: the operator's lines for it, and TLS that is passed through.
#[derive(Serialize)]
pub(super) struct Stream<'a> {
    lines: Vec<String>,
    hashes: Vec<String>,
    /// As those of the http context.
    raw: Vec<String>,
    blocks: Vec<Block>,
    pub(super) by_name: Option<ByName<'a>>,
}

/// TLS connections, by the name that clients ask for.
#[derive(Serialize)]
pub(super) struct ByName<'a> {
    listen: String,
    /// How many connections an address may have.
    limit: Option<String>,
    terminating: String,
    passing: String,
    /// The socket for each host that has another than what would otherwise fit it.
    pub(super) sockets: Section<SocketEntry<'a>>,
    pub(super) hosts: Section<MapEntry<'a>>,
    pub(super) upstreams: Section<Upstream<'a>>,
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
    refused: &'static str,
    pub(super) map: Section<MapEntry<'a>>,
    pub(super) names: Section<&'a HostPattern>,
}

#[derive(Serialize)]
pub(super) struct MapEntry<'a> {
    host: &'a HostPattern,
    upstream: &'a UpstreamName,
}

#[derive(Serialize)]
pub(super) struct SocketEntry<'a> {
    host: &'a HostPattern,
    #[serde(rename = "upstream")]
    socket: String,
}

impl<'a> View<'a> {
    /// Decides everything, unless that comes to more than so many bytes: who renders may have little memory.
    pub(super) fn of(config: &'a ProxyConfig, options: &Options, most: usize) -> Result<Self, RenderError> {
        let ProxyConfig { cluster, revision, proxy, virtual_hosts, default, upstreams } = config;
        let info_headers = if options.hide_info_headers { Vec::new() } else { info_headers() };
        let listen = Listen::of(config, &options.pid_path);
        let mut found = Helpers::of(config);
        let mut make = Maker { listen: &listen, helpers: &mut found, info_headers: &info_headers, options, proxy };
        let (mut map, mut plain_names, mut unavailable, mut servers) = (vec![], vec![], vec![], vec![]);
        let mut size = 0;
        let share = virtual_hosts.values().filter(|host| servers::is_plain(host).is_some()).count() > MOST_SERVERS;
        for (host, serves) in virtual_hosts {
            if let Some(upstream) = servers::is_plain(serves).filter(|_| share) {
                plain_names.push(host);
                map.push(MapEntry { host, upstream });
            } else if is_unavailable(serves) {
                unavailable.push(host);
            } else {
                let own = make.host(host, serves);
                size += own.iter().map(Server::size).sum::<usize>();
                servers.extend(own);
            }
            if size > most {
                return Err(too_large(size, most));
            }
        }
        let (in_http, passed) =
            (used_in_http(config), passed_through(config).map(|(_, to)| to).collect::<BTreeSet<_>>());
        let default_locations = make.default_http(default.as_deref());
        let tls = tls(config, options, &mut make);
        if tls.is_some() {
            servers.extend(closed(config).chunks(NAMES_OF_A_SERVER).map(|hosts| make.closed(hosts)));
        }
        let mut http = directives::http(options, proxy);
        http.extend(limits::http(options));
        http.extend(found.lines(options));
        Ok(Self {
            cluster: cluster.title(),
            revision: revision.to_string(),
            main: directives::main(options),
            worker_connections: options.max_connections(),
            http,
            hashes: directives::unsaid(Hashes::of(virtual_hosts).http(), &options.http_options),
            raw: options.http_options.clone(),
            host: directives::host(proxy.version),
            set_headers: headers::for_all(options, proxy),
            next_upstream: directives::next_upstream(options),
            info_headers,
            blocks: Section::of(
                "blocks",
                helpers::clients(proxy)
                    .into_iter()
                    .chain(headers::blocks(proxy))
                    .chain(limits::targets())
                    .chain(limits::blocks(options, proxy))
                    .chain(found.blocks())
                    .collect(),
            ),
            health: Health::section(revision),
            default_listen: listen.http(" default_server"),
            listen: listen.http(""),
            upstreams: Section::of(
                "upstreams",
                upstreams
                    .iter()
                    .filter(|(name, _)| in_http.contains(*name) || !passed.contains(*name))
                    .map(|(name, upstream)| Upstream::http(name, upstream, keepalive(upstreams.len())))
                    .collect(),
            ),
            default_refused: default.as_deref().map_or(Refused::BAD, Refused::of).server,
            default_locations: Section::of("locations", default_locations),
            tls,
            stream: (listen.behind_stream || !options.tcp_options.is_empty()).then(|| stream(config, options, &listen)),
            shared_locations: Section::of("locations", proxy.health_path.iter().map(Location::health).collect()),
            unavailable: (!unavailable.is_empty())
                .then(|| Unavailable { message: NO_TASK, names: Section::of("server_names", unavailable) }),
            plain: (!map.is_empty()).then(|| Plain {
                refused: Refused::BAD.server,
                map: Section::of("map_entries", map),
                names: Section::of("server_names", plain_names),
            }),
            servers: Section::of("servers", servers),
        })
    }
}

/// The upstreams that http servers use. Those of passthrough alone are in the stream context.
fn used_in_http(config: &ProxyConfig) -> BTreeSet<&UpstreamName> {
    let hosts = config.virtual_hosts.values().chain(&config.default);
    let forwards = hosts.flat_map(|host| host.locations.values());
    forwards.flat_map(|it| it.upstream.iter().chain(it.canaries.iter().map(|canary| &canary.upstream))).collect()
}

/// Hosts whose TLS goes to tasks as it is, and which have some.
fn passed_through(config: &ProxyConfig) -> impl Iterator<Item = (&HostPattern, &UpstreamName)> {
    config.virtual_hosts.iter().filter_map(|(host, serves)| match &serves.tls {
        Tls::Passthrough(Some(upstream)) => Some((host, upstream)),
        _ => None,
    })
}

fn tls(config: &ProxyConfig, options: &Options, make: &mut Maker<'_>) -> Option<TlsView> {
    let hosts = config.virtual_hosts.values().chain(&config.default);
    if hosts.clone().all(|host| host.tls == Tls::None) {
        return None;
    }
    let mut lines = directives::tls(options, config.proxy.version);
    lines.extend(listen::secrets());
    Some(TlsView { lines, servers: Section::of("servers", vec![make.default_https(config.default.as_deref())]) })
}

/// Hosts that have to be named on the TLS port although their TLS does not end here. Those without TLS only where a server could take their
/// place that has a certificate.
fn closed(config: &ProxyConfig) -> Vec<&HostPattern> {
    let ends = |host: &VirtualHost| matches!(host.tls, Tls::Terminated(_));
    let wildcard = config.virtual_hosts.iter().any(|(pattern, host)| pattern.is_wildcard() && ends(host));
    let replaced = wildcard || config.default.as_deref().is_some_and(ends);
    let hosts = config.virtual_hosts.iter().filter(|(_, host)| match host.tls {
        Tls::None => replaced,
        Tls::Terminated(_) => false,
        Tls::Passthrough(_) => true,
    });
    hosts.map(|(pattern, _)| pattern).collect()
}

fn stream<'a>(config: &'a ProxyConfig, options: &Options, listen: &Listen) -> Stream<'a> {
    let used: BTreeSet<_> = passed_through(config).map(|(_, upstream)| upstream).collect();
    let upstreams = config.upstreams.iter().filter(|(name, _)| used.contains(name));
    let passed: BTreeSet<_> = passed_through(config).map(|(pattern, _)| pattern).collect();
    // A wildcard that is passed through must not take other hosts along.
    let all = passed.iter().any(|pattern| pattern.is_wildcard());
    let hosts = config.virtual_hosts.keys().filter(|host| all || passed.contains(host));
    let socket = |host| if passed.contains(&host) { listen.passing() } else { listen.terminating() };
    let by_name = listen.behind_stream.then(|| ByName {
        listen: listen.stream(),
        limit: limits::limit(options, Counted::Connections),
        terminating: listen.terminating(),
        passing: listen.passing(),
        sockets: Section::of("map_entries", hosts.map(|host| SocketEntry { host, socket: socket(host) }).collect()),
        hosts: Section::of(
            "map_entries",
            passed_through(config).map(|(host, upstream)| MapEntry { host, upstream }).collect(),
        ),
        upstreams: Section::of(
            "stream_upstreams",
            upstreams.map(|(name, upstream)| Upstream::stream(name, upstream)).collect(),
        ),
    });
    let mut lines = directives::stream(options, &config.proxy);
    let (mut blocks, mut hashes) = (Vec::new(), Vec::new());
    if by_name.is_some() {
        hashes = directives::unsaid(Hashes::of(&config.virtual_hosts).table("map_hash").into(), &options.tcp_options);
        lines.extend(limits::zone(options, Counted::Connections));
        blocks = limits::blocks(options, &config.proxy);
    }
    Stream { lines, hashes, raw: options.tcp_options.clone(), blocks, by_name }
}

/// Hosts that answer 503 to whatever is asked.
fn is_unavailable(host: &VirtualHost) -> bool {
    let unavailable = |forward: &Forward| forward.upstream.is_none() && forward.canaries.is_empty();
    let own = |forward: &Forward| forward.options.ssl_only || forward.options.backend_protocol.is_grpc();
    host.locations.values().all(|forward| unavailable(forward) && !own(forward))
        && host.locations.keys().all(PathPrefix::is_root)
        && servers::is_http_only(host)
}

pub(super) fn info_headers() -> Vec<String> {
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
struct Hashes {
    size: usize,
    bucket: usize,
}

impl Hashes {
    fn of(virtual_hosts: &BTreeMap<HostPattern, Hashed<VirtualHost>>) -> Self {
        let names = virtual_hosts.keys().map(|pattern| pattern.host().as_str().len() + 2);
        let forwards = virtual_hosts.values().flat_map(|host| host.locations.values());
        let values = forwards.flat_map(|forward| &forward.canaries).map(|to| to.canary.value().map_or(0, str::len) + 2);
        let longest = names.chain(values).max().unwrap_or(0);
        // An element is a pointer, a length of two bytes and the name, rounded up to pointers; a bucket ends with a pointer.
        let element = 8 + (longest + 2).next_multiple_of(8);
        let bucket = (4 * element + 8).next_power_of_two().max(128);
        Self { size: (2 * virtual_hosts.len()).next_power_of_two().max(1024), bucket }
    }

    fn table(&self, table: &str) -> [String; 2] {
        [format!("{table}_max_size {};", self.size), format!("{table}_bucket_size {};", self.bucket)]
    }

    fn http(&self) -> Vec<String> {
        // Some tens of headers are our own, several hundred spellings of them where underscores count.
        let headers = Self { size: 1024, bucket: 128 };
        let tables = [self.table("server_names_hash"), self.table("map_hash"), headers.table("proxy_headers_hash")];
        tables.into_iter().flatten().collect()
    }
}
