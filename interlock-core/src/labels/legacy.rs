//! Labels of interlock's predecessors, read as today's: those of UCP's HTTP routing mesh (`com.docker.ucp.mesh.http[.N]`) and of
//! Interlock 1 (`interlock.*`, on a service or in its container spec). They count on services without `com.docker.lb.*` alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::values::{MOST_HOSTS, MOST_PATHS, TlsVerify};
use super::{FindingKind, Findings, MOST_ROUTES, Reading, Redirect, RouteLabels, text, too_many_routes};
use crate::swarm::Labels;
use crate::units::{Invalid, RouteName};

/// The prefix of the routing mesh.
const MESH: &str = "com.docker.ucp.mesh.http";
/// The prefix of Interlock 1.
const V1: &str = "interlock.";

/// Reads them.
pub(super) fn read(labels: &Labels) -> Reading {
    let mut reading = mesh(labels);
    if reading.routes.is_empty() && reading.findings.is_empty() {
        reading = v1(labels);
    }
    reading
}

/// Whether there are labels of Interlock 1, and none of the routing mesh.
pub(super) fn is_v1(labels: &Labels) -> bool {
    labels.contains_key("interlock.hostname") && mesh_keys(labels).next().is_none()
}

/// The keys and values that name routes of the mesh. On networks, and so on some services, it just says yes.
fn mesh_keys(labels: &Labels) -> impl Iterator<Item = (&String, &String)> {
    let ours = labels.range(MESH.to_owned()..).take_while(|(key, _)| key.starts_with(MESH));
    ours.filter(|(key, value)| *value != "true" && matches!(key.as_bytes().get(MESH.len()), None | Some(b'.')))
}

/// What is told of these labels on a service that has some of today's.
pub(super) fn shadowed(labels: &Labels, findings: &mut Findings) {
    let v1 = labels.get_key_value("interlock.hostname");
    for (key, value) in mesh_keys(labels).chain(v1) {
        let right = "remove it, or the com.docker.lb labels";
        let invalid = || Invalid::new("is ignored: the service also has com.docker.lb. labels", right);
        findings.add(key, value, FindingKind::Inert, invalid);
    }
}

/// The key that one of today's labels stands under here.
pub(super) fn written(labels: &Labels, route: &RouteName, key: &str) -> Option<String> {
    let names = |(written, _): &(&String, &String)| route_name(written).is_ok_and(|name| name == *route);
    if let Some((written, _)) = mesh_keys(labels).find(names) {
        return Some(written.clone());
    }
    let name = match key {
        "hosts" => "hostname",
        "ssl_key" => "ssl_cert_key",
        "websocket_endpoints" => "websocket_endpoint",
        other => other,
    };
    let wanted = format!("{V1}{name}");
    let exact = labels.contains_key(&wanted).then(|| wanted.clone());
    let numbered = || labels.keys().find(|written| written.starts_with(&format!("{wanted}."))).cloned();
    is_v1(labels).then(|| exact.or_else(numbered).unwrap_or(wanted.clone()))
}

/// The protection that each route asks for, as today's labels write it, by what tells the routes apart.
pub(super) fn protection(labels: &Labels) -> Vec<(&str, BTreeMap<&'static str, &'static str>)> {
    let of = |route: RouteLabels| {
        let verifies = route.ssl_backend_tls_verify == Some(TlsVerify::Required);
        let asked = [
            ("ssl_only", route.ssl_only == Some(true), "true"),
            ("ssl_passthrough", route.ssl_passthrough == Some(true), "true"),
            ("ssl_backend", route.ssl_backend == Some(true), "true"),
            ("ssl_backend_tls_verify", verifies, "required"),
        ];
        asked.into_iter().filter(|(_, is_set, _)| *is_set).map(|(key, _, value)| (key, value)).collect()
    };
    let mesh: Vec<_> = mesh_keys(labels)
        .filter_map(|(key, value)| Some((key.as_str(), of(mesh_route(text(value).ok()?).ok()?))))
        .collect();
    if !mesh.is_empty() {
        return mesh;
    }
    v1(labels).routes.into_values().map(|route| ("", of(route))).collect()
}

fn route_name(key: &str) -> Result<RouteName, Invalid> {
    key[MESH.len()..].trim_start_matches('.').to_ascii_lowercase().parse()
}

/// `com.docker.ucp.mesh.http.1=external_route=http://shop.example.com,internal_port=8080`: a route for each number.
fn mesh(labels: &Labels) -> Reading {
    let mut routes = BTreeMap::new();
    let mut findings = Findings::default();
    for (key, value) in mesh_keys(labels) {
        let read = || {
            let name = route_name(key)?;
            if routes.contains_key(&name) {
                return Err(Invalid::new("names a route that another label names", "give each route another name"));
            }
            if routes.len() == MOST_ROUTES {
                return Err(too_many_routes());
            }
            Ok((name, mesh_route(text(value)?)?))
        };
        match read() {
            Ok((name, route)) => drop(routes.insert(name, route)),
            Err(invalid) => findings.add(key, value, FindingKind::Bad, || invalid),
        }
    }
    let (findings, more) = findings.into_parts();
    Reading { routes, findings, more }
}

fn mesh_route(value: &str) -> Result<RouteLabels, Invalid> {
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

/// Labels of Interlock 1 that are there count as yes, whatever their value is.
fn v1(labels: &Labels) -> Reading {
    let ours: BTreeMap<&str, &str> = labels
        .range(V1.to_owned()..)
        .take_while(|(key, _)| key.starts_with(V1))
        .map(|(key, value)| (&key[V1.len()..], value.as_str()))
        .collect();
    let Some(hostname) = ours.get("hostname") else { return Reading::default() };
    let mut route = RouteLabels { hosts: Some(Vec::new()), ..RouteLabels::default() };
    let mut findings = Findings::default();
    let mut note = |key: &str, value: &str, read: Result<(), Invalid>| {
        if let Err(invalid) = read {
            findings.add(&format!("{V1}{key}"), value, FindingKind::Bad, || invalid);
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
