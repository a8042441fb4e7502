//! Types that cannot hold a wrong value.
//!
//! Whoever may deploy an app writes the labels that end up here, so every type below is constructed by parsing alone, and its
//! alphabet has no character that means something to a proxy's configuration language: no newline, quote, brace, semicolon, `$`,
//! backslash, NUL or blank. Later steps rely on that and have no error path. Names are shared: a copy costs no memory.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

#[cfg(any(feature = "docker", feature = "grpc"))]
mod backoff;
mod cluster;
mod fingerprint;
pub(crate) mod hash;
mod hashed;
mod host;
mod networks;
mod path;
mod role;
pub(crate) mod shared;
mod size;
mod time;
mod url;
mod version;

#[cfg(any(feature = "docker", feature = "grpc"))]
pub(crate) use backoff::Backoff;
pub use cluster::{Cluster, RouteName};
pub use fingerprint::Fingerprint;
pub use hashed::{Digest, Hashed};
pub use host::{Host, HostPattern};
pub(crate) use networks::{network, overlap, without};
pub use path::PathPrefix;
pub use role::Role;
pub use size::ByteSize;
pub use time::TimeSpan;
pub(crate) use url::Url;
pub use version::ProxyVersion;

/// Why a text is not a value of the type: what is wrong and what would be right, as two lower-case phrases.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{wrong}; {right}")]
pub struct Invalid {
    /// What is wrong, for example `has an empty label`.
    pub wrong: String,
    /// What would be right, for example `write names like shop.example.com`.
    pub right: &'static str,
}

impl Invalid {
    pub(crate) fn new(wrong: impl Into<String>, right: &'static str) -> Self {
        Self { wrong: wrong.into(), right }
    }
}

/// Implements what every text-like type has: reading by `FromStr`, printing, serde as a string.
macro_rules! text_type {
    ($name:ident) => {
        impl $name {
            /// The text, in canonical form.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;
            fn try_from(text: String) -> Result<Self, Invalid> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.as_str().to_owned()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}
pub(crate) use text_type;

/// An identifier that Docker gave to an object. It is compared and sent back, never printed into a proxy's configuration.
macro_rules! docker_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes an identifier as Docker wrote it.
            pub fn new(id: impl Into<Arc<str>>) -> Self {
                Self(id.into())
            }

            /// The identifier as Docker wrote it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.into())
            }
        }
    };
}

docker_id!(
    /// A service's id.
    ServiceId
);
docker_id!(
    /// A task's id.
    TaskId
);
docker_id!(
    /// A node's id.
    NodeId
);
docker_id!(
    /// A network's id.
    NetworkId
);
docker_id!(
    /// A config object's id.
    ConfigId
);
docker_id!(
    /// A secret's id.
    SecretId
);

/// A TCP port, 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Port(std::num::NonZeroU16);

impl Port {
    /// The number.
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl FromStr for Port {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RIGHT: &str = "write a number from 1 to 65535, like 8080";
        let plain =
            !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        let number = if plain { text.parse().ok() } else { None };
        number.map(Self).ok_or_else(|| Invalid::new("is not a port", RIGHT))
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a Docker secret as a label writes it: 1 to 64 of letters, digits, `-`, `_` and `.`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(Arc<str>);
text_type!(SecretName);

impl FromStr for SecretName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        object_name(text, 64)
            .map(|name| Self(name.into()))
            .ok_or_else(|| Invalid::new("is not a secret's name", "write the name that `docker secret ls` shows"))
    }
}

/// The name of a network as a label writes it: 1 to 128 of letters, digits, `-`, `_` and `.`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkName(Arc<str>);
text_type!(NetworkName);

impl FromStr for NetworkName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RIGHT: &str =
            "write the name of an overlay network that the service is on, as `docker network ls` shows it";
        let name = object_name(text, 128).ok_or_else(|| Invalid::new("is not a network's name", RIGHT))?;
        match name {
            "ingress" | "host" | "none" => Err(Invalid::new("is a network that no proxy can be attached to", RIGHT)),
            name => Ok(Self(name.into())),
        }
    }
}

fn object_name(text: &str, longest: usize) -> Option<&str> {
    let first = text.bytes().next()?;
    let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (first.is_ascii_alphanumeric() && text.len() <= longest && text.bytes().all(inside)).then_some(text)
}

/// The name of an application's cookie: 1 to 64 of letters, digits, `_`, `-` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CookieName(Arc<str>);
text_type!(CookieName);

impl FromStr for CookieName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if (1..=64).contains(&text.len()) && text.bytes().all(inside) {
            return Ok(Self(text.into()));
        }
        Err(Invalid::new("is not a cookie's name", "write 1 to 64 of letters, digits, `_`, `-` and `.`, like session"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_plain_number() {
        assert_eq!("8080".parse::<Port>().unwrap().get(), 8080);
        for wrong in ["", "0", "08080", "65536", "99999", "+80", "80 ", " 80", "8080\n", "0x50", "8080/tcp", "http"] {
            assert!(wrong.parse::<Port>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn object_names_have_a_small_alphabet() {
        assert!("shop.example.com.cert".parse::<SecretName>().is_ok());
        assert!("demo_demo-network".parse::<NetworkName>().is_ok());
        for wrong in ["", "../x", ".x", "-x", "a b", "a/b", "a;b", "a\n", "a$b", "é"] {
            assert!(wrong.parse::<SecretName>().is_err(), "{wrong:?}");
            assert!(wrong.parse::<NetworkName>().is_err(), "{wrong:?}");
        }
        assert!("ingress".parse::<NetworkName>().is_err());
    }
}
