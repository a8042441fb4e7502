//! Headers: what applications are told about clients, and what clients get besides an application's own.

use std::sync::LazyLock;

use ipnet::IpNet;
use serde::Serialize;

use crate::labels::options::{BackendProtocol, HeaderEdit};
use crate::proxy_config::ProxySettings;
use crate::settings::nginx::Options;
use crate::units::PathPrefix;

/// What all requests are told, whatever the labels say.
const FOR_ALL: &str = include_str!("../../../templates/nginx/request_headers.hbs");

/// The beginning of its lines with a header that this proxy sets or removes.
const LINE: &str = "{{module}}_set_header ";

/// Headers by which a proxy in front of this one says who it let in, or who its client is. They are for those who are trusted to set.
const VOUCHED: &[&str] = &["Remote-User", "True-Client-IP", "X-Client-IP", "X-Forwarded-User", "X-Remote-User"];

/// An empty value.
const NONE: &str = "\"\"";

/// Where clients came in, and who is trusted to know that better.
#[derive(Serialize)]
pub(super) struct Clients {
    /// The ports that clients see.
    port: u16,
    ssl_port: u16,
    trusted: Vec<IpNet>,
    nobody_is_trusted: bool,
    /// The headers that are for somebody who is trusted to set, as they stand in names of variables.
    vouched: Vec<String>,
}

impl Clients {
    pub(super) fn of(proxy: &ProxySettings) -> Self {
        let trusted = proxy.believed();
        let vouched = VOUCHED.iter().filter(|_| !trusted.is_empty());
        Self {
            port: proxy.published_port,
            ssl_port: proxy.published_ssl_port,
            nobody_is_trusted: trusted.is_empty(),
            vouched: vouched.map(|name| variable(name)).collect(),
            trusted,
        }
    }
}

fn variable(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

/// A header, with its value as NGINX reads it; without one it is removed.
#[derive(Serialize)]
struct Header<'a> {
    name: &'a str,
    value: Option<String>,
}

impl Header<'_> {
    fn size(&self) -> usize {
        2 * self.name.len() + self.value.as_ref().map_or(0, String::len)
    }
}

/// All headers of requests, for all locations or for one that has some of its own: nginx takes none from outside then.
#[derive(Serialize)]
pub(super) struct RequestHeaders<'a> {
    /// NGINX's module, by which the names of its directives begin: `proxy` or `grpc`.
    module: &'static str,
    /// Whether the protocol has headers by which a connection is upgraded.
    upgrades: bool,
    /// What is removed from the path.
    forwarded_prefix: &'a str,
    vouched: Vec<Header<'a>>,
    /// Where the operator has names with underscores accepted, each name has others that applications take for the same: CGI, WSGI and
    /// Rack know no difference between `-` and `_`. Otherwise nginx drops them by itself.
    spellings: &'static [String],
    edits: Vec<Header<'a>>,
}

impl<'a> RequestHeaders<'a> {
    /// For all locations.
    pub(super) fn for_all(options: &Options, proxy: &ProxySettings) -> Self {
        Self::of((options, proxy), BackendProtocol::Http, None, &[])
    }

    /// For one location. `cut`: what is removed from the path.
    pub(super) fn of(
        (options, proxy): (&Options, &ProxySettings),
        protocol: BackendProtocol,
        cut: Option<&'a PathPrefix>,
        edits: &'a [HeaderEdit],
    ) -> Self {
        let is_trusted = !proxy.believed().is_empty();
        // What the service sets or removes by itself is not said by anybody else, too.
        let vouched = VOUCHED.iter().map(|name| {
            let is_edited = edits.iter().any(|edit| edit.name.as_str().eq_ignore_ascii_case(name));
            let said = if is_trusted && !is_edited { format!("$said_{}", variable(name)) } else { NONE.to_owned() };
            Header { name, value: Some(said) }
        });
        let edits = edits.iter().map(|HeaderEdit { name, value }| {
            let value = value.as_ref().map_or_else(|| NONE.to_owned(), |value| quoted(value.as_str()));
            Header { name: name.as_str(), value: Some(value) }
        });
        Self {
            module: module(protocol),
            upgrades: !protocol.is_grpc(),
            forwarded_prefix: cut.map_or(NONE, PathPrefix::as_str),
            vouched: vouched.collect(),
            spellings: if options.underscores_in_headers { &SPELLINGS } else { &[] },
            edits: edits.collect(),
        }
    }

