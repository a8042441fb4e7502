//! The addresses of a network.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// A subnet from which addresses are taken in order, going round: an address comes back into use after release, but as late as possible.
#[derive(Debug)]
pub(super) struct Pool {
    base: u32,
    prefix: u8,
    cursor: u32,
    used: BTreeSet<u32>,
}

impl Pool {
    pub(super) fn new(base: u32, prefix: u8) -> Self {
        let mask = if prefix == 0 { 0 } else { u32::MAX << (32 - u32::from(prefix)) };
        Self { base: base & mask, prefix, cursor: 1, used: BTreeSet::new() }
    }

    pub(super) fn parse(cidr: &str) -> Option<Self> {
        let (base, prefix) = cidr.split_once('/')?;
        let prefix = prefix.parse().ok().filter(|p| (1..=30).contains(p))?;
        Some(Self::new(base.parse::<Ipv4Addr>().ok()?.into(), prefix))
    }

    pub(super) fn config(&self) -> Value {
        json!({
            "Subnet": format!("{}/{}", Ipv4Addr::from(self.base), self.prefix),
            "Gateway": Ipv4Addr::from(self.base + 1).to_string(),
        })
    }

    /// The next free address; none when the subnet is used up: a /24 ends at 253.
    pub(super) fn take(&mut self) -> Option<String> {
        let last = (1_u32 << (32 - u32::from(self.prefix))) - 2;
        for _ in 0..last {
            self.cursor = if self.cursor >= last { 2 } else { self.cursor + 1 };
            if self.used.insert(self.cursor) {
                return Some(format!("{}/{}", Ipv4Addr::from(self.base + self.cursor), self.prefix));
            }
        }
        None
    }

    pub(super) fn give_back(&mut self, address: &str) {
        if let Some(address) = address.split('/').next().and_then(|a| a.parse::<Ipv4Addr>().ok()) {
            self.used.remove(&(u32::from(address).wrapping_sub(self.base)));
        }
    }
}
