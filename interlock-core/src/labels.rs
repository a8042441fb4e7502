//! The labels of a service: one table, from which reading, `interlock labels` and the tests come.
//!
//! Labels are hostile input: whoever may deploy an app writes them. A label in the table is read completely or it is a
//! [`Finding`]; nothing is guessed. A service is taken as a whole: one bad label, and none of its labels count.

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::swarm::Labels;
use crate::units::{Invalid, RouteName};

mod dialects;
mod findings;
pub mod options;
mod protection;
mod route;
mod row;
mod table;
mod values;

use findings::Findings;
pub use findings::MOST_FINDINGS;
pub(crate) use protection::{must_agree, protect_alike, protect_as_much};
pub use row::{Addresses, Guard, Label, Passthrough, Scope};
pub use table::{RouteLabels, RouteOptions, TABLE};
pub use values::{BackendMode, Redirect, TlsVerify};

/// What all keys begin with.
pub const PREFIX: &str = "com.docker.lb.";

/// The longest value that is looked at, in bytes. One service can carry 1.5 MB of labels.
const LONGEST_VALUE: usize = 64 * 1024;

/// How many routes a service may have.
pub const MOST_ROUTES: usize = 256;

/// Something about one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The whole key, as the owner wrote it.
    pub key: String,
    /// The whole value, as the owner wrote it.
    pub value: String,
    /// What it is.
    pub kind: FindingKind,
    /// What is wrong and what would be right.
    pub invalid: Invalid,
}

/// What a finding means for the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    /// The label breaks its contract: none of the service's labels count.
    Bad,
    /// The label does nothing.
    Inert,
}

/// The labels of one service, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    /// The routes that ask for requests, by name.
    pub routes: BTreeMap<RouteName, RouteLabels>,
    /// What is wrong, in the keys' order: at most [`MOST_FINDINGS`] of each kind.
    pub findings: Vec<Finding>,
    /// How many more of a kind there are.
    pub more: BTreeMap<FindingKind, usize>,
}

fn too_many_routes() -> Invalid {
    Invalid::new(
        format!("exceeds the {MOST_ROUTES} routes that a service may have"),
        "spread the routes over several services",
    )
}

/// Reads the labels of a service, as its dialect writes them.
pub fn read(labels: &Labels) -> Reading {
    dialects::of(labels).read(labels)
}

/// The key that a label of a route stands under, or would: the route's own, the one without a suffix that it inherits, or that of a
/// predecessor.
pub(crate) fn written(labels: &Labels, route: &RouteName, key: &str) -> String {
    let written = dialects::of(labels).written(labels, route, key);
    written.unwrap_or_else(|| dialects::key_of(labels, route, key))
}

/// Whether what a service is routed by are labels of a predecessor.
pub(crate) fn are_legacy(labels: &Labels) -> bool {
    !dialects::are_todays(labels)
}

/// Whether a route of these labels may name no port.
pub(crate) fn may_have_no_port(labels: &Labels) -> bool {
    dialects::of(labels).may_have_no_port()
}

/// The labels that make an option, in the order of the table.
pub(crate) fn of_option(option: &'static str) -> impl Iterator<Item = &'static str> {
    TABLE.iter().filter(move |label| label.option == Some(option)).map(|label| label.key)
}

/// The values of the labels that name hosts, as they are written.
pub fn hosts(labels: &Labels) -> impl Iterator<Item = &str> {
    const HOSTS: &str = "com.docker.lb.hosts";
    let own = labels.range(HOSTS.to_owned()..).take_while(|(key, _)| key.starts_with(HOSTS));
    own.map(|(_, value)| value.as_str())
}

/// The networks that any route of a service lets in by `allow`.
pub(crate) fn allowed(labels: &Labels) -> Vec<IpNet> {
    const ALLOW: &str = "com.docker.lb.allow";
    let mut own = labels.range(ALLOW.to_owned()..).take_while(|(key, _)| key.starts_with(ALLOW));
    if own.next().is_none() {
        return Vec::new();
    }
    read(labels).routes.into_values().flat_map(|route| route.allow.unwrap_or_default().to_vec()).collect()
}

/// What no value may hold, whatever its type: control characters, and those that make text look like other text. Tabs may stand around the
/// items of lists, as blanks may.
fn text(value: &str) -> Result<&str, Invalid> {
    if value.len() > LONGEST_VALUE {
        return Err(Invalid::new("is longer than 64 KiB", "write less"));
    }
    let hidden = |c: char| {
        c.is_control() && c != '\t'
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffd}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    match value.chars().find(|&c| hidden(c)) {
        Some(c) => {
            Err(Invalid::new(format!("holds the character U+{:04X}", c as u32), "write visible characters only"))
        }
        None => Ok(value),
    }
}

#[cfg(test)]
mod tests;