    /// How many bytes its template makes of it at most, inside of a location.
    pub(super) fn size(&self) -> usize {
        const AROUND: usize = 36;
        let Self { module: _, upgrades: _, forwarded_prefix, vouched, spellings, edits } = self;
        let headers = vouched.iter().chain(edits).map(|it| AROUND + it.size()).sum::<usize>();
        let spellings = spellings.iter().map(|it| AROUND + it.len()).sum::<usize>();
        *OF_ALL + forwarded_prefix.len() + headers + spellings
    }
}

/// What all requests are told comes to, with blanks in front.
static OF_ALL: LazyLock<usize> =
    LazyLock::new(|| FOR_ALL.lines().filter(|line| line.starts_with(LINE)).map(|line| line.len() + 8).sum());

/// Other spellings of the names that this proxy sets or removes.
static SPELLINGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let names = FOR_ALL.lines().filter_map(|line| line.strip_prefix(LINE)?.split_whitespace().next());
    names.chain(VOUCHED.iter().copied()).filter(|name| name.contains('-')).flat_map(spellings).collect()
});

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

/// All headers of answers, for a location that has some of its own.
#[derive(Serialize)]
pub(super) struct ResponseHeaders<'a> {
    /// What serves, where clients are told about the proxy.
    server_info: Option<&'static str>,
    /// How long browsers shall use HTTPS alone, in seconds.
    hsts: Option<String>,
    edits: Vec<Header<'a>>,
}

impl<'a> ResponseHeaders<'a> {
    pub(super) fn of(options: &Options, hsts: Option<u32>, edits: &'a [HeaderEdit]) -> Self {
        let edits = edits.iter().map(|HeaderEdit { name, value }| {
            let value = value.as_ref().map(|value| quoted(value.as_str()));
            Header { name: name.as_str(), value }
        });
        let hsts = hsts.map(|seconds| seconds.to_string());
        Self { server_info: server_info(options), hsts, edits: edits.collect() }
    }

    /// How many bytes its template makes of it at most, inside of a location.
    pub(super) fn size(&self) -> usize {
        const INFO: usize = 280;
        const HSTS: usize = 160;
        const AROUND: usize = 70;
        let Self { server_info, hsts, edits } = self;
        let edits = edits.iter().map(|it| AROUND + it.size()).sum::<usize>();
        server_info.map_or(0, |_| INFO) + hsts.as_ref().map_or(0, |_| HSTS) + edits
    }
}

/// What clients are told about the proxy, unless the operator does not want that.
pub(super) fn server_info(options: &Options) -> Option<&'static str> {
    (!options.hide_info_headers).then_some(concat!("interlock/", env!("CARGO_PKG_VERSION")))
}

/// NGINX's module for a protocol, by which the names of its directives begin.
pub(super) fn module(protocol: BackendProtocol) -> &'static str {
    if protocol.is_grpc() { "grpc" } else { "proxy" }
}

/// Values hold neither a backslash nor a `$`.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::super::rendered;
    use super::*;
    use crate::settings::Extension;

    #[test]
    fn each_name_of_the_template_is_known_in_its_other_spellings() {
        let names = FOR_ALL.lines().filter(|line| line.starts_with(LINE)).count();
        assert_eq!(names, 27, "the template was changed, or is read in another way");
        for spelling in ["X_Real_IP", "X-Forwarded_For", "X_Url_Scheme", "Remote_User", "X_Request-ID"] {
            assert!(SPELLINGS.iter().any(|it| it == spelling), "{spelling}");
        }
        assert!(!SPELLINGS.iter().any(|it| it == "X-Real-IP" || it == "Host"));
    }

    /// Nobody is trusted then, and no variable says so.
    #[test]
    fn who_is_trusted_may_be_nobody_without_the_overlays() {
        let network: IpNet = "10.0.1.0/24".parse().unwrap();
        let extension = Extension { trusted_proxies: vec![network], ..Extension::new("") };
        let outside = ProxySettings::of(&extension, None, None);
        let inside = ProxySettings { overlays: vec![network], ..outside.clone() };
        for (proxy, is_trusted) in [(outside, true), (inside, false)] {
            let text = rendered(&Options::default(), &proxy);
            assert_eq!(text.contains("geo $realip_remote_addr $is_trusted"), is_trusted, "{text}");
            assert_eq!(text.contains("$is_trusted $said_"), is_trusted, "{text}");
            assert_eq!(text.contains(" $said_"), is_trusted, "{text}");
        }
    }
}
