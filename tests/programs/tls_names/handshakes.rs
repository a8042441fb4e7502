//! Who answers a handshake.

use super::{PASSES, SHOP, both_layouts, client, count, passed, pem};
use crate::support::backend::{Service, Site};
use crate::support::pki::Authority;
use crate::support::routes::{app, status};
use crate::support::tls::Client;

const WILD: (&str, &str) = ("hosts", "*.example.com");
const BANK: (&str, &str) = ("hosts", "bank.example.com");

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

/// The first bytes of a handshake in which another text of the same length stands for the host.
fn hello_with(client: &Client, host: &str, name: &str) -> Vec<u8> {
    assert_eq!(host.len(), name.len());
    let (_, mut hello) = client.hello(host);
    let at = hello.windows(host.len()).position(|window| window == host.as_bytes()).unwrap();
    hello[at..at + host.len()].copy_from_slice(name.as_bytes());
    hello
}

#[test]
fn c4_c8_a_handshake_for_no_host_or_an_unknown_one_is_closed() {
    let authority = Authority::new();
    let pair = authority.pair("shop.example.com");
    let services: [Service<'_>; 2] = [("shop", &SHOP), ("plain", &[("hosts", "plain.example.com")])];
    for (site, connections) in
        both_layouts(["127.20.6", "127.20.7"], &authority, &services, &[("shop.pem", &pem(&pair))])
    {
        let client = client(&site);
        assert!(client.connect("shop.example.com").unwrap().shows(&pair));
        for host in ["unknown.test", "example.com", "x.shop.example.com", "plain.example.com", "127.0.0.1"] {
            assert!(client.connect(host).is_err(), "{host}");
        }
        let nameless = Client::new(site.nginx.port() + 1, None).without_a_name();
        assert!(nameless.connect("shop.example.com").is_err(), "no name");
        for (host, name) in [
            ("abcde.fgh", "127.0.0.1"),
            ("abc.d", "[::1]"),
            ("shop.example.com0.test", "shop.example.com\0.test"),
            ("shop.example.com0", "shop.example.com\0"),
            ("shop0example.com", "shop\0example.com"),
            ("through.example.com0", "through.example.com\0"),
            ("through.example.com0.test", "through.example.com\0.test"),
            ("shop.example.com0", "shop.example.com "),
            ("through.example.com0443", "through.example.com:443"),
            ("shop.example.com00x", "shop.example.com..x"),
            ("0shop.example.com", "*shop.example.com"),
            ("0.example.com", "*.example.com"),
            ("a.b", "_.b"),
        ] {
            assert_ne!(client.answer_to(vec![hello_with(&client, host, name)]), Some(22), "{name:?}");
        }
        assert_eq!((site.requests(), count(&connections)), (0, 0));
    }
}

/// The same handshake in records of one byte of content.
fn fragmented(hello: Vec<u8>) -> Vec<Vec<u8>> {
    hello[5..].iter().map(|byte| [&hello[..3], &[0, 1, *byte]].concat()).collect()
}

/// The same handshake with so many bytes of padding, which takes several records.
fn padded(hello: &[u8], padding: usize) -> Vec<u8> {
    let mut content = hello[9..].to_vec();
    // Behind the version and the random stand the session's id, the ciphers and the compressions, each with its length.
    let session = 34 + 1 + usize::from(content[34]);
    let ciphers = session + 2 + usize::from(u16::from_be_bytes([content[session], content[session + 1]]));
    let extensions = ciphers + 1 + usize::from(content[ciphers]);
    let mut more = Vec::new();
    // The length of an extension has two bytes: several are needed.
    for length in std::iter::repeat_n(16_000, padding / 16_000) {
        let kind = 0xfa00 + u16::try_from(more.len() / 16_000).unwrap();
        more.extend(kind.to_be_bytes());
        more.extend(u16::try_from(length).unwrap().to_be_bytes());
        more.extend(vec![0; length]);
    }
    let length = usize::from(u16::from_be_bytes([content[extensions], content[extensions + 1]])) + more.len();
    content[extensions..extensions + 2].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
    // In front of the host's name, so that who looks at the beginning does not see it.
    content.splice(extensions + 2..extensions + 2, more);
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    let message = [&[1], &length[1..], &content].concat();
    let record = |part: &[u8]| [&hello[..3], &u16::try_from(part.len()).unwrap().to_be_bytes(), part].concat();
    message.chunks(16_000).flat_map(record).collect()
}

/// However a handshake is cut or blown up, it is answered by the host that it names, or by nobody.
#[test]
fn c8_a_handshake_in_pieces_is_its_own_hosts_or_nobodys() {
    let authority = Authority::new();
    let (pair, other) = (authority.pair("shop.example.com"), authority.pair("other.example.com"));
    let services: [Service<'_>; 2] =
        [("shop", &SHOP), ("other", &[("hosts", "other.example.com"), ("ssl_cert", "other.pem")])];
    let secrets = [("shop.pem", &*pem(&pair)), ("other.pem", &pem(&other))];
    for (number, (site, connections)) in
        both_layouts(["127.20.8", "127.20.9"], &authority, &services, &secrets).into_iter().enumerate()
    {
        let client = client(&site);
        let bytes = |hello: Vec<u8>| hello.chunks(1).map(<[u8]>::to_vec).collect();
        for pieces in [&bytes as &dyn Fn(Vec<u8>) -> Vec<Vec<u8>>, &fragmented] {
            for (host, pair, app_name) in [("shop.example.com", &pair, "shop"), ("other.example.com", &other, "other")]
            {
                if let Ok(mut connection) = client.connect_in_pieces(host, pieces) {
                    assert!(connection.shows(pair), "{host}");
                    assert_eq!(app(&connection.get(host, "/")), Some(app_name));
                }
            }
            assert!(client.connect_in_pieces("unknown.test", pieces).is_err());
        }
        assert!(client.connect_in_pieces("shop.example.com", bytes).is_ok(), "TCP may cut it anywhere");
        for padding in [16_000, 48_000] {
            for host in ["shop.example.com", "unknown.test"] {
                // A session of before would be bound to the bytes as they were.
                let fresh = self::client(&site);
                let answer = fresh.answer_to(vec![padded(&fresh.hello(host).1, padding)]);
                assert!(answer != Some(22) || host == "shop.example.com", "{host}");
                assert!(
                    number == 1 || host != "shop.example.com" || answer == Some(22),
                    "NGINX reads it without a stream server"
                );
            }
        }
        assert_eq!(count(&connections), 0, "nobody who is passed through gets it");
        if number == 1 {
            let own = || client.connect_in_pieces("through.example.com", bytes).unwrap();
            assert!(own().get("through.example.com", "/").contains("app=itself"));
            let before = count(&connections);
            client.answer_to(vec![padded(&client.hello("shop.example.com").1, 48_000)]);
            assert_eq!(count(&connections), before);
        }
    }
}
