//! Delays between attempts.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Delays that double, up to a longest, each with up to as much again by chance, so that several that were stopped by the same
/// thing do not come back at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    builder: ExponentialBuilder,
    delays: ExponentialBackoff,
    longest: Duration,
}

impl Backoff {
    pub(crate) fn new(shortest: Duration, longest: Duration) -> Self {
        let builder = ExponentialBuilder::new()
            .with_min_delay(shortest)
            .with_max_delay(longest)
            .without_max_times()
            .with_jitter();
        Self { builder, delays: builder.build(), longest }
    }

    /// The next delay.
    pub(crate) fn next(&mut self) -> Duration {
        self.delays.next().unwrap_or(self.longest)
    }

    /// It went well: the next delay is the shortest again.
    pub(crate) fn reset(&mut self) {
        self.delays = self.builder.build();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn delays_grow_to_the_longest_with_some_chance() {
        let mut backoff = Backoff::new(ms(100), ms(800));
        for least in [100, 200, 400, 800, 800, 800] {
            let delay = backoff.next();
            assert!(ms(least) <= delay && delay <= ms(2 * least), "{least}: {delay:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= ms(200));
    }
}
