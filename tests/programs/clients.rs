//! What real clients get through the real nginx with what is rendered: gRPC, events, uploads, WebSocket, HTTP/2, a scanner of TLS.

mod grpc;
mod http2;
mod newest;
mod scan;
mod streams;
mod websocket;

use std::time::Duration;

use crate::support::nginx::Nginx;
use crate::support::pki::{Authority, Pair};
use crate::support::routes::{labelled, rendered_with};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
const HOST: &str = "shop.example.com";
const PORT: u16 = 19_300;

/// A proxy with one service, whose TLS ends there, and who clients believe.
struct Site {
    nginx: Nginx,
    authority: Authority,
}

impl Site {
    /// A service with these labels, running at these addresses.
    fn start(tasks: &[&str], labels: &[(&str, &str)], toml: &str) -> Self {
        let authority = Authority::new();
        let pair = authority.pair(HOST);
        Self::showing(authority, &pair, tasks, labels, toml)
    }

    /// The same with this certificate.
    fn showing(authority: Authority, pair: &Pair, tasks: &[&str], labels: &[(&str, &str)], toml: &str) -> Self {
        let secrets = [("shop.cert", pair.certificate.as_str()), ("shop.key", &pair.key)];
        let certificate = [("ssl_cert", "shop.cert"), ("ssl_key", "shop.key")];
        let own = [&[("hosts", HOST)], &certificate[..], labels].concat();
        // With a wildcard above it, a host stands in the configuration also while none of its tasks runs, and proxies have a secret as soon as
        // anybody's task needs it.
        let other = [&[("hosts", "*.example.com")], &certificate[..]].concat();
        let services = labelled("shop", PORT, &own) + &labelled("other", PORT, &other);
        let tasks: Vec<_> = tasks.iter().map(|address| ("shop", *address)).chain([("other", "127.30.0.1")]).collect();
        let files = rendered_with(&services, &tasks, &["shop.cert", "shop.key"], toml);
        Self { nginx: Nginx::start_with(&files, &secrets), authority }
    }

    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.nginx.port())).await.unwrap()
    }

    /// A connection to the host over TLS, with these protocols on offer.
    async fn tls(&self, protocols: &[&str]) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(("127.0.0.1", self.nginx.port() + 1)).await.unwrap();
        self.authority.connector(protocols).connect(HOST.try_into().unwrap(), tcp).await.unwrap()
    }
}

/// What comes of it, within the time that anything may take.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it takes too long")
}
