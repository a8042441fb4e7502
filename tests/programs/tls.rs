//! TLS as clients see it: the real nginx, certificates of a test authority, curl and openssl in front.

use std::process::Command;

use crate::support::nginx::{Nginx, application};
use crate::support::pki::Authority;
use crate::support::routes::{labelled, rendered_with};
use crate::support::tls::speaks_tls;

/// What curl gets, headers included, for a URL whose host is at nginx; or why it gets nothing.
fn curl(authority: &Authority, nginx: &Nginx, url: &str, more: &[&str]) -> Result<String, String> {
    let host = url.split("://").nth(1).unwrap().split(['/', ':']).next().unwrap();
    let (http, https) = (nginx.port(), nginx.port() + 1);
    let url = url.replacen(host, &format!("{host}:{}", if url.starts_with("https") { https } else { http }), 1);
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--include", "--max-time", "20", "--http1.1", "--cacert"])
        .arg(authority.file())
        .args(["--resolve", &format!("{host}:{http}:127.0.0.1"), "--resolve", &format!("{host}:{https}:127.0.0.1")])
        .args(more)
        .arg(url)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

const SHOP: [(&str, &str); 3] = [("hosts", "shop.example.com"), ("ssl_cert", "shop.cert"), ("ssl_key", "shop.key")];
const BANK: [(&str, &str); 2] = [("hosts", "bank.example.com"), ("ssl_cert", "bank.pem")];

/// Two hosts with certificates of their own, one of them in one file with its key.
fn two_hosts(net: u8, authority: &Authority, more: &[(&str, &str)]) -> Nginx {
    let (shop, bank) = (authority.pair("shop.example.com"), authority.pair("bank.example.com"));
    let both = bank.certificate + &bank.key;
    start(net, &[("shop.cert", &shop.certificate), ("shop.key", &shop.key), ("bank.pem", &both)], more)
}

fn start(net: u8, secrets: &[(&str, &str)], more: &[(&str, &str)]) -> Nginx {
    let (shop, bank) = (format!("127.12.{net}.1"), format!("127.12.{net}.2"));
    application("shop", &format!("{shop}:19200"));
    application("bank", &format!("{bank}:19200"));
    let services = labelled("shop", 19_200, &[&SHOP[..], more].concat()) + &labelled("bank", 19_200, &BANK);
    let names: Vec<_> = secrets.iter().map(|(name, _)| *name).collect();
    Nginx::start_with(&rendered_with(&services, &[("shop", &shop), ("bank", &bank)], &names, ""), secrets)
}

#[test]
fn g1_tls_ends_at_the_proxy() {
    let authority = Authority::new();
    let nginx = two_hosts(1, &authority, &[("hsts", "365d")]);
    let answer = curl(&authority, &nginx, "https://shop.example.com/ping", &[]).unwrap();
    assert!(answer.contains("app=shop") && answer.contains("X-Forwarded-Proto: https"), "{answer}");
    assert!(answer.contains("X-Forwarded-Port: 8443") && answer.contains("X-Real-IP: 127.0.0.1"), "{answer}");
    assert!(answer.contains("Strict-Transport-Security: max-age=31536000"), "{answer}");
    let plain = curl(&authority, &nginx, "http://shop.example.com/ping", &[]).unwrap();
    assert!(plain.contains("app=shop") && !plain.contains("Strict-Transport-Security"), "{plain}");
    let two = curl(&authority, &nginx, "https://shop.example.com/ping", &["--http2"]).unwrap();
    assert!(two.starts_with("HTTP/2 200"), "{two}");
}

#[test]
fn g3_each_host_shows_its_own_certificate_and_nobody_elses_name_is_answered() {
    let authority = Authority::new();
    let nginx = two_hosts(2, &authority, &[]);
    // curl checks that the certificate is the host's.
    assert!(curl(&authority, &nginx, "https://bank.example.com/", &[]).unwrap().contains("app=bank"));
    assert!(curl(&authority, &nginx, "https://shop.example.com/", &[]).unwrap().contains("app=shop"));
    let unknown = curl(&authority, &nginx, "https://other.example.com/", &["--insecure"]).unwrap_err();
    assert!(unknown.contains("unrecognized name"), "{unknown}");
    // An address is no name: the client asks for none.
    let nameless = curl(&authority, &nginx, "https://127.0.0.1/", &["--insecure"]).unwrap_err();
    assert!(nameless.contains("unrecognized name"), "{nameless}");
    let elsewhere = ["--header", "Host: nobody.example.com"];
    let answer = curl(&authority, &nginx, "https://shop.example.com/", &elsewhere).unwrap();
    assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
}

#[test]
fn g1_one_certificate_serves_several_services() {
    let authority = Authority::new();
    let (wild, several) = (authority.shared(&["*.example.com"]), authority.shared(&["a.example.org", "b.example.net"]));
    let secrets = [("wild.pem", wild.certificate + &wild.key), ("several.pem", several.certificate + &several.key)];
    let secrets = secrets.each_ref().map(|(name, pem)| (*name, pem.as_str()));
    let hosts = ["shop.example.com", "bank.example.com", "a.example.org", "b.example.net"];
    let names = ["shop", "bank", "a", "b"];
    let (mut services, mut tasks) = (String::new(), Vec::new());
    for (number, (name, host)) in names.into_iter().zip(hosts).enumerate() {
        let address = format!("127.12.30.{}", number + 1);
        application(name, &format!("{address}:19200"));
        let certificate = if number < 2 { "wild.pem" } else { "several.pem" };
        services += &labelled(name, 19_200, &[("hosts", host), ("ssl_cert", certificate)]);
        tasks.push((name, address));
    }
    let tasks: Vec<_> = tasks.iter().map(|(name, address)| (*name, address.as_str())).collect();
    let files = rendered_with(&services, &tasks, &["wild.pem", "several.pem"], "");
    let nginx = Nginx::start_with(&files, &secrets);
    for (name, host) in names.into_iter().zip(hosts) {
        for version in ["--http1.1", "--http2"] {
            let answer = curl(&authority, &nginx, &format!("https://{host}/"), &[version]).unwrap();
            assert!(answer.contains(&format!("app={name}")), "{host}: {answer}");
        }
    }
    // What a certificate is good for is no host by that.
    curl(&authority, &nginx, "https://other.example.com/", &[]).unwrap_err();
    // A client that has one connection for two hosts of a certificate gets each host's own service.
    let both = curl(&authority, &nginx, "https://a.example.org/", &["--http2", "--header", "Host: b.example.net"]);
    assert!(both.unwrap().contains("app=b"));
}

#[test]
fn a_certificate_that_is_wrong_costs_its_host_alone() {
    let authority = Authority::new();
    let (bank, other) = (authority.pair("bank.example.com"), authority.pair("shop.example.com"));
    let bank = bank.certificate.clone() + &bank.key;
    let shop = authority.pair("shop.example.com");
    for (net, certificate, key) in
        [(3, "no PEM at all", shop.key.as_str()), (4, shop.certificate.as_str(), other.key.as_str()), (5, "", "")]
    {
        let nginx = start(net, &[("shop.cert", certificate), ("shop.key", key), ("bank.pem", &bank)], &[]);
        curl(&authority, &nginx, "https://shop.example.com/", &[]).unwrap_err();
        assert!(curl(&authority, &nginx, "http://shop.example.com/", &[]).unwrap().contains("app=shop"));
        assert!(curl(&authority, &nginx, "https://bank.example.com/", &[]).unwrap().contains("app=bank"));
    }
}

#[test]
fn ssl_only_redirects_plain_http() {
    let authority = Authority::new();
    let nginx = two_hosts(6, &authority, &[("ssl_only", "true")]);
    let answer = curl(&authority, &nginx, "http://shop.example.com/x?y=1", &[]).unwrap();
    assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
    assert!(answer.contains("Location: https://shop.example.com:8443/x?y=1\r\n"), "{answer}");
    assert!(curl(&authority, &nginx, "https://shop.example.com/x", &[]).unwrap().contains("app=shop"));
}

#[test]
fn f2_a_redirect_to_https_is_no_loop() {
    let authority = Authority::new();
    let nginx = two_hosts(7, &authority, &[("redirects", "http://shop.example.com,https://shop.example.com")]);
    let answer = curl(&authority, &nginx, "http://shop.example.com/x", &[]).unwrap();
    assert!(answer.starts_with("HTTP/1.1 302") && answer.contains("Location: https://shop.example.com/x"), "{answer}");
    assert!(curl(&authority, &nginx, "https://shop.example.com/x", &[]).unwrap().contains("app=shop"));
}

#[test]
fn old_protocols_and_weak_ciphers_are_refused() {
    let authority = Authority::new();
    let nginx = two_hosts(8, &authority, &[]);
    let ask = |more: &[&str]| curl(&authority, &nginx, "https://shop.example.com/", more);
    ask(&["--tlsv1.2", "--tls-max", "1.2"]).unwrap();
    ask(&["--tlsv1.3"]).unwrap();
    ask(&["--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"]).unwrap_err();
    ask(&["--tls-max", "1.2", "--ciphers", "AES128-SHA"]).unwrap_err();
}

#[test]
fn g2_g5_tls_goes_through_as_it_is_beside_a_host_where_it_ends() {
    let authority = Authority::new();
    let (through, shop) = (authority.pair("through.example.com"), authority.pair("shop.example.com"));
    speaks_tls("127.12.20.1:19200", &through);
    application("shop", "127.12.20.2:19200");
    let passed = [("hosts", "through.example.com"), ("ssl_passthrough", "true")];
    let services = labelled("through", 19_200, &passed) + &labelled("shop", 19_200, &SHOP);
    let secrets = [("shop.cert", shop.certificate.as_str()), ("shop.key", &shop.key)];
    let tasks = [("through", "127.12.20.1"), ("shop", "127.12.20.2")];
    let nginx = Nginx::start_with(&rendered_with(&services, &tasks, &["shop.cert", "shop.key"], ""), &secrets);

    let itself = curl(&authority, &nginx, "https://through.example.com/ping", &[]).unwrap();
    assert!(itself.contains("app=itself") && !itself.contains("x-request-id"), "G2: {itself}");
    let ended = curl(&authority, &nginx, "https://shop.example.com/ping", &[]).unwrap();
    // The client's address survives the hop.
    assert!(ended.contains("app=shop") && ended.contains("X-Real-IP: 127.0.0.1\r\n"), "{ended}");
    let plain = curl(&authority, &nginx, "http://through.example.com/", &[]).unwrap();
    assert!(plain.starts_with("HTTP/1.1 503"), "G2: {plain}");
    curl(&authority, &nginx, "https://other.example.com/", &["--insecure"]).unwrap_err();
    // Who asks for it inside a connection to another host is told that this is the wrong one.
    let misdirected = ["--header", "Host: through.example.com"];
    let answer = curl(&authority, &nginx, "https://shop.example.com/", &misdirected).unwrap();
    assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
}

#[test]
fn f3_a_host_that_is_passed_through_can_be_redirected() {
    let authority = Authority::new();
    let through = authority.pair("through.example.com");
    speaks_tls("127.12.21.1:19200", &through);
    for more in [("ssl_only", "true"), ("redirects", "http://through.example.com,https://through.example.com:8443")] {
        let labels = [("hosts", "through.example.com"), ("ssl_passthrough", "true"), more];
        let services = labelled("through", 19_200, &labels);
        let nginx = Nginx::start(&rendered_with(&services, &[("through", "127.12.21.1")], &[], ""));
        let answer = curl(&authority, &nginx, "http://through.example.com/x?y", &[]).unwrap();
        assert!(answer.contains("Location: https://through.example.com:8443/x?y\r\n"), "{answer}");
        assert!(curl(&authority, &nginx, "https://through.example.com/", &[]).unwrap().contains("app=itself"));
    }
}

#[test]
fn a_host_has_plain_http_beside_tls_that_goes_through() {
    let authority = Authority::new();
    let through = authority.pair("through.example.com");
    speaks_tls("127.12.23.1:19200", &through);
    application("plain", "127.12.23.1:19201");
    // As the routing mesh had it: http:// and sni:// of one service.
    let labels = [
        ("hosts", "through.example.com"),
        ("hosts.tls", "through.example.com"),
        ("port.tls", "19200"),
        ("ssl_passthrough.tls", "true"),
    ];
    let services = labelled("shop", 19_201, &labels);
    let nginx = Nginx::start(&rendered_with(&services, &[("shop", "127.12.23.1")], &[], ""));
    for (url, app) in [("http://through.example.com/", "app=plain"), ("https://through.example.com/", "app=itself")] {
        let answer = curl(&authority, &nginx, url, &[]).unwrap();
        assert!(answer.contains(app), "{url}: {answer}");
    }
}

#[test]
fn tasks_that_speak_tls_are_verified_if_it_is_asked_for() {
    let authority = Authority::new();
    let ca = std::fs::read_to_string(authority.file()).unwrap();
    let stranger = Authority::new();
    speaks_tls("127.12.22.1:19200", &authority.pair("shop.example.com"));
    speaks_tls("127.12.22.2:19200", &stranger.pair("shop.example.com"));
    speaks_tls("127.12.22.3:19200", &authority.pair("elsewhere.example.com"));
    let host = ("hosts", "shop.example.com");
    let plain = [host, ("ssl_backend", "true")];
    let verified =
        [host, ("backend_protocol", "https"), ("ssl_backend_tls_verify", "required"), ("ssl_backend_ca", "ca.pem")];
    for (address, labels, expected) in [
        ("127.12.22.1", &plain[..], "200"),
        ("127.12.22.2", &plain, "200"),
        ("127.12.22.1", &verified, "200"),
        ("127.12.22.2", &verified, "502"),
        ("127.12.22.3", &verified, "502"),
    ] {
        let services = labelled("shop", 19_200, labels);
        let files = rendered_with(&services, &[("shop", address)], &["ca.pem"], "");
        let nginx = Nginx::start_with(&files, &[("ca.pem", &ca)]);
        let answer = nginx.get("shop.example.com", "/");
        assert_eq!(crate::support::routes::status(&answer), expected, "{address} {labels:?}: {answer}");
    }
}

#[test]
fn m6_the_path_of_an_http2_request_is_checked_as_well() {
    let authority = Authority::new();
    let (app, admin) = ("127.12.24.1", "127.12.24.2");
    application("app", &format!("{app}:19200"));
    let services = labelled("app", 19_200, &BANK)
        + &labelled("admin", 19_200, &[BANK[0], ("context_root", "/admin"), ("allow", "192.0.2.0/24")]);
    let pair = authority.pair("bank.example.com");
    let both = pair.certificate + &pair.key;
    let files = rendered_with(&services, &[("app", app), ("admin", admin)], &["bank.pem"], "");
    let nginx = Nginx::start_with(&files, &[("bank.pem", &both)]);
    for (target, status) in [
        ("/x?a=;", 200),
        ("/admin", 403),
        ("/admin;x", 400),
        ("/%5cadmin", 400),
        ("/%2Fadmin", 400),
        ("/x#/admin", 400),
    ] {
        let more = ["--http2", "--request-target", target];
        let answer = curl(&authority, &nginx, "https://bank.example.com/", &more).unwrap();
        assert!(answer.starts_with(&format!("HTTP/2 {status}")), "{target}: {answer}");
    }
}
