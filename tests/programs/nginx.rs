//! What is rendered, before the real nginx.

use crate::support::Scenario;
use crate::support::nginx::{Nginx, accepts, application};
use crate::support::routes::{app, inputs, rendered, service, status};
use interlock_core::kinds::File;
use interlock_core::reconcile::reconcile_embedded;

#[test]
fn nginx_accepts_every_fixture_without_a_warning() {
    for scenario in Scenario::for_nginx() {
        for rendering in reconcile_embedded(&scenario.inputs()).1.values() {
            let files = rendering.result.as_ref().unwrap();
            accepts(files).unwrap_or_else(|said| panic!("{}: {said}", scenario.name));
        }
    }
}

#[test]
fn nginx_finds_the_files_that_the_main_one_includes() {
    let services: String = (0..300)
        .map(|i| service(&format!("app-{i}"), 80, &format!("com.docker.lb.hosts: app-{i}.example.com")))
        .collect();
    let names: Vec<_> = (0..300).map(|i| format!("app-{i}")).collect();
    let tasks: Vec<_> = names.iter().map(|name| (name.as_str(), "127.10.6.1")).collect();
    let inputs = inputs(&services, &tasks, &[], "");
    let config = reconcile_embedded(&inputs).0.proxy_configs.into_values().next().unwrap();
    let files = interlock_core::kinds::render(&config, 12_000).result.unwrap();
    assert!(files.len() > 4, "{} files", files.len());
    accepts(&files).unwrap();
    accepts(&files[..2]).unwrap_err();
}

#[test]
fn operators_lines_stand_where_nginx_takes_them() {
    let services = service("shop", 80, "com.docker.lb.hosts: shop.example.com")
        + &service("raw", 443, "com.docker.lb.hosts: raw.example.com, com.docker.lb.ssl_passthrough: \"true\"");
    let map = "map $remote_addr $x { default 1; }";
    for (key, lines) in [
        ("HTTPOptions", &[map][..]),
        ("HTTPOptions", &["map_hash_max_size 4096;", "map_hash_bucket_size 256;", map]),
        ("HTTPOptions", &["geo $y { default 0; 10.0.0.0/8 1; }", "split_clients $remote_addr $z { 50% a; * b; }"]),
        ("HTTPOptions", &["server_names_hash_max_size 8192;", "server { listen 81; client_max_body_size 9m; }"]),
        ("HTTPOptions", &["log_format mine '$x $msec';", map, "access_log /dev/stdout mine;"]),
        ("HTTPOptions", &["proxy_buffer_size 32k;", "proxy_buffers 8 32k;", "client_max_body_size 9m;"]),
        (
            "HTTPOptions",
            &["upstream mine { server 127.0.0.1:9; }", "limit_req_zone $binary_remote_addr zone=z:1m rate=1r/s;"],
        ),
        ("TCPOptions", &[map, "server { listen 82; return $x; }"]),
        ("GlobalOptions", &["env TZ;", "worker_shutdown_timeout 1m;", "thread_pool mine threads=2;"]),
    ] {
        let toml =
            format!("[Extensions.default]\nPublishMode = \"host\"\n[Extensions.default.Config]\n{key} = {lines:?}\n");
        let files = crate::support::routes::rendered_with(
            &services,
            &[("shop", "127.10.7.1"), ("raw", "127.10.7.2")],
            &[],
            &toml,
        );
        accepts(&files).unwrap_or_else(|said| panic!("{key} = {lines:?}: {said}"));
    }
}

#[test]
fn nginx_refuses_what_is_wrong() {
    let wrong = File {
        path: "/etc/nginx/nginx.conf".into(),
        part: String::new(),
        content: "events {} http { upstream empty {} }".into(),
    };
    assert!(accepts(&[wrong]).is_err(), "this test could not fail");
}

