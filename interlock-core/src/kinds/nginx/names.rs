//! Lists of hosts' names, and the tables in which NGINX keeps them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::section::Printed;
use crate::proxy_config::{UpstreamName, VirtualHost};
use crate::units::{Hashed, HostPattern};

/// One of the names of a server that many hosts share.
#[derive(Serialize)]
pub(super) struct ServerName<'a>(pub(super) &'a HostPattern);

#[derive(Serialize)]
pub(super) struct MapEntry<'a> {
    pub(super) host: &'a HostPattern,
    pub(super) upstream: &'a UpstreamName,
}

#[derive(Serialize)]
pub(super) struct SocketEntry<'a> {
    pub(super) host: &'a HostPattern,
    #[serde(rename = "upstream")]
    pub(super) socket: String,
}

impl Printed for ServerName<'_> {
    const INCLUDE: &'static str = "include_deeper";

    fn template(&self) -> &'static str {
        "server_name"
    }
}

impl Printed for MapEntry<'_> {
    const INCLUDE: &'static str = "include_deeper";

    fn template(&self) -> &'static str {
        "map_entry"
    }
}

impl Printed for SocketEntry<'_> {
    const INCLUDE: &'static str = "include_deeper";

    fn template(&self) -> &'static str {
        "map_entry"
    }
}

/// nginx refuses a hash table whose buckets are smaller than its longest name, and searches long for a good size when there
/// are few buckets for many names.
#[derive(Serialize)]
pub(super) struct Hashes {
    size: usize,
    bucket: usize,
}

impl Hashes {
    pub(super) fn of(virtual_hosts: &BTreeMap<HostPattern, Hashed<VirtualHost>>) -> Self {
        let names = virtual_hosts.keys().map(|pattern| pattern.host().as_str().len() + 2);
        let forwards = virtual_hosts.values().flat_map(|host| host.locations.values());
        let values = forwards.flat_map(|forward| &forward.canaries).map(|to| to.canary.value().map_or(0, str::len) + 2);
        let longest = names.chain(values).max().unwrap_or(0);
        // An element is a pointer, a length of two bytes and the name, rounded up to pointers; a bucket ends with a pointer.
        let element = 8 + (longest + 2).next_multiple_of(8);
        let bucket = (4 * element + 8).next_power_of_two().max(128);
        Self { size: (2 * virtual_hosts.len()).next_power_of_two().max(1024), bucket }
    }
}
