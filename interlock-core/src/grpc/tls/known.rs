//! Where core may be: what the resolver says, and what is known besides.
//!
//! The resolver may be wrong: whoever has core's name on one of a proxy's networks answers for it. It is only asked where to try; who answers
//! there shows in its certificate.

use std::collections::BTreeSet;
use std::net::SocketAddr;

/// How many addresses of the resolver's are tried in one attempt. There is one core, and for a while there may be two.
const MOST_NAMED: usize = 8;
/// How many addresses are remembered at which core was.
const MOST_REMEMBERED: usize = 4;

/// What is known besides the resolver's answer.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Where the last connections were to, the newest first.
    good: Vec<SocketAddr>,
    /// Where core was when whoever asks was started.
    told: Vec<SocketAddr>,
    attempts: usize,
}

impl Known {
    pub(super) fn told(addresses: &[SocketAddr]) -> Self {
        Self { told: addresses.iter().copied().take(MOST_REMEMBERED).collect(), ..Self::default() }
    }

    /// Whether there is anything to try without the resolver.
    pub(super) fn is_empty(&self) -> bool {
        self.good.is_empty() && self.told.is_empty()
    }

    /// A connection came about: core is there.
    pub(super) fn connected(&mut self, address: SocketAddr) {
        self.good.retain(|known| *known != address);
        self.good.insert(0, address);
        self.good.truncate(MOST_REMEMBERED);
    }

    /// What to try, in this order: what the resolver names and what is known in turns, and the address of the last connection at the end. A core
    /// that ends a connection may do so because another one knows more.
    pub(super) fn candidates(&mut self, named: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let last = self.good.first().copied();
        let mut named = some_of(named, self.attempts, MOST_NAMED).into_iter();
        self.attempts = self.attempts.wrapping_add(1);
        let mut known = self.good.iter().skip(1).chain(&self.told).copied();
        let mut tried = BTreeSet::new();
        let mut candidates = Vec::new();
        loop {
            let next = [named.next(), known.next()];
            if next == [None, None] {
                break;
            }
            candidates
                .extend(next.into_iter().flatten().filter(|address| Some(*address) != last && tried.insert(*address)));
        }
        candidates.extend(last);
        candidates
    }
}

/// So many of these addresses, others with each attempt: a crowd under core's name does not keep anybody from core.
pub(crate) fn some_of(mut addresses: Vec<SocketAddr>, attempt: usize, most: usize) -> Vec<SocketAddr> {
    if addresses.len() > most {
        addresses.sort_unstable();
        addresses.dedup();
        let begin = attempt.wrapping_mul(most) % addresses.len();
        addresses.rotate_left(begin);
        addresses.truncate(most);
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 8080))
    }

    /// The resolver may name them in the same order each time.
    #[test]
    fn another_core_than_the_last_is_tried_first() {
        let [a, b, c] = [1, 2, 3].map(address);
        let mut known = Known::default();
        assert_eq!(known.candidates(vec![a, b, c]), [a, b, c]);
        known.connected(a);
        assert_eq!(known.candidates(vec![a, b, c]), [b, c, a]);
        assert_eq!(known.candidates(vec![a]), [a]);
    }

    #[test]
    fn h2_addresses_that_were_good_are_tried_whatever_the_resolver_says() {
        let [core, before, evil, told] = [1, 2, 3, 4].map(address);
        let mut known = Known::told(&[told]);
        assert_eq!(known.candidates(vec![evil]), [evil, told]);
        known.connected(before);
        known.connected(core);
        assert_eq!(known.candidates(vec![evil]), [evil, before, told, core]);
        assert_eq!(known.candidates(vec![]), [before, told, core], "it does not answer at all");
    }

    #[test]
    fn h2_a_crowd_under_cores_name_keeps_nobody_from_core() {
        let crowd: Vec<_> = (1..=200).map(address).collect();
        let mut known = Known::default();
        let found = (0..25).flat_map(|_| known.candidates(crowd.clone())).collect::<BTreeSet<_>>();
        assert_eq!(found.len(), 200);
        assert!(known.candidates(crowd).len() <= MOST_NAMED);
    }
}
