//! A length of time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// A time of at least a millisecond: whole milliseconds, seconds, minutes, hours or days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeSpan {
    /// Its length in milliseconds.
    pub millis: u64,
}

impl FromStr for TimeSpan {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RIGHT: &str = "write a whole number with ms, s, m, h or d behind it, like 30s";
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let unit = match &text[digits..] {
            "ms" => 1,
            "" | "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(Invalid::new("is not a time", RIGHT)),
        };
        let number: u64 =
            text[..digits].parse().ok().filter(|_| digits <= 6).ok_or_else(|| Invalid::new("is not a time", RIGHT))?;
        Ok(Self { millis: number * unit })
    }
}

impl TimeSpan {
    /// Reads a time of whole seconds: NGINX knows no shorter unit for some, and refuses a file that has one.
    ///
    /// # Errors
    ///
    /// When it is none, or has milliseconds.
    pub(crate) fn whole_seconds(text: &str) -> Result<Self, Invalid> {
        const RIGHT: &str = "write a whole number with s, m, h or d behind it, like 30s";
        let time: Self = text.parse().map_err(|invalid| Invalid { right: RIGHT, ..invalid })?;
        if time.millis.is_multiple_of(1000) {
            return Ok(time);
        }
        Err(Invalid::new("is not a time of whole seconds", RIGHT))
    }

    /// Its length in seconds; a part of one does not count.
    pub(crate) fn seconds(self) -> u32 {
        u32::try_from(self.millis / 1000).unwrap_or(u32::MAX)
    }

    /// Reads a time within bounds.
    ///
    /// # Errors
    ///
    /// When it is none, or outside of them.
    pub(crate) fn within(text: &str, least: &str, most: &str) -> Result<Self, Invalid> {
        let time: Self = text.parse()?;
        let bound = |text: &str| text.parse::<Self>().map_or(0, |time| time.millis);
        if (bound(least)..=bound(most)).contains(&time.millis) {
            return Ok(time);
        }
        Err(Invalid::new(
            format!("is not a time from {least} to {most}"),
            "write a whole number with ms, s, m, h or d behind it, like 30s",
        ))
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.millis {
            millis if millis % 1000 == 0 => write!(f, "{}s", millis / 1000),
            millis => write!(f, "{millis}ms"),
        }
    }
}

impl TryFrom<String> for TimeSpan {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        // As it is printed: minutes and longer units are seconds then, with more digits than a label may have.
        let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
            (Some(number), _) => (number, 1),
            (None, Some(number)) => (number, 1000),
            (None, None) => return text.parse(),
        };
        let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        let millis = if plain { number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)) } else { None };
        millis.map(|millis| Self { millis }).ok_or_else(|| Invalid::new("is not a time", "write it like 30s"))
    }
}

impl From<TimeSpan> for String {
    fn from(time: TimeSpan) -> Self {
        time.to_string()
    }
}
