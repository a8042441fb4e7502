//! Readers for values: what a TOML value must be, and what is said when it is something else.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use crate::settings::Limit;
use crate::units::{ByteSize, PathPrefix, ProxyVersion};

/// A value in the file.
pub(super) type Value<'a> = DeValue<'a>;
/// What is wrong with a value and what would be right.
pub(super) type Wrong = String;

fn expected(what: &str, value: &Value<'_>) -> Wrong {
    format!(
        "is {} {}, expected {what}",
        if matches!(value, DeValue::Integer(_) | DeValue::Array(_)) { "an" } else { "a" },
        value.type_str()
    )
}

pub(super) fn text(value: &Value<'_>) -> Result<String, Wrong> {
    let text = value.as_str().ok_or_else(|| expected("a string", value))?;
    if text.chars().any(|c| c == '\0') { Err("holds a NUL character".to_owned()) } else { Ok(text.to_owned()) }
}

/// Empty is as if the key were absent, as in the files that MKE writes.
pub(super) fn optional(value: &Value<'_>) -> Result<Option<String>, Wrong> {
    text(value).map(|text| (!text.is_empty()).then_some(text))
}

/// A version of a program.
pub(super) fn version(value: &Value<'_>) -> Result<Option<ProxyVersion>, Wrong> {
    let text = text(value)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| "is no version; write it like 1.30.7".to_owned())
}

/// A word or words of the configuration file: nothing in them may end or open a directive.
pub(super) fn words(value: &Value<'_>) -> Result<String, Wrong> {
    let text = text(value)?;
    match text.chars().find(|&c| c.is_control() || "\"'`\\;{}$#".contains(c)) {
        Some(c) => Err(format!("holds {c:?}, which would break the proxy's configuration")),
        None if text.trim().is_empty() => Err("is empty".to_owned()),
        None => Ok(text),
    }
}

/// As [`words`], and empty is as if the key were absent.
pub(super) fn optional_words(value: &Value<'_>) -> Result<Option<String>, Wrong> {
    if optional(value)?.is_none() { Ok(None) } else { words(value).map(Some) }
}

pub(super) fn path(value: &Value<'_>) -> Result<String, Wrong> {
    let path = words(value)?;
    if path.starts_with('/') && !path.contains(' ') && !path.ends_with('/') {
        Ok(path)
    } else {
        Err("is not an absolute path of a file".to_owned())
    }
}

/// Below the root: that of a host is for its services.
pub(super) fn health_path(value: &Value<'_>) -> Result<Option<PathPrefix>, Wrong> {
    let text = words(value)?;
    let path = text.parse::<PathPrefix>().map_err(|error| error.to_string())?;
    if path.is_root() {
        Err("is the path of all services; write one like /interlock-health".to_owned())
    } else {
        Ok(Some(path))
    }
}

/// Where a log goes: a file, syslog, or one of these words.
pub(super) fn log(value: &Value<'_>, words: &[&str]) -> Result<String, Wrong> {
    let text = self::words(value)?;
    let is_syslog = text.starts_with("syslog:") && !text.contains(char::is_whitespace);
    if words.contains(&text.as_str()) || is_syslog { Ok(text) } else { path(value) }
}

pub(super) fn boolean(value: &Value<'_>) -> Result<bool, Wrong> {
    value.as_bool().ok_or_else(|| expected("true or false", value))
}

pub(super) fn integer(value: &Value<'_>, least: u64, most: u64) -> Result<u64, Wrong> {
    let number = value.as_integer().ok_or_else(|| expected("a whole number", value))?;
    let parsed = u64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok();
    parsed
        .filter(|n| (least..=most).contains(n))
        .ok_or_else(|| format!("is {}, expected {least} to {most}", number.as_str()))
}

/// A text or a number that nothing is made of.
pub(super) fn anything(value: &Value<'_>) -> Result<(), Wrong> {
    if value.is_integer() { Ok(()) } else { text(value).map(drop) }
}

pub(super) fn port(value: &Value<'_>) -> Result<u16, Wrong> {
    integer(value, 1, 65_535).map(|n| u16::try_from(n).unwrap_or(u16::MAX))
}

pub(super) fn small(value: &Value<'_>, least: u32, most: u32) -> Result<u32, Wrong> {
    integer(value, least.into(), most.into()).map(|n| u32::try_from(n).unwrap_or(u32::MAX))
}

/// A number, or `auto` for one that follows from others.
pub(super) fn limit(value: &Value<'_>, least: u32, most: u32) -> Result<Limit, Wrong> {
    let wrong = |text: &str| format!("is {text:?}, expected \"auto\" or a whole number from {least} to {most}");
    match value.as_str() {
        Some(text) if text.eq_ignore_ascii_case("auto") => Ok(Limit::Auto),
        Some(text) => {
            let count = text.parse().ok().filter(|count| (least..=most).contains(count));
            count.map(Limit::Count).ok_or_else(|| wrong(text))
        }
        None => small(value, least, most).map(Limit::Count),
    }
}

