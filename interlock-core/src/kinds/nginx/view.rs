//! Everything that the templates print, decided.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use super::headers::{self, Clients, RequestHeaders};
use super::helpers::{Helpers, Map, Zone};
use super::hosts::{self, Maker, Shared};
use super::limits::{Counted, Refused};
use super::listen::Listen;
use super::location::{Location, NO_TASK};
use super::names::{Hashes, MapEntry, ServerName};
use super::section::{Printed, Section};
use super::servers::Server;
use super::settings::{self, Http, Main};
use super::stream::{Stream, passed_through};
use super::texts::Texts;
use super::upstreams::{self, Upstream};
use super::{HEALTH_PORT, print, too_large};
use crate::kinds::RenderError;
use crate::proxy_config::{Forward, ProxyConfig, Revision, Tls, UpstreamName, VirtualHost};
use crate::settings::nginx::Options;
use crate::units::{HostPattern, PathPrefix};

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
    main: Main<'a>,
    http: Http<'a>,
    rate_limits: Vec<Zone>,
    /// Whether a route speaks gRPC.
    grpc: bool,
    hashes: Hashes,
    host: &'static str,
    clients: Clients,
    counted: Option<Counted<'a>>,
    request_headers: RequestHeaders<'a>,
    /// What clients are told about the proxy.
    server_info: Option<&'static str>,
    pub(super) maps: Section<Map>,
    health: Section<Health<'a>>,
    port: u16,
    proxy_protocol: bool,
    pub(super) upstreams: Section<Upstream<'a>>,
    /// The variable by which requests for other hosts are refused.
    default_refused: &'static str,
    pub(super) default_locations: Section<Location<'a>>,
    pub(super) tls: Option<TlsView<'a>>,
    pub(super) stream: Option<Stream<'a>>,
    /// Where balancers ask, for the servers that many hosts share.
    shared_locations: Section<Location<'a>>,
    pub(super) unavailable: Option<Unavailable<'a>>,
    pub(super) plain: Option<Plain<'a>>,
    pub(super) servers: Section<Server<'a>>,
}

/// The server that says which revision is served.
#[derive(Serialize)]
pub(super) struct Health<'a> {
    port: u16,
    revision: &'a Revision,
}

impl<'a> Health<'a> {
    pub(super) fn section(revision: &'a Revision) -> Section<Self> {
        Section::of(vec![Self { port: HEALTH_PORT, revision }])
    }
}

/// What there is for TLS.
#[derive(Serialize)]
pub(super) struct TlsView<'a> {
    protocols: &'a str,
    ciphers: &'a str,
    /// Whether NGINX can keep certificates that it read.
    certificate_cache: bool,
    operators_lines: &'a [String],
    pub(super) servers: Section<Server<'a>>,
}

/// Hosts without a running task on any path.
#[derive(Serialize)]
pub(super) struct Unavailable<'a> {
    message: &'static str,
    pub(super) names: Section<ServerName<'a>>,
}

/// Hosts that send every path to one upstream.
#[derive(Serialize)]
pub(super) struct Plain<'a> {
    refused: &'static str,
    pub(super) map: Section<MapEntry<'a>>,
    pub(super) names: Section<ServerName<'a>>,
}

