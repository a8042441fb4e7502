//! Protection: labels that keep somebody or something away. A service that asks for it is not published without it, by its labels of before
//! either. Whether these give as much is decided by what is written, since what is written may be wrong.

use std::collections::{BTreeMap, BTreeSet};

use super::{MOST_ROUTES, PREFIX, TABLE, are_todays, legacy, split_key};
use crate::swarm::Labels;

/// What makes a route, and says which requests it gets.
const SCOPE: [&str; 4] = ["hosts", "default_backend", "context_root", "service_cluster"];

/// The value of a label that protects with which it does not.
pub(crate) fn harmless(key: &str) -> Option<&'static str> {
    TABLE.iter().find(|label| label.key == key)?.protects
}

/// Whether labels give at least the protection that others ask for.
///
/// Each route that asks for some has to have it in the route of the same name there, if that is for the same requests; and in all routes
/// there otherwise, as any of them could get its requests.
pub(crate) fn protect_as_much(earlier: &Labels, wanted: &Labels) -> bool {
    let wanted = routes(wanted);
    if wanted.values().all(|route| route.protection.is_empty()) {
        return true;
    }
    let earlier = routes(earlier);
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

/// What is written of a route.
struct Written<'a> {
    scope: [Option<&'a str>; SCOPE.len()],
    protection: BTreeMap<&'static str, &'a str>,
}

impl Written<'_> {
    fn gives(&self, wanted: &Written<'_>) -> bool {
        wanted.protection.iter().all(|(key, value)| self.protection.get(key) == Some(value))
    }
}

/// By name, what makes no route, a mistyped name for instance, included.
fn routes(labels: &Labels) -> BTreeMap<&str, Written<'_>> {
    if !are_todays(labels) {
        // All that a route of the mesh says stands in one value.
        let scope = |name: &str| [labels.get(name).map(String::as_str), None, None, None];
        let written = |(name, protection)| (name, Written { scope: scope(name), protection });
        return legacy::protection(labels).into_iter().map(written).collect();
    }
    let ours = labels.range(PREFIX.to_owned()..).take_while(|(key, _)| key.starts_with(PREFIX));
    let ours: BTreeMap<_, _> = ours.map(|(key, value)| (split_key(&key[PREFIX.len()..]), value.as_str())).collect();
    let names = |(key, name): &&(&str, &str)| SCOPE[..2].contains(key) || !name.is_empty() && harmless(key).is_some();
    let names: BTreeSet<_> = ours.keys().filter(names).map(|(_, name)| *name).collect();
    let of = |name: &str, key: &str, inherited: bool| {
        let own = ours.get(&(key, name)).copied();
        own.or_else(|| ours.get(&(key, "")).copied().filter(|_| inherited))
    };
    names
        .into_iter()
        .map(|name| {
            let protection = TABLE.iter().filter_map(|label| {
                let value = of(name, label.key, label.inherited)?;
                (value != label.protects?).then_some((label.key, value))
            });
            let scope = SCOPE.map(|key| of(name, key, key == "service_cluster"));
            (name, Written { scope, protection: protection.collect() })
        })
        .collect()
}
