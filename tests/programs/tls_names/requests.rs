//! Requests for one host inside a connection to another: the host's own rules, or 421, or nothing.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use interlock_core::reconcile::reconcile_embedded;

use super::{SHOP, both_layouts, client, count, passed, pem};
use crate::support::backend::{PORT, Service, Site, address};
use crate::support::nginx::Nginx;
use crate::support::pki::Authority;
use crate::support::routes::{app, inputs, labelled, status};
use crate::support::tls::Client;

/// What curl gets for a host by HTTP/2 in a connection to `shop.example.com`. A browser sends such requests where a certificate is good for both.
fn by_http2(site: &Site, host: &str) -> String {
    let port = site.nginx.port() + 1;
    let output = Command::new("curl")
        .args(["--silent", "--include", "--max-time", "20", "--http2", "--insecure"])
        .args(["--resolve", &format!("shop.example.com:{port}:127.0.0.1"), "--header", &format!("Host: {host}")])
        .arg(format!("https://shop.example.com:{port}/"))
        .output()
        .unwrap();
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(answer.starts_with("HTTP/2 "), "{answer}");
    answer.replacen("HTTP/2 ", "HTTP/1.1 ", 1)
}

#[test]
fn c6_a_host_asked_for_in_another_ones_connection_keeps_its_own_rules() {
    let authority = Authority::new();
    let pair = authority.shared(&["*.example.com"]);
    let cert = ("ssl_cert", "shop.pem");
    let services: [Service<'_>; 5] = [
        ("shop", &SHOP),
        ("allow", &[("hosts", "allow.example.com"), cert, ("allow", "10.0.0.0/8")]),
        ("auth", &[("hosts", "auth.example.com"), cert, ("basic_auth", "staff")]),
        ("rate", &[("hosts", "rate.example.com"), cert, ("rate_limit", "1")]),
        ("plain", &[("hosts", "plain.example.com")]),
    ];
    let secrets = [("shop.pem", &*pem(&pair)), ("staff", "joe:{PLAIN}secret\n")];
    for (site, connections) in both_layouts(["127.20.10", "127.20.11"], &authority, &services, &secrets) {
        let client = client(&site);
        let anew = |host: &str| client.connect("shop.example.com").unwrap().get(host, "/");
        let resumed = |host: &str| {
            let mut connection = client.connect("shop.example.com").unwrap();
            assert!(connection.is_resumed());
            connection.get(host, "/")
        };
        let http2 = |host: &str| by_http2(&site, host);
        assert_eq!(app(&anew("shop.example.com")), Some("shop"));
        for (how, get) in [("anew", &anew as &dyn Fn(&str) -> String), ("resumed", &resumed), ("http2", &http2)] {
            assert_eq!(app(&get("shop.example.com")), Some("shop"), "{how}");
            for (host, expected) in [
                ("allow.example.com", "403"),
                ("ALLOW.example.com.:8443", "403"),
                ("auth.example.com", "401"),
                ("plain.example.com", "421"),
                ("unknown.test", "421"),
            ] {
                assert_eq!(status(&get(host)), expected, "{how}: {host}");
            }
            // One limit, whichever connection a request comes by: those of before count.
            let rate: BTreeSet<_> = (0..4).map(|_| status(&get("rate.example.com")).to_owned()).collect();
            assert!(rate.contains("429"), "{how}: {rate:?}");
        }
        for get in [&anew as &dyn Fn(&str) -> String, &resumed, &http2] {
            assert_eq!(status(&get("through.example.com")), "421");
        }
        let reached = ["allow", "auth", "plain"].map(|name| site.seen(name).len());
        assert_eq!((reached, count(&connections)), ([0; 3], 0));
    }
}

