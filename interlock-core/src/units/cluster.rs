//! Names that the operator or a label gives to parts of interlock itself.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Invalid, text_type};
use crate::units::hash;

/// The name of a service cluster: one extension with its proxy service. The empty name is the default cluster.
///
/// At most 63 of letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Cluster(Arc<str>);
text_type!(Cluster);

impl FromStr for Cluster {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if text.len() <= 63 && text.bytes().all(inside) {
            return Ok(Self(text.into()));
        }
        Err(Invalid::new("is not a service cluster's name", "write a ServiceCluster of the settings, like us-east"))
    }
}

impl Cluster {
    /// The part of object names that stands for this cluster: `default` for the empty name, else at most 12 characters of the
    /// name and 4 hexadecimal digits of its hash, so that two clusters never share one and names stay within Docker's 64.
    pub fn slug(&self) -> String {
        if self.0.is_empty() {
            return "default".to_owned();
        }
        let mut slug = String::new();
        for c in self.0.chars().take(12) {
            slug.push(if c.is_ascii_alphanumeric() || c == '-' { c.to_ascii_lowercase() } else { '-' });
        }
        format!("{slug}-{}", &hash::hex16(self.0.as_bytes())[..4])
    }

    /// The name for people: `default` for the empty one.
    pub fn title(&self) -> &str {
        if self.0.is_empty() { "default" } else { &self.0 }
    }
}

/// The name of one of several routes of a service, the suffix in `com.docker.lb.hosts.admin`: 1 to 32 of lower-case letters, digits,
/// `-` and `_`. Names that differ in case alone would be one upstream to NGINX, and two of one name are an error to it. The empty name
/// is the route that labels without a suffix describe.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RouteName(Arc<str>);
text_type!(RouteName);

impl FromStr for RouteName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
        if text.len() <= 32 && text.bytes().all(inside) {
            return Ok(Self(text.into()));
        }
        Err(Invalid::new(
            "is not a route's name",
            "write a suffix of 1 to 32 lower-case letters, digits, `-` and `_`, like .admin",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_of_different_clusters_differ() {
        let slug = |name: &str| name.parse::<Cluster>().unwrap().slug();
        assert_eq!(slug(""), "default");
        assert_ne!(slug("default"), slug(""));
        assert_ne!(slug("us_east"), slug("us-east"));
        assert_ne!(slug("a-very-long-name-1"), slug("a-very-long-name-2"));
        assert!(slug(&"x".repeat(63)).len() <= 17);
    }
}
