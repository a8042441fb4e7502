//! Who of the tasks behind a route gets how many of its requests.

use std::collections::BTreeSet;

use super::Server;
use crate::labels::options::Balance;
use crate::routes::model::Route;

/// The largest weight. A task with weight 1 gets a request in so many.
const LARGEST: u64 = 10_000;
/// The same where requests are spread by a hash: nginx has 160 entries in its table for each unit of weight.
const LARGEST_OF_HASH: u64 = 100;

/// The tasks of services that share requests, each service's spread evenly over the list. Proxies try them in this order, so when all
/// tasks of one service are gone at once, the next try goes to another service's.
///
/// Each task has the same weight, until one of the services says what its share is: then the others' shares are as many as they have tasks.
/// A share counts as at least `least`.
pub(super) fn servers(members: &[&Route], balance: &Balance, least: u32) -> Vec<Server> {
    let weights = weights(members, balance, least);
    let mut placed = Vec::new();
    for (member, (route, weight)) in members.iter().zip(weights).enumerate().filter(|(_, (_, weight))| *weight > 0) {
        for (i, target) in (0_u64..).zip(&route.targets) {
            // The middle of the i-th of as many equal parts as the member has targets.
            let place = ((2 * i + 1) << 32) / (2 * route.targets.len() as u64);
            let server = Server { weight, health: route.asks.health, ..Server::from(*target) };
            placed.push((place, member, server));
        }
    }
    placed.sort_by_key(|(place, member, server)| (*place, *member, server.address));
    let mut seen = BTreeSet::new();
    placed.into_iter().map(|(_, _, server)| server).filter(|server| seen.insert(server.address)).collect()
}

/// The weight of each task of each member.
fn weights(members: &[&Route], balance: &Balance, least: u32) -> Vec<u32> {
    let share = |route: &&Route| (route.asks.weight.map(|share| share.max(least)), route.targets.len() as u64);
    let shares: Vec<_> = members.iter().map(share).collect();
    let most = if matches!(balance, Balance::Cookie(_)) { LARGEST_OF_HASH } else { LARGEST };
    of_shares(&shares, most)
}

/// The same by the share that each member asks for, and its number of tasks.
fn of_shares(members: &[(Option<u32>, u64)], most: u64) -> Vec<u32> {
    if members.iter().all(|(share, _)| share.is_none()) {
        return vec![1; members.len()];
    }
    // A member without a task has no say in this.
    let common = members.iter().map(|(_, tasks)| *tasks).filter(|&tasks| tasks > 0).fold(1, lcm);
    let of_each = |(share, tasks): &(Option<u32>, u64)| {
        share.map_or(*tasks, u64::from).saturating_mul(common).checked_div(*tasks).unwrap_or(0)
    };
    let each: Vec<_> = members.iter().map(of_each).collect();
    let divisor = each.iter().copied().fold(0, gcd).max(1);
    let largest = each.iter().copied().max().unwrap_or(0) / divisor;
    let fits = |weight: u64| {
        let weight = weight / divisor;
        let scaled = if largest > most { (weight * most).div_ceil(largest) } else { weight };
        u32::try_from(scaled).unwrap_or(u32::MAX)
    };
    each.into_iter().map(fits).collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Up to a bound beyond which shares are not exact any more.
fn lcm(a: u64, b: u64) -> u64 {
    let lcm = (a / gcd(a, b)).saturating_mul(b);
    if lcm <= 1_000_000_000 { lcm } else { a.max(b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_the_services_however_many_tasks_it_has() {
        let weights = |members: &[(Option<u32>, u64)]| of_shares(members, LARGEST);
        // Without a weight each task counts alike.
        assert_eq!(weights(&[(None, 4), (None, 1)]), [1, 1]);
        // Blue and green.
        assert_eq!(weights(&[(Some(0), 3), (Some(100), 2)]), [0, 1]);
        // 90 to 10: three tasks with 30 each, two with 5 each.
        assert_eq!(weights(&[(Some(90), 3), (Some(10), 2)]), [6, 1]);
        // The other one counts with its four tasks.
        assert_eq!(weights(&[(Some(4), 1), (None, 4)]), [4, 1]);
        assert_eq!(weights(&[(Some(0), 1), (Some(0), 1)]), [0, 0]);
        assert_eq!(weights(&[(Some(5), 0), (Some(5), 1)]), [0, 1]);
        // What is out of proportion still gets something.
        let weights = of_shares(&[(Some(1), 9_973), (Some(1000), 7)], LARGEST);
        assert!(weights[0] >= 1 && weights[1] <= 10_000, "{weights:?}");
    }
}
