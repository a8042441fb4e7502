//! Whose host it is, however the client writes it.

use super::{ask, is_oldest};
use crate::support::backend::{Service, Site};
use crate::support::http;
use crate::support::routes::app;

const BANK: Service<'_> = ("bank", &[("hosts", "bank.example.com")]);

/// Asks with what follows the request line, up to the empty line.
fn with(site: &Site, version: &str, headers: &str) -> String {
    ask(site, &format!("GET /x HTTP/{version}\r\n{headers}Connection: close\r\n\r\n"))
}

#[test]
fn c4_nobody_answers_for_a_host_that_nobody_names() {
    let site = Site::start(
        "127.22.1",
        &[
            BANK,
            ("paths", &[("hosts", "paths.example.com"), ("context_root", "/x"), ("compress", "true")]),
            ("wild", &[("hosts", "*.wild.example.com")]),
            ("old", &[("hosts", "old.example.com"), ("redirects", "http://old.example.com,http://new.example.com")]),
        ],
    );
    for (version, headers) in [
        ("1.1", "Host: unknown.test\r\n"),
        ("1.1", "Host: example.com\r\n"),
        ("1.1", "Host: wild.example.com\r\n"),
        ("1.1", "Host: xwild.example.com\r\n"),
        ("1.1", "Host: bank.example.com.evil.test\r\n"),
        ("1.1", "Host: 127.0.0.1\r\n"),
        ("1.1", "Host: 127.22.1.1:19300\r\n"),
        ("1.1", "Host: [::1]\r\n"),
        ("1.1", "Host: localhost\r\n"),
        ("1.1", "Host: bank\r\n"),
        ("1.1", "Host: bank.19300\r\n"),
        ("1.1", "Host: _\r\n"),
        ("1.1", "Host: *\r\n"),
        ("1.1", "Host: *.wild.example.com.\r\n"),
        ("1.1", "Host: .\r\n"),
        ("1.1", "Host: ~^.*$\r\n"),
        ("1.1", "Host: $hostname\r\n"),
        ("1.1", "Host:\r\n"),
        ("1.1", ""),
        ("1.0", "Host:\r\n"),
        ("1.0", ""),
    ] {
        let before = site.requests();
        let request = format!("GET /x HTTP/{version}\r\n{headers}Connection: close\r\n\r\n");
        let answer = http::exchange(("127.0.0.1", site.nginx.port()), &request).unwrap();
        // A star is a label like any other in what clients say.
        let is_wild = headers.contains("*.wild");
        assert_eq!(site.requests() - before, usize::from(is_wild), "{headers}");
        if !is_wild {
            assert!(["400", "503"].contains(&&answer[9..12]), "{headers}: {answer}");
            for word in ["app=", "Location:", "x-upstream", "x-proxy", "example.com"] {
                assert!(!answer.contains(word), "{headers}: {answer}");
            }
        }
    }
}

#[test]
fn c5_case_a_trailing_dot_and_the_port_make_no_other_host() {
    let hosts: Vec<_> =
        (0..150).map(|i| if i % 2 == 0 { format!("H{i}.Example.COM") } else { format!("h{i}.example.com.") }).collect();
    let strict = [("hosts", "Strict.Example.com"), ("allow", "10.0.0.0/8")];
    let site = Site::start(
        "127.22.2",
        &[("many", &[("hosts", &hosts.join(","))]), ("strict", &strict), ("wild", &[("hosts", "*.EXAMPLE.com")])],
    );
    let forms = |name: &str| {
        let upper = name.to_uppercase();
        [
            format!("Host: {name}"),
            format!("HOST: {upper}"),
            format!("host: {upper}."),
            format!("Host: {name}:99999"),
            format!("hOsT:{upper}.:1"),
            format!("Host:   {name}.  "),
            format!("Host: {name}:"),
        ]
    };
    for i in [0, 7, 8, 99, 149] {
        for form in forms(&format!("h{i}.example.com")) {
            let before = site.seen("many").len();
            assert_eq!(with(&site, "1.1", &format!("{form}\r\n")), "200", "{form}");
            assert_eq!(site.seen("many").len(), before + 1, "{form}");
        }
    }
    for form in forms("strict.example.com") {
        assert_eq!(with(&site, "1.1", &format!("{form}\r\n")), "403", "{form}");
    }
    assert_eq!((site.seen("strict").len(), site.seen("wild").len()), (0, 0));
    assert_eq!(app(&site.nginx.get("OTHER.example.COM.", "/")), Some("wild"));
}

/// NGINX refuses what could be two hosts or none, but takes commas and `@` for characters of a name. So such a name matches no host that is
/// written out; a wildcard's own service gets what ends like its hosts, and nobody else does. Behind the port NGINX looks at nothing.
#[test]
fn f6_an_odd_authority_is_refused_or_nobodys() {
    let site = Site::start("127.22.3", &[BANK, ("wild", &[("hosts", "*.example.com")])]);
    for (host, expected) in [
        ("bank.example.com", "bank"),
        ("bank.example.com,www.example.com", "wild"),
        ("www.example.com,bank.example.com", "wild"),
        ("bank.example.com,evil.test", "503"),
        ("bank.example.com, evil.test", "400"),
        ("user@bank.example.com", "wild"),
        ("user:bank.example.com", "503"),
        ("evil.test@bank.example.com", "wild"),
        ("bank.example.com@evil.test", "503"),
        ("bank.example.com:80@evil.test", "bank"),
        ("bank.example.com\tevil.test", "400"),
        ("bank.example.com evil.test", "400"),
        ("bank.example.com\u{b}", "400"),
        ("bank.example.com\u{7f}", "400"),
        ("bank.example.com\0", "400"),
        ("bank.example.com\0.test", "400"),
        ("bank..example.com", "400"),
        ("bank.example.com..", "400"),
        (".bank.example.com", "wild"),
        ("bank.example.com/x", "400"),
        ("http://bank.example.com", "400"),
        ("bank.example.com?", "503"),
        ("bank.example.com#.example.com", "wild"),
        ("bank%2eexample.com", "503"),
        ("[bank.example.com]", "503"),
        ("[bank.example.com", "wild"),
        ("b\u{e4}nk.example.com", "wild"),
        ("bank.example.com\r\nHost: bank.example.com", "400"),
        ("bank.example.com\r\nHost: www.example.com", "400"),
        ("bank.example.com\r\nhost:", "400"),
        ("bank.example.com\r\n www.example.com", "400"),
    ] {
        for _ in 0..2 {
            let before = ["bank", "wild"].map(|name| site.seen(name).len());
            let status = with(&site, "1.1", &format!("Host: {host}\r\n"));
            let after = ["bank", "wild"].map(|name| site.seen(name).len());
            let got = match (after[0] - before[0], after[1] - before[1]) {
                (0, 0) => &*status,
                (1, 0) => "bank",
                (0, 1) => "wild",
                more => panic!("{host:?} reached {more:?}"),
            };
            assert!(got == expected || got == "400" && !is_oldest(), "{host:?}: {got} instead of {expected}");
        }
    }
    assert_eq!(with(&site, "1.1", ""), "400");
}
