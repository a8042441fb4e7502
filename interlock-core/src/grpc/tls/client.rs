//! A peer's connection to core.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::Uri;
use http::uri::Authority;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use super::known::Known;
use super::{client, core_name};
use crate::trust::{Error, Identity};

/// How long an address may take to connect and shake hands, and the resolver to answer when nothing else is known.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the resolver may take when there are addresses to try without it.
const RESOLVE: Duration = Duration::from_secs(1);
/// How long an address is waited for before the next one is tried beside it.
const NEXT: Duration = Duration::from_millis(500);
/// The same before the last one, which the last connection was to.
const LAST: Duration = Duration::from_secs(2);

/// A channel to core at `host:port`. It connects when it is first used, and again when the connection broke. What the resolver names is tried,
/// and where core is known to have been, one beside the other if they are slow. The address that the last connection was to comes last: a core
/// that ends a connection may do so because another one knows more. Pings every 5 s, unanswered for 10 s, end a connection.
///
/// # Errors
///
/// When the identity cannot be used, or the address is none.
pub fn channel(core: &str, identity: &Identity) -> Result<Channel, Error> {
    channel_knowing(core, identity, &[]).map(|(channel, _)| channel)
}

/// The same, for who knows addresses where core was, too. The second value says whether a core was ever reached.
///
/// # Errors
///
/// As [`channel`].
pub fn channel_knowing(
    core: &str,
    identity: &Identity,
    addresses: &[SocketAddr],
) -> Result<(Channel, watch::Receiver<bool>), Error> {
    let connector = TlsConnector::from(Arc::new(client(identity)?));
    let endpoint = Endpoint::from_shared(format!("http://{core}"))
        .map_err(|error| Error::Certificate(format!("{core} is no address: {error}")))?
        .http2_keep_alive_interval(Duration::from_secs(5))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true);
    let known = Arc::new(Mutex::new(Known::told(addresses)));
    let (reaches, reached) = watch::channel(false);
    let connect = move |uri: Uri| {
        let (connector, known, reaches) = (connector.clone(), known.clone(), reaches.clone());
        async move {
            let stream = connect(&connector, &uri, &known).await?;
            reaches.send_replace(true);
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    };
    Ok((endpoint.connect_with_connector_lazy(tower::service_fn(connect)), reached))
}

/// Where core is at `host:port`, or at `host` with the usual port: all addresses of the name.
///
/// # Errors
///
/// When the name has none, or when that is not known in time.
pub async fn addresses(core: &str) -> io::Result<Vec<SocketAddr>> {
    let authority: Authority = core.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let found = timeout(CONNECT, lookup_host((host, authority.port_u16().unwrap_or(8080)))).await;
    Ok(found.map_err(|_| late("the resolver"))??.collect())
}

fn late(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} does not answer"))
}

async fn connect(connector: &TlsConnector, uri: &Uri, known: &Mutex<Known>) -> io::Result<TlsStream<TcpStream>> {
    let core = uri.authority().map(ToString::to_string).unwrap_or_default();
    let locked = || known.lock().unwrap_or_else(PoisonError::into_inner);
    let named = if locked().is_empty() {
        addresses(&core).await?
    } else {
        // Without an answer there is still something to try.
        timeout(RESOLVE, addresses(&core)).await.ok().and_then(Result::ok).unwrap_or_default()
    };
    let candidates = locked().candidates(named);
    let none = || io::Error::new(io::ErrorKind::NotFound, format!("{core} has no address"));
    let (address, stream) = first(connector, candidates.into()).await.map_err(|failed| failed.unwrap_or_else(none))?;
    locked().connected(address);
    Ok(stream)
}

/// The first of these addresses at which core is. The next one is tried when one fails, and beside it when one is slow: the first may be a
/// core that is gone, or nothing of ours at all. The error is the last one.
async fn first(
    connector: &TlsConnector,
    mut candidates: VecDeque<SocketAddr>,
) -> Result<(SocketAddr, TlsStream<TcpStream>), Option<io::Error>> {
    let attempt = |address: SocketAddr| async move {
        let shaken = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            connector.connect(core_name(), stream).await
        };
        let shaken = timeout(CONNECT, shaken).await;
        shaken.unwrap_or_else(|_| Err(late(&address.to_string()))).map(|stream| (address, stream))
    };
    let mut attempts = FuturesUnordered::new();
    let mut failed = None;
    loop {
        match candidates.pop_front() {
            Some(address) => attempts.push(attempt(address)),
            None if attempts.is_empty() => return Err(failed),
            None => {}
        }
        let (left, patience) = (candidates.len(), if candidates.len() == 1 { LAST } else { NEXT });
        tokio::select! {
            Some(done) = attempts.next() => match done {
                Ok(shaken) => return Ok(shaken),
                Err(error) => failed = Some(error),
            },
            () = sleep(patience), if left > 0 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::grpc::tls::server;
    use crate::trust::Authority;
    use crate::units::{Cluster, Role};

    /// Core of this authority at an address of its own on the loopback network.
    async fn core(authority: &Authority) -> SocketAddr {
        let acceptor = TlsAcceptor::from(Arc::new(server(authority).expect("core's own certificate")));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = acceptor.accept(stream).await;
            }
        });
        address
    }

    /// Somebody who takes connections and says nothing.
    async fn silent() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.2:0").await.expect("an address");
        let address = listener.local_addr().expect("an address");
        (listener, address)
    }

    fn connector(authority: &Authority) -> TlsConnector {
        let issued = authority.issue(Role::Proxy, &Cluster::default()).expect("an identity");
        let identity = Identity::from_pem(&issued.pem).expect("an identity");
        TlsConnector::from(Arc::new(client(&identity).expect("a client")))
    }

    #[tokio::test]
    async fn h2_who_answers_in_cores_place_costs_a_try() {
        let (ours, others) = (Authority::generate().expect("one"), Authority::generate().expect("another"));
        let (real, evil) = (core(&ours).await, core(&others).await);
        let connector = connector(&ours);
        // The resolver names him alone; core is where it was, or where the agent's file says.
        let uri: Uri = format!("http://{evil}").parse().expect("an address");
        let known = Mutex::new(Known::default());
        connect(&connector, &uri, &known).await.expect_err("he is not core");
        let known = Mutex::new(Known::told(&[real]));
        for _ in 0..3 {
            let stream = connect(&connector, &uri, &known).await.expect("core");
            assert_eq!(stream.get_ref().0.peer_addr().expect("an address"), real);
        }
    }

    #[tokio::test]
    async fn h2_addresses_that_do_not_answer_are_not_waited_for() {
        let ours = Authority::generate().expect("an authority");
        let real = core(&ours).await;
        let (_first, one) = silent().await;
        let (_second, two) = silent().await;
        let began = Instant::now();
        let found = first(&connector(&ours), [one, two, real].into()).await.expect("core");
        assert_eq!(found.0, real);
        assert!(began.elapsed() < CONNECT, "one after the other they would take twice as long");
    }

    #[tokio::test]
    async fn without_any_core_the_last_error_is_told() {
        let ours = Authority::generate().expect("an authority");
        let closed = silent().await.1;
        let failed = first(&connector(&ours), [closed].into()).await.expect_err("nobody is there");
        assert_eq!(failed.expect("an error").kind(), io::ErrorKind::ConnectionRefused);
        assert!(first(&connector(&ours), VecDeque::new()).await.expect_err("nothing to try").is_none());
    }
}
