//! Who answers a TLS connection: by the name in its handshake, and by the names in the requests inside it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::backend::{PORT, Service, Site, address};
use support::pki::{Authority, Pair};
use support::routes::{app, status};
use support::tls::{Client, speaks_tls};

/// The pair as one secret.
fn pem(pair: &Pair) -> String {
    pair.certificate.clone() + &pair.key
}

fn client(site: &Site) -> Client {
    Client::new(site.nginx.port() + 1, None)
}

/// An application that TLS is passed through to, as the task of the service of this number, and its connections.
fn passed(net: &str, number: usize, pair: &Pair) -> Arc<AtomicUsize> {
    speaks_tls(&format!("{}:{PORT}", address(net, number)), pair)
}

fn count(connections: &AtomicUsize) -> usize {
    connections.load(Ordering::SeqCst)
}

const WILD: (&str, &str) = ("hosts", "*.example.com");
const BANK: (&str, &str) = ("hosts", "bank.example.com");
const PASSES: (&str, &str) = ("ssl_passthrough", "true");

#[test]
fn c2_a_host_without_tls_is_not_its_wildcards_or_the_default_ones() {
    let authority = Authority::new();
    let wild = authority.shared(&["*.example.com", "example.org"]);
    let secrets = [("wild.pem", &*pem(&wild))];
    let cert = ("ssl_cert", "wild.pem");
    let all: &[_] = &[("default_backend", "true"), cert];
    for (net, wild, inside) in [("127.20.1", &[WILD, cert][..], "x.example.com"), ("127.20.2", all, "example.org")] {
        let site = Site::start_with(net, &[("wild", wild), ("bank", &[BANK])], &secrets, "");
        assert_eq!(app(&client(&site).connect(inside).unwrap().get(inside, "/")), Some("wild"));
        assert_eq!(app(&site.nginx.get("bank.example.com", "/")), Some("bank"));
        assert!(client(&site).connect("bank.example.com").is_err(), "TLS connections for it are closed");
        let answer = client(&site).connect(inside).unwrap().get("bank.example.com", "/");
        assert_eq!(status(&answer), "421", "{answer}");
    }
}

#[test]
fn c2_a_host_is_not_passed_through_to_its_wildcard() {
    let authority = Authority::new();
    let (own, bank) = (authority.pair("wild.example.com"), authority.shared(&["bank.example.com", "*.a.example.com"]));
    let connections = passed("127.20.3", 0, &own);
    let cert = ("ssl_cert", "bank.pem");
    let services: [Service<'_>; 5] = [
        ("wild", &[WILD, PASSES]),
        ("bank", &[BANK, cert]),
        ("wilder", &[("hosts", "*.a.example.com"), cert]),
        ("plain", &[("hosts", "plain.example.com")]),
        ("gone", &[("hosts", "gone.example.com"), PASSES]),
    ];
    let site = Site::start_with("127.20.3", &services, &[("bank.pem", &pem(&bank))], "");
    for (host, expected) in [("bank.example.com", "bank"), ("x.a.example.com", "wilder")] {
        let mut connection = client(&site).connect(host).unwrap();
        assert!(connection.shows(&bank), "{host}");
        assert_eq!(app(&connection.get(host, "/")), Some(expected));
    }
    for host in ["plain.example.com", "gone.example.com"] {
        assert!(client(&site).connect(host).is_err(), "{host}: nobody answers");
    }
    assert_eq!(count(&connections), 0, "the wildcard's service gets nobody else's connections");
    assert!(client(&site).connect("other.example.com").unwrap().shows(&own));
}

#[test]
fn c2_plain_http_for_a_host_that_is_passed_through_is_nobody_elses() {
    let authority = Authority::new();
    passed("127.20.4", 1, &authority.pair("bank.example.com"));
    passed("127.20.5", 1, &authority.pair("bank.example.com"));
    for (net, other) in [("127.20.4", WILD), ("127.20.5", ("default_backend", "true"))] {
        let site = Site::start(net, &[("other", &[other]), ("bank", &[BANK, PASSES])]);
        assert_eq!(status(&site.nginx.get("bank.example.com", "/")), "503", "{other:?}");
        assert_eq!(app(&site.nginx.get("x.example.com", "/")), Some("other"));
    }
}
