//! The labels of UCP's HTTP routing mesh: `com.docker.ucp.mesh.http[.N]`.

use std::collections::BTreeMap;

use super::{Dialect, Written};
use crate::labels::{FindingKind, Findings, MOST_ROUTES, Reading, Redirect, RouteLabels, text, too_many_routes};
use crate::swarm::Labels;
use crate::units::{Invalid, RouteName};

/// What all keys begin with.
const PREFIX: &str = "com.docker.ucp.mesh.http";

/// `com.docker.ucp.mesh.http.1=external_route=http://shop.example.com,internal_port=8080`: a route for each number.
pub(super) struct Mesh;

impl Dialect for Mesh {
    fn claims(&self, labels: &Labels) -> bool {
        keys(labels).next().is_some()
    }

    fn read(&self, labels: &Labels) -> Reading {
        let mut routes = BTreeMap::new();
        let mut findings = Findings::default();
        for (key, value) in keys(labels) {
            let read = || {
                let name = name(key)?;
                if routes.contains_key(&name) {
                    return Err(Invalid::new("names a route that another label names", "give each route another name"));
                }
                if routes.len() == MOST_ROUTES {
                    return Err(too_many_routes());
                }
                Ok((name, route(text(value)?)?))
            };
            match read() {
                Ok((name, route)) => drop(routes.insert(name, route)),
                Err(invalid) => findings.add(key, value, FindingKind::Bad, || invalid),
            }
        }
        let (findings, more) = findings.into_parts();
        Reading { routes, findings, more }
    }

    fn written(&self, labels: &Labels, route: &RouteName, _: &str) -> Option<String> {
        let names = |(written, _): &(&String, &String)| name(written).is_ok_and(|name| name == *route);
        keys(labels).find(names).map(|(written, _)| written.clone())
    }

    fn protection<'a>(&self, labels: &'a Labels) -> BTreeMap<&'a str, Written<'a>> {
        let of = |(key, value): (&'a String, &'a String)| {
            // It asks for that whatever is wrong about the rest of it.
            let passes = value.split(',').any(|item| item.trim().starts_with("external_route=sni://"));
            let protection = passes.then_some(("ssl_passthrough", "true")).into_iter().collect();
            // All that a route of the mesh says stands in one value.
            (key.as_str(), Written { scope: vec![Some(value.as_str())], protection })
        };
        keys(labels).map(of).collect()
    }

    fn naming<'a>(&self, labels: &'a Labels) -> Vec<(&'a str, &'a str)> {
        keys(labels).map(|(key, value)| (key.as_str(), value.as_str())).collect()
    }
}

/// The keys and values that name routes of the mesh. On networks, and so on some services, it just says yes.
fn keys(labels: &Labels) -> impl Iterator<Item = (&String, &String)> {
    let ours = labels.range(PREFIX.to_owned()..).take_while(|(key, _)| key.starts_with(PREFIX));
    ours.filter(|(key, value)| *value != "true" && matches!(key.as_bytes().get(PREFIX.len()), None | Some(b'.')))
}

fn name(key: &str) -> Result<RouteName, Invalid> {
    key[PREFIX.len()..].trim_start_matches('.').to_ascii_lowercase().parse()
}

fn route(value: &str) -> Result<RouteLabels, Invalid> {
    const RIGHT: &str = "write external_route=http://HOST,internal_port=PORT, or use the com.docker.lb labels";
    let mut route = RouteLabels::default();
    let mut redirect = None;
    for item in value.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (key, value) = item.split_once('=').ok_or_else(|| Invalid::new("has an item without a value", RIGHT))?;
        match key {
            "external_route" => {
                let (scheme, host) =
                    value.split_once("://").ok_or_else(|| Invalid::new("has a route without a scheme", RIGHT))?;
                match scheme {
                    "http" => {}
                    "sni" => route.ssl_passthrough = Some(true),
                    _ => return Err(Invalid::new("has a route that is neither http nor sni", RIGHT)),
                }
                match host.trim_end_matches('/') {
                    "" => route.default_backend = Some(true),
                    host => route.hosts = Some(vec![host.parse()?]),
                }
            }
            "internal_port" => route.port = Some(value.parse()?),
            "sticky_sessions" => route.sticky_session_cookie = Some(value.parse()?),
            "redirect" => redirect = Some(value.parse()?),
            // It always is.
            "include_forwarded_for" => {}
            _ => return Err(Invalid::new("has an item that the routing mesh does not know", RIGHT)),
        }
    }
    if !route.asks_for_requests() {
        return Err(Invalid::new("has no external_route", RIGHT));
    }
    if let (Some(to), Some([from_host])) = (redirect, route.hosts.as_deref()) {
        route.redirects = Some(vec![Redirect { from_https: false, from_host: from_host.clone(), to }]);
    }
    Ok(route)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::read;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn each_number_of_the_mesh_is_a_route() {
        let reading = read(&labels(&[
            ("com.docker.ucp.mesh.http.1", "external_route=http://x.example.com,internal_port=80,sticky_sessions=sid"),
            ("com.docker.ucp.mesh.http.2", "external_route=sni://y.example.com,internal_port=443"),
            ("com.docker.ucp.mesh.http.3", "external_route=http://,internal_port=81"),
            ("com.docker.ucp.mesh.http", "true"),
        ]));
        assert_eq!(reading.findings, []);
        let of = |name: &str| &reading.routes[&name.parse::<RouteName>().unwrap()];
        assert_eq!(of("1").hosts.as_ref().unwrap()[0].to_string(), "x.example.com");
        assert_eq!(of("1").sticky_session_cookie.as_ref().unwrap().as_str(), "sid");
        assert_eq!((of("2").ssl_passthrough, of("2").port.unwrap().get()), (Some(true), 443));
        assert_eq!((of("3").default_backend, of("3").hosts.is_none()), (Some(true), true));
        let redirected = read(&labels(&[(
            "com.docker.ucp.mesh.http",
            "external_route=http://a.example.com,internal_port=80,redirect=https://b.example.com",
        )]));
        let route = &redirected.routes[&RouteName::default()];
        assert_eq!(route.redirects.as_ref().unwrap()[0].to.as_str(), "https://b.example.com");
    }

    #[test]
    fn what_the_mesh_did_not_have_is_told() {
        for wrong in [
            "internal_port=80",
            "external_route=ftp://x.example.com,internal_port=80",
            "external_route=http://x.example.com; return 200,internal_port=80",
            "external_route=http://x.example.com,internal_port=http",
            "external_route=http://x.example.com,internal_port=80,other=1",
            "external_route",
        ] {
            let reading = read(&labels(&[("com.docker.ucp.mesh.http.1", wrong)]));
            assert_eq!(reading.findings.len(), 1, "{wrong}");
            assert!(reading.routes.is_empty(), "{wrong}");
        }
    }

    #[test]
    fn names_of_the_mesh_that_differ_in_case_alone_are_one() {
        let value = "external_route=http://x.example.com,internal_port=80";
        let reading = read(&labels(&[("com.docker.ucp.mesh.http.Web", value)]));
        assert_eq!((reading.findings.len(), reading.routes.len()), (0, 1));
        let reading =
            read(&labels(&[("com.docker.ucp.mesh.http.Web", value), ("com.docker.ucp.mesh.http.web", value)]));
        assert_eq!((reading.findings.len(), reading.routes.len()), (1, 1));
    }
}
