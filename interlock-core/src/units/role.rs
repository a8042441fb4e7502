//! What the services of interlock are.

use std::fmt;

use serde::Serialize;

/// What a service of interlock is, and what the holder of a certificate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It talks to Docker, and decides.
    Core,
    /// It renders.
    Extension,
    /// It carries the traffic.
    Proxy,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Core, Self::Extension, Self::Proxy];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Core => "core",
            Self::Extension => "extension",
            Self::Proxy => "proxy",
        })
    }
}
