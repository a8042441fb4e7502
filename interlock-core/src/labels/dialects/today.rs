//! Today's labels: `com.docker.lb.*`, each with a row in the table.

use std::collections::{BTreeMap, BTreeSet};

use super::{Dialect, Written, shadowed};
use crate::labels::{
    FindingKind, Findings, Label, MOST_ROUTES, PREFIX, Reading, RouteLabels, Scope, TABLE, text, too_many_routes,
};
use crate::swarm::Labels;
use crate::units::{Invalid, RouteName};

/// `com.docker.lb.hosts=shop.example.com`, and for further routes `com.docker.lb.hosts.admin=admin.example.com`.
pub(super) struct Today;

impl Dialect for Today {
    fn claims(&self, labels: &Labels) -> bool {
        labels.range(PREFIX.to_owned()..).next().is_some_and(|(key, _)| key.starts_with(PREFIX))
    }

    fn read(&self, labels: &Labels) -> Reading {
        let mut read: BTreeMap<RouteName, RouteLabels> = BTreeMap::new();
        let mut findings = Findings::default();
        let mut keys = Vec::new();
        let ours = labels.range(PREFIX.to_owned()..).take_while(|(key, _)| key.starts_with(PREFIX));
        for (key, value) in ours {
            let mut found = |kind, invalid| findings.add(key, value, kind, || invalid);
            let (base, suffix) = split_key(&key[PREFIX.len()..]);
            let Some(label) = row(base) else {
                findings.add(key, value, FindingKind::Inert, || unknown(base));
                continue;
            };
            let route = match suffix.parse::<RouteName>() {
                Ok(route) if !suffix.is_empty() || base.len() == key.len() - PREFIX.len() => route,
                Ok(_) => {
                    let right = "remove the dot, or write a route's name after it";
                    found(FindingKind::Bad, Invalid::new("ends with a dot", right));
                    continue;
                }
                Err(invalid) => {
                    found(FindingKind::Bad, invalid);
                    continue;
                }
            };
            if read.len() == MOST_ROUTES && !read.contains_key(&route) {
                found(FindingKind::Bad, too_many_routes());
                continue;
            }
            let read = text(value).and_then(|value| (label.set)(read.entry(route.clone()).or_default(), value));
            match read {
                Ok(()) => keys.push((key, label, route)),
                Err(invalid) => found(FindingKind::Bad, invalid),
            }
        }
        of_no_route(labels, &keys, &mut findings);
        shadowed(labels, &mut findings);
        if read.len() > 1
            && let Some(base) = read.get(&RouteName::default()).cloned()
        {
            let named = read.iter_mut().filter(|(name, _)| !name.as_str().is_empty());
            named.for_each(|(_, own)| own.inherit(&base));
        }
        read.retain(|_, route| route.asks_for_requests());
        // Where something else is wrong, a misspelt label most likely, that is the reason.
        if read.is_empty() && findings.is_empty() {
            without_hosts(labels, &keys, &mut findings);
        }
        let (findings, more) = findings.into_parts();
        Reading { routes: read, findings, more }
    }

    fn written(&self, labels: &Labels, route: &RouteName, key: &str) -> Option<String> {
        Some(key_of(labels, route, key))
    }