/// `3s`, `1m30s`, `500ms`: whole milliseconds, at most a year. Docker and NGINX overflow at some point, and NGINX knows nothing shorter.
pub(super) fn duration(value: &Value<'_>) -> Result<Duration, Wrong> {
    const LONGEST: Duration = Duration::from_secs(365 * 86_400);
    let text = value.as_str().ok_or_else(|| expected("a duration like \"3s\"", value))?;
    let duration = humantime::parse_duration(text)
        .map_err(|_| format!("is {text:?}, expected a duration like \"3s\", \"1m30s\" or \"500ms\""))?;
    if duration > LONGEST || duration.subsec_nanos() % 1_000_000 != 0 {
        return Err(format!("is {text:?}, expected whole milliseconds, and a year at most"));
    }
    Ok(duration)
}

/// A duration as NGINX has it: a number without a unit is one of seconds.
pub(super) fn pause(value: &Value<'_>) -> Result<Duration, Wrong> {
    match value.as_str() {
        Some(text) if (1..=6).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) => {
            duration(&DeValue::String(format!("{text}s").into()))
        }
        _ => duration(value),
    }
}

/// A whole number of seconds, as Interlock has it for time limits; a duration is understood, too.
pub(super) fn seconds(value: &Value<'_>) -> Result<Duration, Wrong> {
    let limit = match value {
        DeValue::Integer(_) => Duration::from_secs(integer(value, 1, 86_400)?),
        DeValue::String(_) => duration(value)?,
        other => return Err(expected("a number of seconds", other)),
    };
    if limit.is_zero() { Err("is zero".to_owned()) } else { Ok(limit) }
}

/// The size of a buffer, which is reserved: not nothing, and not more than a gigabyte. NGINX knows no `g` here.
pub(super) fn buffer(value: &Value<'_>) -> Result<ByteSize, Wrong> {
    let size = size(value)?;
    let right = (1..=1 << 30).contains(&size.bytes()) && size.unit() != Some('g');
    if right { Ok(size) } else { Err(format!("is {size}, expected 1 to 1024m")) }
}

pub(super) fn size(value: &Value<'_>) -> Result<ByteSize, Wrong> {
    let text = value.as_str().ok_or_else(|| expected("a size like \"32m\"", value))?;
    text.parse().map_err(|_| format!("is {text:?}, expected a size like \"32m\", \"8k\" or \"1024\""))
}

/// `4 8k`: a number and a size. NGINX wants one at least, of more than 512 bytes.
pub(super) fn buffers(value: &Value<'_>) -> Result<String, Wrong> {
    let text = words(value)?;
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()) && text.parse().is_ok_and(|n: u16| n > 0);
    let large = |text: &str| buffer(&DeValue::String(text.into())).is_ok_and(|size| size.bytes() >= 1024);
    let right = text.split_once(' ').is_some_and(|(count, size)| number(count) && large(size));
    if right { Ok(text) } else { Err(format!("is {text:?}, expected a number and a size like \"4 8k\"")) }
}

/// Versions of TLS, with blanks between them.
pub(super) fn tls_versions(value: &Value<'_>) -> Result<String, Wrong> {
    const VERSIONS: [&str; 6] = ["TLSv1.3", "TLSv1.2", "TLSv1.1", "TLSv1", "SSLv3", "SSLv2"];
    let text = words(value)?;
    match text.split_whitespace().find(|word| !VERSIONS.contains(word)) {
        Some(word) => Err(format!("has {word:?}, expected TLS versions like \"TLSv1.2 TLSv1.3\"")),
        None => Ok(text),
    }
}

pub(super) fn list(value: &Value<'_>) -> Result<Vec<String>, Wrong> {
    let array = value.as_array().ok_or_else(|| expected("a list of strings", value))?;
    array
        .iter()
        .map(|item: &Spanned<DeValue<'_>>| text(item.get_ref()).map_err(|wrong| format!("has an item that {wrong}")))
        .collect()
}

/// Lines of NGINX's own language, which have to leave what stands around them whole: NGINX understands the rest.
pub(super) fn lines(value: &Value<'_>) -> Result<Vec<String>, Wrong> {
    let lines = list(value)?;
    // The renderer marks with such characters where lists stand.
    if lines.iter().flat_map(|line| line.chars()).any(|c| c.is_control() && !c.is_whitespace()) {
        return Err("has a control character".to_owned());
    }
    is_whole(&lines.join("\n")).map(|()| lines)
}

fn is_whole(text: &str) -> Result<(), Wrong> {
    let (mut depth, mut quote, mut ended) = (0_usize, None, true);
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, quote) {
            ('\\', _) => drop(characters.next()),
            (c, Some(open)) if c == open => quote = None,
            (_, Some(_)) => {}
            ('"' | '\'', None) => quote = Some(c),
            ('#', None) if ended => drop(characters.find(|c| *c == '\n')),
            ('{', None) => depth += 1,
            ('}', None) => depth = depth.checked_sub(1).ok_or("has a } without a { before it")?,
            _ => {}
        }
        ended = match c {
            ';' | '{' | '}' if quote.is_none() => true,
            c => ended && c.is_whitespace(),
        };
    }
    match (quote, depth) {
        (Some(quote), _) => Err(format!("has a {quote} without another one behind it")),
        (None, 0) if ended => Ok(()),
        (None, 0) => Err("has a line that does not end in ;".to_owned()),
        (None, _) => Err("has a { without a } behind it".to_owned()),
    }
}

