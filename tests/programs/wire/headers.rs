//! What applications are told, and what they may tell the proxy.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::ask;
use crate::support::backend::{Backend, PORT, Seen, Service, Site};
use crate::support::nginx::Nginx;
use crate::support::routes::{app, labelled, rendered, status};

const SHOP: Service<'_> = ("shop", &[("hosts", "shop.example.com")]);

/// Everything by which an application could take a client for somebody else, or a request for another one. What begins with `X-Accel-` and
/// `X-Sendfile-` has a web application hand out files; `X-Original-` and `X-Rewrite-` are routed by.
const IDENTITY: &[&str] = &[
    "Forwarded",
    "Front-End-Https",
    "Proxy",
    "Remote-User",
    "True-Client-IP",
    "X-Accel-Mapping",
    "X-Accel-Redirect",
    "X-Client-IP",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Proto",
    "X-Forwarded-Protocol",
    "X-Forwarded-Scheme",
    "X-Forwarded-Server",
    "X-Forwarded-Ssl",
    "X-Forwarded-User",
    "X-Original-Forwarded-For",
    "X-Original-Host",
    "X-Original-Method",
    "X-Original-URI",
    "X-Original-URL",
    "X-Real-IP",
    "X-Remote-User",
    "X-Request-ID",
    "X-Rewrite-URL",
    "X-Sendfile-Type",
    "X-Url-Scheme",
];

/// What the application gets of a request with these lines.
fn told(site: &Site, lines: &str) -> Seen {
    let request = format!("GET /x HTTP/1.1\r\nHost: shop.example.com\r\n{lines}Connection: close\r\n\r\n");
    assert_eq!(ask(site, &request), "200", "{lines}");
    site.seen("shop").pop().unwrap()
}

