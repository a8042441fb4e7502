//! What a route may ask for besides hosts, paths and tasks.
//!
//! Each value is read from a label into a type that cannot hold what would break a proxy's configuration; see [`crate::units`]. The
//! names of the fields are those of the labels, and so are the keys of the JSON that extensions get.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::units::{CookieName, HostPattern, Invalid, Url, text_type};

pub(crate) mod headers;

pub use super::RouteOptions;
pub use crate::units::{ByteSize, TimeSpan};
pub use headers::{HeaderEdit, HeaderName, HeaderValue};

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What tasks speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendProtocol {
    /// HTTP/1.
    #[default]
    Http,
    /// HTTP/1 over TLS.
    Https,
    /// gRPC, which is HTTP/2, without TLS.
    Grpc,
    /// gRPC over TLS.
    Grpcs,
}

impl BackendProtocol {
    /// Its name in labels, which is also the scheme of its URLs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Grpc => "grpc",
            Self::Grpcs => "grpcs",
        }
    }

    /// Whether it is over TLS.
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Grpcs)
    }

    /// Whether it is gRPC.
    pub const fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::Grpcs)
    }

    /// The same over TLS.
    pub(super) const fn over_tls(self) -> Self {
        match self {
            Self::Http | Self::Https => Self::Https,
            Self::Grpc | Self::Grpcs => Self::Grpcs,
        }
    }
}

impl FromStr for BackendProtocol {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        [Self::Http, Self::Https, Self::Grpc, Self::Grpcs]
            .into_iter()
            .find(|protocol| protocol.as_str() == text)
            .ok_or_else(|| Invalid::new("is not a protocol of backends", "write http, https, grpc or grpcs"))
    }
}

/// How the task for a request is chosen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// In turns.
    #[default]
    RoundRobin,
    /// By the client's address.
    IpHash,
    /// By the value of a cookie; in turns without it.
    Cookie(CookieName),
}

/// How many requests a client address may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RateLimit {
    /// A second, in the long run: 1 to 100,000.
    pub per_second: u32,
    /// Beyond that at once: 0 to 100,000.
    pub burst: u32,
}

impl FromStr for RateLimit {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const MOST: u32 = 100_000;
        let number = |text: &str| {
            let text = text.trim_matches(' ');
            let plain = !text.is_empty() && text.len() <= 6 && text.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| text.parse::<u32>().ok()).flatten().filter(|&number| number <= MOST)
        };
        let (rate, burst) = match text.split_once(',') {
            Some((rate, burst)) => (number(rate), number(burst)),
            None => (number(text), number(text)),
        };
        match (rate.filter(|&rate| rate > 0), burst) {
            (Some(per_second), Some(burst)) => Ok(Self { per_second, burst }),
            _ => Err(Invalid::new(
                "is not a rate",
                "write requests per second, and after a comma how many more may come at once, like 10,50",
            )),
        }
    }
}

/// Where requests are sent: an http or https URL of visible ASCII characters that mean nothing to a proxy's configuration, at most 2048 of
/// them, with the host in canonical form. The request's own path and query are put behind it, so that it has no slash at its end when it is a host alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RedirectTarget {
    text: String,
    site: Option<Site>,
}

/// Where requests come in for a host: the scheme, at its usual port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Site {
    /// Whether the scheme is https.
    pub(crate) is_https: bool,
    /// The host.
    pub(crate) host: HostPattern,
}

impl RedirectTarget {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The site that requests are sent to; `None` at another port than the usual one, where proxies need not serve it.
    pub(crate) fn site(&self) -> Option<&Site> {
        self.site.as_ref()
    }
}

