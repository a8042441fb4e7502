//! The labels of one service.

use interlock_core::labels::{self, FindingKind, Label, PREFIX, Reading, RouteLabels};
use interlock_core::swarm::Labels;
use interlock_core::units::RouteName;

use super::values;

/// Characters that make text look like other text, or end lines.
const NEVER: &str = "\u{2028}\u{2029}\u{feff}\u{fffd}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";

/// Reads any labels: what is read is right, and what is not read is told.
pub fn any(labels: &Labels) {
    let reading = labels::read(labels);
    reading.routes.values().for_each(values::route);
    for finding in &reading.findings {
        assert_eq!(labels.get(&finding.key), Some(&finding.value), "{finding:?}");
        let told = format!("{}", finding.invalid);
        assert!(!told.is_empty() && !told.chars().any(char::is_control), "{told:?}");
    }
    let ours = labels.keys().any(|key| key.starts_with(PREFIX));
    for (key, value) in labels {
        let label = key.strip_prefix(PREFIX).map(|key| key.split('.').next().unwrap_or_default());
        if found_elsewhere(&reading, key) {
            continue;
        }
        let known = label.is_some_and(|label| labels::TABLE.iter().any(|row| row.key == label));
        let found = reading.findings.iter().find(|finding| finding.key == *key).map(|finding| finding.kind);
        if known && value.chars().any(|c| c.is_control() && c != '\t' || NEVER.contains(c)) {
            assert_eq!(found, Some(FindingKind::Bad), "{key}={value:?}");
        }
        if ours && !known {
            assert_eq!(found, label.map(|_| FindingKind::Inert), "{key}={value:?}");
        }
    }
}

/// Whether a label may be one of those that are only counted.
fn found_elsewhere(reading: &Reading, key: &str) -> bool {
    !reading.more.is_empty() && reading.findings.iter().all(|finding| finding.key != key)
}

/// What a service with this label beside a host and a port asks for; `None` when the label is refused.
pub fn reading(key: &str, value: &str) -> Option<RouteLabels> {
    let mut labels: Labels = [("hosts", "shop.example.com"), ("port", "8080")]
        .map(|(key, value)| (format!("{PREFIX}{key}"), value.to_owned()))
        .into();
    labels.insert(format!("{PREFIX}{key}"), value.to_owned());
    let mut reading = labels::read(&labels);
    reading.findings.is_empty().then(|| reading.routes.remove(&RouteName::default()).unwrap_or_default())
}

/// A right value with one more character is right and says something else, or it is refused. It never counts as the value without the
/// character, but for those that a label's syntax says mean nothing.
pub fn one_more_character(label: &Label, place: usize, more: char) {
    let right = label.example;
    let places = right.char_indices().map(|(at, _)| at).chain([right.len()]);
    let at = places.clone().nth(place % places.count()).unwrap_or_default();
    let longer = format!("{}{more}{}", &right[..at], &right[at..]);
    let (before, after) = (reading(label.key, right), reading(label.key, &longer));
    assert!(before.is_some(), "{}={right}", label.key);
    if before == after {
        // A list has blanks and empty items, a name of a host a dot at its end, and a number zeros in front. Other ways to write a host are
        // one host by UTS 46, a blank is one in any script, and a network has no digits behind its length.
        let nothing = match label.key {
            "hosts" => " \t,.".contains(more) || !more.is_ascii(),
            "context_root" => more == '/',
            "websocket_endpoints" => " \t,/".contains(more) || !more.is_ascii(),
            "redirects" => " \t;/.".contains(more) || !more.is_ascii(),
            "allow" => " \t,".contains(more) || more.is_ascii_digit() || !more.is_ascii(),
            "request_headers" | "response_headers" => " \t;".contains(more) || !more.is_ascii(),
            "canary_header" | "canary_cookie" => more == ' ',
            "rate_limit" => more == ' ' || more == '0',
            _ => more == '0' && right.starts_with(|c: char| c.is_ascii_digit()),
        };
        assert!(nothing, "{}={longer:?} counts as {right:?}", label.key);
    }
}
