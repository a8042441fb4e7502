//! What services may come to.

/// What one service may come to in a service cluster, and all of them together. What is more is not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Hosts of a service's routes together. Default 1024.
    pub hosts: u32,
    /// Locations: paths and endpoints, for each host and port. Default 8192.
    pub locations: u32,
    /// Bytes of the headers that labels set, as often as they stand in the configuration. Default 1 MiB.
    pub header_bytes: u32,
    /// Routes with a rate limit. Default 32.
    pub rate_limits: u32,
    /// Bytes of the configuration, but for tasks' addresses. Default 2 MiB.
    pub bytes: u32,
    /// Rate limits of all services together. Default 512.
    pub all_rate_limits: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            hosts: 1024,
            locations: 8192,
            header_bytes: 1 << 20,
            rate_limits: 32,
            bytes: 2 << 20,
            all_rate_limits: 512,
        }
    }
}
