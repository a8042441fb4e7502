//! Maps and zones that locations need, gathered while these are made.

use std::collections::{BTreeMap, BTreeSet};

use super::block::{Block, NO_TASK};
use super::{directives, grpc};
use crate::labels::options::{Balance, Canary, RateLimit, Token};
use crate::proxy_config::{CanaryForward, Forward, ProxyConfig, ProxySettings, UpstreamName};
use crate::settings::nginx::Options;
use crate::units::hash;
use crate::units::{CookieName, PathPrefix};

/// An upstream that answers 503.
const NONE: &str = "no-task";
/// Where it is.
const NONE_ADDRESS: &str = "127.0.0.1:18988";

/// What means something else to a map than the text that it is.
const MAP_WORDS: &[&str] = &["default", "hostnames", "include", "volatile"];

/// What locations need in the http context.
#[derive(Default)]
pub(super) struct Helpers {
    /// Those that sessions stick by.
    cookies: BTreeSet<CookieName>,
    canary_cookies: BTreeSet<CookieName>,
    /// By variable: what it comes from, what it is otherwise, and with a value, or any.
    canaries: BTreeMap<String, (String, String, String, String)>,
    zones: BTreeMap<String, RateLimit>,
    needs_none: bool,
    grpc: bool,
}

impl Helpers {
    pub(super) fn of(config: &ProxyConfig) -> Self {
        let cookie = |balance: &Balance| match balance {
            Balance::Cookie(cookie) => Some(cookie.clone()),
            Balance::RoundRobin | Balance::IpHash => None,
        };
        let hosts = config.virtual_hosts.values().chain(&config.default);
        let mut protocols = hosts.flat_map(|host| host.locations.values()).map(|it| it.options.backend_protocol);
        Self {
            cookies: config.upstreams.values().filter_map(|upstream| cookie(&upstream.balance)).collect(),
            grpc: protocols.any(|protocol| protocol.is_grpc()),
            ..Self::default()
        }
    }

    /// What stands behind the scheme: an upstream's name, or a variable that has one.
    pub(super) fn upstream(&mut self, forward: &Forward) -> String {
        let stable = forward.upstream.as_ref().map(ToString::to_string);
        let mut otherwise = stable.unwrap_or_else(|| {
            self.needs_none |= !forward.canaries.is_empty();
            NONE.to_owned()
        });
        for CanaryForward { canary, upstream } in forward.canaries.iter().rev() {
            if let Canary::Cookie(name, _) = canary {
                self.canary_cookies.insert(name.clone());
            }
            let (source, value) = sign(canary);
            let name = hash::hex16(format!("{source} {value:?} {upstream} {otherwise}").as_bytes());
            let variable = format!("$canary_{}", &name[..8]);
            let value = value.map_or_else(String::new, |value| value.to_string());
            self.canaries.insert(variable.clone(), (source, otherwise, value, upstream.to_string()));
            otherwise = variable;
        }
        otherwise
    }

    /// The zone in which a route's clients are counted: its own, whatever its hosts are.
    pub(super) fn zone(&mut self, rate: RateLimit, path: &PathPrefix, forward: &Forward) -> String {
        let canaries = forward.canaries.iter().map(|canary| &canary.upstream);
        let upstreams: Vec<_> = forward.upstream.iter().chain(canaries).map(UpstreamName::as_str).collect();
        let name = format!("rate_{}", &hash::hex16(format!("{} {path}", upstreams.join(" ")).as_bytes())[..8]);
        self.zones.insert(name.clone(), rate);
        name
    }

    /// Lines for the http context.
    pub(super) fn lines(&self, options: &Options) -> Vec<String> {
        let zone = |(name, rate): (&String, &RateLimit)| {
            format!("limit_req_zone $binary_remote_addr zone={name}:1m rate={}r/s;", rate.per_second)
        };
        let mut lines: Vec<_> = self.zones.iter().map(zone).collect();
        if !lines.is_empty() {
            lines.push("limit_req_status 429;".to_owned());
            lines.push("limit_req_log_level info;".to_owned());
        }
        if self.grpc {
            lines.extend(directives::unsaid(grpc::http(options), &options.http_options));
        }
        lines
    }