#[test]
fn the_most_specific_host_and_the_longest_path_decide() {
    let services = [
        service("exact", 19_001, "com.docker.lb.hosts: bank.example.com"),
        service("wild", 19_001, "com.docker.lb.hosts: \"*.example.com\""),
        service("wilder", 19_001, "com.docker.lb.hosts: \"*.a.example.com\""),
        service("dead", 19_001, "com.docker.lb.hosts: dead.example.com"),
        service("site", 19_001, "com.docker.lb.hosts: www.example.com"),
        service("app", 19_001, "com.docker.lb.hosts: www.example.com, com.docker.lb.context_root: /app"),
        service(
            "cut",
            19_001,
            "com.docker.lb.hosts: www.example.com, com.docker.lb.context_root: /cut, com.docker.lb.context_root_rewrite: \"true\"",
        ),
        service("gone", 19_001, "com.docker.lb.hosts: www.example.com, com.docker.lb.context_root: /app/gone"),
    ];
    let names = ["exact", "wild", "wilder", "site", "app", "cut"];
    let addresses: Vec<_> = (1..=names.len()).map(|i| format!("127.10.1.{i}")).collect();
    for (name, address) in names.iter().zip(&addresses) {
        application(name, &format!("{address}:19001"));
    }
    let tasks: Vec<_> = names.iter().copied().zip(addresses.iter().map(String::as_str)).collect();
    let nginx = Nginx::start(&rendered(&services.concat(), &tasks));
    for (host, path, expected) in [
        ("bank.example.com", "/", Ok("exact")),
        ("BANK.Example.com.", "/", Ok("exact")),
        ("bank.example.com:99", "/x?y", Ok("exact")),
        ("other.example.com", "/", Ok("wild")),
        ("a.b.example.com", "/", Ok("wild")),
        ("x.a.example.com", "/", Ok("wilder")),
        ("example.com", "/", Err("503")),
        ("dead.example.com", "/", Err("503")),
        ("unknown.test", "/", Err("503")),
        ("10.0.0.1", "/", Err("503")),
        ("www.example.com", "/", Ok("site")),
        ("www.example.com", "/app", Ok("app")),
        ("www.example.com", "/app/x", Ok("app")),
        ("www.example.com", "/application", Ok("site")),
        ("www.example.com", "/app../etc", Ok("site")),
        ("www.example.com", "/app;x/y", Ok("site")),
        ("www.example.com", "/APP", Ok("site")),
        ("www.example.com", "/app/gone", Err("503")),
        ("www.example.com", "/app/gone/x", Err("503")),
        ("www.example.com", "/cut", Err("308")),
        ("www.example.com", "/cut/x", Ok("cut")),
    ] {
        let answer = nginx.get(host, path);
        let got = app(&answer).ok_or_else(|| status(&answer));
        assert_eq!(got, expected, "{host}{path}: {answer}");
    }
    // The service behind a context root sees the path as the client sent it, or without the root, escapes kept.
    assert!(nginx.get("www.example.com", "/app/a%20b?x=%2f").contains("GET /app/a%20b?x=%2f HTTP/1.1"));
    assert!(nginx.get("www.example.com", "/cut/a%20b?x=%2f").contains("GET /a%20b?x=%2f HTTP/1.1"));
    assert!(nginx.get("www.example.com", "/cut?x=1").contains("Location: /cut/?x=1\r\n"));
    // An application that makes links is told what was removed.
    let told = nginx
        .raw("GET /cut/a HTTP/1.1\r\nHost: www.example.com\r\nX-Forwarded-Prefix: /evil\r\nConnection: close\r\n\r\n");
    assert!(told.contains("X-Forwarded-Prefix: /cut\r\n") && !told.contains("evil"), "{told}");
    assert!(!nginx.get("www.example.com", "/app/a").contains("X-Forwarded-Prefix"));
    // Replies of our own tell nothing of anybody's containers.
    assert!(!nginx.get("unknown.test", "/").to_lowercase().contains("\r\nx-"), "{}", nginx.get("unknown.test", "/"));
    // Without a Host header.
    assert_eq!(status(&nginx.raw("GET / HTTP/1.0\r\n\r\n")), "503");
    assert_eq!(status(&nginx.raw("GET / HTTP/1.1\r\nConnection: close\r\n\r\n")), "400");
    // Nobody's status page.
    assert_eq!(app(&nginx.get("bank.example.com", "/nginx_status")), Some("exact"));
}

