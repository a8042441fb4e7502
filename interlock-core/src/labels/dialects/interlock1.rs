//! The labels of Interlock 1: `interlock.*`, on a service or in its container spec.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Dialect, Written, protection};
use crate::labels::values::{MOST_HOSTS, MOST_PATHS};
use crate::labels::{FindingKind, Findings, Reading, RouteLabels, text};
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
        let ours: BTreeMap<&str, &str> = labels
            .range(PREFIX.to_owned()..)
            .take_while(|(key, _)| key.starts_with(PREFIX))
            .map(|(key, value)| (&key[PREFIX.len()..], value.as_str()))
            .collect();
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
            let present = Some(true);
            let read = text(value).and_then(|value| {
                match base {
                    "alias_domain" => add_host(&mut route, value)?,
                    "network" => route.network = Some(value.parse()?),
                    "port" => route.port = Some(value.parse()?),
                    "context_root" => route.context_root = Some(value.parse()?),
                    "context_root_rewrite" => route.context_root_rewrite = present,
                    "websocket_endpoint" => {
                        let endpoints = Arc::make_mut(route.websocket_endpoints.get_or_insert_default());
                        add(endpoints, value.parse()?, MOST_PATHS)?;
                    }
                    "ssl_cert" => route.ssl_cert = Some(value.parse()?),
                    "ssl_cert_key" => route.ssl_key = Some(value.parse()?),
                    "ssl_only" => route.ssl_only = present,
                    "ssl_backend" => route.ssl_backend = present,
                    "ssl_backend_tls_verify" => route.ssl_backend_tls_verify = Some(value.parse()?),
                    "ip_hash" => route.ip_hash = present,
                    _ => {}
                }
                Ok(())
            });
            note(key, value, read);
        }
        let (findings, more) = findings.into_parts();
        Reading { routes: BTreeMap::from([(RouteName::default(), route)]), findings, more }
    }

    fn written(&self, labels: &Labels, _: &RouteName, key: &str) -> Option<String> {
        let name = match key {
            "hosts" => "hostname",
            "ssl_key" => "ssl_cert_key",
            "websocket_endpoints" => "websocket_endpoint",
            other => other,
        };
        let wanted = format!("{PREFIX}{name}");
        let numbered = || labels.keys().find(|written| written.starts_with(&format!("{wanted}."))).cloned();
        let exact = labels.contains_key(&wanted).then(|| wanted.clone());
        Some(exact.or_else(numbered).unwrap_or(wanted))
    }

    fn protection<'a>(&self, labels: &'a Labels) -> BTreeMap<&'a str, Written<'a>> {
        let routes = self.read(labels).routes.into_values();
        routes.map(|route| ("", Written { scope: [None; 4], protection: protection(&route) })).collect()
    }

    fn naming<'a>(&self, labels: &'a Labels) -> Vec<(&'a str, &'a str)> {
        labels.get_key_value(HOSTNAME).map(|(key, value)| (key.as_str(), value.as_str())).into_iter().collect()
    }

    fn may_have_no_port(&self) -> bool {
        true
    }
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
