//! What a route comes to in nginx.conf, before anything is rendered: its servers are made for one of its hosts, the longest, and counted.
//!
//! All is counted as if the route had nothing in common with others, and each host servers of its own: what is rendered is not larger.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ipnet::IpNet;

use super::helpers::Helpers;
use super::hosts::{Maker, Shared};
use super::listen::Listen;
use super::servers::Server;
use super::split::CAPACITY;
use crate::labels::options::{Balance, HeaderEdit};
use crate::proxy_config::{self, Forward, ProxySettings, UpstreamName, VirtualHost};
use crate::routes::model::{Health, Price, Prices, Route, Tls};
use crate::settings::nginx::Options;
use crate::units::{HostPattern, overlap};

/// An upstream without its name and its servers.
const UPSTREAM: usize = 150;
/// The maps of a cookie.
const COOKIE: usize = 900;
/// The map of a canary, without what it is known by; and the variable that it sets, where an upstream is named.
const CANARY: usize = 300 + COOKIE + 3 * UpstreamName::LONGEST;
const VARIABLE: usize = 20;
/// A zone for a rate limit.
const ZONE: usize = 100;
/// What a server has at least besides its name and a route's locations.
const FRAME: usize = 60;
/// What stands beside an address: a weight, and when a task counts as failed.
const SERVER: usize = 36;
const HEALTH: usize = 48;
/// What a task's second line has besides, or its only one: that no failure counts.
const BACKUP: usize = 24;
/// What stands around the address of an overlay that is kept out.
const DENY: usize = 24;

/// What routes of a service cluster come to. `overlays`: the subnets that proxies may come to have, more than they get.
pub(crate) fn prices<'a>(proxy: &ProxySettings, options: &Options, overlays: &'a [IpNet]) -> Prices<'a> {
    let tariff = Tariff::of(proxy.clone(), options.clone(), overlays);
    Prices { of_route: Box::new(move |route| tariff.price(route)), files: CAPACITY }
}

/// What the proxies of a service cluster have in common.
struct Tariff<'a> {
    listen: Listen,
    proxy: ProxySettings,
    options: Options,
    overlays: &'a [IpNet],
}

impl<'a> Tariff<'a> {
    fn of(proxy: ProxySettings, options: Options, overlays: &'a [IpNet]) -> Self {
        Self { listen: Listen::with(&proxy, true, &options.pid_path), proxy, options, overlays }
    }

    /// What a route comes to.
    fn price(&self, route: &Route) -> Price {
        let asks = &route.asks;
        let upstream = UpstreamName::alone(route);
        let forward = Forward {
            rewrite: route.rewrite,
            upstream: Some(upstream.clone()),
            canaries: Vec::new(),
            options: asks.options.clone(),
        };
        let tls = match &asks.tls {
            Tls::None => proxy_config::Tls::None,
            Tls::Terminated(certificate) => proxy_config::Tls::Terminated(certificate.clone()),
            Tls::Passthrough => proxy_config::Tls::Passthrough(Some(upstream.clone())),
        };
        let host = VirtualHost {
            locations: BTreeMap::from([(route.path.clone(), forward)]),
            tls,
            redirect_http: None,
            redirect_https: None,
        };
        let mut make = Maker {
            // Which overlays a proxy has is nothing that a service's labels say: there are none here.
            shared: Shared { listen: &self.listen, options: &self.options, proxy: &self.proxy },
            helpers: &mut Helpers::default(),
        };
        let length = |host: &&HostPattern| host.host().as_str().len();
        let (wildcards, exact): (Vec<_>, Vec<_>) = route.hosts.iter().partition(|host| host.is_wildcard());
        // What stands in a location differs between the two.
        let longest = [wildcards, exact].into_iter().filter_map(|hosts| hosts.into_iter().max_by_key(length));
        let mut servers: Vec<_> = longest.map(|pattern| make.host(pattern, &host)).collect();
        if servers.is_empty() {
            servers.push(make.default_servers(&host));
        }
        let largest = servers.iter().flatten().map(Server::size).max().unwrap_or(0);
        let name = route.hosts.iter().map(|host| host.host().as_str().len() + 2).max().unwrap_or(0);
        let passes = asks.tls == Tls::Passthrough;
        // An entry in the map of sockets, and a name in the server for hosts that are closed on the TLS port.
        let listed = 2 * name + self.listen.terminating().len() + 60;
        let passed = if passes { listed + name + upstream.as_str().len() + 20 } else { 0 };
        let places = most(&servers, Server::locations);
        let canaries = asks.canaries.iter().map(|it| CANARY + places * VARIABLE + 2 * format!("{it:?}").len());
        let of_host = most(&servers, Server::size) + 2 * name + passed + canaries.sum::<usize>();
        let hosts = route.hosts.len() + usize::from(route.default_backend);
        let redirects = asks.redirects.iter().map(|redirect| redirect.to.as_str().len() + 100).sum::<usize>();
        let edits = asks.options.request_headers.iter().chain(asks.options.response_headers.iter());
        let edits = edits
            .map(|HeaderEdit { name, value }| name.as_str().len() + value.as_ref().map_or(0, |it| it.as_str().len()));
        let rate_limits = usize::from(asks.options.rate_limit.is_some());
        let cookie = if let Balance::Cookie(_) = &asks.options.balance { COOKIE } else { 0 };
        let health = if asks.health == Health::default() { 0 } else { HEALTH };
        let each = |address: &SocketAddr| 2 * (address.to_string().len() + SERVER) + health + BACKUP;
        let addresses = route.targets.iter().map(each).sum::<usize>();
        let upstreams = (1 + usize::from(passes)) * (UPSTREAM + upstream.as_str().len());
        let denied = |overlay: &&IpNet| asks.options.allow.iter().any(|network| overlap(network, overlay));
        let denied = self.overlays.iter().filter(denied).map(|overlay| overlay.to_string().len() + DENY).sum::<usize>();
        let wildcard = route.default_backend || route.hosts.iter().any(HostPattern::is_wildcard);
        Price {
            hosts,
            locations: hosts.saturating_mul(places),
            header_bytes: hosts.saturating_mul(most(&servers, Server::with_headers)).saturating_mul(edits.sum()),
            rate_limits,
            bytes: hosts.saturating_mul(of_host) + redirects + upstreams + cookie + rate_limits * ZONE,
            host_bytes: largest.saturating_sub(name + FRAME),
            task_bytes: addresses * (asks.canaries.len().max(1) + usize::from(passes)),
            overlay_bytes: hosts.saturating_mul(places).saturating_mul(denied),
            places,
            list_bytes: hosts.saturating_mul(listed),
            names_all_hosts: wildcard && asks.tls != Tls::None,
            upstream_bytes: UPSTREAM + COOKIE + ZONE,
            name_bytes: UpstreamName::LONGEST + VARIABLE,
        }
    }
}

/// What comes together in the servers of one host, for the host with the most.
fn most<'s, 'a: 's>(hosts: &'s [Vec<Server<'a>>], of: impl Fn(&'s Server<'a>) -> usize) -> usize {
    hosts.iter().map(|servers| servers.iter().map(&of).sum::<usize>()).max().unwrap_or(0)
}
