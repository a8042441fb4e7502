//! Who sent a request: what its certificate says, from which address, and how many streams it may have.

use std::net::IpAddr;
use std::sync::Arc;

use tonic::{Request, Status};

use super::places::{Place, Places};
use super::repeats::Repeats;
use crate::trust::{Fingerprint, Peer};

/// Who sent a request.
///
/// All proxies of a service cluster show the same certificate. On core's own networks each task has an address of its own, so a certificate
/// and an address are one task.
#[derive(Debug, Clone)]
pub struct Caller {
    pub(super) peer: Peer,
    pub(super) address: IpAddr,
    pub(super) streams: Places<(Fingerprint, IpAddr)>,
    pub(super) streams_of_one: usize,
    pub(super) begun: Arc<Repeats>,
}

/// The place of a stream among those of its caller. Dropping it gives it back.
#[derive(Debug)]
pub struct StreamPlace {
    _place: Place<(Fingerprint, IpAddr)>,
}

impl Caller {
    /// What its certificate says.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Where it connects from.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether a stream that begins now has to be logged: whoever begins streams again and again must not fill the log.
    pub fn is_logged(&self) -> bool {
        self.begun.is_first(self.address)
    }

    /// A place for one more stream.
    ///
    /// # Errors
    ///
    /// `RESOURCE_EXHAUSTED` when it has as many streams as [`Limits`](super::Limits) allow.
    pub fn stream(&self) -> Result<StreamPlace, Status> {
        let holder = (self.peer.fingerprint.clone(), self.address);
        let place = self.streams.take(holder, self.streams_of_one);
        let too_many = || {
            let Self { address, streams_of_one, .. } = self;
            Status::resource_exhausted(format!("{address} has {streams_of_one} streams already"))
        };
        place.map(|place| StreamPlace { _place: place }).ok_or_else(too_many)
    }
}

/// Who sent a request.
///
/// # Errors
///
/// `UNAUTHENTICATED` for a request that did not come over [`incoming`](super::incoming).
pub fn caller<T>(request: &Request<T>) -> Result<&Caller, Status> {
    request.extensions().get::<Caller>().ok_or_else(|| Status::unauthenticated("no certificate"))
}
