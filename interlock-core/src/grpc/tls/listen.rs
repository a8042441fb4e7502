//! Core's listener: bounded handshakes, and connections that end when their certificate is revoked or their peer is sent away.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
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
use super::caller::Caller;
use super::places::{Place, Places};
use super::repeats::{Repeats, WINDOW};
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
    /// Those of them that come from one address. Default 8: an address is a task.
    pub connections_of_one: usize,
    /// Streams of one certificate from one address. Default 4: a task has one, and those that broke count until core notices.
    pub streams_of_one: usize,
}

impl Limits {
    /// For peers behind a published port of core, which share an address: 64 connections and 64 streams of one address.
    pub fn behind_a_port() -> Self {
        Self { connections_of_one: 64, streams_of_one: 64, ..Self::default() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes: 256,
            handshakes_of_one: 32,
            handshake: Duration::from_secs(5),
            connections: 16_384,
            connections_of_one: 8,
            streams_of_one: 4,
        }
    }
}

/// A connection of somebody who showed a certificate that is admitted. It ends when it is not any more, or when its peer is sent away.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<TcpStream>,
    caller: Caller,
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
        streams: Places::default(),
        refused: Repeats::default(),
        begun: Arc::default(),
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
    streams: Places<(Fingerprint, IpAddr)>,
    refused: Repeats,
    begun: Arc<Repeats>,
}

async fn accept(listener: TcpListener, door: &Arc<Door>, sender: &mpsc::Sender<io::Result<Connection>>) {
    let mut minutes = tokio::time::interval_at(tokio::time::Instant::now() + WINDOW, WINDOW);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = minutes.tick() => {
                let lines = door.refused.take_lines("connections refused");
                let lines = lines.into_iter().chain(door.begun.take_lines("streams begun"));
                lines.for_each(|line| tracing::info!("{line}"));
                continue;
            }
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // No file descriptor is left, most likely: it passes.
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = door.places.clone().try_acquire_owned() else {
            door.refused(address.ip(), "too many handshakes at once");
            continue;
        };
        let Some(of_address) = door.by_address.take(address.ip(), door.limits.handshakes_of_one) else {
            door.refused(address.ip(), "too many handshakes at once from this address");
            continue;
        };
        let (door, sender) = (door.clone(), sender.clone());
        tokio::spawn(async move {
            let shaken = tokio::time::timeout(door.limits.handshake, door.shake(stream, place, of_address)).await;
            match shaken {
                Ok(Ok(connection)) => drop(sender.send(Ok(connection)).await),
                Ok(Err(wrong)) => door.refused(address.ip(), &wrong),
                Err(_) => door.refused(address.ip(), "the handshake took too long"),
            }
        });
    }
}

impl Door {
    /// Logs why, the first time in a minute: whoever connects again and again must not fill the log.
    fn refused(&self, address: IpAddr, wrong: &str) {
        if self.refused.is_first(address) {
            tracing::info!(%address, "connection refused: {}", crate::problem::said(wrong));
        }
    }

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
        let address = *of_address.holder();
        let from_here = (peer.fingerprint.clone(), address);
        let from_here = self.by_both.take(from_here, self.limits.connections_of_one);
        let from_here = from_here.ok_or("its certificate has too many connections from this address")?;
        let place = self.by_certificate.take(peer.fingerprint.clone(), self.limits.connections);
        let _places = (place.ok_or("its certificate has too many connections")?, from_here);
        let admitted = WatchStream::new(self.admitted.clone());
        let (streams, begun) = (self.streams.clone(), self.begun.clone());
        let caller = Caller { peer, address, streams, begun, streams_of_one: self.limits.streams_of_one };
        Ok(Connection { stream, caller, ticket, admitted, has_ended: false, _places })
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl Connection {
    /// Looks whether this shall end, and asks to be woken when that changes.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while !self.has_ended {
            match Pin::new(&mut self.admitted).poll_next(context) {
                Poll::Ready(Some(admitted)) => {
                    self.has_ended = admitted.ticket(self.caller.peer()) != Some(self.ticket)
                }
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

#[cfg(test)]
mod tests;
