//! Host names: what `com.docker.lb.hosts` lists.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Invalid, text_type};

const RIGHT: &str = "write names like shop.example.com or *.example.com, separated by commas";

/// Words that mean something in a map of nginx.
const WORDS: &[&str] = &["default", "hostnames", "include", "volatile"];

/// A host name in canonical form: lower case, no trailing dot, internationalised names as A-labels, at most 253 characters of
/// `[a-z0-9_.-]`, of which one is a letter or a digit. Some names of one label are words of nginx's, and none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Host(Arc<str>);
text_type!(Host);

impl FromStr for Host {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.len() > 1024 {
            return Err(Invalid::new("has a name of more than 253 characters", RIGHT));
        }
        let name = if text.is_ascii() { text.to_ascii_lowercase() } else { to_ascii(text)? };
        check(&name)?;
        Ok(Self(name.into()))
    }
}

fn check(name: &str) -> Result<(), Invalid> {
    if name.len() > 253 {
        return Err(Invalid::new("has a name of more than 253 characters", RIGHT));
    }
    if WORDS.contains(&name) {
        return Err(Invalid::new("is a word that proxies use themselves", RIGHT));
    }
    name.split('.').try_for_each(check_label)?;
    // nginx takes `_` for no name at all.
    if !name.bytes().any(|b| b.is_ascii_alphanumeric()) {
        return Err(Invalid::new("has neither a letter nor a digit", RIGHT));
    }
    Ok(())
}

fn check_label(label: &str) -> Result<(), Invalid> {
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    if label.is_empty() {
        return Err(Invalid::new("has an empty part between dots", RIGHT));
    }
    if label.len() > 63 {
        return Err(Invalid::new("has a part of more than 63 characters", RIGHT));
    }
    if let Some(c) = label.chars().find(|c| !u8::try_from(*c).is_ok_and(inside)) {
        return Err(Invalid::new(format!("has the character `{}`, which no host name has", c.escape_debug()), RIGHT));
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(Invalid::new("has a part that begins or ends with `-`", RIGHT));
    }
    if label.starts_with("xn--") && !is_a_label(label) {
        return Err(Invalid::new("has an `xn--` part that no internationalised name encodes to", RIGHT));
    }
    Ok(())
}

/// Whether the label decodes to something non-ASCII that encodes to the same label again. Otherwise two spellings could name
/// one host and get past the comparison of hosts.
fn is_a_label(label: &str) -> bool {
    let (decoded, result) = idna::domain_to_unicode(label);
    result.is_ok() && !decoded.is_ascii() && to_ascii(&decoded).is_ok_and(|again| again == label)
}

/// UTS 46, non-transitional, as browsers do it.
fn to_ascii(text: &str) -> Result<String, Invalid> {
    idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::EMPTY)
        .map(|name| name.to_ascii_lowercase())
        .map_err(|_| Invalid::new("is not an internationalised host name", RIGHT))
}

/// What a virtual host answers to: one name, or every name of one or more labels in front of a suffix (`*.example.com`).
///
/// Each virtual host stands under its own pattern, and the most specific one that matches a request decides alone: the exact name,
/// then the longest wildcard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HostPattern {
    /// Exactly this name.
    Exact(Host),
    /// Any name that ends with a dot and this suffix.
    Wildcard(Host),
}

impl FromStr for HostPattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let read = match text.strip_prefix("*.") {
            Some(suffix) => suffix.parse().and_then(wildcard),
            None => text.parse().map(Self::Exact),
        };
        read.map_err(|wrong| meant(text).unwrap_or(wrong))
    }
}

/// All names under a single label, *.com for instance, are nobody's.
fn wildcard(suffix: Host) -> Result<HostPattern, Invalid> {
    if suffix.0.contains('.') {
        return Ok(HostPattern::Wildcard(suffix));
    }
    Err(Invalid::new("has fewer than two parts behind `*.`", RIGHT))
}

