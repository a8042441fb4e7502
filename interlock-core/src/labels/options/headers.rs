//! Headers that labels set and remove.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::units::{Invalid, text_type};

/// The name of a header: 1 to 40 letters, digits and hyphens, beginning with a letter. None that belongs to the connection, to the
/// message's framing, or to what proxies say about clients. NGINX has no room for longer ones among the headers of gRPC.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HeaderName(String);
text_type!(HeaderName);

/// Headers by which messages are framed, connections are kept, applications believe who asked, or proxies are steered.
const RESERVED: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "server",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-original-host",
    "x-original-url",
    "x-proxy-id",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
    "x-server-info",
    "x-upstream-addr",
    "x-upstream-response-time",
];

impl FromStr for HeaderName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RIGHT: &str = "write 1 to 40 letters, digits and hyphens, like X-Frame-Options";
        let inside = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
        if !begins || text.len() > 40 || !text.bytes().all(inside) {
            return Err(Invalid::new("has something that is not a header's name", RIGHT));
        }
        let lower = text.to_ascii_lowercase();
        if RESERVED.contains(&lower.as_str())
            || ["x-forwarded-", "x-accel-", "sec-websocket-"].iter().any(|start| lower.starts_with(start))
        {
            return Err(Invalid::new(
                format!("names {text}, which the proxies manage themselves"),
                "leave it out; some of these have a label of their own",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl HeaderName {
    /// Its name among nginx's variables, behind `http_` or `upstream_http_`.
    pub(crate) fn variable(&self) -> String {
        self.0.to_ascii_lowercase().replace('-', "_")
    }
}

/// The value of a header: 1 to 1024 visible ASCII characters and blanks, not at an end, but for `$` and backslash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HeaderValue(String);
text_type!(HeaderValue);

impl FromStr for HeaderValue {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RIGHT: &str = "write visible ASCII characters other than `$` and backslash";
        let inside = |b: u8| (b.is_ascii_graphic() || b == b' ') && !matches!(b, b'$' | b'\\');
        if (1..=1024).contains(&text.len()) && text.trim_matches(' ') == text && text.bytes().all(inside) {
            return Ok(Self(text.to_owned()));
        }
        Err(Invalid::new("has a header with a value that is not allowed", RIGHT))
    }
}

/// A header that is set, or removed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HeaderEdit {
    /// Its name.
    pub name: HeaderName,
    /// What it is set to; `None` to remove it.
    pub value: Option<HeaderValue>,
}

/// Reads `Name: value; -Other`. A value with semicolons stands in double quotes, which are not part of it.
pub(crate) fn edits(text: &str) -> Result<Vec<HeaderEdit>, Invalid> {
    const RIGHT: &str = "write `Name: value` to set and `-Name` to remove, separated by semicolons";
    let items: Vec<_> = split(text).into_iter().map(str::trim).filter(|item| !item.is_empty()).collect();
    if items.is_empty() || items.len() > 32 {
        return Err(Invalid::new(format!("has {} headers, and 1 to 32 are allowed", items.len()), RIGHT));
    }
    let mut edits = items.into_iter().map(edit).collect::<Result<Vec<_>, _>>()?;
    edits.sort_by_key(|edit| edit.name.variable());
    match edits.windows(2).find(|pair| pair[0].name.variable() == pair[1].name.variable()) {
        Some(pair) => Err(Invalid::new(format!("names {} twice", pair[0].name), RIGHT)),
        None => Ok(edits),
    }
}

/// Splits at semicolons that stand in no quoted value.
fn split(text: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let mut rest = text;
    loop {
        // Quotes count where a value begins with one, and another one ends it.
        let plain = rest.find(';').unwrap_or(rest.len());
        let end = quoted_value(rest).map_or(plain, |(end, _)| end);
        items.push(&rest[..end]);
        match rest.get(end + 1..) {
            Some(more) => rest = more,
            None => return items,
        }
    }
}

/// Where the item in front of a text ends, and its value, if that is in quotes and has semicolons.
fn quoted_value(text: &str) -> Option<(usize, &str)> {
    let (name, value) = text.split_once(':')?;
    let (value, after) = value.trim_start().strip_prefix('"')?.split_once('"')?;
    let is_end = after.trim_start().is_empty() || after.trim_start().starts_with(';');
    let end = text.len() - after.find(';').map_or(0, |at| after.len() - at);
    (!name.contains(';') && value.contains(';') && is_end).then_some((end, value))
}

fn edit(item: &str) -> Result<HeaderEdit, Invalid> {
    match (item.strip_prefix('-'), item.split_once(':')) {
        (Some(name), _) => Ok(HeaderEdit { name: name.trim().parse()?, value: None }),
        (None, Some((name, value))) => {
            let value = quoted_value(item).map_or(value.trim(), |(_, quoted)| quoted.trim());
            Ok(HeaderEdit { name: name.trim().parse()?, value: Some(value.parse()?) })
        }
        (None, None) => Err(Invalid::new(
            "has a header without a value",
            "write `Name: value` to set and `-Name` to remove, separated by semicolons",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_set_and_removed() {
        let read = edits("X-Frame-Options: DENY;; -X-Powered-By ;Content-Security-Policy: default-src 'self'").unwrap();
        let read: Vec<_> =
            read.iter().map(|edit| (edit.name.as_str(), edit.value.as_ref().map(HeaderValue::as_str))).collect();
        assert_eq!(
            read,
            [
                ("Content-Security-Policy", Some("default-src 'self'")),
                ("X-Frame-Options", Some("DENY")),
                ("X-Powered-By", None)
            ]
        );
    }

    #[test]
    fn a_value_with_semicolons_is_quoted() {
        let read = |text: &str| -> Vec<String> {
            let said = |edit: HeaderEdit| format!("{}={}", edit.name, edit.value.map_or("-".into(), |it| it.0));
            edits(text).unwrap().into_iter().map(said).collect()
        };
        let csp = "Content-Security-Policy: \"default-src 'self'; img-src *\"";
        let of = "Content-Security-Policy=default-src 'self'; img-src *";
        assert_eq!(read(csp), [of]);
        assert_eq!(read(&format!("-A;{csp} ; X-B: c")), ["A=-", of, "X-B=c"]);
        assert_eq!(read(&format!("X-B: \"c;d\";{csp}")), [of, "X-B=c;d"]);
        // Other quotes are part of the value, as those of an ETag are.
        assert_eq!(read("ETag: \"abc\"; X-B: \"c"), ["ETag=\"abc\"", "X-B=\"c"]);
        for wrong in ["X-A: \"a;b", "X-A: \"a;b\" c", "X-A: \" ; \"; X-B: \"\";\""] {
            assert!(edits(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_proxies_manage_and_what_would_break_out_is_refused() {
        for wrong in [
            "",
            ";",
            "X-A",
            "X-A: b; x-a: c",
            "X_A: b",
            "X A: b",
            ": b",
            "X-A: $host",
            "X-A: a\\",
            "X-A: a\nb",
            "X-A: ",
            "X-A: é",
            "Host: x",
            "-Connection",
            "X-Forwarded-For: 1.2.3.4",
            "x-real-ip: 1.2.3.4",
            "Transfer-Encoding: chunked",
        ] {
            assert!(edits(wrong).is_err(), "{wrong:?}");
        }
    }
}
