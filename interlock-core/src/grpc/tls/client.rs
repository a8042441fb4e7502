//! A peer's connection to core.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use super::{client, core_name};
use crate::trust::{Error, Identity};

/// How long an address may take to connect and shake hands.
const CONNECT: Duration = Duration::from_secs(5);

/// A channel to core at `host:port`. It connects when it is first used, and again when the connection broke; all addresses of the name
/// are tried in turn, since core has two while it is replaced. Pings every 5 s, unanswered for 10 s, end a connection.
///
/// # Errors
///
/// When the identity cannot be used, or the address is none.
pub fn channel(core: &str, identity: &Identity) -> Result<Channel, Error> {
    let connector = TlsConnector::from(Arc::new(client(identity)?));
    let endpoint = Endpoint::from_shared(format!("http://{core}"))
        .map_err(|error| Error::Certificate(format!("{core} is no address: {error}")))?
        .http2_keep_alive_interval(Duration::from_secs(5))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true);
    let connect = move |uri: Uri| {
        let connector = connector.clone();
        async move { connect(&connector, &uri).await.map(TokioIo::new) }
    };
    Ok(endpoint.connect_with_connector_lazy(tower::service_fn(connect)))
}

/// Where core is at `host:port`, or at `host` with the usual port: all addresses of the name.
///
/// # Errors
///
/// When the name has none, or when that is not known in time.
pub async fn addresses(core: &str) -> io::Result<Vec<SocketAddr>> {
    let authority: Authority = core.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let found = tokio::time::timeout(CONNECT, lookup_host((host, authority.port_u16().unwrap_or(8080)))).await;
    Ok(found.map_err(|_| late("the resolver"))??.collect())
}

fn late(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} does not answer"))
}

async fn connect(connector: &TlsConnector, uri: &Uri) -> io::Result<TlsStream<TcpStream>> {
    let core = uri.authority().map(ToString::to_string).unwrap_or_default();
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{core} has no address"));
    // Each has its own time: the first may be the core that is gone.
    for address in addresses(&core).await? {
        let attempt = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            connector.connect(core_name(), stream).await
        };
        match tokio::time::timeout(CONNECT, attempt).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = late(&address.to_string()),
        }
    }
    Err(last)
}
