//! Value types that only labels have, and the readers for each syntax.

use std::fmt;
use std::str::FromStr;

use crate::names::{HostPattern, Invalid, PathPrefix};

/// Where requests go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendMode {
    /// To each task.
    Task,
    /// To the service's virtual IP.
    Vip,
}

impl FromStr for BackendMode {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "task" => Ok(Self::Task),
            "vip" => Ok(Self::Vip),
            _ => Err(Invalid::new("is not a backend mode", "write task or vip")),
        }
    }
}

/// Whether a TLS upstream's certificate is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVerify {
    /// It is not.
    None,
    /// It is.
    Required,
}

impl FromStr for TlsVerify {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "none" => Ok(Self::None),
            "required" => Ok(Self::Required),
            _ => Err(Invalid::new("is not a way to verify", "write none or required")),
        }
    }
}

/// A time in nginx's notation: whole milliseconds, seconds, minutes, hours or days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailTimeout {
    /// Its length in milliseconds.
    pub millis: u64,
}

impl FromStr for FailTimeout {
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

/// A redirect: requests for one URL are sent to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// Whether the source is an https URL.
    pub from_https: bool,
    /// The source's host.
    pub from_host: HostPattern,
    /// The target as written: an http or https URL of visible ASCII characters that mean nothing to a proxy's configuration.
    pub to: String,
}

pub(super) fn boolean(text: &str) -> Result<bool, Invalid> {
    if text == "1" || text.eq_ignore_ascii_case("true") {
        Ok(true)
    } else if text == "0" || text.eq_ignore_ascii_case("false") {
        Ok(false)
    } else {
        Err(Invalid::new("is neither true nor false", "write true or false"))
    }
}

/// The items of a list, blanks around them trimmed and empty ones left out.
fn items(text: &str, separator: char, most: usize) -> Result<Vec<&str>, Invalid> {
    let items: Vec<_> = text.split(separator).map(str::trim).filter(|item| !item.is_empty()).collect();
    if items.is_empty() {
        return Err(Invalid::new("is an empty list", "write at least one item"));
    }
    if items.len() > most {
        return Err(Invalid::new(
            format!("has {} items, and {most} are allowed", items.len()),
            "spread them over several services or routes",
        ));
    }
    Ok(items)
}

pub(super) fn hosts(text: &str) -> Result<Vec<HostPattern>, Invalid> {
    let mut hosts = items(text, ',', 256)?.into_iter().map(str::parse).collect::<Result<Vec<_>, _>>()?;
    hosts.sort();
    hosts.dedup();
    Ok(hosts)
}

pub(super) fn paths(text: &str) -> Result<Vec<PathPrefix>, Invalid> {
    items(text, ',', 64)?.into_iter().map(str::parse).collect()
}

pub(super) fn number(text: &str, most: u32) -> Result<u32, Invalid> {
    let plain = !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    let number = if plain { text.parse().ok() } else { None };
    number
        .filter(|&n| n <= most)
        .ok_or_else(|| Invalid::new(format!("is not a whole number from 0 to {most}"), "write digits only"))
}

pub(super) fn redirects(text: &str) -> Result<Vec<Redirect>, Invalid> {
    items(text, ';', 64)?.into_iter().map(redirect).collect()
}

const REDIRECT: &str = "write pairs like http://old.example.com,https://new.example.com, separated by semicolons";

fn redirect(pair: &str) -> Result<Redirect, Invalid> {
    let (from, to) = pair.split_once(',').ok_or_else(|| Invalid::new("has a redirect without a target", REDIRECT))?;
    let (from, to) = (from.trim(), to.trim());
    let (from_https, from_host) = url_host(from)?;
    url_host(to)?;
    let harmless = |b: u8| b.is_ascii_alphanumeric() || b":/?&=#%.,_~+@!*()-".contains(&b);
    if !to.bytes().all(harmless) || to.contains("%[") || to.len() > 2048 {
        return Err(Invalid::new("has a target with a character that is not allowed", REDIRECT));
    }
    if from == to {
        return Err(Invalid::new("redirects a URL to itself", REDIRECT));
    }
    Ok(Redirect { from_https, from_host, to: to.to_owned() })
}

fn url_host(url: &str) -> Result<(bool, HostPattern), Invalid> {
    let invalid = || Invalid::new("has a redirect that is not an http or https URL", REDIRECT);
    let (https, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return Err(invalid()),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(Invalid::new("has a redirect with a user name", REDIRECT));
    }
    let host = match authority.split_once(':') {
        Some((host, port)) => port.parse::<crate::names::Port>().map(|_| host).map_err(|_| invalid())?,
        None => authority,
    };
    match host.parse() {
        Ok(HostPattern::Exact(host)) => Ok((https, HostPattern::Exact(host))),
        _ => Err(invalid()),
    }
}

impl fmt::Display for FailTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.millis)
    }
}