/// A request of HTTP/2 may name its host twice. NGINX takes no such request, or the first name alone decides and is what is told.
#[test]
fn c6_f6_http2_knows_one_host_of_a_request() {
    let authority = Authority::new();
    let pair = authority.shared(&["*.example.com"]);
    let strict = [("hosts", "strict.example.com"), ("ssl_cert", "shop.pem"), ("allow", "10.0.0.0/8")];
    let services: [Service<'_>; 2] = [("shop", &SHOP), ("strict", &strict)];
    let site = Site::start_with("127.20.18", &services, &[("shop.pem", &pem(&pair))], "");
    let client = client(&site).by_http2();
    let ask = |more: &[(&str, &str)]| {
        let fields = [&[(":method", "GET"), (":scheme", "https"), (":path", "/x")], more].concat();
        client.connect("shop.example.com").unwrap().exchange_http2(&fields)
    };
    // In the table that both sides know, 8 is the status 200.
    let ok = 0x80 | 8;
    assert_eq!(ask(&[(":authority", "shop.example.com")]).first(), Some(&ok));
    assert_eq!(ask(&[("host", "shop.example.com")]).first(), Some(&ok));
    assert_eq!(site.requests(), 2);
    for fields in [
        &[(":authority", "shop.example.com"), ("host", "strict.example.com")][..],
        &[(":authority", "strict.example.com"), ("host", "shop.example.com")],
        &[("host", "shop.example.com"), ("host", "strict.example.com")],
        &[(":authority", "shop.example.com"), (":authority", "strict.example.com")],
        &[("host", "strict.example.com"), (":authority", "shop.example.com")],
        &[(":authority", "shop.example.com"), ("Host", "strict.example.com")],
        &[(":authority", "strict.example.com")],
        &[(":authority", "shop.example.com\0")],
        &[(":authority", "shop.example.com"), ("connection", "x")],
        &[],
    ] {
        ask(fields);
    }
    assert_eq!(site.seen("strict").len(), 0);
    for seen in site.seen("shop") {
        assert_eq!(seen.values("Host"), ["shop.example.com"], "{}", seen.head);
    }
}

#[test]
fn c5_a_name_in_a_handshake_is_the_same_in_any_spelling() {
    let authority = Authority::new();
    let (pair, wild) = (authority.pair("shop.example.com"), authority.pair("*.example.com"));
    let services: [Service<'_>; 2] =
        [("shop", &SHOP), ("wild", &[("hosts", "*.example.com"), ("ssl_cert", "wild.pem")])];
    let secrets = [("shop.pem", &*pem(&pair)), ("wild.pem", &pem(&wild))];
    for (site, _) in both_layouts(["127.20.12", "127.20.13"], &authority, &services, &secrets) {
        for (name, shown) in [
            ("shop.example.com", &pair),
            ("SHOP.Example.COM", &pair),
            ("shop.example.com.", &pair),
            ("X.EXAMPLE.COM", &wild),
        ] {
            let said = s_client(site.nginx.port(), &["-servername", name, "-showcerts"], "");
            assert!(said.replace('\n', "").contains(&shown.certificate.replace(['\r', '\n'], "")), "{name}: {said}");
        }
        // The one that is passed through is never the terminating server's.
        let said = s_client(site.nginx.port(), &["-servername", "THROUGH.example.com."], "");
        assert!(!said.contains("CN = shop.example.com"), "{said}");
    }
}

/// What openssl says of a connection in which this is sent.
fn s_client(http_port: u16, args: &[&str], request: &str) -> String {
    use std::io::Write as _;
    let mut process = Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{}", http_port + 1), "-ign_eof"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let request =
        if request.is_empty() { "GET / HTTP/1.1\r\nHost: none.test\r\nConnection: close\r\n\r\n" } else { request };
    // Who was refused reads nothing.
    let _ = process.stdin.take().unwrap().write_all(request.as_bytes());
    String::from_utf8_lossy(&process.wait_with_output().unwrap().stdout).into_owned()
}

/// A server of the operator's own, for a host whose clients have to show a certificate of this authority.
fn strict(host: &str, authorities: &str, to: &str) -> String {
    format!(
        "server {{\nlisten 443 ssl http2;\nserver_name {host}; ssl_certificate /run/secrets/{host}.pem; ssl_certificate_key /run/secrets/{host}.pem; \
         ssl_client_certificate /run/secrets/{authorities}; ssl_verify_client on; location / {{ proxy_pass http://{to}; }} }}"
    )
}

/// No label asks for certificates of clients, but the operator's lines may. A session begun with a host that asks for none, or with one
/// that believes another authority, opens no door, and tickets are off everywhere.
#[test]
fn c6_c7_certificates_of_clients_are_asked_for_whatever_was_said_before() {
    let authority = Authority::new();
    let others = Authority::new();
    let pairs = ["shop", "one", "two"].map(|name| authority.pair(&format!("{name}.example.com")));
    let authorities = [&authority, &others].map(|authority| std::fs::read_to_string(authority.file()).unwrap());
    let net = "127.20.14";
    let to = |number| format!("{}:{PORT}", address(net, number));
    let lines = [strict("one.example.com", "one.ca", &to(1)), strict("two.example.com", "two.ca", &to(2))];
    let toml = format!("[Extensions.default.Config]\nHTTPOptions = {lines:?}\n");
    let secrets = [
        ("shop.pem", &*pem(&pairs[0])),
        ("one.example.com.pem", &pem(&pairs[1])),
        ("two.example.com.pem", &pem(&pairs[2])),
        ("one.ca", &authorities[0]),
        ("two.ca", &authorities[1]),
    ];
    // The two applications behind the operator's servers have hosts of their own, so that they run here.
    let services: [Service<'_>; 3] =
        [("shop", &SHOP), ("one", &[("hosts", "one.test.example")]), ("two", &[("hosts", "two.test.example")])];
    let site = Site::start_with(net, &services, &secrets, &toml);
    let port = site.nginx.port() + 1;
    let anybody = client(&site);
    let known = Client::new(port, Some(&authority.pair("client.example.com")));
    assert_eq!(app(&known.connect("one.example.com").unwrap().get("one.example.com", "/")), Some("one"));
    assert_eq!(status(&anybody.connect("one.example.com").unwrap().get("one.example.com", "/")), "400");
    for host in ["one.example.com", "two.example.com"] {
        for client in [&anybody, &known] {
            let answer = client.connect("shop.example.com").unwrap().get(host, "/");
            assert_eq!(status(&answer), "421", "{host}: {answer}");
        }
        assert_eq!(status(&by_http2(&site, host)), "421");
    }
    let before = (site.seen("one").len(), site.seen("two").len());
    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("session").to_str().unwrap().to_owned();
    let identity = folder.path().join("client.pem").to_str().unwrap().to_owned();
    std::fs::write(&identity, pem(&authority.pair("client.example.com"))).unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        for (first, second, more) in [
            ("shop.example.com", "one.example.com", &[][..]),
            ("one.example.com", "two.example.com", &["-cert", &identity, "-key", &identity]),
        ] {
            let ask = |name: &str, file: &[&str], more: &[&str]| {
                let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
                s_client(port - 1, &[&[version, "-servername", name], file, more].concat(), &request)
            };
            let said = ask(first, &["-sess_out", &session], more);
            assert!(said.contains("HTTP/1.1 200"), "{first}: {said}");
            let again = ask(first, &["-sess_in", &session], &[]);
            assert!(again.contains("Reused, "), "{version}: this test could not fail: {again}");
            // As in the first place, but for the name.
            ask(first, &["-sess_out", &session], more);
            let said = ask(second, &["-sess_in", &session], &[]);
            assert!(!said.contains("HTTP/1.1 200"), "{version} {first} {second}: {said}");
        }
    }
    let one = site.seen("one").len() - before.0;
    assert_eq!((one, site.seen("two").len()), (6, before.1), "only those that showed what was asked for");
}

#[test]
fn c7_there_are_no_tickets_where_all_clients_are_asked_for_certificates() {
    let authority = Authority::new();
    let pair = authority.pair("shop.example.com");
    let ca = std::fs::read_to_string(authority.file()).unwrap();
    let lines = ["ssl_client_certificate /run/secrets/clients.ca;", "ssl_verify_client on;"];
    let toml = format!("[Extensions.default.Config]\nHTTPOptions = {lines:?}\n");
    let secrets = [("shop.pem", &*pem(&pair)), ("clients.ca", &ca)];
    let site = Site::start_with("127.20.15", &[("shop", &SHOP)], &secrets, &toml);
    let anybody = client(&site);
    for _ in 0..2 {
        // The handshake ends well, and its session may go on; what is asked for inside it does not.
        let answer = anybody.connect("shop.example.com").unwrap().get("shop.example.com", "/");
        assert_eq!(status(&answer), "400", "{answer}");
    }
    let said = s_client(site.nginx.port(), &["-tls1_2", "-servername", "shop.example.com"], "");
    assert!(!said.contains("TLS session ticket:"), "{said}");
    let known = Client::new(site.nginx.port() + 1, Some(&authority.pair("client.example.com")));
    assert_eq!(app(&known.connect("shop.example.com").unwrap().get("shop.example.com", "/")), Some("shop"));
    assert_eq!(site.requests(), 1);
}

#[test]
fn c9_tls_of_one_host_ends_in_one_place() {
    let authority = Authority::new();
    let (own, ended) = (authority.pair("shop.example.com"), authority.pair("shop.example.com"));
    for (net, passes_first) in [("127.20.16", true), ("127.20.17", false)] {
        let connections = passed(net, 0, &own);
        let through = [("hosts", "shop.example.com"), super::PASSES];
        let (first, second) = if passes_first { ("a-through", "b-ended") } else { ("b-through", "a-ended") };
        let services = labelled(first, PORT, &through) + &labelled(second, PORT, &SHOP);
        let tasks = [(first, &*address(net, 0)), (second, &address(net, 1))];
        crate::support::backend::Backend::start("ended", &format!("{}:{PORT}", address(net, 1)));
        let (outcome, renderings) = reconcile_embedded(&inputs(&services, &tasks, &["shop.pem"], ""));
        let [problem] = &outcome.problems[..] else { panic!("{:?}", outcome.problems) };
        let younger = if passes_first { second } else { first };
        assert!(problem.to_string().contains(younger) && problem.to_string().contains("ssl_passthrough"), "{problem}");
        let files = renderings.into_values().next().unwrap().result.unwrap();
        let nginx = Nginx::start_with(&files, &[("shop.pem", &pem(&ended))]);
        for _ in 0..5 {
            let connection = Client::new(nginx.port() + 1, None).connect("shop.example.com").unwrap();
            assert!(connection.shows(if passes_first { &own } else { &ended }));
        }
        assert_eq!(count(&connections), if passes_first { 5 } else { 0 });
    }
}
