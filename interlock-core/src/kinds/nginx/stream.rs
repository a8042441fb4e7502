//! The stream context: TLS that is passed through, by name.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde::Serialize;

use super::limits::Counted;
use super::listen::Listen;
use super::names::{Hashes, MapEntry, SocketEntry};
use super::section::Section;
use super::settings::time;
use super::upstreams::StreamUpstream;
use crate::proxy_config::{ProxyConfig, Tls, UpstreamName};
use crate::settings::nginx::Options;
use crate::units::HostPattern;

/// The stream context: the operator's lines for it, and TLS that is passed through.
#[derive(Serialize)]
pub(super) struct Stream<'a> {
    connect_timeout: String,
    read_timeout: String,
    client_header_timeout: String,
    /// Who is believed about a client's address.
    trusted: Vec<IpNet>,
    overlays: &'a [IpNet],
    operators_lines: &'a [String],
    pub(super) by_name: Option<ByName<'a>>,
}

/// TLS connections, by the name that clients ask for.
#[derive(Serialize)]
pub(super) struct ByName<'a> {
    port: u16,
    proxy_protocol: bool,
    /// How many connections an address may have; 0 for any number.
    limit: u32,
    counted: Option<Counted<'a>>,
    hashes: Hashes,
    terminating: String,
    passing: String,
    /// The socket for each host that has another than what would otherwise fit it.
    pub(super) sockets: Section<SocketEntry<'a>>,
    pub(super) hosts: Section<MapEntry<'a>>,
    pub(super) upstreams: Section<StreamUpstream<'a>>,
}

impl<'a> Stream<'a> {
    pub(super) fn of(config: &'a ProxyConfig, options: &'a Options, listen: &Listen) -> Self {
        let used: BTreeSet<_> = passed_through(config).map(|(_, upstream)| upstream).collect();
        let upstreams = config.upstreams.iter().filter(|(name, _)| used.contains(name));
        let passed: BTreeSet<_> = passed_through(config).map(|(pattern, _)| pattern).collect();
        // A wildcard that is passed through must not take other hosts along.
        let all = passed.iter().any(|pattern| pattern.is_wildcard());
        let hosts = config.virtual_hosts.keys().filter(|host| all || passed.contains(host));
        let socket = |host| if passed.contains(&host) { listen.passing() } else { listen.terminating() };
        let by_name = listen.behind_stream.then(|| ByName {
            port: config.proxy.ssl_port,
            proxy_protocol: config.proxy.proxy_protocol,
            limit: options.connections_per_address(),
            counted: Counted::of(options, &config.proxy),
            hashes: Hashes::of(&config.virtual_hosts),
            terminating: listen.terminating(),
            passing: listen.passing(),
            sockets: Section::of(hosts.map(|host| SocketEntry { host, socket: socket(host) }).collect()),
            hosts: Section::of(passed_through(config).map(|(host, upstream)| MapEntry { host, upstream }).collect()),
            upstreams: Section::of(upstreams.map(|(name, upstream)| StreamUpstream::of(name, upstream)).collect()),
        });
        Self {
            connect_timeout: time(options.connect_timeout),
            read_timeout: time(options.read_timeout),
            client_header_timeout: time(options.client_header_timeout),
            trusted: if config.proxy.proxy_protocol { config.proxy.believed() } else { Vec::new() },
            overlays: &config.proxy.overlays,
            operators_lines: &options.tcp_options,
            by_name,
        }
    }
}

/// Hosts whose TLS goes to tasks as it is, and which have some.
pub(super) fn passed_through(config: &ProxyConfig) -> impl Iterator<Item = (&HostPattern, &UpstreamName)> {
    config.virtual_hosts.iter().filter_map(|(host, serves)| match &serves.tls {
        Tls::Passthrough(Some(upstream)) => Some((host, upstream)),
        _ => None,
    })
}
