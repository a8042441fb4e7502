//! Servers and locations: what is done with a request, directive by directive.

use ipnet::IpNet;
use serde::Serialize;

use super::block::{Location, NO_TASK, REFUSAL};
use super::helpers::Helpers;
use super::limits::Refused;
use super::listen::Listen;
use super::{NOT_CLIENTS, SECRETS, grpc, headers};
use crate::labels::options::{RouteOptions, TimeSpan};
use crate::proxy_config::{Forward, ProxySettings, Tls, UpstreamName, VirtualHost};
use crate::settings::nginx::Options;
use crate::units::{HostPattern, PathPrefix, overlap};

const NO_ROUTE: &str = "503 Service Unavailable: no service answers for this host";
const NO_HTTP: &str = "503 Service Unavailable: this host is served over TLS alone";
const NO_PATH: &str = "503 Service Unavailable: no service answers for this path";

/// How long a connection of a WebSocket endpoint may be silent.
const WEBSOCKET: &str = "1d";
/// What is compressed besides HTML, which always is.
const COMPRESSED: &str = "text/plain text/css text/xml text/javascript application/javascript application/json application/xml application/manifest+json image/svg+xml";

/// A server of one host on one port.
#[derive(Serialize)]
pub(super) struct Server {
    lines: Vec<String>,
    /// The variable that is not empty for requests that are refused.
    refused: Option<&'static str>,
    locations: Vec<Location>,
}

impl Server {
    /// How many bytes `server.hbs` makes of it.
    pub(super) fn size(&self) -> usize {
        let lines = self.lines.iter().map(|line| line.len() + 10).sum::<usize>();
        20 + REFUSAL + lines + self.locations.iter().map(Location::size).sum::<usize>()
    }

    /// How many locations it has, those inside of others included.
    pub(super) fn locations(&self) -> usize {
        self.locations.iter().map(|location| 1 + location.endpoints.len()).sum()
    }

    /// In how many locations headers are said: where requests go on, but for endpoints.
    pub(super) fn with_headers(&self) -> usize {
        self.locations
            .iter()
            .filter(|location| location.directives.first().is_some_and(|it| it.contains("_pass ")))
            .count()
    }
}

fn unavailable(message: &str) -> String {
    format!("return 503 \"{message}\\n\"")
}

/// Where a request came in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// What all servers are made with.
pub(super) struct Maker<'a> {
    pub(super) listen: &'a Listen,
    pub(super) helpers: &'a mut Helpers,
    pub(super) info_headers: &'a [String],
    pub(super) options: &'a Options,
    pub(super) proxy: &'a ProxySettings,
}

