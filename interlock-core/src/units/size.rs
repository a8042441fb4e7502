//! A number of bytes.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Invalid, text_type};

/// A number of bytes, as it is written: up to nine digits, with `k`, `m` or `g` behind them or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(String);
text_type!(ByteSize);

impl ByteSize {
    /// So many kilobytes.
    pub(crate) fn kilobytes(number: u16) -> Self {
        Self(format!("{number}k"))
    }

    /// So many megabytes.
    pub(crate) fn megabytes(number: u16) -> Self {
        Self(format!("{number}m"))
    }

    /// How many bytes that is.
    pub fn bytes(&self) -> u64 {
        let digits = self.0.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match self.unit() {
            Some('k') => 1 << 10,
            Some('m') => 1 << 20,
            Some('g') => 1 << 30,
            _ => 1,
        };
        digits.parse::<u64>().unwrap_or(0).saturating_mul(unit)
    }

    /// The letter behind the digits, in lower case.
    pub(crate) fn unit(&self) -> Option<char> {
        self.0.chars().last().filter(char::is_ascii_alphabetic).map(|unit| unit.to_ascii_lowercase())
    }
}

impl FromStr for ByteSize {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digits = text.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G']).unwrap_or(text);
        if (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(Self(text.to_owned()));
        }
        Err(Invalid::new("is not a size", "write a number of at most nine digits with k, m or g behind it, like 32m"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_digits_and_a_unit() {
        for (text, bytes) in
            [("0", 0), ("1024", 1024), ("8k", 8 << 10), ("8K", 8 << 10), ("32m", 32 << 20), ("1G", 1 << 30)]
        {
            assert_eq!(text.parse::<ByteSize>().unwrap().bytes(), bytes, "{text}");
        }
        for wrong in ["", "m", "1mm", "1.5m", "1234567890", "-1", "1m ", "1t"] {
            assert!(wrong.parse::<ByteSize>().is_err(), "{wrong:?}");
        }
    }
}