/// Checks what is said about a client at 127.0.0.1 that came by plain HTTP.
fn is_honest(seen: &Seen) {
    for (name, value) in [
        ("Host", "shop.example.com"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Real-IP", "127.0.0.1"),
        ("X-Forwarded-Host", "shop.example.com"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Port", "8080"),
    ] {
        assert_eq!(seen.values(name), [value], "{name}: {}", seen.head);
    }
}

#[test]
fn e1_a_client_is_who_it_is_unless_a_trusted_peer_says_otherwise() {
    let site = Site::start("127.22.10", &[SHOP]);
    for lies in [
        "X-Forwarded-For: 6.6.6.6\r\n",
        "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 127.0.0.1\r\n",
        "x-forwarded-for: 6.6.6.6, 127.0.0.1\r\nx-real-ip: 6.6.6.6\r\n",
        "X-Real-IP:\r\n",
    ] {
        let seen = told(&site, lies);
        is_honest(&seen);
        assert!(!seen.head.contains("6.6.6.6"), "{}", seen.head);
    }
    let spaced = "GET /x HTTP/1.1\r\nHost: shop.example.com\r\nX-Forwarded-For : 6.6.6.6\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(&site, spaced), "400");
    // Of a chain, the last one that is not trusted is the client; what it said itself counts for nothing.
    let toml = "[Extensions.default]\nTrustedProxies = [\"127.0.0.0/8\", \"10.1.0.0/16\"]\n";
    let site = Site::start_with("127.22.11", &[SHOP], &[], toml);
    for (said, client) in
        [("192.0.2.9", "192.0.2.9"), ("6.6.6.6, 192.0.2.9, 10.1.1.1", "192.0.2.9"), ("6.6.6.6, nonsense", "127.0.0.1")]
    {
        let seen = told(&site, &format!("X-Forwarded-For: {said}\r\n"));
        assert_eq!((seen.values("X-Real-IP"), seen.values("X-Forwarded-For")), (vec![client], vec![client]), "{said}");
    }
}

#[test]
fn e2_a_client_cannot_have_our_headers_taken_out() {
    let site = Site::start("127.22.12", &[SHOP]);
    let all = IDENTITY.join(", ");
    for lines in [
        "Connection: close, x-forwarded-host, X-Real-Ip\r\n".to_owned(),
        format!("connection: {all}\r\n"),
        format!("Connection: close\r\nconnection: {}\r\n", all.to_lowercase()),
        "Connection: host\r\n".to_owned(),
        format!("Proxy-Connection: {all}\r\nKeep-Alive: {all}\r\nTE: {all}\r\nTrailer: {all}\r\n"),
    ] {
        let seen = told(&site, &lines);
        is_honest(&seen);
        assert_eq!(seen.values("Connection"), Vec::<&str>::new(), "{}", seen.head);
    }
}

#[test]
fn e3_other_spellings_of_a_header_are_dropped() {
    let site = Site::start("127.22.13", &[SHOP]);
    for separator in ["_", ".", " ", "\u{2010}", "\t", "-_", "/"] {
        for name in IDENTITY {
            let name = name.replace('-', separator);
            let request =
                format!("GET /x HTTP/1.1\r\nHost: shop.example.com\r\n{name}: 6.6.6.6\r\nConnection: close\r\n\r\n");
            let before = site.seen("shop").len();
            let status = ask(&site, &request);
            // It is refused, or it goes on without the header.
            assert!(["200", "400"].contains(&&*status), "{name}: {status}");
            for seen in site.seen("shop").split_off(before) {
                is_honest(&seen);
                assert!(!seen.head.contains("6.6.6.6"), "{name}: {}", seen.head);
            }
        }
    }
}

#[test]
fn e4_a_trailer_is_no_header() {
    let site = Site::start("127.22.14", &[SHOP]);
    let request = "POST /x HTTP/1.1\r\nHost: shop.example.com\r\nTransfer-Encoding: chunked\r\nTrailer: X-Forwarded-Prefix, X-Real-IP\r\nConnection: close\r\n\r\n\
                   5\r\nhello\r\n0\r\nX-Forwarded-Prefix: /evil\r\nX-Real-IP: 6.6.6.6\r\nX-Other: 6.6.6.6\r\n\r\n";
    assert_eq!(ask(&site, request), "200");
    let seen = site.seen("shop").pop().unwrap();
    is_honest(&seen);
    assert!(!seen.head.contains("evil") && !seen.head.contains("6.6.6.6"), "{}", seen.head);
    assert_eq!(seen.body, b"hello");
}

#[test]
fn e5_no_header_of_a_proxy_is_taken_from_a_client() {
    let site = Site::start("127.22.15", &[SHOP]);
    // A location with lines of its own takes none from outside.
    let own = ("shop", &[("hosts", "shop.example.com"), ("request_headers", "X-Tenant: blue")][..]);
    let with_own = Site::start("127.22.16", &[own]);
    for site in [site, with_own] {
        for spelt in [str::to_owned as fn(&str) -> String, str::to_lowercase, str::to_uppercase] {
            let lies: String = IDENTITY.iter().map(|name| format!("{}: planted\r\n", spelt(name))).collect();
            let seen = told(&site, &lies);
            is_honest(&seen);
            let planted: Vec<_> = seen.head.lines().filter(|line| line.contains("planted")).collect();
            assert_eq!(planted, Vec::<&str>::new());
        }
    }
}

#[test]
fn e5_whom_a_trusted_proxy_let_in_is_its_to_say() {
    const VOUCHED: [&str; 5] = ["Remote-User", "True-Client-IP", "X-Client-IP", "X-Forwarded-User", "X-Remote-User"];
    let own = ("own", &[("hosts", "own.example.com"), ("request_headers", "Remote-User: guest; -X-Client-IP")][..]);
    let said: String = VOUCHED.iter().map(|name| format!("{name}: ada\r\n")).collect();
    for (net, trusted, is_said) in [("127.22.21", "127.0.0.0/8", true), ("127.22.22", "192.0.2.0/24", false)] {
        let toml = format!("[Extensions.default]\nTrustedProxies = [{trusted:?}]\n");
        let site = Site::start_with(net, &[SHOP, own], &[], &toml);
        let seen = told(&site, &said);
        for name in VOUCHED {
            assert_eq!(seen.values(name), if is_said { vec!["ada"] } else { vec![] }, "{name}: {}", seen.head);
        }
        // What the service itself sets or removes is so.
        let request = format!("GET /x HTTP/1.1\r\nHost: own.example.com\r\n{said}Connection: close\r\n\r\n");
        assert_eq!(ask(&site, &request), "200");
        let seen = site.seen("own").pop().unwrap();
        assert_eq!((seen.values("Remote-User"), seen.values("X-Client-IP")), (vec!["guest"], vec![]), "{}", seen.head);
    }
}

/// Starts a proxy in front of an application that answers with these bytes.
fn hostile(net: &str, answer: impl Fn(&Seen) -> String + Send + Sync + 'static) -> (Nginx, Backend) {
    let address = format!("{net}.1");
    let backend = Backend::answering(&format!("{address}:{PORT}"), answer);
    (Nginx::start(&rendered(&labelled("shop", PORT, SHOP.1), &[("shop", &address)])), backend)
}

#[test]
fn e6_an_applications_answer_steers_nothing() {
    let body = "<!--#include virtual=\"/x\" --><!--#echo var=\"hostname\" -->";
    let headers = "X-Accel-Redirect: /healthz\r\nX-Accel-Expires: 1000\r\nX-Accel-Limit-Rate: 1\r\nX-Accel-Buffering: yes\r\nX-Accel-Charset: koi8-r\r\n\
                   x-sendfile: /etc/passwd\r\nConnection: Upgrade, x-request-id\r\nUpgrade: h2c\r\n";
    let text =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len());
    let (nginx, _) = hostile("127.22.17", move |_| text.clone());
    let start = Instant::now();
    let answer = nginx.get("shop.example.com", "/x");
    let (head, got) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!((status(head), got), ("200", body), "{head}");
    assert!(start.elapsed() < Duration::from_secs(20), "a byte a second is not honoured");
    assert!(head.contains("x-request-id:") && !head.contains("koi8") && !head.contains("X-Accel"), "{head}");
}

#[test]
fn e6_an_answer_that_nobody_asked_for_is_nobodys() {
    // Behind its answer, the application sends another one, for whoever comes next.
    let (nginx, backend) = hostile("127.22.18", |seen| {
        let path = seen.target();
        let own = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len());
        own + "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nplanted"
    });
    for i in 0..20 {
        let answer = nginx.get("shop.example.com", &format!("/{i}"));
        assert!(answer.ends_with(&format!("\r\n\r\n/{i}")) && !answer.contains("planted"), "{answer}");
    }
    assert_eq!(backend.seen().len(), 20);
}

