//! Addresses that hide the addresses of clients.
//!
//! A port that is published on the node is answered by Docker's own small proxy where its rules in the kernel do not reach: for IPv6 clients of an
//! IPv4 network, and for the node itself. All of them then come from the gateway of the container's bridge. So the gateway's address
//! is nobody's: `allow` never lets it in. A balancer that is trusted says who its clients are, and NGINX sees their addresses instead.

use std::fmt::Write;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// The name of the file with `deny` lines, in the agent's folder.
const FILE: &str = "not-clients.conf";

/// Writes the file for nginx.
pub(super) fn note(run: &Path) -> io::Result<()> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let gateways = gateways(&read("/proc/net/route"), &read("/proc/net/ipv6_route"));
    let lines = gateways.into_iter().fold(String::new(), |mut lines, gateway| {
        let _ = writeln!(lines, "deny {gateway};");
        lines
    });
    std::fs::write(run.join(FILE), lines)
}

/// The gateways of the default routes, by the kernel's two tables.
fn gateways(v4: &str, v6: &str) -> Vec<IpAddr> {
    // Interface, destination, gateway, ...: a word of the machine's own byte order each.
    let of_v4 = v4.lines().skip(1).filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let word = |at: usize| u32::from_str_radix(words.get(at)?, 16).ok();
        let gateway = word(2).filter(|gateway| word(1) == Some(0) && *gateway != 0)?;
        Some(IpAddr::from(Ipv4Addr::from(gateway.to_ne_bytes())))
    });
    // Destination, its prefix, source, its prefix, next hop, ...: 32 digits each.
    let of_v6 = v6.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let word = |at: usize| u128::from_str_radix(words.get(at)?, 16).ok();
        let gateway = word(4).filter(|gateway| word(0) == Some(0) && word(1) == Some(0) && *gateway != 0)?;
        Some(IpAddr::from(Ipv6Addr::from(gateway)))
    });
    let mut found: Vec<_> = of_v4.chain(of_v6).collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a container on a Swarm has them, on a machine with little-endian words.
    #[test]
    #[cfg(target_endian = "little")]
    fn gateways_are_those_of_default_routes() {
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
                  eth1\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\n\
                  eth0\t0001000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\n\
                  eth1\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\n";
        let v6 = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 1 0 00000003 eth1\n\
                  fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 1 0 00000001 eth1\n";
        let expected: Vec<IpAddr> = ["172.18.0.1", "fd00::1"].map(|text| text.parse().expect("an address")).into();
        assert_eq!(gateways(v4, v6), expected);
        assert_eq!(gateways("", ""), Vec::<IpAddr>::new());
        assert_eq!(gateways("Iface\nnonsense\neth0\t00000000\tXYZ", "0 0"), Vec::<IpAddr>::new());
    }
}
