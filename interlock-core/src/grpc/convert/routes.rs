//! Hosts, locations and upstreams.

use super::{Malformed, malformed, text};
use crate::grpc::v1;
use crate::labels::options::{Balance, Canary, RedirectTarget, RouteOptions, TimeSpan};
use crate::proxy_config::{CanaryForward, Forward, Server, Tls, Upstream, UpstreamName, VirtualHost};
use crate::routes::model::{Certificate, Health};
use crate::units::Hashed;

pub(super) fn host_to_wire(host: String, serves: &VirtualHost) -> v1::VirtualHost {
    use v1::virtual_host::Tls as Wire;
    let VirtualHost { locations, tls, redirect_http, redirect_https } = serves;
    let target = |redirect: &Option<RedirectTarget>| redirect.as_ref().map(ToString::to_string).unwrap_or_default();
    v1::VirtualHost {
        host,
        locations: locations.iter().map(|(path, forward)| location_to_wire(path.to_string(), forward)).collect(),
        tls: match tls {
            Tls::None => None,
            Tls::Terminated(Certificate { certificate, key }) => {
                Some(Wire::Certificate(v1::Certificate { certificate: certificate.to_string(), key: key.to_string() }))
            }
            Tls::Passthrough(upstream) => Some(Wire::PassthroughUpstream(optional(upstream.as_ref()))),
        },
        redirect_http: target(redirect_http),
        redirect_https: target(redirect_https),
    }
}

fn optional(upstream: Option<&UpstreamName>) -> String {
    upstream.map(ToString::to_string).unwrap_or_default()
}

fn location_to_wire(path: String, forward: &Forward) -> v1::Location {
    let Forward { rewrite, upstream, canaries, options } = forward;
    v1::Location {
        path,
        upstream: optional(upstream.as_ref()),
        rewrite: *rewrite,
        canaries: canaries.iter().map(canary_to_wire).collect(),
        options_json: match options.is_plain() {
            true => String::new(),
            false => serde_json::to_string(options).unwrap_or_default(),
        },
    }
}

fn canary_to_wire(forward: &CanaryForward) -> v1::Canary {
    use v1::canary::By;
    let (by, value) = match &forward.canary {
        Canary::Header(name, value) => (By::Header(name.to_string()), value),
        Canary::Cookie(name, value) => (By::Cookie(name.to_string()), value),
    };
    let value = value.as_ref().map(ToString::to_string).unwrap_or_default();
    v1::Canary { by: Some(by), value, upstream: forward.upstream.to_string() }
}

pub(super) fn upstream_to_wire((name, upstream): (&UpstreamName, &Upstream)) -> v1::Upstream {
    use v1::upstream::Balance as Wire;
    let server = |Server { address, weight, health }: &Server| v1::Server {
        address: address.to_string(),
        weight: *weight,
        max_fails: health.max_fails,
        fail_timeout_ms: health.fail_timeout.map(|time| time.millis),
    };
    v1::Upstream {
        name: name.to_string(),
        servers: upstream.servers.iter().map(server).collect(),
        balance: match &upstream.balance {
            Balance::RoundRobin => None,
            Balance::IpHash => Some(Wire::IpHash(true)),
            Balance::Cookie(cookie) => Some(Wire::Cookie(cookie.to_string())),
        },
        virtual_ip: upstream.virtual_ip,
    }
}

pub(super) fn host_from_wire(host: &v1::VirtualHost) -> Result<VirtualHost, Malformed> {
    use v1::virtual_host::Tls as Wire;
    let location =
        |location: &v1::Location| Ok((text("location.path", &location.path)?, location_from_wire(location)?));
    let target = |field, url: &str| match url {
        "" => Ok(None),
        url => text(field, url).map(Some),
    };
    Ok(VirtualHost {
        locations: host.locations.iter().map(location).collect::<Result<_, Malformed>>()?,
        tls: match &host.tls {
            None => Tls::None,
            Some(Wire::Certificate(v1::Certificate { certificate, key })) => Tls::Terminated(Certificate {
                certificate: text("certificate.certificate", certificate)?,
                key: text("certificate.key", key)?,
            }),
            Some(Wire::PassthroughUpstream(upstream)) => Tls::Passthrough(upstream_name(upstream)?),
        },
        redirect_http: target("virtual_hosts.redirect_http", &host.redirect_http)?,
        redirect_https: target("virtual_hosts.redirect_https", &host.redirect_https)?,
    })
}

fn upstream_name(name: &str) -> Result<Option<UpstreamName>, Malformed> {
    match name {
        "" => Ok(None),
        name => text("upstream", name).map(Some),
    }
}

fn location_from_wire(location: &v1::Location) -> Result<Forward, Malformed> {
    Ok(Forward {
        rewrite: location.rewrite,
        upstream: upstream_name(&location.upstream)?,
        canaries: location.canaries.iter().map(canary_from_wire).collect::<Result<_, Malformed>>()?,
        options: match location.options_json.as_str() {
            "" => RouteOptions::default(),
            json => serde_json::from_str(json).map_err(|error| malformed("location.options_json", error))?,
        },
    })
}

fn canary_from_wire(canary: &v1::Canary) -> Result<CanaryForward, Malformed> {
    use v1::canary::By;
    let value = match canary.value.as_str() {
        "" => None,
        value => Some(text("canary.value", value)?),
    };
    let sign = match &canary.by {
        Some(By::Header(name)) => Canary::Header(text("canary.header", name)?, value),
        Some(By::Cookie(name)) => Canary::Cookie(text("canary.cookie", name)?, value),
        None => return Err(malformed("canary.by", "is missing")),
    };
    Ok(CanaryForward { canary: sign, upstream: text("canary.upstream", &canary.upstream)? })
}

pub(super) fn upstream_from_wire(upstream: &v1::Upstream) -> Result<(UpstreamName, Hashed<Upstream>), Malformed> {
    use v1::upstream::Balance as Wire;
    let server = |server: &v1::Server| {
        Ok(Server {
            address: text("upstreams.servers", &server.address)?,
            weight: server.weight.max(1),
            health: Health {
                max_fails: server.max_fails,
                fail_timeout: server.fail_timeout_ms.map(|millis| TimeSpan { millis }),
            },
        })
    };
    let servers = upstream.servers.iter().map(server).collect::<Result<_, Malformed>>()?;
    let balance = match &upstream.balance {
        Some(Wire::IpHash(true)) => Balance::IpHash,
        Some(Wire::Cookie(cookie)) => Balance::Cookie(text("upstreams.cookie", cookie)?),
        Some(Wire::IpHash(false)) | None => Balance::RoundRobin,
    };
    let name = text("upstreams.name", &upstream.name)?;
    Ok((name, Upstream { servers, balance, virtual_ip: upstream.virtual_ip }.into()))
}
