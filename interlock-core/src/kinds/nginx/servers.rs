//! Servers, as their templates print them.

use serde::Serialize;

use super::listen::TlsListener;
use super::location::{Location, REFUSAL};
use super::section::{Printed, Section};
use crate::units::SecretName;

/// A server of one host on one port, or of several hosts whose TLS does not end here.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Server<'a> {
    Http(HttpServer<'a>),
    Tls(TlsServer<'a>),
    Closed(ClosedServer),
}

#[derive(Serialize)]
pub(super) struct HttpServer<'a> {
    pub(super) port: u16,
    pub(super) proxy_protocol: bool,
    pub(super) name: String,
    /// The variable that is not empty for requests that are refused.
    pub(super) refused: &'static str,
    pub(super) locations: Section<Location<'a>>,
}

/// A server whose certificate is read when a client asks for its host, since its file's path has a variable in it: one that is wrong costs
/// that host alone, and nginx starts all the same.
#[derive(Serialize)]
pub(super) struct TlsServer<'a> {
    #[serde(flatten)]
    pub(super) listen: TlsListener,
    pub(super) name: String,
    pub(super) certificate: &'a SecretName,
    pub(super) key: &'a SecretName,
    pub(super) refused: &'static str,
    pub(super) locations: Section<Location<'a>>,
}

/// A server for hosts whose TLS connections do not end here, though those to a wildcard or to the default host may.
#[derive(Serialize)]
pub(super) struct ClosedServer {
    #[serde(flatten)]
    pub(super) listen: TlsListener,
    pub(super) names: Vec<String>,
}

impl Server<'_> {
    fn all(&self) -> &[Location<'_>] {
        match self {
            Self::Http(HttpServer { locations, .. }) | Self::Tls(TlsServer { locations, .. }) => locations.items(),
            Self::Closed(_) => &[],
        }
    }

    /// How many bytes its template makes of it at most.
    pub(super) fn size(&self) -> usize {
        let itself = match self {
            Self::Http(server) => 80 + REFUSAL + server.name.len(),
            Self::Tls(TlsServer { listen, name, certificate, key, .. }) => {
                let names = name.len() + certificate.as_str().len() + key.as_str().len();
                260 + REFUSAL + listen.address.len() + names
            }
            Self::Closed(ClosedServer { listen, names }) => {
                280 + listen.address.len() + names.iter().map(|name| name.len() + 22).sum::<usize>()
            }
        };
        itself + self.all().iter().map(Location::size).sum::<usize>()
    }

    /// How many locations it has, those inside of others included.
    pub(super) fn locations(&self) -> usize {
        self.all().iter().map(Location::count).sum()
    }

    /// In how many locations headers are said: where requests go on, but for endpoints.
    pub(super) fn with_headers(&self) -> usize {
        self.all().iter().filter(|location| matches!(location, Location::Forward(_))).count()
    }
}

impl Printed for Server<'_> {
    const INCLUDE: &'static str = "include";

    fn template(&self) -> &'static str {
        match self {
            Self::Http(_) => "server",
            Self::Tls(_) => "tls_server",
            Self::Closed(_) => "closed_server",
        }
    }
}
