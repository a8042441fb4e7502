//! Paths in which an application may find another one than NGINX does, on hosts whose paths are protected differently.

use super::ask;
use crate::support::backend::{Service, Site};

const WWW: (&str, &str) = ("hosts", "www.example.com");
/// For whom `/admin` is not: everybody here.
const ADMIN: &[(&str, &str)] = &[WWW, ("context_root", "/admin"), ("allow", "192.0.2.0/24")];

/// What a servlet container, a server that takes `\` for `/`, or one that decodes twice reads as `/admin` or as a path below it.
const AMBIGUOUS: &[&str] = &[
    "/admin;x",
    "/;/admin",
    "/x/..;/admin",
    "/x;y=/../admin",
    "/admin%3bx",
    "/admin%3Bx",
    "/%5c..%5cadmin",
    "/x%5C..%5Cadmin",
    "/\\..\\admin",
    "/x\\..\\admin",
    "/x%2f..%2fadmin",
    "/%2Fadmin",
    "http://www.example.com/admin;x",
];

/// What has the same characters where they mean nothing.
const PLAIN: &[&str] = &["/x", "/x?a=;b", "/x?a=%3b%5c%2f", "/x?a=\\", "/%253b", "/x%20y", "/a:b@c,d=e!f"];

fn get(site: &Site, host: &str, target: &str) -> String {
    ask(site, &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
}

#[test]
fn m6_where_a_path_is_protected_no_request_is_read_in_two_ways() {
    let site = Site::start("127.21.20", &[("app", &[WWW]), ("admin", ADMIN)]);
    for target in AMBIGUOUS {
        assert_eq!(get(&site, "www.example.com", target), "400", "{target}");
    }
    assert_eq!(site.requests(), 0);
    for target in PLAIN {
        assert_eq!(get(&site, "www.example.com", target), "200", "{target}");
    }
    assert_eq!(get(&site, "www.example.com", "/admin"), "403");
}

/// Where all paths have the same protection, or none, another reading of a path leads nowhere that is not open to the client anyway.
#[test]
fn m6_where_paths_are_protected_alike_applications_get_what_was_sent() {
    let users: &[(&str, &str)] = &[("users", "ada:{PLAIN}secret\n")];
    let auth = ("basic_auth", "users");
    let closed: Service<'_> = ("closed", &[("hosts", "closed.example.com"), auth]);
    let below: Service<'_> = ("below", &[("hosts", "closed.example.com"), ("context_root", "/below"), auth]);
    let site = Site::start_with("127.21.21", &[("app", &[WWW]), closed, below], users, "");
    for target in AMBIGUOUS {
        assert_eq!(get(&site, "www.example.com", target), "200", "{target}");
        if !target.starts_with("http:") {
            assert_eq!(get(&site, "closed.example.com", target), "401", "{target}");
        }
    }
}

#[test]
fn m6_a_service_may_ask_for_raw_paths_for_itself() {
    let raw: Service<'_> = ("raw", &[WWW, ("context_root", "/raw"), ("raw_paths", "true")]);
    let site = Site::start("127.21.22", &[("app", &[WWW]), raw, ("admin", ADMIN)]);
    for below in ["group%2fproject", "a;b", "..;/admin", "%5c", "\\"] {
        let target = format!("/raw/{below}");
        assert_eq!(get(&site, "www.example.com", &target), "200", "{target}");
        assert_eq!(site.seen("raw").last().unwrap().target(), target);
        assert_eq!(get(&site, "www.example.com", &format!("/x/{below}")), "400", "{below}");
    }
    for target in AMBIGUOUS {
        assert_eq!(get(&site, "www.example.com", target), "400", "{target}");
    }
    assert!(site.seen("app").is_empty() && site.seen("admin").is_empty());
    assert_eq!(get(&site, "www.example.com", "/raw/x#y"), "400", "a fragment is none of its business");
}

/// The prefix is removed, websockets have locations of their own, gRPC a program of its own; and a default backend has paths, too.
#[test]
fn m6_no_kind_of_location_is_left_out() {
    let cut = [WWW, ("context_root", "/cut"), ("context_root_rewrite", "true"), ("websocket_endpoints", "/cut/ws")];
    let all: Service<'_> = ("all", &[("default_backend", "true"), ("rate_limit", "1000")]);
    let rest: Service<'_> = ("rest", &[("hosts", "other.example.com"), ("raw_paths", "true")]);
    let canary: Service<'_> = ("canary", &[WWW, ("canary_header", "X-Canary")]);
    let site = Site::start("127.21.23", &[("app", &[WWW]), ("cut", &cut), canary, ("admin", ADMIN), all, rest]);
    for target in ["/cut/x;y", "/cut/ws/x;y", "/cut/ws;x", "/cut;x", "/x;y"] {
        let canary =
            format!("GET {target} HTTP/1.1\r\nHost: www.example.com\r\nX-Canary: 1\r\nConnection: close\r\n\r\n");
        assert_eq!(
            (get(&site, "www.example.com", target), ask(&site, &canary)),
            ("400".into(), "400".into()),
            "{target}"
        );
    }
    assert_eq!(site.requests(), 0);
    // Of these hosts all paths are alike.
    for host in ["other.example.com", "nobody.example.com"] {
        assert_eq!(get(&site, host, "/x;y"), "200", "{host}");
    }
}