impl<'a> View<'a> {
    /// Decides everything, unless that comes to more than so many bytes: who renders may have little memory.
    pub(super) fn of(
        config: &'a ProxyConfig,
        options: &'a Options,
        most: usize,
        texts: &mut Texts,
    ) -> Result<Self, RenderError> {
        let ProxyConfig { cluster, revision, proxy, virtual_hosts, default, upstreams } = config;
        let listen = Listen::of(config, &options.pid_path);
        let shared = Shared { listen: &listen, options, proxy };
        let keepalive = upstreams::keepalive(upstreams.len());
        texts.renew(proxy, listen.behind_stream, keepalive);
        let mut needs = Helpers::of(config);
        let (mut plain, mut unavailable, mut others) = (vec![], vec![], vec![]);
        let share = virtual_hosts.values().filter(|host| hosts::is_plain(host).is_some()).count() > MOST_SERVERS;
        for (host, serves) in virtual_hosts {
            if let Some(upstream) = hosts::is_plain(serves).filter(|_| share) {
                plain.push((host, upstream));
            } else if is_unavailable(serves) {
                unavailable.push(host);
            } else {
                others.push((host, serves));
            }
        }
        let mut servers = Vec::new();
        let mut size = 0;
        for own in texts.hosts(shared, config, others.into_iter(), most)? {
            size += own.servers.iter().map(|server| server.len()).sum::<usize>();
            servers.extend(own.servers.iter().cloned());
            needs.extend(&own.needs);
        }
        if size > most {
            return Err(too_large(size, most));
        }
        let [map, names] = texts.plain(&plain)?;
        let unavailable = texts.unavailable(&unavailable)?;
        let passed: BTreeSet<_> = passed_through(config).map(|(_, to)| to).collect();
        let used = if passed.is_empty() { BTreeSet::new() } else { used_in_http(config) };
        let in_http = upstreams.iter().filter(|(name, _)| !passed.contains(*name) || used.contains(*name));
        let mut make = Maker { shared, helpers: &mut needs };
        let default_locations = make.default_http(default.as_deref());
        let tls = tls(config, options, &mut make);
        if tls.is_some() {
            let closed = closed(config);
            let closed = closed.chunks(NAMES_OF_A_SERVER).map(|hosts| make.closed(hosts));
            let closed = closed.map(|server| Ok(print(server.template(), &server)?.into()));
            servers.extend(closed.collect::<Result<Vec<_>, RenderError>>()?);
        }
        Ok(Self {
            cluster: cluster.title(),
            revision: revision.to_string(),
            main: Main::of(options),
            http: Http::of(options, proxy),
            rate_limits: needs.rate_limits(),
            grpc: needs.has_grpc(),
            hashes: Hashes::of(virtual_hosts),
            host: settings::host(proxy.version),
            clients: Clients::of(proxy),
            counted: Counted::of(options, proxy),
            maps: Section::of(needs.into_maps()),
            request_headers: RequestHeaders::for_all(options, proxy),
            server_info: headers::server_info(options),
            health: Health::section(revision),
            port: proxy.port,
            proxy_protocol: proxy.proxy_protocol,
            upstreams: Section::of_texts("upstreams", texts.upstreams(config, keepalive, in_http)?),
            default_refused: default.as_deref().map_or(Refused::BAD, Refused::of).server,
            default_locations: Section::of(default_locations),
            tls,
            stream: (listen.behind_stream || !options.tcp_options.is_empty())
                .then(|| Stream::of(config, options, &listen)),
            shared_locations: Section::of(proxy.health_path.iter().map(Location::health).collect()),
            unavailable: (!unavailable.is_empty())
                .then(|| Unavailable { message: NO_TASK, names: Section::of_texts("unavailable", unavailable) }),
            plain: (!map.is_empty()).then(|| Plain {
                refused: Refused::BAD.server,
                map: Section::of_texts("map", map),
                names: Section::of_texts("names", names),
            }),
            servers: Section::of_texts("servers", servers),
        })
    }
}

impl View<'_> {
    /// What is to be spliced into what the template prints.
    pub(super) fn lists(&self) -> Vec<(&'static str, &[Arc<str>])> {
        let names = self.unavailable.as_ref().map(|unavailable| &unavailable.names);
        let of_plain = self.plain.as_ref().map(|plain| (plain.map.list(), plain.names.list()));
        let of_plain = of_plain.into_iter().flat_map(|(map, names)| [map, names]);
        let lists = [self.upstreams.list(), self.servers.list(), names.and_then(Section::list)];
        lists.into_iter().chain(of_plain).flatten().collect()
    }
}

/// The upstreams that http servers use. Those of passthrough alone are in the stream context.
fn used_in_http(config: &ProxyConfig) -> BTreeSet<&UpstreamName> {
    let hosts = config.virtual_hosts.values().chain(&config.default);
    let forwards = hosts.flat_map(|host| host.locations.values());
    forwards.flat_map(|it| it.upstream.iter().chain(it.canaries.iter().map(|canary| &canary.upstream))).collect()
}

fn tls<'a>(config: &'a ProxyConfig, options: &'a Options, make: &mut Maker<'_, 'a>) -> Option<TlsView<'a>> {
    let hosts = config.virtual_hosts.values().chain(&config.default);
    if hosts.clone().all(|host| host.tls == Tls::None) {
        return None;
    }
    Some(TlsView {
        protocols: &options.ssl_protocols,
        ciphers: &options.ssl_ciphers,
        certificate_cache: settings::keeps_certificates(config.proxy.version),
        operators_lines: &options.http_options,
        servers: Section::of(vec![make.default_https(config.default.as_deref())]),
    })
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

/// Hosts that answer 503 to whatever is asked.
fn is_unavailable(host: &VirtualHost) -> bool {
    let unavailable = |forward: &Forward| forward.upstream.is_none() && forward.canaries.is_empty();
    let own = |forward: &Forward| forward.options.ssl_only || forward.options.backend_protocol.is_grpc();
    host.locations.values().all(|forward| unavailable(forward) && !own(forward))
        && host.locations.keys().all(PathPrefix::is_root)
        && hosts::is_http_only(host)
}

impl Printed for Health<'_> {
    const INCLUDE: &'static str = "include";

    fn template(&self) -> &'static str {
        "health"
    }
}
