//! Core's listener: bounded handshakes, and connections that end when their certificate is revoked or their peer is sent away.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::{ReceiverStream, WatchStream};
use tonic::transport::server::Connected;

use super::admitted::Ticket;
use super::{Admitted, server};
use crate::trust::{Authority, Error, Fingerprint, Peer};

/// How much strangers, and holders of one certificate, may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Handshakes at once. Beyond that connections are closed unread. Default 256.
    pub handshakes: usize,
    /// Handshakes of one address at once. Default 32.
    pub handshakes_of_one: usize,
    /// How long a handshake may take. Default 5 s.
    pub handshake: Duration,
    /// Connections of one certificate at once: all proxies of a service cluster show the same. Default 16,384.
    pub connections: usize,
    /// Those of them that come from one address. Default 64: tasks behind a published port share one.
    pub connections_of_one: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes: 256,
            handshakes_of_one: 32,
            handshake: Duration::from_secs(5),
            connections: 16_384,
            connections_of_one: 64,
        }
    }
}

/// A connection of somebody who showed a certificate that is admitted. It ends when it is not any more, or when its peer is sent away.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    ticket: Ticket,
    admitted: WatchStream<Arc<Admitted>>,
    has_ended: bool,
    _places: (Place<Fingerprint>, Place<(Fingerprint, IpAddr)>),
}

/// The connections that come in. Each was shaken hands with: TLS 1.3, a certificate of the authority, and one that is admitted for the
/// role and service cluster that stand in it.
///
/// # Errors
///
/// When no certificate can be made for core. The stream has none: what fails before a handshake is over is logged.
pub fn incoming(
    listener: TcpListener,
    authority: &Authority,
    admitted: watch::Receiver<Arc<Admitted>>,
    limits: Limits,
) -> Result<impl Stream<Item = io::Result<Connection>> + use<>, Error> {
    let door = Arc::new(Door {
        acceptor: TlsAcceptor::from(Arc::new(server(authority)?)),
        admitted,
        limits,
        places: Arc::new(Semaphore::new(limits.handshakes)),
        by_address: Places::default(),
        by_certificate: Places::default(),
        by_both: Places::default(),
    });
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        tokio::select! {
            () = accept(listener, &door, &sender) => {}
            () = sender.closed() => {}
        }
    });
    Ok(ReceiverStream::new(receiver))
}

struct Door {
    acceptor: TlsAcceptor,
    admitted: watch::Receiver<Arc<Admitted>>,
    limits: Limits,
    places: Arc<Semaphore>,
    by_address: Places<IpAddr>,
    by_certificate: Places<Fingerprint>,
    by_both: Places<(Fingerprint, IpAddr)>,
}

async fn accept(listener: TcpListener, door: &Arc<Door>, sender: &mpsc::Sender<io::Result<Connection>>) {
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // No file descriptor is left, most likely: it passes.
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = door.places.clone().try_acquire_owned() else { continue };
        let Some(of_address) = door.by_address.take(address.ip(), door.limits.handshakes_of_one) else { continue };
        let (door, sender) = (door.clone(), sender.clone());
        tokio::spawn(async move {
            let shaken = tokio::time::timeout(door.limits.handshake, door.shake(stream, place, of_address)).await;
            match shaken {
                Ok(Ok(connection)) => drop(sender.send(Ok(connection)).await),
                Ok(Err(wrong)) => tracing::info!(%address, "connection refused: {wrong}"),
                Err(_) => tracing::debug!(%address, "connection refused: the handshake took too long"),
            }
        });
    }
}

impl Door {
    /// The permits are given back when the handshake is over.
    async fn shake(
        &self,
        stream: TcpStream,
        _place: OwnedSemaphorePermit,
        of_address: Place<IpAddr>,
    ) -> Result<Connection, String> {
        let text = |error: io::Error| error.to_string();
        stream.set_nodelay(true).map_err(text)?;
        let stream = self.acceptor.accept(stream).await.map_err(text)?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let certificate = certificate.ok_or("it shows no certificate")?;
        let peer = Peer::of(certificate).map_err(|error| error.to_string())?;
        let ticket = self.admitted.borrow().ticket(&peer);
        let unknown = || format!("no secret has the fingerprint {} of its certificate", peer.fingerprint);
        let ticket = ticket.ok_or_else(unknown)?;
        let from_here = (peer.fingerprint.clone(), of_address.key);
        let from_here = self.by_both.take(from_here, self.limits.connections_of_one);
        let from_here = from_here.ok_or("its certificate has too many connections from this address")?;
        let place = self.by_certificate.take(peer.fingerprint.clone(), self.limits.connections);
        let _places = (place.ok_or("its certificate has too many connections")?, from_here);
        let admitted = WatchStream::new(self.admitted.clone());
        Ok(Connection { stream, peer, ticket, admitted, has_ended: false, _places })
    }
}

/// How many of each are in use.
#[derive(Debug)]
struct Places<K>(Arc<Mutex<BTreeMap<K, usize>>>);

impl<K> Default for Places<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Ord + Clone> Places<K> {
    fn take(&self, key: K, limit: usize) -> Option<Place<K>> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(key.clone()).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Place { key, places: self.0.clone() })
    }
}

/// One that is in use. Dropping it gives it back.
#[derive(Debug)]
struct Place<K: Ord> {
    key: K,
    places: Arc<Mutex<BTreeMap<K, usize>>>,
}

impl<K: Ord> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl Connection {
    /// Looks whether this shall end, and asks to be woken when that changes.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while !self.has_ended {
            match Pin::new(&mut self.admitted).poll_next(context) {
                Poll::Ready(Some(admitted)) => self.has_ended = admitted.ticket(&self.peer) != Some(self.ticket),
                // Core is stopping; the server ends its connections by itself.
                Poll::Ready(None) | Poll::Pending => return Ok(()),
            }
        }
        Err(io::Error::new(
            io::ErrorKind::ConnectionAborted,
            "its certificate was revoked, or it shall look for another core",
        ))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