    fn protection<'a>(&self, labels: &'a Labels) -> BTreeMap<&'a str, Written<'a>> {
        let ours = labels.range(PREFIX.to_owned()..).take_while(|(key, _)| key.starts_with(PREFIX));
        let ours: BTreeMap<_, _> = ours.map(|(key, value)| (split_key(&key[PREFIX.len()..]), value.as_str())).collect();
        let names = |(key, name): &&(&str, &str)| {
            let row = row(key);
            row.is_some_and(|label| label.scope == Scope::Makes || !name.is_empty() && label.guard.protects())
        };
        let names: BTreeSet<_> = ours.keys().filter(names).map(|(_, name)| *name).collect();
        let of = |name: &str, label: &Label| {
            let own = ours.get(&(label.key, name)).copied();
            own.or_else(|| ours.get(&(label.key, "")).copied().filter(|_| label.inherited))
        };
        names
            .into_iter()
            .map(|name| {
                let protecting = TABLE.iter().filter(|label| label.guard.protects());
                let protection = protecting.filter_map(|label| {
                    let value = of(name, label).filter(|value| !label.is_off(value))?;
                    Some((label.key, value))
                });
                let scope = TABLE.iter().filter(|label| label.scope != Scope::Nothing).map(|label| of(name, label));
                (name, Written { scope: scope.collect(), protection: protection.collect() })
            })
            .collect()
    }

    fn naming<'a>(&self, labels: &'a Labels) -> Vec<(&'a str, &'a str)> {
        let ours = labels.range(PREFIX.to_owned()..).take_while(|(key, _)| key.starts_with(PREFIX));
        ours.map(|(key, value)| (key.as_str(), value.as_str())).collect()
    }
}

/// The key that a label of a route stands under, or would: the route's own, or the one without a suffix that it inherits.
pub(in crate::labels) fn key_of(labels: &Labels, route: &RouteName, key: &str) -> String {
    let base = format!("{PREFIX}{key}");
    let own = format!("{base}.{route}");
    let is_inherited = row(key).is_some_and(|label| label.inherited) && !labels.contains_key(&own);
    if route.as_str().is_empty() || is_inherited { base } else { own }
}

/// What is said about a route that nothing makes one, a mistyped name most likely. Protection that was meant for another one is no
/// trifle: that one must not be published without.
fn of_no_route(labels: &Labels, keys: &[(&String, &'static Label, RouteName)], findings: &mut Findings) {
    let names = |route: &RouteName| {
        TABLE.iter().filter(|label| label.scope == Scope::Makes).any(|label| {
            let dot = if route.as_str().is_empty() { "" } else { "." };
            labels.contains_key(&format!("{PREFIX}{}{dot}{route}", label.key))
        })
    };
    for (key, label, route) in keys.iter().filter(|(_, _, route)| !route.as_str().is_empty() && !names(route)) {
        let kind = if label.guard.protects() { FindingKind::Bad } else { FindingKind::Inert };
        let value = labels.get(*key).map_or("", String::as_str);
        let right = "use the suffix of a route that has hosts, or give this route hosts with the same suffix";
        let wrong = || format!("belongs to route {route}, which has neither hosts nor default_backend");
        findings.add(key, value, kind, || Invalid::new(wrong(), right));
    }
}

/// What is said about labels that ask for no requests: one of them, the port if it is there.
fn without_hosts(labels: &Labels, keys: &[(&String, &'static Label, RouteName)], findings: &mut Findings) {
    let plain = || keys.iter().filter(|(_, label, route)| route.as_str().is_empty() && label.key != "hosts");
    let Some((key, ..)) = plain().find(|(_, label, _)| label.key == "port").or_else(|| plain().next()) else { return };
    let value = labels.get(*key).map_or("", String::as_str);
    let right = "add com.docker.lb.hosts=shop.example.com, or com.docker.lb.default_backend=true";
    findings
        .add(key, value, FindingKind::Inert, || Invalid::new("does nothing without hosts or default_backend", right));
}

/// Splits `hosts.admin` into the table's key and the route's name.
fn split_key(key: &str) -> (&str, &str) {
    key.split_once('.').unwrap_or((key, ""))
}

fn row(key: &str) -> Option<&'static Label> {
    TABLE.iter().find(|label| label.key == key)
}

fn unknown(key: &str) -> Invalid {
    // The comparison takes time and memory by the product of the two lengths.
    let short = if key.len() < 64 { TABLE.iter() } else { [].iter() };
    let nearest = short.map(|label| (strsim::damerau_levenshtein(label.key, key), label.key)).min();
    let wrong = match nearest {
        Some((distance, near)) if distance <= 3 => {
            format!("is not a label of interlock: did you mean {PREFIX}{near}?")
        }
        _ => "is not a label of interlock".to_owned(),
    };
    Invalid { wrong, right: "`interlock labels` lists them all" }
}