/// A connection on which a protocol was changed unasked is nobody else's, either.
#[test]
fn e6_a_change_of_protocol_that_nobody_asked_for_reaches_no_other_client() {
    let (nginx, _) = hostile("127.22.20", |seen| match seen.target() {
        "/bad" => "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\nplanted".to_owned(),
        path => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len()),
    });
    for upgrade in
        ["", "Upgrade: h2c\r\n", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"]
    {
        let mut stream = TcpStream::connect(("127.0.0.1", nginx.port())).unwrap();
        let request = format!("GET /bad HTTP/1.1\r\nHost: shop.example.com\r\n{upgrade}\r\n");
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut status = [0; 12];
        let read = stream.read(&mut status).unwrap();
        assert!(!status[..read].starts_with(b"HTTP/1.1 200"));
        for i in 0..10 {
            let answer = nginx.get("shop.example.com", &format!("/{i}"));
            assert!(answer.ends_with(&format!("\r\n\r\n/{i}")), "{answer}");
        }
    }
}

#[test]
fn e6_a_flood_of_interim_answers_is_its_own_clients_alone() {
    // Ten thousand of them, and never an answer.
    let flood = Backend::answering(&format!("127.22.19.1:{PORT}"), |_| {
        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(10_000)
    });
    Backend::start("good", &format!("127.22.19.2:{PORT}"));
    let services = labelled("shop", PORT, SHOP.1) + &labelled("good", PORT, &[("hosts", "good.example.com")]);
    let nginx = Nginx::start(&rendered(&services, &[("shop", "127.22.19.1"), ("good", "127.22.19.2")]));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", nginx.port())).unwrap();
            stream.write_all(b"GET /x HTTP/1.1\r\nHost: shop.example.com\r\n\r\n").unwrap();
            stream
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(app(&nginx.get("good.example.com", "/")), Some("good"));
    }
    assert!(flood.seen().len() <= clients.len(), "nothing is asked again");
}