impl Maker<'_> {
    /// The servers of a host with anything of its own: one for HTTP, and one for HTTPS if TLS ends here.
    pub(super) fn host(&mut self, pattern: &HostPattern, host: &VirtualHost) -> Vec<Server> {
        let name = format!("server_name {pattern}");
        let lines = vec![self.listen.http(""), name.clone()];
        // Plain HTTP for a host whose TLS is passed through is there for redirects alone; but nobody else may answer either.
        let nothing = host.locations.is_empty() && host.redirect_http.is_none();
        let locations = match host.tls {
            Tls::Passthrough(_) if nothing => Location::all(unavailable(NO_HTTP)),
            _ => self.locations(Some(pattern), host, Scheme::Http),
        };
        let refused = Some(Refused::of(host).server);
        let mut servers = vec![Server { lines, refused, locations: self.with_health(locations) }];
        if let Tls::Terminated(certificate) = &host.tls {
            let mut lines = self.listen.https("");
            lines.push(name);
            lines.extend(self.listen.certificate(certificate));
            let locations = self.locations(Some(pattern), host, Scheme::Https);
            servers.push(Server { lines, refused, locations: self.with_health(locations) });
        }
        servers
    }

    /// The servers for hosts that no service names, but for what the file says of them itself.
    pub(super) fn default_servers(&mut self, host: &VirtualHost) -> Vec<Server> {
        let plain = Server {
            lines: Vec::new(),
            refused: Some(Refused::of(host).server),
            locations: self.default_http(Some(host)),
        };
        vec![plain, self.default_https(Some(host))]
    }

    /// What is done with HTTP requests for hosts that no service names.
    pub(super) fn default_http(&mut self, host: Option<&VirtualHost>) -> Vec<Location> {
        let locations = match host {
            Some(host) => self.locations(None, host, Scheme::Http),
            None => Location::all(unavailable(NO_ROUTE)),
        };
        self.with_health(locations)
    }

    /// The server for TLS connections to hosts that no service names, and for requests in a connection to another host.
    pub(super) fn default_https(&mut self, host: Option<&VirtualHost>) -> Server {
        let mut lines = self.listen.https(" default_server");
        lines.push("server_name _".to_owned());
        if let Some(host) = host
            && let Tls::Terminated(certificate) = &host.tls
        {
            lines.extend(self.listen.certificate(certificate));
            let refused = Some(Refused::of(host).server);
            let locations = self.locations(None, host, Scheme::Https);
            return Server { lines, refused, locations: self.with_health(locations) };
        }
        lines.push("ssl_reject_handshake on".to_owned());
        Server { lines, refused: None, locations: Location::all("return 421".to_owned()) }
    }

    /// The server for hosts whose TLS connections do not end here, though those to a wildcard or to the default host may: they are closed, and
    /// who asks for one of these hosts inside a connection to another is told so.
    pub(super) fn closed(&self, hosts: &[&HostPattern]) -> Server {
        let mut lines = self.listen.https("");
        lines.extend(hosts.iter().map(|host| format!("server_name {host}")));
        lines.push("ssl_reject_handshake on".to_owned());
        Server { lines, refused: None, locations: Location::all("return 421".to_owned()) }
    }

    /// With the place where balancers ask, instead of a service's own.
    fn with_health(&self, mut locations: Vec<Location>) -> Vec<Location> {
        let health = self.proxy.health_path.as_ref().map(Location::health);
        locations.retain(|location| health.as_ref().is_none_or(|health| health.r#match != location.r#match));
        locations.extend(health);
        locations
    }

    fn locations(&mut self, pattern: Option<&HostPattern>, host: &VirtualHost, scheme: Scheme) -> Vec<Location> {
        let redirect = if scheme == Scheme::Http { &host.redirect_http } else { &host.redirect_https };
        if let Some(target) = redirect {
            return Location::all(format!("return 302 \"{target}$request_uri\""));
        }
        let mut locations = Vec::new();
        for (path, forward) in &host.locations {
            locations.extend(self.path(pattern, host, (path, forward), scheme));
        }
        if !host.locations.keys().any(PathPrefix::is_root) {
            locations.push(Location::new("/", vec![unavailable(NO_PATH)]));
        }
        if host.locations.values().any(|forward| forward.options.backend_protocol.is_grpc()) {
            locations.push(grpc::failure());
        }
        locations
    }

    /// A prefix ends where a segment ends: `/app` needs one location for itself and one for what is below it.
    fn path(
        &mut self,
        pattern: Option<&HostPattern>,
        host: &VirtualHost,
        (path, forward): (&PathPrefix, &Forward),
        scheme: Scheme,
    ) -> Vec<Location> {
        let options = &forward.options;
        let matches = |path: &PathPrefix| {
            if path.is_root() { vec!["/".to_owned()] } else { vec![format!("= {path}"), format!("{path}/")] }
        };
        let answer = if scheme == Scheme::Http && options.ssl_only {
            Some(vec![format!("return 308 \"{}$request_uri\"", self.listen.https_url(pattern))])
        } else if forward.upstream.is_none() && forward.canaries.is_empty() {
            let grpc = options.backend_protocol.is_grpc();
            Some(if grpc { vec![grpc::failures(), "return 503".to_owned()] } else { vec![unavailable(NO_TASK)] })
        } else {
            None
        };
        if let Some(answer) = answer {
            return matches(path).into_iter().map(|r#match| Location::new(r#match, answer.clone())).collect();
        }
        let upstream = self.helpers.upstream(forward);
        let cut = forward.rewrite && !path.is_root();
        let program = format!("{}_pass", program_of(options));
        let endpoints = &options.websocket_endpoints;
        let idle = if endpoints.contains(path) { Some(WEBSOCKET) } else { None };
        let directives = self.directives(pattern, (path, forward), scheme, idle);
        let refused = Refused::of(host).locations.filter(|_| !options.raw_paths);
        let location = |place: &str, more: &[String]| {
            let prefix = place.strip_prefix("= ").unwrap_or(place);
            let below = if cut { prefix.strip_prefix(path.as_str()).unwrap_or(prefix) } else { "" };
            let pass = format!("{program} {}://{upstream}{below}", options.backend_protocol.as_str());
            let directives = [pass].into_iter().chain(more.iter().cloned()).collect();
            Location { refused, ..Location::new(place, directives) }
        };
        let mut locations: Vec<_> = matches(path).iter().map(|place| location(place, &directives)).collect();
        if cut && let Some(itself) = locations.first_mut() {
            itself.directives = vec![format!("return 308 {path}/$is_args$args")];
        }
        // What lasts long stands once more for each endpoint; all else it has from the location around it.
        let elsewhere = |endpoint: &PathPrefix| host.locations.keys().any(|other| decides(other, endpoint, path));
        let own = endpoints.iter().filter(|endpoint| is_below(endpoint, path) && !elsewhere(endpoint));
        let long = ["read", "send"].map(|what| format!("{}_{what}_timeout {WEBSOCKET}", program_of(options)));
        let inside = own.flat_map(matches).map(|place| location(&place, &long));
        if let Some(below) = locations.last_mut() {
            below.endpoints = inside.collect();
        }
        locations
    }

    /// What a location says besides where requests go. `idle`: how long its connections may be silent, whatever the labels
    /// about time say.
    fn directives(
        &mut self,
        pattern: Option<&HostPattern>,
        (path, forward): (&PathPrefix, &Forward),
        scheme: Scheme,
        idle: Option<&str>,
    ) -> Vec<String> {
        let options = &forward.options;
        let grpc = options.backend_protocol.is_grpc();
        let program = program_of(options);
        let mut lines = Vec::new();
        if !options.allow.is_empty() {
            // A location with lines of its own has none of those for all.
            let inside = |overlay: &&IpNet| options.allow.iter().any(|network| overlap(network, overlay));
            lines.extend(self.proxy.overlays.iter().filter(inside).map(|overlay| format!("deny {overlay}")));
            lines.push(format!("include {NOT_CLIENTS}"));
            lines.extend(options.allow.iter().map(|network| format!("allow {network}")));
            lines.push("deny all".to_owned());
        }
        if let Some(users) = &options.basic_auth {
            lines.push("auth_basic \"restricted\"".to_owned());
            lines.push(format!("auth_basic_user_file {SECRETS}/{users}"));
        }
        if let Some(rate) = &options.rate_limit {
            let zone = self.helpers.zone(*rate, path, forward);
            let burst = if rate.burst > 0 { format!(" burst={} nodelay", rate.burst) } else { String::new() };
            lines.push(format!("limit_req zone={zone}{burst}"));
        }
        if let Some(size) = &options.max_body_size {
            lines.push(format!("client_max_body_size {size}"));
        }
        let timeout = |time: &Option<TimeSpan>| time.map(|time| time.to_string());
        let idle = |time| idle.map(str::to_owned).or_else(|| timeout(time));
        let timeouts = [
            ("connect", timeout(&options.connect_timeout)),
            ("read", idle(&options.read_timeout)),
            ("send", idle(&options.send_timeout)),
        ];
        for (name, time) in timeouts {
            lines.extend(time.map(|time| format!("{program}_{name}_timeout {time}")));
        }
        if options.backend_protocol.is_tls() {
            lines.extend(backend_tls(pattern, options, program));
        }
        if grpc {
            lines.extend(grpc::location(self.options, options.read_timeout));
        }
        let cut = Some(path).filter(|path| forward.rewrite && !path.is_root());
        if grpc || cut.is_some() || !options.request_headers.is_empty() {
            lines.extend(headers::request(
                (self.options, self.proxy),
                options.backend_protocol,
                cut,
                &options.request_headers,
            ));
        }
        let hsts = options.hsts.filter(|_| scheme == Scheme::Https);
        if hsts.is_some() || !options.response_headers.is_empty() {
            lines.extend(headers::response(program, self.info_headers, hsts, &options.response_headers));
        }
        if options.compress {
            lines.push("gzip on".to_owned());
            lines.push("gzip_proxied any".to_owned());
            lines.push("gzip_vary on".to_owned());
            lines.push(format!("gzip_types {}", COMPRESSED));
        }
        lines
    }
}

/// What the names of its directives begin with.
fn program_of(options: &RouteOptions) -> &'static str {
    if options.backend_protocol.is_grpc() { "grpc" } else { "proxy" }
}

/// Whether requests for an endpoint are decided about by another path than the one whose label names it.
fn decides(other: &PathPrefix, endpoint: &PathPrefix, path: &PathPrefix) -> bool {
    other != path && is_below(other, path) && (other == endpoint || is_below(endpoint, other))
}

/// Whether a path is longer than another and begins with it.
fn is_below(path: &PathPrefix, other: &PathPrefix) -> bool {
    path != other
        && (other.is_root() || path.as_str().strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with('/')))
}

