//! What clients may not do: too much at once from one address, and targets that applications read in more than one way.
//!
//! The regular expressions here are all that a rendering has, but for those that find cookies. They are constants, look at the request alone, and have no way to a label's
//! text. NGINX has nothing else that looks inside of a value.

use super::block::Block;
use super::directives;
use crate::proxy_config::{ProxySettings, VirtualHost};
use crate::settings::nginx::Options;

/// Not empty for a target with a `#`, which no client may send (RFC 9112, 3.2), and which applications read in different ways.
const BAD: &str = "$bad_target";
/// The same, and not empty for a path with a character by which an application may find another path in it than NGINX: `;` and what
/// follows it is a parameter to some, `\` is a slash to others, and `%2F` one for those who decode once more. Not in queries.
const AMBIGUOUS: &str = "$ambiguous_target";

const FRAGMENT: &str = r##""~#" 1;"##;
const AMBIGUITY: &str = r#""~*#|^[^?]*(?:[;\x5c]|%3b|%5c|%2f)" 1;"#;

/// The first 64 bits of an IPv6 address, as NGINX writes it: four groups; else what stands before the last four groups; else what stands
/// before the zeros that are left out. Zeros of the prefix itself are written in up to three ways, so that it may be counted three times.
const PREFIX: &str = r#""~^(?<client_prefix>[0-9a-f]+(?::[0-9a-f]+){3}(?=:)|[0-9a-f:]*:(?=(?:[0-9a-f]+:){3}[0-9a-f]+$)|[0-9a-f][0-9a-f:]*(?=::))" $client_prefix;"#;

/// What is counted by address: requests in the http context, connections in the stream context. NGINX wants two names. An operator's own
/// zones have others.
#[derive(Debug, Clone, Copy)]
pub(super) enum Counted {
    Requests,
    Connections,
}

impl Counted {
    fn zone(self) -> &'static str {
        match self {
            Self::Requests => "interlock_requests",
            Self::Connections => "interlock_connections",
        }
    }
}

/// The two checks of targets, for the http context. A map is looked into when something asks for its variable.
pub(super) fn targets() -> [Block; 2] {
    let check = |variable, check: &str| {
        Block::new(&format!("map $request_uri {variable}"), vec!["default \"\";".to_owned(), check.to_owned()])
    };
    [check(BAD, FRAGMENT), check(AMBIGUOUS, AMBIGUITY)]
}

/// Which targets the servers and locations of a host refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    /// By the variable that is not empty for them.
    pub(super) server: &'static str,
    /// In locations whose service does not ask for raw paths.
    pub(super) locations: Option<&'static str>,
}

impl Refused {
    pub(super) const BAD: Self = Self { server: BAD, locations: None };

    /// Where access differs from path to path, an application of one path must not find another path in a request.
    pub(super) fn of(host: &VirtualHost) -> Self {
        let options = || host.locations.values().map(|forward| &forward.options);
        let first = options().next();
        let is_alike = options().all(|other| first.is_none_or(|first| first.gives_the_same_access(other)));
        match (is_alike, options().any(|options| options.raw_paths)) {
            (true, _) => Self::BAD,
            (false, false) => Self { server: AMBIGUOUS, locations: None },
            (false, true) => Self { server: BAD, locations: Some(AMBIGUOUS) },
        }
    }
}

/// The zone in which they are counted: lines for the http or the stream context.
pub(super) fn zone(options: &Options, counted: Counted) -> Vec<String> {
    if options.connections_per_address() == 0 {
        return Vec::new();
    }
    // Room for some 300,000 addresses that have something under way.
    vec![
        format!("limit_conn_zone $counted_client zone={}:20m;", counted.zone()),
        "limit_conn_log_level info;".to_owned(),
    ]
}

/// How many of them an address may have under way; without the `;`.
pub(super) fn limit(options: &Options, counted: Counted) -> Option<String> {
    let most = Some(options.connections_per_address()).filter(|most| *most > 0)?;
    Some(format!("limit_conn {} {most}", counted.zone()))
}

/// Lines for the http context.
pub(super) fn http(options: &Options) -> Vec<String> {
    let limit =
        limit(options, Counted::Requests).map(|limit| [format!("{limit};"), "limit_conn_status 429;".to_owned()]);
    directives::unsaid(
        zone(options, Counted::Requests).into_iter().chain(limit.into_iter().flatten()).collect(),
        &options.http_options,
    )
}

/// The maps that say who is counted as one: blocks for the http or the stream context. A balancer that is trusted stands for many
/// clients, and is not counted itself.
pub(super) fn blocks(options: &Options, proxy: &ProxySettings) -> Vec<Block> {
    if options.connections_per_address() == 0 {
        return Vec::new();
    }
    let network = vec!["default $binary_remote_addr;".to_owned(), PREFIX.to_owned()];
    if proxy.trusted_proxies.is_empty() {
        return vec![Block::new("map $remote_addr $counted_client", network)];
    }
    let trusted = proxy.trusted_proxies.iter().map(|network| format!("{network} 1;"));
    vec![
        Block::new("map $remote_addr $client_network", network),
        Block::new("geo $remote_addr $is_balancer", ["default \"\";".to_owned()].into_iter().chain(trusted).collect()),
        Block::new(
            "map $is_balancer $counted_client",
            vec!["default \"\";".to_owned(), "\"\" $client_network;".to_owned()],
        ),
    ]
}
