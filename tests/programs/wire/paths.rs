//! Which path decides, and what of it is forwarded.

use std::fmt::Write as _;

use super::ask;
use crate::support::backend::{Service, Site};
use crate::support::routes::{app, status};

const WWW: (&str, &str) = ("hosts", "www.example.com");
const CUT: (&str, &str) = ("context_root_rewrite", "true");

fn get(site: &Site, target: &str) -> String {
    ask(site, &format!("GET {target} HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n"))
}

#[test]
fn d1_a_prefix_ends_where_a_segment_ends() {
    let app: Service<'_> = ("app", &[WWW, ("context_root", "/app")]);
    let (alone, beside) = (Site::start("127.21.1", &[app]), Site::start("127.21.2", &[app, ("site", &[WWW])]));
    for (target, is_app) in [
        ("/app", true),
        ("/app/", true),
        ("/app/x", true),
        ("/app?x", true),
        ("/", false),
        ("/ap", false),
        ("/application", false),
        ("/app../etc", false),
        ("/app;x/y", false),
        ("/app.", false),
        ("/app%20", false),
        ("/APP", false),
    ] {
        assert_eq!(get(&alone, target), if is_app { "200" } else { "503" }, "{target}");
        let before = beside.seen("app").len();
        assert_eq!(get(&beside, target), "200", "{target}");
        assert_eq!(beside.seen("app").len() > before, is_app, "{target}");
    }
}

/// Tenants by path; each gets what its prefix is, and nothing else.
const PREFIXES: [(&str, &str); 4] = [("deep", "/app/deep/"), ("app", "/app/"), ("admin", "/admin/"), ("site", "/")];

/// The tenant by the one path that decides, worked out independently of nginx: percent-decoded once, slashes merged, dots resolved. `None`: there
/// is no such path.
fn tenant(target: &str) -> Option<&'static str> {
    let path = target.split(['?', '#']).next().unwrap();
    let mut decoded = Vec::new();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok().filter(|byte| *byte != 0)?
        } else {
            byte
        });
    }
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in decoded.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => drop(segments.pop()?),
            other => segments.push(other),
        }
    }
    let path = segments.iter().fold(Vec::new(), |path, segment| [&path[..], b"/", segment].concat());
    let path = [&path[..], b"/"].concat();
    PREFIXES.iter().find(|(_, prefix)| path.starts_with(prefix.as_bytes())).map(|(name, _)| *name)
}

const TARGETS: &[&str] = &[
    "/app/x",
    "/app/./x",
    "/./app/x",
    "//app/x",
    "/app//x",
    "/app///x//",
    "/app/../admin",
    "/app/x/../../admin",
    "/admin/../app/x",
    "/app/..",
    "/app/../",
    "/app/../app/x",
    "/app/deep/../x",
    "/app/deep/..",
    "/app/x/../deep/y",
    "/..",
    "/../admin",
    "/app/../../admin",
    "/%61pp/x",
    "/app%2fx",
    "/app%2Fdeep%2Fx",
    "/app%2f..%2fadmin",
    "/app/%2e%2e/admin",
    "/app/.%2e/admin",
    "/app/%2E%2E%2fadmin",
    "/app/%2e/x",
    "/app/%252e%252e/admin",
    "/app%252f..%252fadmin",
    "/app/..%5cadmin",
    "/app/..\\admin",
    "/app\\..\\admin",
    "/app;/../admin",
    "/app/..;/admin",
    "/app/;x=/../admin",
    "/app/%3b/x",
    "/app/x%3f/../admin",
    "/app/x%23/../../admin",
    "/app/%c0%ae%c0%ae/admin",
    "/app/\u{e9}",
    "/app/%zz",
    "/app/%",
    "/app/%2",
    "/app/%00/x",
    "/app/x%0d%0aX-Evil:%20y",
    "/app/a%20b?x=%2f",
    "/app/x?/../admin",
    "/app/x#/../admin",
    "/app/...",
    "/app/.../admin",
    "/a%70p/d%65ep/x",
];

