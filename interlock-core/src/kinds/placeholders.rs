//! The same config with other names.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::labels::options::{HeaderEdit, RouteOptions};
use crate::proxy_config::{
    CanaryForward, Forward, ProxyConfig, ProxySettings, Server, Tls, Upstream, UpstreamName, VirtualHost,
};
use crate::routes::model::Certificate;
use crate::units::{HostPattern, PathPrefix, SecretName};

/// The config with what comes from a label's text replaced, one to one and in the same order, by something harmless. What holds numbers and
/// words of letters and digits alone stays.
pub(super) fn twin(config: &ProxyConfig) -> ProxyConfig {
    let names: BTreeMap<&UpstreamName, UpstreamName> =
        config.upstreams.keys().enumerate().map(|(i, name)| (name, UpstreamName::harmless(i))).collect();
    let host = |(i, pattern): (usize, &HostPattern)| match pattern {
        HostPattern::Exact(_) => format!("h{i:09}.example"),
        HostPattern::Wildcard(_) => format!("*.h{i:09}.example"),
    };
    let hosts = config.virtual_hosts.values().chain(&config.default);
    let paths: BTreeSet<_> = hosts.flat_map(|host| host.locations.keys()).filter(|path| !path.is_root()).collect();
    let names = Names { upstreams: names, paths: paths.into_iter().enumerate().map(|(i, path)| (path, i)).collect() };
    let numbered = config.virtual_hosts.iter().enumerate();
    ProxyConfig {
        cluster: config.cluster.clone(),
        revision: config.revision.clone(),
        // Where it is a service's path as well, it stays that.
        proxy: ProxySettings {
            health_path: config.proxy.health_path.as_ref().and_then(|path| names.path(path).parse().ok()),
            ..config.proxy.clone()
        },
        virtual_hosts: numbered
            .filter_map(|(i, (p, serves))| Some((host((i, p)).parse().ok()?, virtual_host(serves, &names).into())))
            .collect(),
        default: config.default.as_ref().map(|serves| virtual_host(serves, &names).into()),
        upstreams: config
            .upstreams
            .iter()
            .filter_map(|(name, upstream)| {
                Some((names.upstreams.get(name)?.clone(), harmless_upstream(upstream).into()))
            })
            .collect(),
    }
}

/// What stands for what. Equal names stay equal and different ones different: some of what is rendered is shared by equal ones.
struct Names<'a> {
    upstreams: BTreeMap<&'a UpstreamName, UpstreamName>,
    paths: BTreeMap<&'a PathPrefix, usize>,
}

impl Names<'_> {
    fn path(&self, path: &PathPrefix) -> String {
        match self.paths.get(path) {
            Some(i) => format!("/p{i:09}"),
            None => path.as_str().to_owned(),
        }
    }
}

fn virtual_host(host: &VirtualHost, names: &Names<'_>) -> VirtualHost {
    let redirect = "https://h.example".parse().ok();
    VirtualHost {
        locations: host
            .locations
            .iter()
            .filter_map(|(path, it)| Some((names.path(path).parse().ok()?, forward(it, path, names))))
            .collect(),
        tls: match &host.tls {
            Tls::None => Tls::None,
            Tls::Terminated(Certificate { certificate, key }) => {
                let one = harmless_secret("c");
                let key = if certificate == key { one.clone() } else { harmless_secret("k") };
                match (one, key) {
                    (Some(certificate), Some(key)) => Tls::Terminated(Certificate { certificate, key }),
                    _ => Tls::None,
                }
            }
            Tls::Passthrough(upstream) => {
                Tls::Passthrough(upstream.as_ref().and_then(|name| names.upstreams.get(name)).cloned())
            }
        },
        redirect_http: redirect.clone().filter(|_| host.redirect_http.is_some()),
        redirect_https: redirect.filter(|_| host.redirect_https.is_some()),
    }
}

fn forward(forward: &Forward, path: &PathPrefix, names: &Names<'_>) -> Forward {
    let canary = |it: &CanaryForward| {
        // What a canary is known by has no character that could do harm.
        Some(CanaryForward { canary: it.canary.clone(), upstream: names.upstreams.get(&it.upstream)?.clone() })
    };
    Forward {
        rewrite: forward.rewrite,
        upstream: forward.upstream.as_ref().and_then(|name| names.upstreams.get(name)).cloned(),
        canaries: forward.canaries.iter().filter_map(canary).collect(),
        options: options(&forward.options, path, names),
    }
}

/// Endpoints keep what they have to do with their path: they are it, are below it, or are elsewhere.
fn options(options: &RouteOptions, path: &PathPrefix, names: &Names<'_>) -> RouteOptions {
    let own = names.path(path);
    let endpoint = |(n, endpoint): (usize, &PathPrefix)| {
        let below = path.is_root() && !endpoint.is_root()
            || endpoint.as_str().strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('/'));
        let text = match () {
            () if endpoint == path => own.clone(),
            () if below => format!("{}/e{n:09}", own.trim_end_matches('/')),
            () => format!("/e{n:09}"),
        };
        text.parse().ok()
    };
    RouteOptions {
        ssl_backend_ca: options.ssl_backend_ca.as_ref().and_then(|_| harmless_secret("a")),
        websocket_endpoints: Arc::new(options.websocket_endpoints.iter().enumerate().filter_map(endpoint).collect()),
        basic_auth: options.basic_auth.as_ref().and_then(|_| harmless_secret("u")),
        request_headers: Arc::new(headers(&options.request_headers)),
        response_headers: Arc::new(headers(&options.response_headers)),
        ..options.clone()
    }
}

fn headers(edits: &[HeaderEdit]) -> Vec<HeaderEdit> {
    let edit = |(i, edit): (usize, &HeaderEdit)| {
        let value = edit.value.as_ref().and_then(|_| "v".parse().ok());
        Some(HeaderEdit { name: format!("H{i:09}").parse().ok()?, value })
    };
    edits.iter().enumerate().filter_map(edit).collect()
}

fn harmless_secret(kind: &str) -> Option<SecretName> {
    kind.parse().ok()
}

fn harmless_upstream(upstream: &Upstream) -> Upstream {
    let servers = upstream.servers.iter();
    let server = |server: &Server| Server { address: SocketAddr::from(([127, 0, 0, 1], 1)), ..server.clone() };
    Upstream { servers: servers.map(server).collect(), balance: upstream.balance.clone(), ..*upstream }
}
