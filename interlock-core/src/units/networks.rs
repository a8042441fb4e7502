//! Networks by their addresses.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Invalid;

/// A network, or an address. One with bits behind its prefix would let in more than it seems to, or less.
pub(crate) fn network(text: &str) -> Result<IpNet, Invalid> {
    const RIGHT: &str = "write networks like 10.0.0.0/8, separated by commas";
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let network: IpNet = text.parse().map_err(|_| Invalid::new("has something that is no network", RIGHT))?;
    if network.trunc() == network {
        return Ok(network);
    }
    let wrong = format!("has {network}, which stands for all of {}", network.trunc());
    Err(Invalid::new(wrong, "write that network, or the address alone"))
}

/// Whether two networks have an address in common.
pub(crate) fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// What is left of a network without others, in as few networks as possible.
pub(crate) fn without(whole: IpNet, others: &[IpNet]) -> Vec<IpNet> {
    if others.iter().any(|other| other.contains(&whole)) {
        return Vec::new();
    }
    let inside: Vec<_> = others.iter().copied().filter(|other| whole.contains(other)).collect();
    if inside.is_empty() {
        return vec![whole];
    }
    // One that has another in it has two halves.
    let halves = whole.subnets(whole.prefix_len() + 1).into_iter().flatten();
    halves.flat_map(|half| without(half, &inside)).collect()
}
