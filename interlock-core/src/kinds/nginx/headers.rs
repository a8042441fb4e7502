//! Headers: what applications are told about clients, and what clients get besides an application's own.

use super::block::Block;
use crate::labels::options::{BackendProtocol, HeaderEdit};
use crate::proxy_config::ProxySettings;
use crate::settings::nginx::Options;
use crate::units::PathPrefix;

/// What applications are told about the client is what this proxy saw, never what the client said.
pub(super) const SET: &[(&str, &str)] = &[
    ("Host", "$upstream_host"),
    ("Connection", "$upstream_connection"),
    ("Upgrade", "$upstream_upgrade"),
    ("X-Real-IP", "$remote_addr"),
    ("X-Forwarded-For", "$remote_addr"),
    ("X-Forwarded-Proto", "$client_scheme"),
    ("X-Forwarded-Host", "$client_host"),
    ("X-Forwarded-Port", "$published_port"),
    ("X-Request-ID", "$request_id"),
];

/// Headers by which applications know who asked, for what and how, and which nobody but a proxy may set. Those that this proxy does not
/// set itself are removed from what clients send. Headers of a content delivery network (`CF-Connecting-IP`) are for it to set.
pub(super) const CLEARED: &[&str] = &[
    "Forwarded",
    "Front-End-Https",
    "Proxy",
    "X-Accel-Mapping",
    "X-Accel-Redirect",
    "X-Forwarded-Prefix",
    "X-Forwarded-Protocol",
    "X-Forwarded-Scheme",
    "X-Forwarded-Server",
    "X-Forwarded-Ssl",
    "X-Original-Forwarded-For",
    "X-Original-Host",
    "X-Original-Method",
    "X-Original-URI",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Sendfile-Type",
    "X-Url-Scheme",
];

/// Headers by which a proxy in front of this one says who it let in, or who its client is. They are for those who are trusted to set.
pub(super) const VOUCHED: &[&str] =
    &["Remote-User", "True-Client-IP", "X-Client-IP", "X-Forwarded-User", "X-Remote-User"];

/// The lines for all requests.
pub(super) fn for_all(options: &Options, proxy: &ProxySettings) -> Vec<String> {
    lines("proxy", |_| true).chain(vouched("proxy", proxy, &[])).chain(aliases("proxy", options)).collect()
}

/// What somebody who is trusted says, in maps for the http context.
pub(super) fn blocks(proxy: &ProxySettings) -> impl Iterator<Item = Block> + '_ {
    VOUCHED.iter().filter(|_| !proxy.trusted_proxies.is_empty()).map(|name| {
        let lines = vec!["default \"\";".to_owned(), format!("1 $http_{};", variable(name))];
        Block::new(&format!("map $is_trusted $said_{}", variable(name)), lines)
    })
}

fn variable(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

/// What the service sets or removes by itself is not said by anybody else, too.
fn vouched<'a>(program: &'a str, proxy: &ProxySettings, edits: &'a [HeaderEdit]) -> impl Iterator<Item = String> + 'a {
    let is_trusted = !proxy.trusted_proxies.is_empty();
    VOUCHED.iter().map(move |name| {
        let is_edited = edits.iter().any(|edit| edit.name.as_str().eq_ignore_ascii_case(name));
        let value = if is_trusted && !is_edited { format!("$said_{}", variable(name)) } else { "\"\"".to_owned() };
        format!("{program}_set_header {name} {value}")
    })
}

/// Where the operator has names with underscores accepted, each name above has others that applications take for the same: CGI, WSGI and
/// Rack know no difference between `-` and `_`. Otherwise nginx drops them by itself.
fn aliases<'a>(program: &'a str, options: &Options) -> impl Iterator<Item = String> + 'a {
    let names = SET.iter().map(|(name, _)| *name).chain(CLEARED.iter().chain(VOUCHED).copied());
    let names = names.filter(|name| name.contains('-')).filter(move |_| options.underscores_in_headers);
    names
        .collect::<Vec<_>>()
        .into_iter()
        .flat_map(spellings)
        .map(move |name| format!("{program}_set_header {name} \"\""))
}

/// All ways to write a name with `_` in the place of some of its hyphens.
fn spellings(name: &str) -> Vec<String> {
    let mut spellings = vec![String::new()];
    for c in name.chars() {
        let with = |c: char| spellings.iter().map(move |spelling| format!("{spelling}{c}"));
        spellings = if c == '-' { with('-').chain(with('_')).collect() } else { with(c).collect() };
    }
    spellings.retain(|spelling| spelling != name);
    spellings
}

fn lines(program: &str, kept: impl Fn(&str) -> bool) -> impl Iterator<Item = String> {
    let set = SET.iter().filter(move |(name, _)| kept(name));
    let set = set.map(move |(name, value)| format!("{program}_set_header {name} {value}"));
    set.chain(CLEARED.iter().map(move |name| format!("{program}_set_header {name} \"\"")))
}

/// All lines for a location that has some of its own: nginx takes none from outside then. `cut`: what is removed from the path, for
/// applications that make links.
pub(super) fn request(
    (options, proxy): (&Options, &ProxySettings),
    protocol: BackendProtocol,
    cut: Option<&PathPrefix>,
    edits: &[HeaderEdit],
) -> Vec<String> {
    let grpc = protocol.is_grpc();
    let program = if grpc { "grpc" } else { "proxy" };
    let vouched = vouched(program, proxy, edits);
    let edits = edits.iter().map(|HeaderEdit { name, value }| {
        let value = value.as_ref().map_or(String::new(), |value| escaped(value.as_str()));
        format!("{program}_set_header {name} \"{value}\"")
    });
    // HTTP/2 has neither of the two.
    let lines = lines(program, |name| !grpc || !matches!(name, "Connection" | "Upgrade"));
    let lines = lines.map(|line| match cut {
        Some(path) if line.contains(" X-Forwarded-Prefix ") => {
            format!("{program}_set_header X-Forwarded-Prefix {path}")
        }
        _ => line,
    });
    lines.chain(vouched).chain(aliases(program, options)).chain(edits).collect()
}

/// All lines for a location that has some of its own. What is set replaces what the application says.
pub(super) fn response(program: &str, info: &[String], hsts: Option<u32>, edits: &[HeaderEdit]) -> Vec<String> {
    let mut lines: Vec<_> = info.iter().map(|header| format!("add_header {header}")).collect();
    let hide = |name: &str| format!("{program}_hide_header {name}");
    if let Some(seconds) = hsts {
        lines.push(hide("Strict-Transport-Security"));
        lines.push(format!("add_header Strict-Transport-Security max-age={seconds} always"));
    }
    for HeaderEdit { name, value } in edits {
        lines.push(hide(name.as_str()));
        lines.extend(value.as_ref().map(|value| format!("add_header {name} \"{}\" always", escaped(value.as_str()))));
    }
    lines
}

/// For between double quotes. Values hold neither a backslash nor a `$`.
fn escaped(value: &str) -> String {
    value.replace('"', "\\\"")
}
