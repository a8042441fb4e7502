//! Whose connections are accepted, and for how long.

use std::collections::BTreeMap;

use crate::trust::{Fingerprint, Peer};
use crate::units::{Cluster, Role};

/// Whose certificates are accepted, and for what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admitted {
    holders: BTreeMap<Fingerprint, (Role, Cluster)>,
    /// How often proxies were sent away. A connection of theirs ends when this is not what it was when the connection began.
    sent_away: u64,
}

impl Admitted {
    /// Accepts one more.
    pub fn insert(&mut self, certificate: Fingerprint, holder: (Role, Cluster)) {
        self.holders.insert(certificate, holder);
    }

    /// Does not accept this one any more.
    pub fn remove(&mut self, certificate: &Fingerprint) {
        self.holders.remove(certificate);
    }

    /// Ends the connections that proxies have now. They look for another core first, and come back if there is none. Extensions follow all
    /// cores that there are, and have no need to.
    pub fn send_proxies_away(&mut self) {
        self.sent_away += 1;
    }

    /// Accepts the same as another, and nobody else. Whether that is a change.
    pub fn accept_as(&mut self, other: Self) -> bool {
        let changed = self.holders != other.holders;
        self.holders = other.holders;
        changed
    }

    /// What a connection of this peer that begins now is known by; `None` if it is not accepted.
    pub(super) fn ticket(&self, peer: &Peer) -> Option<Ticket> {
        let Peer { role, cluster, fingerprint } = peer;
        let accepted = self.holders.get(fingerprint).is_some_and(|holder| (&holder.0, &holder.1) == (role, cluster));
        accepted.then(|| Ticket(if *role == Role::Proxy { self.sent_away } else { 0 }))
    }
}

/// What a connection is known by. It ends when its peer's is another, or there is none any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

impl FromIterator<(Fingerprint, (Role, Cluster))> for Admitted {
    fn from_iter<I: IntoIterator<Item = (Fingerprint, (Role, Cluster))>>(holders: I) -> Self {
        Self { holders: holders.into_iter().collect(), sent_away: 0 }
    }
}

impl<const N: usize> From<[(Fingerprint, (Role, Cluster)); N]> for Admitted {
    fn from(holders: [(Fingerprint, (Role, Cluster)); N]) -> Self {
        holders.into_iter().collect()
    }
}