impl fmt::Display for RedirectTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for RedirectTarget {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<RedirectTarget> for String {
    fn from(target: RedirectTarget) -> Self {
        target.text
    }
}

impl FromStr for RedirectTarget {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RIGHT: &str = "write a target like https://new.example.com";
        let harmless = |b: u8| b.is_ascii_alphanumeric() || b":/?&=#%.,_~+@!*()-".contains(&b);
        let Some(url) = Url::of(text) else {
            return Err(Invalid::new("has a target that is not an http or https URL", RIGHT));
        };
        // An internationalised name has another form than it was written in.
        let mut text = format!("{}://{}{}", url.scheme, url.host, url.rest);
        if let Some(c) = text.chars().find(|c| !u8::try_from(*c).is_ok_and(harmless)) {
            let wrong = format!("has a target with the character `{}`, which is not allowed", c.escape_debug());
            return Err(Invalid::new(wrong, RIGHT));
        }
        if text.len() > 2048 {
            return Err(Invalid::new("has a target of more than 2048 characters", RIGHT));
        }
        let is_encoded = |rest: &str| rest.get(..2).is_some_and(|two| two.bytes().all(|b| b.is_ascii_hexdigit()));
        if !text.split('%').skip(1).all(is_encoded) {
            return Err(Invalid::new("has a target with a `%` that encodes nothing", "write a plain one as %25"));
        }
        let is_host = text.matches('/').count() == 3;
        if is_host && text.ends_with('/') {
            text.pop();
        }
        let usual = url.has_usual_port();
        let site = Site { is_https: url.is_https(), host: HostPattern::Exact(url.host) };
        Ok(Self { text, site: usual.then_some(site) })
    }
}

/// What a request has to carry to be sent to a canary: the name of a header or cookie, and its value if that matters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Canary {
    /// A header.
    Header(HeaderName, Option<Token>),
    /// A cookie.
    Cookie(CookieName, Option<Token>),
}

/// A value of a header or cookie that something is chosen by: 1 to 128 of letters, digits, `-`, `_` and `.`. Case is ignored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token(String);
text_type!(Token);

impl FromStr for Token {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if (1..=128).contains(&text.len()) && text.bytes().all(inside) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        Err(Invalid::new(
            "has a value that is not of letters, digits, `-`, `_` and `.`",
            "write NAME or NAME:VALUE, like beta or beta:always",
        ))
    }
}

impl Canary {
    pub(crate) fn header(text: &str) -> Result<Self, Invalid> {
        let (name, value) = named(text)?;
        Ok(Self::Header(name.parse()?, value))
    }

    pub(crate) fn cookie(text: &str) -> Result<Self, Invalid> {
        let (name, value) = named(text)?;
        Ok(Self::Cookie(name.parse()?, value))
    }

    /// The value that it has to have; `None` for any.
    pub fn value(&self) -> Option<&str> {
        let (Self::Header(_, value) | Self::Cookie(_, value)) = self;
        value.as_ref().map(Token::as_str)
    }
}

fn named(text: &str) -> Result<(&str, Option<Token>), Invalid> {
    match text.split_once(':') {
        Some((name, value)) => Ok((name.trim_matches(' '), Some(value.trim_matches(' ').parse()?))),
        None => Ok((text.trim_matches(' '), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_bounds() {
        assert!("10".parse::<RateLimit>().is_ok_and(|rate| rate == RateLimit { per_second: 10, burst: 10 }));
        assert!("10, 0".parse::<RateLimit>().is_ok_and(|rate| rate == RateLimit { per_second: 10, burst: 0 }));
        for wrong in ["", "0", "-1", "1r/s", "100001", "1,", ",1", "1,2,3", "1 2", "1\n"] {
            assert!(wrong.parse::<RateLimit>().is_err(), "{wrong:?}");
        }
        assert!(TimeSpan::within("5s", "1s", "10s").is_ok() && TimeSpan::within("11s", "1s", "10s").is_err());
        assert!(Canary::header("X-Canary:yes").is_ok() && Canary::header("X-Canary: a b").is_err());
        assert!(Canary::header("X Canary").is_err() && Canary::cookie("").is_err());
    }
}
