//! What a location says besides where its requests go: what a route's labels ask for.

use ipnet::IpNet;
use serde::Serialize;

use super::headers::{RequestHeaders, ResponseHeaders};
use super::section::Printed;
use crate::units::SecretName;

/// A line with one value has at most so much around it.
const LINE: usize = 64;
/// What stands around an address.
const ADDRESS: usize = 24;
/// What is said for compression.
const COMPRESSION: usize = 300;
/// What is said for gRPC, without the time.
const GRPC: usize = 110;
/// What is said for TLS to tasks, without names.
const BACKEND_TLS: usize = 280;

#[derive(Serialize)]
pub(super) struct Rules<'a> {
    /// NGINX's module, by which the names of its directives begin: `proxy` or `grpc`.
    pub(super) module: &'static str,
    pub(super) access: Option<Access<'a>>,
    /// The secret with the users that may send requests.
    pub(super) users: Option<&'a SecretName>,
    pub(super) rate: Option<Rate>,
    pub(super) max_body_size: Option<String>,
    pub(super) connect_timeout: Option<String>,
    pub(super) read_timeout: Option<String>,
    pub(super) send_timeout: Option<String>,
    /// Whether its connections may be silent for long, whatever the labels about time say.
    pub(super) endpoint: bool,
    pub(super) tls: Option<BackendTls<'a>>,
    pub(super) grpc: Option<Grpc>,
    pub(super) request: Option<RequestHeaders<'a>>,
    pub(super) response: Option<ResponseHeaders<'a>>,
    pub(super) compress: bool,
}

/// Who may send requests.
#[derive(Serialize)]
pub(super) struct Access<'a> {
    /// Overlays inside of what is allowed: applications are there.
    pub(super) overlays: Vec<&'a IpNet>,
    /// The file with addresses that hide those of clients.
    pub(super) not_clients: &'static str,
    pub(super) allow: &'a [IpNet],
}

/// How many requests a client address may send.
#[derive(Serialize)]
pub(super) struct Rate {
    pub(super) zone: String,
    /// 0 for none.
    pub(super) burst: u32,
}

/// TLS to tasks.
#[derive(Serialize)]
pub(super) struct BackendTls<'a> {
    /// The name that tasks are asked for.
    pub(super) name: &'a str,
    /// The secret with the authorities that a task's certificate has to be signed by.
    pub(super) authorities: Option<&'a SecretName>,
}

#[derive(Serialize)]
pub(super) struct Grpc {
    /// How long the client of a stream may be silent.
    pub(super) silence: String,
}

impl Rules<'_> {
    /// Whether there is nothing to say.
    pub(super) fn is_empty(&self) -> bool {
        self.size() == 0
    }

    /// How many bytes its template makes of it at most.
    pub(super) fn size(&self) -> usize {
        let Self { module: _, access, users, rate, tls, grpc, request, response, .. } = self;
        let Self { max_body_size, connect_timeout, read_timeout, send_timeout, endpoint, compress, .. } = self;
        let addresses = |it: &Access<'_>| {
            let each = it.overlays.iter().copied().chain(it.allow).map(|network| ADDRESS + network.to_string().len());
            2 * LINE + it.not_clients.len() + each.sum::<usize>()
        };
        let times = [max_body_size, connect_timeout, read_timeout, send_timeout].into_iter().flatten();
        let backend = |it: &BackendTls<'_>| {
            BACKEND_TLS + it.name.len() + it.authorities.map_or(0, |authorities| authorities.as_str().len())
        };
        [
            access.as_ref().map(addresses),
            users.map(|users| 2 * LINE + users.as_str().len()),
            rate.as_ref().map(|rate| LINE + rate.zone.len()),
            Some(times.map(|time| LINE + time.len()).sum()),
            endpoint.then_some(2 * LINE),
            tls.as_ref().map(backend),
            grpc.as_ref().map(|grpc| GRPC + grpc.silence.len()),
            request.as_ref().map(RequestHeaders::size),
            response.as_ref().map(ResponseHeaders::size),
            compress.then_some(COMPRESSION),
        ]
        .into_iter()
        .flatten()
        .sum()
    }
}

impl Printed for Rules<'_> {
    const INCLUDE: &'static str = "include_deeper";

    fn template(&self) -> &'static str {
        "rules"
    }
}
