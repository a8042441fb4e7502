//! Value types that only labels have, and the readers for each syntax.

use std::str::FromStr;

use ipnet::IpNet;
use serde::Serialize;

use crate::labels::options::{RedirectTarget, Site};
use crate::problem::shown;
use crate::units::{ByteSize, HostPattern, Invalid, PathPrefix, Url, network};

/// Where requests go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendMode {
    /// To each task.
    #[default]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
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

/// A redirect: requests for one URL are sent to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Redirect {
    /// Whether the source is an https URL.
    pub from_https: bool,
    /// The source's host.
    pub from_host: HostPattern,
    /// The target.
    pub to: RedirectTarget,
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

/// Reads the items of a list. Of a long one the wrong item is named: whoever reads the problem sees the list's beginning alone.
fn each<T>(items: Vec<&str>, read: impl Fn(&str) -> Result<T, Invalid>) -> Result<Vec<T>, Invalid> {
    let is_list = items.len() > 1;
    let named = |item: &str, invalid: Invalid| match is_list {
        true => Invalid { wrong: format!("has the item {}, which {}", shown(item), invalid.wrong), ..invalid },
        false => invalid,
    };
    items.into_iter().map(|item| read(item).map_err(|invalid| named(item, invalid))).collect()
}

/// How many hosts, or networks, a label may name.
pub(super) const MOST_HOSTS: usize = 256;
/// How many paths or redirects.
pub(super) const MOST_PATHS: usize = 64;

pub(super) fn hosts(text: &str) -> Result<Vec<HostPattern>, Invalid> {
    let mut hosts = each(items(text, ',', MOST_HOSTS)?, str::parse::<HostPattern>)?;
    hosts.sort();
    hosts.dedup();
    Ok(hosts)
}

pub(super) fn paths(text: &str) -> Result<Vec<PathPrefix>, Invalid> {
    let mut paths = each(items(text, ',', MOST_PATHS)?, str::parse::<PathPrefix>)?;
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// Networks; an address is a network of one.
pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, Invalid> {
    let mut networks = each(items(text, ',', MOST_HOSTS)?, network)?;
    networks.sort();
    networks.dedup();
    Ok(networks)
}

pub(super) fn number(text: &str, most: u32) -> Result<u32, Invalid> {
    let plain = !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    let number = if plain { text.parse().ok() } else { None };
    number.filter(|&n| n <= most).ok_or_else(|| {
        Invalid::new(
            format!("is not a whole number from 0 to {most}"),
            "write a number in that range, in digits, like 1",
        )
    })
}

/// The size of a body, in lower case. No body is `0`, in whatever unit it is written.
pub(super) fn body_size(text: &str) -> Result<ByteSize, Invalid> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len();
    match lower.parse::<ByteSize>() {
        Ok(size) if digits <= 6 && size.bytes() == 0 => "0".parse(),
        Ok(size) if digits <= 6 => Ok(size),
        _ => {
            let right = "write a number of at most six digits with k, m or g behind it, like 32m";
            Err(Invalid::new("is not a size", right))
        }
    }
}

pub(super) fn redirects(text: &str) -> Result<Vec<Redirect>, Invalid> {
    each(items(text, ';', MOST_PATHS)?, redirect)
}

const REDIRECT: &str = "write pairs like http://old.example.com,https://new.example.com, separated by semicolons";

fn redirect(pair: &str) -> Result<Redirect, Invalid> {
    let (from, to) = pair.split_once(',').ok_or_else(|| Invalid::new("has a redirect without a target", REDIRECT))?;
    let (from, to) = (from.trim(), to.trim());
    let Some(url) = Url::of(from) else { return Err(Invalid::new("has a source that is no URL", REDIRECT)) };
    if !matches!(url.rest, "" | "/") {
        // All requests for the host are redirected, not those for a path or port alone.
        return Err(Invalid::new("has a source with a path, query or port", REDIRECT));
    }
    let from = Site { is_https: url.is_https(), host: HostPattern::Exact(url.host) };
    let to: RedirectTarget = to.parse()?;
    if to.site() == Some(&from) {
        // The request's own path is put behind the target, so that no other path makes an end of it.
        return Err(Invalid::new("redirects a host to itself", REDIRECT));
    }
    Ok(Redirect { from_https: from.is_https, from_host: from.host, to })
}