/// What somebody wrote who meant something else than a host.
fn meant(text: &str) -> Option<Invalid> {
    let is_ipv6 = text.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>().is_ok();
    let has_port = || text.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let (wrong, right) = if text == "*" {
        (
            "stands for all hosts",
            "set com.docker.lb.default_backend=true to get the requests for hosts that no service names",
        )
    } else if text.contains("://") {
        ("has a scheme", "write the host alone; a certificate named by com.docker.lb.ssl_cert makes it https")
    } else if text.contains('/') {
        ("has a path", "write the host alone, and the path into com.docker.lb.context_root")
    } else if is_ipv6 {
        ("is an IPv6 address", "write a name, or an IPv4 address")
    } else if has_port() {
        ("has a port", "write the host alone; com.docker.lb.port is the port that the service's containers listen on")
    } else if text.trim_start_matches("*.").contains('*') {
        ("has `*` elsewhere than as its first part", RIGHT)
    } else {
        return None;
    };
    Some(Invalid::new(wrong, right))
}

impl HostPattern {
    /// The name without a leading `*.`.
    pub fn host(&self) -> &Host {
        match self {
            Self::Exact(host) | Self::Wildcard(host) => host,
        }
    }

    /// The pattern itself and all wildcards over it, the narrowest first.
    pub fn and_wider(&self) -> impl Iterator<Item = Self> + '_ {
        let suffixes = std::iter::successors(self.host().as_str().split_once('.'), |(_, rest)| rest.split_once('.'));
        let names = suffixes.map(|(_, rest)| rest).filter(|rest| rest.contains('.'));
        [self.clone()].into_iter().chain(names.map(|name| Self::Wildcard(Host(name.into()))))
    }

    /// Whether it stands for more than one name.
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Self::Wildcard(_))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => write!(f, "{host}"),
            Self::Wildcard(host) => write!(f, "*.{host}"),
        }
    }
}

impl TryFrom<String> for HostPattern {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> String {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> Option<String> {
        text.parse::<HostPattern>().ok().map(|host| host.to_string())
    }

    #[test]
    fn one_host_has_one_spelling() {
        for (written, canonical_form) in [
            ("Shop.Example.COM.", "shop.example.com"),
            ("*.Example.com", "*.example.com"),
            ("_dmarc.example.com", "_dmarc.example.com"),
            ("10.0.0.1", "10.0.0.1"),
            ("Wiki", "wiki"),
            ("localhost", "localhost"),
            ("default.example.com", "default.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("ｓｈｏｐ.example", "shop.example"),
            ("\u{212a}elvin.example", "kelvin.example"),
            ("content-by-lua.example.com", "content-by-lua.example.com"),
        ] {
            assert_eq!(canonical(written).as_deref(), Some(canonical_form), "{written}");
        }
        assert_ne!(canonical("shоp.example"), canonical("shop.example"), "a Cyrillic look-alike is another host");
    }

    #[test]
    fn a_name_is_under_the_wildcards_of_its_suffixes() {
        let wider = |text: &str| {
            let pattern: HostPattern = text.parse().unwrap();
            pattern.and_wider().map(|pattern| pattern.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(wider("a.b.example.com"), ["a.b.example.com", "*.b.example.com", "*.example.com"]);
        assert_eq!(wider("*.b.example.com"), ["*.b.example.com", "*.example.com"]);
        assert_eq!(wider("example.com"), ["example.com"]);
        let all = wider("a.b.example.com").iter().all(|pattern| pattern.parse::<HostPattern>().is_ok());
        assert!(all, "what is made is what can be written");
    }

    #[test]
    fn what_a_proxy_could_misread_is_no_host() {
        for wrong in [
            "",
            ".",
            "*",
            "_",
            "*.",
            "*.com",
            "__",
            "default",
            "hostnames",
            "include",
            "volatile",
            "[::1]",
            "::1",
            ".example.com",
            "www.*",
            "*.*.example.com",
            "a..example",
            "~^.*$",
            "$hostname",
            "a.example;",
            "a.example\n",
            "a.example\r",
            "a\u{2028}.example",
            "a b.example",
            "a.example:80",
            "http://a.example",
            "a.example/x",
            "-a.example",
            "a-.example",
            "{a}.example",
            "\"a.example\"",
            "a.example\\",
            "xn--example-.com",
            "xn--a.com",
            "a`.example",
            "{{x}}.example",
        ] {
            assert_eq!(canonical(wrong), None, "{wrong:?}");
        }
        assert_eq!(canonical(&format!("{}.example", "a".repeat(64))), None);
        assert_eq!(canonical(&["abcdefgh"; 30].join(".")), None);
    }
}
