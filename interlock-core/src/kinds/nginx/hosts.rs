//! Hosts: what is decided about each, and its text.

use std::rc::Rc;
use std::sync::Arc;

use ipnet::IpNet;

use super::headers::{self, RequestHeaders, ResponseHeaders};
use super::helpers::Helpers;
use super::limits::Refused;
use super::listen::Listen;
use super::location::{self, Answer, Endpoint, Location, NO_TASK};
use super::rules::{Access, BackendTls, Grpc, Rate, Rules};
use super::section::{Printed, Section};
use super::servers::{ClosedServer, HttpServer, Server, TlsServer};
use super::settings::time;
use super::{NOT_CLIENTS, print};
use crate::kinds::RenderError;
use crate::labels::options::TimeSpan;
use crate::proxy_config::{Forward, ProxySettings, Tls, UpstreamName, VirtualHost};
use crate::routes::model::Certificate;
use crate::settings::nginx::Options;
use crate::units::{HostPattern, PathPrefix, overlap};

/// The name of servers for hosts that no service names.
const OTHERS: &str = "_";
const NO_ROUTE: &str = "503 Service Unavailable: no service answers for this host";
const NO_HTTP: &str = "503 Service Unavailable: this host is served over TLS alone";
const NO_PATH: &str = "503 Service Unavailable: no service answers for this path";

/// Where a request came in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// What all servers are made with.
#[derive(Clone, Copy)]
pub(super) struct Shared<'s, 'a> {
    pub(super) listen: &'s Listen,
    pub(super) options: &'a Options,
    pub(super) proxy: &'a ProxySettings,
}

/// A host's servers as text, and what they need in the http context.
pub(super) struct HostText {
    /// One for HTTP, and one for HTTPS if TLS ends here.
    pub(super) servers: Vec<Arc<str>>,
    pub(super) needs: Helpers,
}

/// Renders the servers of one host. The text depends on nothing but these values.
pub(super) fn render(
    shared: Shared<'_, '_>,
    pattern: &HostPattern,
    host: &VirtualHost,
) -> Result<HostText, RenderError> {
    let mut needs = Helpers::default();
    let servers = Maker { shared, helpers: &mut needs }.host(pattern, host);
    let print = |server: &Server<'_>| {
        let text = print(server.template(), server)?;
        debug_assert!(
            text.len() <= server.size(),
            "{} bytes, and {} were the most:\n{text}",
            text.len(),
            server.size()
        );
        Ok(text.into())
    };
    Ok(HostText { servers: servers.iter().map(print).collect::<Result<_, RenderError>>()?, needs })
}

/// Decides what servers have.
pub(super) struct Maker<'m, 'a> {
    pub(super) shared: Shared<'m, 'a>,
    pub(super) helpers: &'m mut Helpers,
}

