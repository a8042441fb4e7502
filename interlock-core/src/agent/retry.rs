//! Trying again what failed for a reason that may pass.

use std::time::Duration;

use tokio::time::Instant;

use crate::units::Backoff;

/// A configuration that is tried again, after pauses that double, each with up to as much again by chance.
#[derive(Debug)]
pub(super) struct Retry {
    hash: String,
    pub(super) at: Instant,
    pauses: Backoff,
}

impl Retry {
    pub(super) fn new(hash: &str, (shortest, longest): (Duration, Duration)) -> Self {
        let mut retry = Self { hash: hash.to_owned(), at: Instant::now(), pauses: Backoff::new(shortest, longest) };
        retry.later();
        retry
    }

    /// Whether it is about the configuration with this hash.
    pub(super) fn is_of(&self, hash: &str) -> bool {
        self.hash == hash
    }

    /// After the next pause.
    pub(super) fn later(&mut self) {
        self.at = Instant::now() + self.pauses.next();
    }
}
