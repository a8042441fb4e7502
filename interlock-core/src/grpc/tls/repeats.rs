//! What an address makes happen again and again: the first time is logged, the rest is counted.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often counts are logged.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// How many addresses are counted apart in one [`WINDOW`]. The rest is counted together.
const MOST_ADDRESSES: usize = 64;

/// How often something happened in one [`WINDOW`].
#[derive(Debug, Default)]
pub(super) struct Repeats(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// How many were not logged, by address.
    unlogged: BTreeMap<IpAddr, u64>,
    /// How many came from further addresses.
    others: u64,
}

impl Repeats {
    /// Counts one. Returns whether it is the first of its address, and so has to be logged in full.
    pub(super) fn is_first(&self, address: IpAddr) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.unlogged.get_mut(&address) {
            *count += 1;
            return false;
        }
        if counts.unlogged.len() >= MOST_ADDRESSES {
            counts.others += 1;
            return false;
        }
        counts.unlogged.insert(address, 0);
        true
    }

    /// Ends the window. Returns a line for each address with more than was logged. `what` happened, like `connections refused`.
    pub(super) fn take_lines(&self, what: &str) -> Vec<String> {
        let Counts { unlogged, others } = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let line = |count: u64, whom: &str| format!("{whom}: {count} more {what} in the last minute");
        let counted = unlogged.into_iter().filter(|(_, count)| *count > 0);
        let mut lines: Vec<_> = counted.map(|(address, count)| line(count, &address.to_string())).collect();
        if others > 0 {
            lines.push(line(others, "other addresses"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &str = "connections refused";

    fn address(last: usize) -> IpAddr {
        IpAddr::from([10, 0, u8::try_from(last / 256).unwrap_or(0), u8::try_from(last % 256).unwrap_or(0)])
    }

    #[test]
    fn m5_the_first_refusal_of_an_address_is_logged_and_the_rest_counted() {
        let repeats = Repeats::default();
        let logged = (0..12_000).filter(|_| repeats.is_first(address(7))).count();
        assert_eq!(logged, 1);
        assert!(repeats.is_first(address(8)), "another address says why, too");
        assert_eq!(repeats.take_lines(REFUSED), ["10.0.0.7: 11999 more connections refused in the last minute"]);
        assert_eq!(repeats.take_lines(REFUSED), Vec::<String>::new());
        assert!(repeats.is_first(address(7)), "the next minute begins anew");
    }

    #[test]
    fn m5_however_many_addresses_there_are_few_are_remembered() {
        let repeats = Repeats::default();
        let logged = (0..10_000).filter(|last| repeats.is_first(address(*last))).count();
        assert_eq!(logged, MOST_ADDRESSES);
        let lines = repeats.take_lines(REFUSED);
        assert_eq!(lines, ["other addresses: 9936 more connections refused in the last minute"]);
    }
}
