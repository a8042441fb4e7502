//! The labels of Interlock 1: `interlock.*`, on a service or in its container spec.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Dialect, Written};
use crate::labels::values::{MOST_HOSTS, MOST_PATHS};
use crate::labels::{FindingKind, Findings, Label, Reading, RouteLabels, TABLE, text};
use crate::swarm::Labels;
use crate::units::{Invalid, RouteName};

/// What all keys begin with.
const PREFIX: &str = "interlock.";
/// The label that makes a route.
const HOSTNAME: &str = "interlock.hostname";

/// Labels that are there count as yes, whatever their value is.
pub(super) struct Interlock1;

impl Dialect for Interlock1 {
    fn claims(&self, labels: &Labels) -> bool {
        labels.contains_key(HOSTNAME)
    }

    fn read(&self, labels: &Labels) -> Reading {
        let ours: BTreeMap<&str, &str> = ours(labels).collect();
        let Some(hostname) = ours.get("hostname") else { return Reading::default() };
        let mut route = RouteLabels { hosts: Some(Vec::new()), ..RouteLabels::default() };
        let mut findings = Findings::default();
        let mut note = |key: &str, value: &str, read: Result<(), Invalid>| {
            if let Err(invalid) = read {
                findings.add(&format!("{PREFIX}{key}"), value, FindingKind::Bad, || invalid);
            }
        };
        let domain = ours.get("domain").copied().unwrap_or("local");
        let name = if *hostname == domain { (*hostname).to_owned() } else { format!("{hostname}.{domain}") };
        note("hostname", hostname, add_host(&mut route, &name));
        for (key, value) in &ours {
            let (base, _) = key.split_once('.').unwrap_or((key, ""));
            let read = text(value).and_then(|value| match base {
                "hostname" => Ok(()),
                "alias_domain" => add_host(&mut route, value),
                "websocket_endpoint" => {
                    let endpoints = Arc::make_mut(route.websocket_endpoints.get_or_insert_default());
                    add(endpoints, value.parse()?, MOST_PATHS)
                }
                base => match row(base) {
                    Some(label) => (label.set)(&mut route, todays(label, value)),
                    None => Ok(()),
                },
            });
            note(key, value, read);
        }
        let (findings, more) = findings.into_parts();
        Reading { routes: BTreeMap::from([(RouteName::default(), route)]), findings, more }
    }

    fn written(&self, labels: &Labels, _: &RouteName, key: &str) -> Option<String> {
        let row = TABLE.iter().find(|label| label.key == key);
        let name = row.and_then(|label| label.interlock1).unwrap_or(key);
        let wanted = format!("{PREFIX}{name}");
        let numbered = || labels.keys().find(|written| written.starts_with(&format!("{wanted}."))).cloned();
        let exact = labels.contains_key(&wanted).then(|| wanted.clone());
        Some(exact.or_else(numbered).unwrap_or(wanted))
    }

    fn protection<'a>(&self, labels: &'a Labels) -> BTreeMap<&'a str, Written<'a>> {
        let asked = ours(labels).filter_map(|(key, value)| {
            let (base, _) = key.split_once('.').unwrap_or((key, ""));
            let label = row(base).filter(|label| label.guard.protects())?;
            let value = Some(todays(label, value)).filter(|value| !label.is_off(value))?;
            Some((label.key, value))
        });
        // There is one route, whatever its requests are.
        BTreeMap::from([("", Written { scope: Vec::new(), protection: asked.collect() })])
    }

    fn naming<'a>(&self, labels: &'a Labels) -> Vec<(&'a str, &'a str)> {
        labels.get_key_value(HOSTNAME).map(|(key, value)| (key.as_str(), value.as_str())).into_iter().collect()
    }

    fn may_have_no_port(&self) -> bool {
        true
    }
}

/// The labels of Interlock 1, without what all keys begin with.
fn ours(labels: &Labels) -> impl Iterator<Item = (&str, &str)> {
    let ours = labels.range(PREFIX.to_owned()..).take_while(|(key, _)| key.starts_with(PREFIX));
    ours.map(|(key, value)| (&key[PREFIX.len()..], value.as_str()))
}

/// Today's label for one of Interlock 1.
fn row(key: &str) -> Option<&'static Label> {
    TABLE.iter().find(|label| label.interlock1 == Some(key))
}

/// The value that today's label would have. A switch that is there is on.
fn todays<'a>(label: &Label, value: &'a str) -> &'a str {
    if label.is_switch() { "true" } else { value }
}

fn add_host(route: &mut RouteLabels, name: &str) -> Result<(), Invalid> {
    add(route.hosts.get_or_insert_default(), name.parse()?, MOST_HOSTS)
}

/// Adds an item to a sorted list, if it is not in it. The list is as long as one of today's labels may make it.
fn add<T: Ord>(items: &mut Vec<T>, item: T, most: usize) -> Result<(), Invalid> {
    let Err(place) = items.binary_search(&item) else { return Ok(()) };
    if items.len() == most {
        let right = "spread them over several services";
        return Err(Invalid::new(format!("exceeds the {most} items that are allowed"), right));
    }
    items.insert(place, item);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::read;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn interlock_1_is_read() {
        let reading = read(&labels(&[
            ("interlock.hostname", "test"),
            ("interlock.domain", "local"),
            ("interlock.alias_domain.0", "www.example.com"),
            ("interlock.port", "8080"),
            ("interlock.context_root", "/app"),
            ("interlock.context_root_rewrite", "false"),
            ("interlock.websocket_endpoint.0", "/ws"),
            ("interlock.balance_algorithm", "roundrobin"),
        ]));
        assert_eq!(reading.findings, []);
        let route = &reading.routes[&RouteName::default()];
        let hosts: Vec<_> = route.hosts.as_ref().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["test.local", "www.example.com"]);
        assert_eq!(route.context_root_rewrite, Some(true), "there, it counts");
        assert!(read(&labels(&[("interlock.port", "80")])).routes.is_empty());
        assert_eq!(read(&labels(&[("interlock.hostname", "a;b")])).findings.len(), 1);
    }
}
