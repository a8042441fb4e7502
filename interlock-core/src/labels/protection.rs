//! Protection: labels that keep somebody or something away. A service that asks for it is not published without it, by its labels of before
//! either. Whether these give as much is decided by what is written, since what is written may be wrong.

use super::dialects::{self, Written};
use super::{Guard, Label, MOST_ROUTES, RouteLabels, RouteOptions, TABLE};
use crate::swarm::Labels;

/// Whether labels give at least the protection that others ask for.
///
/// Each route that asks for some has to have it in the route of the same name there, if that is for the same requests; and in all routes
/// there otherwise, as any of them could get its requests.
pub(crate) fn protect_as_much(earlier: &Labels, wanted: &Labels) -> bool {
    let wanted = dialects::of(wanted).protection(wanted);
    if wanted.values().all(|route| route.protection.is_empty()) {
        return true;
    }
    let earlier = dialects::of(earlier).protection(earlier);
    // Nobody has to compare them all with all.
    let are_many = wanted.len().max(earlier.len()) > MOST_ROUTES;
    let gives = |(name, wanted): (&&str, &Written<'_>)| match earlier.get(name) {
        Some(same) if same.scope == wanted.scope => same.gives(wanted),
        _ => earlier.values().all(|route| route.gives(wanted)),
    };
    !are_many && wanted.iter().all(gives)
}

/// Whether each of two sets of labels gives the protection that the other asks for.
pub(crate) fn protect_alike(one: &Labels, other: &Labels) -> bool {
    protect_as_much(one, other) && protect_as_much(other, one)
}

/// Whether the services that share requests must agree on an option that one of them asks for, as it stands in `asked`.
pub(crate) fn must_agree(option: &str, asked: &RouteOptions) -> bool {
    let is_asked = |label: &Label| {
        let mut off = RouteLabels::default();
        let _ = label.off.map(|value| (label.set)(&mut off, value));
        let nothing = [RouteOptions::default(), RouteOptions::said_by(&off)];
        nothing.iter().all(|nothing| asked.differences(nothing).contains(option))
    };
    let mut labels = TABLE.iter().filter(|label| label.option == Some(option));
    labels.any(|label| label.guard == Guard::Agree || label.guard.protects() && is_asked(label))
}

impl Written<'_> {
    fn gives(&self, wanted: &Written<'_>) -> bool {
        wanted.protection.iter().all(|(key, value)| self.protection.get(key) == Some(value))
    }
}