/// What is forwarded without `context_root_rewrite` is the target as it was sent: the application of the path that decides gets it, whatever another
/// reading of it would be. So `/app/../admin` reaches `admin` as it stands, and nobody but `admin` decides what that means there; what
/// climbs out of a prefix never reaches the prefix's application. With `context_root_rewrite` the deciding path is forwarded,
/// without the prefix and escaped anew.
#[test]
fn d2_the_path_that_decides_is_the_only_one_there_is() {
    let roots = |more: &[(&'static str, &'static str)]| {
        PREFIXES.map(|(name, prefix)| {
            let root = ("context_root", prefix.strip_suffix('/').filter(|root| !root.is_empty()).unwrap_or("/"));
            // There is nothing to remove at the root.
            let more = if root.1 == "/" { &[] } else { more };
            (name, [&[WWW, root], more].concat())
        })
    };
    let start = |net: &str, services: [(&'static str, Vec<(&str, &str)>); 4]| {
        let services: Vec<Service<'_>> = services.iter().map(|(name, labels)| (*name, &labels[..])).collect();
        Site::start(net, &services)
    };
    let sites = [start("127.21.3", roots(&[])), start("127.21.4", roots(&[CUT]))];
    let mut table = String::new();
    for target in TARGETS {
        let expected = tenant(target);
        write!(table, "{target:28}").unwrap();
        for site in &sites {
            let before = PREFIXES.map(|(name, _)| site.seen(name).len());
            let status = get(site, target);
            let reached: Vec<_> = PREFIXES
                .iter()
                .zip(before)
                .flat_map(|((name, _), before)| {
                    site.seen(name).split_off(before).into_iter().map(move |seen| (*name, seen))
                })
                .collect();
            match &reached[..] {
                [(name, seen)] => {
                    assert_eq!(Some(*name), expected, "{target}");
                    assert!(seen.head.lines().filter(|line| line.contains("Evil:")).count() <= 1, "{}", seen.head);
                    write!(table, " {name} {}", seen.target().escape_default()).unwrap();
                }
                [] => {
                    assert!(["308", "400"].contains(&&*status), "{target}: {status}");
                    write!(table, " {status}").unwrap();
                }
                _ => panic!("{target} reached {reached:?}"),
            }
        }
        table += "\n";
    }
    insta::assert_snapshot!(table, @r"
    /app/x                       app /app/x app /x
    /app/./x                     app /app/./x app /x
    /./app/x                     app /./app/x app /x
    //app/x                      app //app/x app /x
    /app//x                      app /app//x app /x
    /app///x//                   app /app///x// app /x/
    /app/../admin                admin /app/../admin 308
    /app/x/../../admin           admin /app/x/../../admin 308
    /admin/../app/x              app /admin/../app/x app /x
    /app/..                      site /app/.. site /app/..
    /app/../                     site /app/../ site /app/../
    /app/../app/x                app /app/../app/x app /x
    /app/deep/../x               app /app/deep/../x app /x
    /app/deep/..                 app /app/deep/.. app /
    /app/x/../deep/y             deep /app/x/../deep/y deep /y
    /..                          400 400
    /../admin                    400 400
    /app/../../admin             400 400
    /%61pp/x                     app /%61pp/x app /x
    /app%2fx                     app /app%2fx app /x
    /app%2Fdeep%2Fx              deep /app%2Fdeep%2Fx deep /x
    /app%2f..%2fadmin            admin /app%2f..%2fadmin 308
    /app/%2e%2e/admin            admin /app/%2e%2e/admin 308
    /app/.%2e/admin              admin /app/.%2e/admin 308
    /app/%2E%2E%2fadmin          admin /app/%2E%2E%2fadmin 308
    /app/%2e/x                   app /app/%2e/x app /x
    /app/%252e%252e/admin        app /app/%252e%252e/admin app /%252e%252e/admin
    /app%252f..%252fadmin        site /app%252f..%252fadmin site /app%252f..%252fadmin
    /app/..%5cadmin              app /app/..%5cadmin app /..%5Cadmin
    /app/..\admin                app /app/..\\admin app /..\\admin
    /app\..\admin                site /app\\..\\admin site /app\\..\\admin
    /app;/../admin               admin /app;/../admin 308
    /app/..;/admin               app /app/..;/admin app /..;/admin
    /app/;x=/../admin            app /app/;x=/../admin app /admin
    /app/%3b/x                   app /app/%3b/x app /;/x
    /app/x%3f/../admin           app /app/x%3f/../admin app /admin
    /app/x%23/../../admin        admin /app/x%23/../../admin 308
    /app/%c0%ae%c0%ae/admin      app /app/%c0%ae%c0%ae/admin app /%C0%AE%C0%AE/admin
    /app/é                       app /app/\u{c3}\u{a9} app /\u{c3}\u{a9}
    /app/%zz                     400 400
    /app/%                       400 400
    /app/%2                      400 400
    /app/%00/x                   400 400
    /app/x%0d%0aX-Evil:%20y      app /app/x%0d%0aX-Evil:%20y app /x%0D%0AX-Evil:%20y
    /app/a%20b?x=%2f             app /app/a%20b?x=%2f app /a%20b?x=%2f
    /app/x?/../admin             app /app/x?/../admin app /x?/../admin
    /app/x#/../admin             400 400
    /app/...                     app /app/... app /...
    /app/.../admin               app /app/.../admin app /.../admin
    /a%70p/d%65ep/x              deep /a%70p/d%65ep/x deep /x
    ");
}

/// NGINX takes `#` for the end of the path, and would pass on what stands behind it.
#[test]
fn d3_a_target_with_a_fragment_is_refused() {
    let site = Site::start(
        "127.21.5",
        &[
            ("site", &[WWW]),
            ("admin", &[WWW, ("context_root", "/admin")]),
            ("moved", &[("hosts", "old.example.com"), ("redirects", "http://old.example.com,https://new.example.com")]),
            ("all", &[("default_backend", "true")]),
        ],
    );
    for target in
        ["/x#/admin", "/x#/../admin", "/#/admin", "/x/%2e%2e#/admin", "/x?y#z", "/#", "http://www.example.com/#x"]
    {
        for host in ["www.example.com", "old.example.com", "nobody.example.com"] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            assert_eq!(ask(&site, &request), "400", "{host} {target}");
        }
    }
    assert_eq!(site.requests(), 0);
    // Escaped it is a character like any other.
    assert_eq!(get(&site, "/x%23y?a=%23"), "200");
}

/// NGINX does not refuse a target with another host than the Host header: the target's host decides, and its application alone gets the request.
/// Before 1.29.3 it is told the header, since no variable has the port of such a target; from then on it is told the host that decided.
#[test]
fn d3_the_host_of_an_absolute_target_decides() {
    let site = Site::start("127.21.6", &[("www", &[WWW]), ("bank", &[("hosts", "bank.example.com")])]);
    let ask = |target: &str, host: &str| {
        ask(&site, &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    };
    for (target, bank) in [
        ("http://bank.example.com/x", true),
        ("HTTP://BANK.example.com:99/x", true),
        ("https://bank.example.com./x", true),
        ("http://www.example.com/x", false),
    ] {
        let before = (site.seen("www").len(), site.seen("bank").len());
        for host in ["www.example.com", "bank.example.com", "unknown.example.com"] {
            assert_eq!(ask(target, host), "200", "{target} {host}");
        }
        let after = (site.seen("www").len() - before.0, site.seen("bank").len() - before.1);
        assert_eq!(after, if bank { (0, 3) } else { (3, 0) }, "{target}");
        let seen = site.seen(if bank { "bank" } else { "www" });
        assert!(seen.iter().all(|seen| seen.target() == "/x"), "nobody is sent elsewhere: {seen:?}");
    }
    for target in
        ["http:/bank.example.com/", "http://", "http:///x", "http://bank.example.com@www.example.com/", "x", "*"]
    {
        assert_ne!(ask(target, "www.example.com"), "200", "{target}");
    }
    assert_eq!(ask("http://unknown.example.com/", "www.example.com"), "503");
}

#[test]
fn d4_a_prefix_is_removed_without_touching_the_rest() {
    let labels = [WWW, ("context_root", "/app"), CUT];
    let site = Site::start("127.21.7", &[("app", &labels)]);
    for (target, forwarded) in [
        ("/app/a%20b?x=%2f", "/a%20b?x=%2f"),
        ("/app/?a=/app/&b=%0a", "/?a=/app/&b=%0a"),
        ("/app/app/x", "/app/x"),
        ("/app/a%25b", "/a%25b"),
        ("/app/a%3fb?c", "/a%3Fb?c"),
        ("/app/a%23b", "/a%23b"),
        ("/app/x?", "/x"),
    ] {
        assert_eq!(get(&site, target), "200", "{target}");
        assert_eq!(site.seen("app").last().unwrap().target(), forwarded, "{target}");
    }
    let text = crate::support::routes::labelled("app", 1, &labels);
    for file in crate::support::routes::rendered(&text, &[("app", "127.21.7.1")]) {
        assert!(!file.content.contains("rewrite"), "{}", file.content);
    }
}

/// Wherever a redirect goes, it is on a host that the service's labels name: on its own by a path with one slash in front, or by a whole URL.
#[test]
fn d5_no_path_makes_a_redirect_leave_for_another_host() {
    let redirects = [("hosts", "old.example.com"), ("redirects", "http://old.example.com,https://new.example.com")];
    let site = Site::start(
        "127.21.8",
        &[
            ("app", &[WWW, ("context_root", "/app"), CUT]),
            ("old", &redirects),
            ("through", &[("hosts", "*.through.example.com"), ("ssl_passthrough", "true"), ("ssl_only", "true")]),
        ],
    );
    let mut redirected = 0;
    for target in [
        "/app",
        "//app",
        "///app",
        "/app?//evil.test",
        "/app?https://evil.test/",
        "/x/..//app",
        "//evil.test/%2f..",
        "//evil.test/..",
        "//evil.test/%2e%2e/app",
        "//evil.test/../app",
        "/%2fevil.test/%2e%2e/app",
        "/\\evil.test/../app",
        "/%5cevil.test/%2e%2e/app",
        "/%09/evil.test/../../app",
        "/.evil.test/",
        "/@evil.test/",
    ] {
        for host in ["www.example.com", "old.example.com", "a.through.example.com"] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            let answer = site.nginx.raw(&request);
            let Some((_, rest)) = answer.split_once("Location: ") else { continue };
            let location = rest.lines().next().unwrap();
            let own = match host {
                "www.example.com" => {
                    location.strip_prefix("/app/").is_some_and(|rest| rest.is_empty() || rest.starts_with('?'))
                }
                "old.example.com" => location.starts_with("https://new.example.com/"),
                _ => location.starts_with("https://a.through.example.com:8443/"),
            };
            assert!(own && app(&answer).is_none() && status(&answer).starts_with('3'), "{host}{target}: {location}");
            redirected += 1;
        }
    }
    assert!(redirected > 30, "{redirected}");
}