/// TLS to tasks. Their certificates are not looked at, unless there is something to verify them by.
fn backend_tls(pattern: Option<&HostPattern>, options: &RouteOptions, program: &str) -> Vec<String> {
    let name = match pattern {
        Some(HostPattern::Exact(host)) => host.to_string(),
        _ => "$host".to_owned(),
    };
    let mut lines = vec![
        format!("{program}_ssl_server_name on"),
        format!("{program}_ssl_name {name}"),
        format!("{program}_ssl_protocols TLSv1.2 TLSv1.3"),
    ];
    if let Some(authorities) = &options.ssl_backend_ca {
        lines.push(format!("{program}_ssl_verify on"));
        lines.push(format!("{program}_ssl_verify_depth 4"));
        lines.push(format!("{program}_ssl_trusted_certificate {SECRETS}/{authorities}"));
    }
    lines
}

/// The upstream of a host that sends everything to it and asks for nothing else.
pub(super) fn is_plain(host: &VirtualHost) -> Option<&UpstreamName> {
    let mut locations = host.locations.iter();
    let (Some((path, forward)), None) = (locations.next(), locations.next()) else { return None };
    let plain =
        path.is_root() && forward.canaries.is_empty() && forward.options.is_plain_but_balance() && is_http_only(host);
    forward.upstream.as_ref().filter(|_| plain)
}

/// Whether nothing but HTTP requests come in for a host, and none is sent elsewhere.
pub(super) fn is_http_only(host: &VirtualHost) -> bool {
    host.tls == Tls::None && host.redirect_http.is_none() && host.redirect_https.is_none()
}