impl<'a> Maker<'_, 'a> {
    /// The servers of a host with anything of its own: one for HTTP, and one for HTTPS if TLS ends here.
    pub(super) fn host(&mut self, pattern: &'a HostPattern, host: &'a VirtualHost) -> Vec<Server<'a>> {
        let name = || pattern.to_string();
        // Plain HTTP for a host whose TLS is passed through is there for redirects alone; but nobody else may answer either.
        let nothing = host.locations.is_empty() && host.redirect_http.is_none();
        let locations = match host.tls {
            Tls::Passthrough(_) if nothing => vec![Answer::page(NO_HTTP).at("/")],
            _ => self.locations(Some(pattern), host, Scheme::Http),
        };
        let mut servers = vec![self.http(name(), host, self.with_health(locations))];
        if let Tls::Terminated(certificate) = &host.tls {
            let locations = self.locations(Some(pattern), host, Scheme::Https);
            servers.push(self.tls(name(), host, certificate, self.with_health(locations)));
        }
        servers
    }

    fn http(&self, name: String, host: &VirtualHost, locations: Vec<Location<'a>>) -> Server<'a> {
        let ProxySettings { port, proxy_protocol, .. } = *self.shared.proxy;
        let refused = Refused::of(host).server;
        Server::Http(HttpServer { port, proxy_protocol, name, refused, locations: Section::of(locations) })
    }

    fn tls(
        &self,
        name: String,
        host: &VirtualHost,
        Certificate { certificate, key }: &'a Certificate,
        locations: Vec<Location<'a>>,
    ) -> Server<'a> {
        let (refused, locations) = (Refused::of(host).server, Section::of(locations));
        let listen = self.shared.listen.https(name == OTHERS);
        Server::Tls(TlsServer { listen, name, certificate, key, refused, locations })
    }

    /// The servers for hosts that no service names.
    pub(super) fn default_servers(&mut self, host: &'a VirtualHost) -> Vec<Server<'a>> {
        let locations = self.default_http(Some(host));
        vec![self.http(OTHERS.to_owned(), host, locations), self.default_https(Some(host))]
    }

    /// What is done with HTTP requests for hosts that no service names.
    pub(super) fn default_http(&mut self, host: Option<&'a VirtualHost>) -> Vec<Location<'a>> {
        let locations = match host {
            Some(host) => self.locations(None, host, Scheme::Http),
            None => vec![Answer::page(NO_ROUTE).at("/")],
        };
        self.with_health(locations)
    }

    /// The server for TLS connections to hosts that no service names, and for requests in a connection to another host.
    pub(super) fn default_https(&mut self, host: Option<&'a VirtualHost>) -> Server<'a> {
        if let Some(host) = host
            && let Tls::Terminated(certificate) = &host.tls
        {
            let locations = self.locations(None, host, Scheme::Https);
            return self.tls(OTHERS.to_owned(), host, certificate, self.with_health(locations));
        }
        let listen = self.shared.listen.https(true);
        Server::Closed(ClosedServer { listen, names: vec![OTHERS.to_owned()] })
    }

    /// The server for hosts whose TLS connections do not end here: they are closed, and who asks for one of these hosts inside a connection to
    /// another is told so.
    pub(super) fn closed(&self, hosts: &[&'a HostPattern]) -> Server<'a> {
        let names = hosts.iter().map(ToString::to_string).collect();
        Server::Closed(ClosedServer { listen: self.shared.listen.https(false), names })
    }

    /// With the place where balancers ask, instead of a service's own.
    fn with_health(&self, mut locations: Vec<Location<'a>>) -> Vec<Location<'a>> {
        let health = self.shared.proxy.health_path.as_ref().map(Location::health);
        locations.retain(|location| health.as_ref().is_none_or(|health| health.r#match() != location.r#match()));
        locations.extend(health);
        locations
    }

    fn locations(
        &mut self,
        pattern: Option<&'a HostPattern>,
        host: &'a VirtualHost,
        scheme: Scheme,
    ) -> Vec<Location<'a>> {
        let redirect = if scheme == Scheme::Http { &host.redirect_http } else { &host.redirect_https };
        if let Some(target) = redirect {
            return vec![Answer::site(302, target.to_string()).at("/")];
        }
        let mut locations = Vec::new();
        for (path, forward) in &host.locations {
            locations.extend(self.path(pattern, host, (path, forward), scheme));
        }
        if !host.locations.keys().any(PathPrefix::is_root) {
            locations.push(Answer::page(NO_PATH).at("/"));
        }
        if host.locations.values().any(|forward| forward.options.backend_protocol.is_grpc()) {
            locations.push(Location::GrpcFailure);
        }
        locations
    }

    /// What the proxy answers by itself to requests for a path, if no task gets them.
    fn answer(&self, pattern: Option<&HostPattern>, forward: &Forward, scheme: Scheme) -> Option<Answer> {
        if scheme == Scheme::Http && forward.options.ssl_only {
            return Some(Answer::site(308, self.shared.listen.https_url(pattern)));
        }
        let unavailable = forward.upstream.is_none() && forward.canaries.is_empty();
        let grpc = forward.options.backend_protocol.is_grpc();
        unavailable.then(|| if grpc { Answer::grpc_failure() } else { Answer::page(NO_TASK) })
    }

    /// A prefix ends where a segment ends: `/app` needs one location for itself and one for what is below it.
    fn path(
        &mut self,
        pattern: Option<&'a HostPattern>,
        host: &'a VirtualHost,
        (path, forward): (&'a PathPrefix, &'a Forward),
        scheme: Scheme,
    ) -> Vec<Location<'a>> {
        if self.answer(pattern, forward, scheme).is_some() {
            let answers = matches(path).into_iter();
            return answers.filter_map(|it| Some(self.answer(pattern, forward, scheme)?.at(it))).collect();
        }
        let options = &forward.options;
        let upstream: Rc<str> = self.helpers.upstream(forward).into();
        let cut = Some(path).filter(|path| forward.rewrite && !path.is_root());
        let rules: Rc<_> = Section::of(self.rules(pattern, (path, forward), scheme)).into();
        let refused = Refused::of(host).locations.filter(|_| !options.raw_paths);
        let below = |place: &str| match cut {
            Some(path) => {
                let prefix = place.strip_prefix("= ").unwrap_or(place);
                prefix.strip_prefix(path.as_str()).unwrap_or(prefix).to_owned()
            }
            None => String::new(),
        };
        let location = |place: String| location::Forward {
            below: below(&place),
            r#match: place,
            refused,
            module: headers::module(options.backend_protocol),
            scheme: options.backend_protocol.as_str(),
            upstream: upstream.clone(),
            rules: rules.clone(),
            endpoints: Vec::new(),
        };
        let mut locations: Vec<_> = matches(path).into_iter().map(location).collect();
        // What lasts long stands once more for each endpoint; all else it has from the location around it.
        let endpoints = &options.websocket_endpoints;
        let elsewhere = |endpoint: &PathPrefix| host.locations.keys().any(|other| decides(other, endpoint, path));
        let own = endpoints.iter().filter(|endpoint| is_below(endpoint, path) && !elsewhere(endpoint));
        let inside = own.flat_map(matches).map(|place| Endpoint { below: below(&place), r#match: place });
        if let Some(last) = locations.last_mut() {
            last.endpoints = inside.collect();
        }
        let mut locations: Vec<_> = locations.into_iter().map(Location::Forward).collect();
        if let Some(path) = cut
            && let Some(itself) = locations.first_mut()
        {
            *itself = Answer::folder(path, refused).at(itself.r#match());
        }
        locations
    }

    /// What a location says besides where requests go, if anything.
    fn rules(
        &mut self,
        pattern: Option<&'a HostPattern>,
        (path, forward): (&'a PathPrefix, &'a Forward),
        scheme: Scheme,
    ) -> Vec<Rules<'a>> {
        let Shared { options: settings, proxy, .. } = self.shared;
        let options = &forward.options;
        let grpc = options.backend_protocol.is_grpc();
        let endpoint = options.websocket_endpoints.contains(path);
        let cut = Some(path).filter(|path| forward.rewrite && !path.is_root());
        let hsts = options.hsts.filter(|_| scheme == Scheme::Https);
        let inside = |overlay: &&IpNet| options.allow.iter().any(|network| overlap(network, overlay));
        let own = |time: Option<TimeSpan>| time.filter(|_| !endpoint).map(|time| time.to_string());
        let has_requests = grpc || cut.is_some() || !options.request_headers.is_empty();
        let has_responses = hsts.is_some() || !options.response_headers.is_empty();
        let rules = Rules {
            module: headers::module(options.backend_protocol),
            access: (!options.allow.is_empty()).then(|| Access {
                overlays: proxy.overlays.iter().filter(inside).collect(),
                not_clients: NOT_CLIENTS,
                allow: &options.allow,
            }),
            users: options.basic_auth.as_ref(),
            rate: options
                .rate_limit
                .map(|rate| Rate { zone: self.helpers.zone(rate, path, forward), burst: rate.burst }),
            max_body_size: options.max_body_size.as_ref().map(ToString::to_string),
            connect_timeout: options.connect_timeout.map(|time| time.to_string()),
            read_timeout: own(options.read_timeout),
            send_timeout: own(options.send_timeout),
            endpoint,
            tls: options.backend_protocol.is_tls().then(|| BackendTls {
                name: match pattern {
                    Some(HostPattern::Exact(host)) => host.as_str(),
                    _ => "$host",
                },
                authorities: options.ssl_backend_ca.as_ref(),
            }),
            grpc: grpc.then(|| Grpc {
                silence: options.read_timeout.map_or_else(|| time(settings.read_timeout), |it| it.to_string()),
            }),
            request: has_requests.then(|| {
                RequestHeaders::of((settings, proxy), options.backend_protocol, cut, &options.request_headers)
            }),
            response: has_responses.then(|| ResponseHeaders::of(settings, hsts, &options.response_headers)),
            compress: options.compress,
        };
        if rules.is_empty() { Vec::new() } else { vec![rules] }
    }
}

/// The places that a path has.
fn matches(path: &PathPrefix) -> Vec<String> {
    if path.is_root() { vec!["/".to_owned()] } else { vec![format!("= {path}"), format!("{path}/")] }
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
