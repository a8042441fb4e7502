//! Fingerprints of certificates.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Invalid, text_type};

/// The SHA-256 of a certificate, as 64 hexadecimal digits in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(String);
text_type!(Fingerprint);

impl Fingerprint {
    /// Of these bytes.
    #[cfg(any(feature = "docker", feature = "grpc"))]
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        Self(crate::units::hash::sha256(bytes))
    }
}

impl FromStr for Fingerprint {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 64 && text.bytes().all(digit) {
            return Ok(Self(text.to_owned()));
        }
        Err(Invalid::new("is no fingerprint", "write 64 hexadecimal digits in lower case"))
    }
}