pub(super) fn map(value: &Value<'_>) -> Result<BTreeMap<String, String>, Wrong> {
    let table = value.as_table().ok_or_else(|| expected("a table of strings", value))?;
    let entry = |(key, value): (&Spanned<std::borrow::Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
        text(value.get_ref())
            .map(|text| (key.get_ref().to_string(), text))
            .map_err(|wrong| format!("has {}, which {wrong}", key.get_ref()))
    };
    table.iter().map(entry).collect()
}

/// Labels that mean something to interlock or to Docker are not for operators to set.
pub(super) fn labels(value: &Value<'_>) -> Result<BTreeMap<String, String>, Wrong> {
    let labels = map(value)?;
    match labels
        .keys()
        .find(|key| key.starts_with("com.docker.interlock.") || key.starts_with("com.docker.lb.") || *key == "type")
    {
        Some(key) => Err(format!("sets {key}, which is interlock's own")),
        None => Ok(labels),
    }
}

/// `spread=node.labels.zone`: the only strategy that Swarm has.
pub(super) fn preferences(value: &Value<'_>) -> Result<Vec<String>, Wrong> {
    let list = list(value)?;
    let right = |text: &str| {
        text.strip_prefix("spread=")
            .is_some_and(|key| key.starts_with("node.labels.") || key.starts_with("engine.labels."))
    };
    match list.iter().find(|text| !right(text)) {
        Some(text) => Err(format!("has {text:?}, expected preferences like \"spread=node.labels.zone\"")),
        None => Ok(list),
    }
}

/// Names of networks. An empty list is as if the key were absent, or the proxies would reach nothing.
pub(super) fn networks(value: &Value<'_>) -> Result<Option<Vec<String>>, Wrong> {
    let list: Vec<_> = list(value)?.into_iter().filter(|name| !name.trim().is_empty()).collect();
    Ok((!list.is_empty()).then_some(list))
}

/// One of a few words.
pub(super) fn choice<T: Copy>(value: &Value<'_>, choices: &[(&str, T)]) -> Result<T, Wrong> {
    let names = || choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let text = value.as_str().ok_or_else(|| expected(&format!("one of: {}", names()), value))?;
    let found = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, choice)| *choice).ok_or_else(|| format!("is {text:?}, expected one of: {}", names()))
}

pub(super) fn cidrs(value: &Value<'_>) -> Result<Vec<ipnet::IpNet>, Wrong> {
    let parse = |text: String| {
        crate::units::network(&text).map_err(|_| {
            format!(
                "has {text:?}, expected networks like \"192.0.2.0/24\", without bits behind the prefix, or addresses"
            )
        })
    };
    list(value)?.into_iter().map(parse).collect()
}

/// A name that Docker accepts for a service.
pub(super) fn service_name(value: &Value<'_>) -> Result<String, Wrong> {
    let name = text(value)?;
    let inside = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    let right = name.len() <= 63 && name.bytes().all(inside) && edge(name.bytes().next()) && edge(name.bytes().last());
    if right {
        Ok(name)
    } else {
        Err(format!("is {name:?}, expected a service's name: at most 63 letters, digits, `-` and `_`"))
    }
}

pub(super) fn signal(value: &Value<'_>) -> Result<String, Wrong> {
    let signal = text(value)?;
    const SIGNALS: [&str; 9] = ["QUIT", "TERM", "INT", "HUP", "KILL", "USR1", "USR2", "WINCH", "STOP"];
    let named = SIGNALS.contains(&signal.strip_prefix("SIG").unwrap_or(&signal));
    let right = named || signal.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
    if right { Ok(signal) } else { Err(format!("is {signal:?}, expected a signal like \"SIGQUIT\"")) }
}

/// `node.labels.zone==a`: what Swarm reads as a constraint.
pub(super) fn constraints(value: &Value<'_>) -> Result<Vec<String>, Wrong> {
    let list = list(value)?;
    let right = |text: &str| {
        let (key, value) = text.split_once("==").or_else(|| text.split_once("!=")).unwrap_or_default();
        !key.trim().is_empty() && !value.trim().is_empty()
    };
    match list.iter().find(|text| !right(text)) {
        Some(text) => Err(format!("has {text:?}, expected constraints like \"node.role==worker\"")),
        None => Ok(list),
    }
}
