//! A peer's connection to core.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
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
/// are tried in turn, since core has two while it is replaced. The one that the last connection was to comes last: a core that ends a connection
/// may do so because another one knows more. Pings every 5 s, unanswered for 10 s, end a connection.
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
    let last = Arc::new(Mutex::new(None));
    let connect = move |uri: Uri| {
        let (connector, last) = (connector.clone(), last.clone());
        async move { connect(&connector, &uri, &last).await.map(TokioIo::new) }
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

/// These addresses, with that of the last connection at the end.
fn in_turn(mut addresses: Vec<SocketAddr>, last: Option<SocketAddr>) -> Vec<SocketAddr> {
    addresses.sort_by_key(|address| Some(*address) == last);
    addresses
}

async fn connect(
    connector: &TlsConnector,
    uri: &Uri,
    last: &Mutex<Option<SocketAddr>>,
) -> io::Result<TlsStream<TcpStream>> {
    let core = uri.authority().map(ToString::to_string).unwrap_or_default();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, format!("{core} has no address"));
    let found = addresses(&core).await?;
    let before = *last.lock().unwrap_or_else(PoisonError::into_inner);
    // Each has its own time: the first may be the core that is gone.
    for address in in_turn(found, before) {
        let attempt = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            connector.connect(core_name(), stream).await
        };
        match tokio::time::timeout(CONNECT, attempt).await {
            Ok(Ok(stream)) => {
                *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
                return Ok(stream);
            }
            Ok(Err(error)) => failed = error,
            Err(_) => failed = late(&address.to_string()),
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The resolver may name them in the same order each time.
    #[test]
    fn another_core_than_the_last_is_tried_first() {
        let [a, b, c] = [1, 2, 3].map(|last| SocketAddr::from(([10, 0, 0, last], 8080)));
        assert_eq!(in_turn(vec![a, b, c], None), [a, b, c]);
        assert_eq!(in_turn(vec![a, b, c], Some(a)), [b, c, a]);
        assert_eq!(in_turn(vec![a, b], Some(c)), [a, b]);
        assert_eq!(in_turn(vec![a], Some(a)), [a]);
    }
}