    /// Blocks for the http context.
    pub(super) fn blocks(&self) -> Vec<Block> {
        let cookies = self.cookies.iter().map(|cookie| Block {
            head: format!("map {} {}", value_of(cookie), sticky(cookie)),
            // Without the cookie each request is one of its own.
            lines: vec![format!("default {};", value_of(cookie)), "\"\" $request_id;".to_owned()],
        });
        let canaries = self.canaries.iter().map(|(variable, (source, otherwise, value, upstream))| Block {
            head: format!("map {source} {variable}"),
            lines: match value.as_str() {
                "" => vec![format!("default {upstream};"), format!("\"\" {otherwise};")],
                value => {
                    let escape = if MAP_WORDS.contains(&value) { "\\" } else { "" };
                    vec![format!("default {otherwise};"), format!("\"{escape}{value}\" {upstream};")]
                }
            },
        });
        let none = [
            Block::new(&format!("upstream {NONE}"), vec![format!("server {NONE_ADDRESS};")]),
            Block::new(
                "server",
                vec![
                    format!("listen {NONE_ADDRESS} default_server;"),
                    "server_name _;".to_owned(),
                    "access_log off;".to_owned(),
                    format!("return 503 \"{}\\n\";", NO_TASK),
                ],
            ),
        ];
        self.cookies
            .union(&self.canary_cookies)
            .filter_map(finding)
            .chain(cookies)
            .chain(canaries)
            .chain(none.into_iter().filter(|_| self.needs_none))
            .chain(self.grpc.then(grpc::codes))
            .collect()
    }
}

/// The variable with what a cookie's value is, or something else for each request without it. Its name is short whatever the cookie's is.
pub(super) fn sticky(cookie: &CookieName) -> String {
    format!("$sticky_{}", short(cookie))
}

/// The variable with the value of a cookie that a request carries.
///
/// NGINX has variables for names of letters, digits and `_`, and would silently take `$cookie_connect` for `connect.sid`. Other cookies are
/// [found](finding) in the header.
fn value_of(cookie: &CookieName) -> String {
    if is_plain(cookie) { format!("$cookie_{cookie}") } else { format!("$cookie_value_{}", short(cookie)) }
}

/// The map that finds a cookie in the header, if NGINX has no variable for it.
///
/// A name has letters, digits, `_`, `-` and `.` only. Of these the point alone means something to a regular expression.
fn finding(cookie: &CookieName) -> Option<Block> {
    let hash = short(cookie);
    let name = cookie.as_str().replace('.', "[.]");
    let found = format!("\"~(?:^|;) *{name}=(?<cookie_{hash}>[^;]*)\" $cookie_{hash};");
    let lines = || vec!["default \"\";".to_owned(), found];
    (!is_plain(cookie)).then(|| Block::new(&format!("map $http_cookie {}", value_of(cookie)), lines()))
}

fn is_plain(cookie: &CookieName) -> bool {
    cookie.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn short(cookie: &CookieName) -> String {
    hash::hex16(cookie.as_str().as_bytes())[..8].to_owned()
}

/// What is said to applications about where clients came in: the port that they know, and the scheme. Who is trusted knows better.
pub(super) fn clients(proxy: &ProxySettings) -> Vec<Block> {
    let (plain, tls) = (proxy.published_port, proxy.published_ssl_port);
    let believed = proxy.believed();
    if believed.is_empty() {
        return vec![
            Block::new("map $scheme $published_port", vec![format!("default {plain};"), format!("https {tls};")]),
            Block::new("map $scheme $client_scheme", vec!["default $scheme;".to_owned()]),
            Block::new("map $http_host $client_host", vec!["default $upstream_host;".to_owned()]),
        ];
    }
    let networks = believed.iter().map(|network| format!("{network} 1;"));
    let trusted = ["default 0;".to_owned()].into_iter().chain(networks).collect();
    let scheme = ["default $scheme;", "1http http;", "1https https;"].map(str::to_owned).to_vec();
    // What somebody who is trusted says, and otherwise what is seen here. Where it says another scheme and no port, it has the usual one.
    let said = |what: &str| {
        Block::new(
            &format!("map $is_trusted $said_{what}"),
            vec!["default \"\";".to_owned(), format!("1 $http_x_forwarded_{what};")],
        )
    };
    let seen = vec![
        format!("default {plain};"),
        format!("httpshttps {tls};"),
        "httphttps 443;".to_owned(),
        "httpshttp 80;".to_owned(),
    ];
    vec![
        Block::new("geo $realip_remote_addr $is_trusted", trusted),
        Block::new("map $is_trusted$http_x_forwarded_proto $client_scheme", scheme),
        Block::new("map $scheme$client_scheme $seen_port", seen),
        said("port"),
        Block::new("map $said_port $published_port", vec!["default $said_port;".into(), "\"\" $seen_port;".into()]),
        said("host"),
        Block::new("map $said_host $client_host", vec!["default $said_host;".into(), "\"\" $upstream_host;".into()]),
    ]
}

/// The variable that has what a request carries, and the value that it must have.
fn sign(canary: &Canary) -> (String, Option<&Token>) {
    match canary {
        Canary::Header(name, value) => (format!("$http_{}", name.variable()), value.as_ref()),
        Canary::Cookie(name, value) => (value_of(name), value.as_ref()),
    }
}