#[test]
fn what_an_application_is_told_is_what_the_proxy_saw() {
    application("shop", "127.10.2.1:19002");
    let nginx = Nginx::start(&rendered(
        &service("shop", 19_002, "com.docker.lb.hosts: shop.example.com"),
        &[("shop", "127.10.2.1")],
    ));
    let lies = "X-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\n\
                Forwarded: for=6.6.6.6\r\nX-Forwarded-Prefix: /evil\r\nX_Forwarded_For: 6.6.6.6\r\nX.Forwarded.For: 6.6.6.6\r\nProxy: evil\r\n\
                X-Original-URL: /evil\r\nX-Rewrite-URL: /evil\r\nX-Request-ID: evil\r\n";
    let answer = nginx.raw(&format!(
        "GET /a HTTP/1.1\r\nHost: shop.example.com\r\n{lies}Connection: close, x-forwarded-host, X-Real-Ip\r\n\r\n"
    ));
    let (head, told) = answer.split_once("\r\n\r\n").unwrap();
    assert!(!told.contains("evil") && !told.contains("6.6.6.6"), "{told}");
    for header in [
        "Host: shop.example.com",
        "X-Real-IP: 127.0.0.1",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: shop.example.com",
        "X-Forwarded-Port: 8080",
    ] {
        assert!(told.contains(&format!("{header}\r\n")), "{header} is missing:\n{told}");
    }
    // An application cannot send the proxy elsewhere, and gets no say in its headers.
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    for header in [
        "x-request-id: ",
        "x-proxy-id: ",
        "x-server-info: interlock/",
        "x-upstream-addr: 127.10.2.1:19002",
        "x-upstream-response-time: ",
    ] {
        assert!(head.contains(header), "{header} is missing:\n{head}");
    }
}

#[test]
fn only_websocket_is_upgraded() {
    application("shop", "127.10.3.1:19003");
    let nginx = Nginx::start(&rendered(
        &service("shop", 19_003, "com.docker.lb.hosts: shop.example.com"),
        &[("shop", "127.10.3.1")],
    ));
    let told = |upgrade: &str| {
        nginx.raw(&format!("GET /any/path HTTP/1.1\r\nHost: shop.example.com\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\nUpgrade: {upgrade}\r\n\r\n"))
    };
    let websocket = told("WebSocket");
    assert!(
        websocket.contains("Upgrade: websocket\r\n") && websocket.contains("Connection: upgrade\r\n"),
        "{websocket}"
    );
    let h2c = told("h2c");
    let (_, told) = h2c.split_once("app=").unwrap();
    assert!(!told.contains("Upgrade: ") && !told.contains("Connection: "), "{h2c}");
}

#[test]
fn a_task_that_refuses_is_left_for_the_next() {
    application("alive", "127.10.4.3:19004");
    let tasks = [("shop", "127.10.4.1"), ("shop", "127.10.4.2"), ("shop", "127.10.4.3")];
    let nginx = Nginx::start(&rendered(&service("shop", 19_004, "com.docker.lb.hosts: shop.example.com"), &tasks));
    for _ in 0..20 {
        assert_eq!(app(&nginx.get("shop.example.com", "/")), Some("alive"));
        let post =
            nginx.raw("POST / HTTP/1.1\r\nHost: shop.example.com\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert_eq!(app(&post), Some("alive"), "nothing was sent to the others: {post}");
    }
}

#[test]
fn a_default_backend_answers_for_hosts_that_nobody_names() {
    application("all", "127.10.5.1:19005");
    application("shop", "127.10.5.2:19005");
    let services = [
        service("all", 19_005, "com.docker.lb.default_backend: \"true\""),
        service("shop", 19_005, "com.docker.lb.hosts: shop.example.com"),
    ];
    let nginx = Nginx::start(&rendered(&services.concat(), &[("all", "127.10.5.1"), ("shop", "127.10.5.2")]));
    assert_eq!(app(&nginx.get("shop.example.com", "/")), Some("shop"));
    assert_eq!(app(&nginx.get("whatever.test", "/x")), Some("all"));
    let nameless = nginx.raw("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(app(&nameless), Some("all"));
}

/// Many hosts share a server, which finds their upstreams by a map.
#[test]
fn more_than_a_thousand_hosts_are_routed_as_few_are() {
    application("one", "127.10.90.1:19000");
    let host = |number: usize| format!("com.docker.lb.hosts: h{number}.example.com");
    let services: String = (0..1100).map(|number| service(&format!("s{number}"), 19_000, &host(number))).collect();
    let names: Vec<_> = (0..1100).map(|number| format!("s{number}")).collect();
    let tasks: Vec<_> = names.iter().map(|name| (name.as_str(), "127.10.90.1")).collect();
    let files = rendered(&services, &tasks);
    assert!(files[0].content.contains("map $host $upstream {"));
    accepts(&files).unwrap();
    let nginx = Nginx::start(&files);
    for number in [0, 1099] {
        assert_eq!(app(&nginx.get(&format!("h{number}.example.com"), "/x")), Some("one"));
    }
    assert_eq!(status(&nginx.get("h1100.example.com", "/x")), "503");
}
