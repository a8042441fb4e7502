//! Upstreams: where requests and connections go.

use std::net::SocketAddr;

use serde::Serialize;

use super::helpers;
use super::section::Printed;
use crate::labels::options::{Balance, TimeSpan};
use crate::proxy_config::{self, UpstreamName};
use crate::routes::model::Health;

/// How many idle connections to an upstream each worker keeps. They go after 2 s, so this bounds bursts only: what more requests at once
/// need is connected anew each time, which costs as much as the rest of a request. nginx reserves memory for each in each upstream, some
/// 150 bytes, so that many upstreams get fewer, in steps: a number that changed with each upstream would change all of them.
pub(super) const fn keepalive(upstreams: usize) -> u32 {
    match upstreams {
        0..=512 => 64,
        513..=1024 => 32,
        1025..=2048 => 16,
        _ => 8,
    }
}

/// An upstream for requests.
#[derive(Serialize)]
pub(super) struct Upstream<'a> {
    name: &'a UpstreamName,
    ip_hash: bool,
    cookie: Option<String>,
    /// Tasks for which nothing needs to be said. Most upstreams have only these, which are cheap to print.
    tasks: Vec<SocketAddr>,
    servers: Vec<Server>,
    /// Whether the same tasks stand there once more, for when each of them counts as failed.
    backups: bool,
    keepalive: u32,
    /// Whether a connection is given up after a second of requests: Swarm chooses the task with each one.
    moves_on: bool,
}

/// A task, with what is said about it.
#[derive(Serialize)]
struct Server {
    address: SocketAddr,
    weight: Option<u32>,
    max_fails: Option<String>,
    fail_timeout: Option<TimeSpan>,
}

impl<'a> Upstream<'a> {
    /// NGINX counts a failure when a task closes its connection or sends a head that is too large, which a client's request may well cause. A few of
    /// these would take each task out. So all tasks stand here once more as backups, which never count as failed: NGINX asks those
    /// while each other one does. No hash takes backups. There a task is never taken out, unless its labels say so.
    pub(super) fn of(name: &'a UpstreamName, upstream: &'a proxy_config::Upstream, keepalive: u32) -> Self {
        let servers = &upstream.servers;
        let fails = |it: &proxy_config::Server| it.health.max_fails != Some(0);
        let in_turns = upstream.balance == Balance::RoundRobin;
        let backups = in_turns && servers.len() > 1 && servers.iter().any(fails);
        let otherwise = if in_turns || servers.len() < 2 { None } else { Some(0) };
        let (tasks, servers) = said(servers, otherwise);
        let (ip_hash, cookie) = balance(upstream);
        Self { name, ip_hash, cookie, tasks, servers, backups, keepalive, moves_on: upstream.virtual_ip }
    }
}

/// An upstream for connections. Only what no task takes counts as failed.
#[derive(Serialize)]
pub(super) struct StreamUpstream<'a> {
    name: &'a UpstreamName,
    ip_hash: bool,
    cookie: Option<String>,
    tasks: Vec<SocketAddr>,
    servers: Vec<Server>,
}

impl<'a> StreamUpstream<'a> {
    pub(super) fn of(name: &'a UpstreamName, upstream: &'a proxy_config::Upstream) -> Self {
        let (tasks, servers) = said(&upstream.servers, None);
        let (ip_hash, cookie) = balance(upstream);
        Self { name, ip_hash, cookie, tasks, servers }
    }
}

/// Whether clients choose by their address, or by which cookie.
fn balance(upstream: &proxy_config::Upstream) -> (bool, Option<String>) {
    match &upstream.balance {
        Balance::RoundRobin => (false, None),
        Balance::IpHash => (true, None),
        Balance::Cookie(cookie) => (false, Some(helpers::short(cookie))),
    }
}

/// All of them as addresses, or else with what is said about each. `max_fails`: what holds where the labels say nothing.
fn said(servers: &[proxy_config::Server], max_fails: Option<u32>) -> (Vec<SocketAddr>, Vec<Server>) {
    let plain = |it: &proxy_config::Server| it.weight == 1 && it.health == Health::default() && max_fails.is_none();
    if servers.iter().all(plain) {
        return (servers.iter().map(|it| it.address).collect(), Vec::new());
    }
    let server = |proxy_config::Server { address, weight, health }: &proxy_config::Server| Server {
        address: *address,
        weight: Some(*weight).filter(|weight| *weight != 1),
        // As text, because a template takes the number 0 for nothing.
        max_fails: health.max_fails.or(max_fails).map(|fails| fails.to_string()),
        fail_timeout: health.fail_timeout,
    };
    (Vec::new(), servers.iter().map(server).collect())
}

impl Printed for Upstream<'_> {
    const INCLUDE: &'static str = "include";

    fn template(&self) -> &'static str {
        "upstream"
    }
}

impl Printed for StreamUpstream<'_> {
    const INCLUDE: &'static str = "include";

    fn template(&self) -> &'static str {
        "stream_upstream"
    }
}
