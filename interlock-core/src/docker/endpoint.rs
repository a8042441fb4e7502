//! Where the engine is, and how a connection to it is made.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyperlocal::UnixConnector;

use super::Error;
use super::tls::{self, TlsFiles};

/// An engine's address, as `DOCKER_HOST` has it, with the files for TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `unix:///path/to/socket`, `tcp://host:port`, `http://host:port` or `https://host:port`. A `tcp://` endpoint speaks TLS when
    /// [`Endpoint::tls`] is given. A port that is left out is 2375, with TLS 2376.
    pub url: String,
    /// Files for TLS, and the wish to speak it.
    pub tls: Option<TlsFiles>,
    /// Who said so, for messages: `DOCKER_HOST` for instance.
    pub origin: Option<String>,
}

impl Endpoint {
    /// Where an engine listens unless told otherwise.
    pub const DEFAULT_URL: &str = "unix:///var/run/docker.sock";

    /// An engine at this address, without TLS.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), tls: None, origin: None }
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Self::at(Self::DEFAULT_URL)
    }
}

/// How long a connection over TCP may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A full pass has six calls in flight; more idle connections than that are of no use.
const IDLE_CONNECTIONS: usize = 6;

/// One pool of connections to one engine. Dropping the future of a call closes that call's connection, so that one that hangs is
/// never used again.
#[derive(Debug)]
pub(super) struct Transport {
    /// The address, and where it comes from, for messages.
    url: String,
    route: Route,
}

#[derive(Debug)]
enum Route {
    Unix { socket: PathBuf, client: legacy::Client<UnixConnector, Full<Bytes>> },
    Tcp { base: String, client: legacy::Client<HttpConnector, Full<Bytes>> },
    Tls { base: String, client: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>> },
}

impl Transport {
    /// Reads the endpoint and its TLS files. Nothing is sent yet.
    pub(super) fn new(endpoint: &Endpoint) -> Result<Self, Error> {
        let url = endpoint.url.trim();
        let named = endpoint.origin.as_ref().map_or(url.to_owned(), |origin| format!("{url} (from {origin})"));
        let wrong = |wrong: &str| Error::Endpoint { url: named.clone(), wrong: wrong.to_owned() };
        let (scheme, address) = url.split_once("://").ok_or_else(|| wrong("has no scheme; write unix:// or tcp://"))?;
        let address = address.trim_end_matches('/');
        let route = match (scheme, &endpoint.tls) {
            ("unix", _) if !address.starts_with('/') => {
                return Err(wrong("is no absolute path; write unix:///var/run/docker.sock"));
            }
            ("unix", _) => Route::Unix { socket: PathBuf::from(address), client: pool(UnixConnector) },
            ("tcp" | "http", None) => Route::Tcp { base: base("http", address, 2375), client: pool(tcp(true)) },
            ("tcp" | "https", Some(files)) => {
                let config = tls::client_config(url, files)?;
                let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1();
                Route::Tls { base: base("https", address, 2376), client: pool(connector.wrap_connector(tcp(false))) }
            }
            ("https", None) => return Err(wrong("needs the TLS files: a CA, and a certificate with its key")),
            ("http", Some(_)) => return Err(wrong("is without TLS, but TLS files are given; write tcp://")),
            ("ssh", _) => {
                return Err(wrong(
                    "is not supported; forward the socket with `ssh -L /tmp/docker.sock:/var/run/docker.sock HOST` and write unix:///tmp/docker.sock",
                ));
            }
            _ => return Err(wrong("has an unknown scheme; write unix:// or tcp://")),
        };
        if let Route::Tcp { base, .. } | Route::Tls { base, .. } = &route {
            base.parse::<Uri>().map_err(|_| wrong("is not an address; write tcp://host:port"))?;
        }
        Ok(Self { url: named, route })
    }

    /// The endpoint's address, for messages.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Sends the request to the engine, whatever host its URI has.
    pub(super) async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, legacy::Error> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let uri = match &self.route {
            Route::Unix { socket, .. } => Ok(hyperlocal::Uri::new(socket, path).into()),
            Route::Tcp { base, .. } | Route::Tls { base, .. } => format!("{base}{path}").parse::<Uri>(),
        };
        // Both parts were parsed before; an address that does not parse after all leaves the request's own, which no engine has.
        if let Ok(uri) = uri {
            *request.uri_mut() = uri;
        }
        match &self.route {
            Route::Unix { client, .. } => {
                // Otherwise the host would be the socket's path in hexadecimal.
                request.headers_mut().insert(header::HOST, HeaderValue::from_static("docker"));
                client.request(request).await
            }
            Route::Tcp { client, .. } => client.request(request).await,
            Route::Tls { client, .. } => client.request(request).await,
        }
    }
}

fn pool<C>(connector: C) -> legacy::Client<C, Full<Bytes>>
where
    C: legacy::connect::Connect + Clone,
{
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .build(connector)
}

fn tcp(http_only: bool) -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(http_only);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_nodelay(true);
    // An engine that vanished without a word is noticed on the quiet event stream as well.
    connector.set_keepalive(Some(Duration::from_secs(30)));
    connector
}

fn base(scheme: &str, address: &str, port: u16) -> String {
    // An IPv6 address has colons inside its brackets.
    let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { format!("{scheme}://{address}") } else { format!("{scheme}://{address}:{port}") }
}

/// Shared by bollard and by the raw calls.
pub(super) type Shared = Arc<Transport>;

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(url: &str, tls: Option<TlsFiles>) -> String {
        Transport::new(&Endpoint { tls, ..Endpoint::at(url) }).unwrap_err().to_string()
    }

    #[tokio::test]
    async fn an_endpoint_is_what_docker_host_says() {
        let base_of = |url: &str| match Transport::new(&Endpoint::at(url.to_owned())).unwrap().route {
            Route::Unix { socket, .. } => socket.display().to_string(),
            Route::Tcp { base, .. } | Route::Tls { base, .. } => base,
        };
        assert_eq!(base_of("unix:///run/docker.sock"), "/run/docker.sock");
        assert_eq!(base_of("tcp://10.0.0.1:2375"), "http://10.0.0.1:2375");
        assert_eq!(base_of("tcp://manager"), "http://manager:2375");
        assert_eq!(base_of("http://[::1]:2375/"), "http://[::1]:2375");
        assert_eq!(base_of("tcp://[::1]"), "http://[::1]:2375");
    }

    #[test]
    fn an_endpoint_that_cannot_work_says_what_would() {
        assert!(wrong("ssh://root@manager", None).contains("ssh -L"));
        assert!(wrong("npipe:////./pipe/docker_engine", None).contains("unknown scheme"));
        assert!(wrong("/var/run/docker.sock", None).contains("no scheme"));
        assert!(wrong("unix://docker.sock", None).contains("absolute path"));
        assert!(wrong("https://manager:2376", None).contains("TLS files"));
        assert!(wrong("tcp://a b", None).contains("not an address"));
        let files = TlsFiles { ca: None, cert: None, key: None, verify: true };
        assert!(wrong("http://manager:2375", Some(files.clone())).contains("tcp://"));
        assert!(wrong("tcp://manager:2376", Some(files)).contains("CA"));
    }
}
