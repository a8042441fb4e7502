//! Versions of proxy programs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// The version of a proxy program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProxyVersion {
    /// `1` of 1.30.7.
    pub major: u16,
    /// `30` of 1.30.7.
    pub minor: u16,
    /// `7` of 1.30.7.
    pub patch: u16,
}

impl fmt::Display for ProxyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { major, minor, patch } = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl FromStr for ProxyVersion {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut numbers = text.split('.').map(|number| number.parse::<u16>().ok());
        match (numbers.next().flatten(), numbers.next().flatten(), numbers.next(), numbers.next()) {
            (Some(major), Some(minor), None, None) => Ok(Self { major, minor, patch: 0 }),
            (Some(major), Some(minor), Some(Some(patch)), None) => Ok(Self { major, minor, patch }),
            _ => Err(Invalid::new("is no version", "write it like 1.30.7")),
        }
    }
}

impl TryFrom<String> for ProxyVersion {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<ProxyVersion> for String {
    fn from(version: ProxyVersion) -> Self {
        version.to_string()
    }
}

impl ProxyVersion {
    /// The version in what a program says of itself, like `nginx version: nginx/1.30.7 (Debian)`. Programs that are made of nginx have a fourth
    /// number, which says nothing about nginx.
    pub fn in_output(output: &str) -> Option<Self> {
        let (_, version) = output.lines().find(|line| line.contains("version:"))?.split_once('/')?;
        let digits = version.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        digits.splitn(4, '.').take(3).collect::<Vec<_>>().join(".").parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_output() {
        for (output, expected) in [
            ("nginx version: nginx/1.22.1\nbuilt with OpenSSL\n", Some("1.22.1")),
            ("nginx version: nginx/1.18.0 (Ubuntu)", Some("1.18.0")),
            ("nginx version: openresty/1.21.4.1\n", Some("1.21.4")),
            ("nginx version: nginx/", None),
            ("sh: nginx: not found", None),
            ("", None),
        ] {
            assert_eq!(
                ProxyVersion::in_output(output).map(|version| version.to_string()).as_deref(),
                expected,
                "{output}"
            );
        }
    }
}
