//! What labels ask for, on the real nginx in front of applications on the loopback.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::nginx::{Nginx, application};
use crate::support::routes::{app, inputs, labelled, rendered, rendered_with, status};
use interlock_core::problem::{Problem, Severity};
use interlock_core::reconcile::reconcile_embedded;

const HOST: (&str, &str) = ("hosts", "shop.example.com");

/// One service with these labels, and its answers.
fn one(net: u8, labels: &[(&str, &str)]) -> Nginx {
    let address = format!("127.11.{net}.1");
    application("shop", &format!("{address}:19100"));
    let labels = [&[HOST], labels].concat();
    Nginx::start(&rendered(&labelled("shop", 19_100, &labels), &[("shop", &address)]))
}

fn request(nginx: &Nginx, headers: &str) -> String {
    nginx.raw(&format!("GET /x HTTP/1.1\r\nHost: shop.example.com\r\n{headers}Connection: close\r\n\r\n"))
}

/// How many of so many requests each application answered.
fn shares(nginx: &Nginx, headers: &str, requests: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..requests {
        let answer = request(nginx, headers);
        *shares.entry(app(&answer).unwrap_or_else(|| panic!("{answer}")).to_owned()).or_default() += 1;
    }
    shares
}

/// A service, the names of its tasks, its labels.
type Pooled<'a> = (&'static str, &'a [&'static str], &'a [(&'a str, &'a str)]);

/// Services with one host, each with as many tasks as it has names.
fn pool(net: u8, services: &[Pooled<'_>]) -> Nginx {
    let (mut text, mut tasks) = (String::new(), Vec::new());
    for (number, (service, names, labels)) in services.iter().enumerate() {
        text += &labelled(service, 19_100, &[&[HOST], *labels].concat());
        for (task, name) in names.iter().enumerate() {
            let address = format!("127.11.{net}.{}", number * 16 + task + 1);
            application(name, &format!("{address}:19100"));
            tasks.push((*service, address));
        }
    }
    let tasks: Vec<_> = tasks.iter().map(|(service, address)| (*service, address.as_str())).collect();
    let (outcome, renderings) = reconcile_embedded(&inputs(&text, &tasks, &[], ""));
    // One that leaves requests to nobody is told so.
    let is_alone = |problem: &Problem| services.len() == 1 && problem.severity == Severity::Warning;
    assert!(outcome.problems.iter().all(is_alone), "{:?}", outcome.problems);
    Nginx::start(&renderings.into_values().next().unwrap().result.unwrap())
}

#[test]
fn c1_weight_is_the_services_share() {
    let nginx = pool(1, &[("blue", &["blue"; 3], &[("weight", "90")]), ("green", &["green"; 2], &[("weight", "10")])]);
    let shares = shares(&nginx, "", 100);
    assert!((5..=15).contains(&shares["green"]), "{shares:?}");
}

#[test]
fn c2_blue_green_is_all_or_nothing() {
    let nginx = pool(2, &[("blue", &["blue"], &[("weight", "0")]), ("green", &["green"], &[("weight", "100")])]);
    assert_eq!(shares(&nginx, "", 20), BTreeMap::from([("green".to_owned(), 20)]));
    let none = pool(3, &[("blue", &["blue"], &[("weight", "0")])]);
    assert_eq!(status(&request(&none, "")), "503");
}

#[test]
fn a_canary_gets_what_asks_for_it_and_nothing_else() {
    let canary = [("canary_header", "X-Canary:yes"), ("canary_cookie", "canary")];
    let nginx = pool(4, &[("v1", &["v1"; 2], &[]), ("v2", &["v2"], &canary)]);
    for (headers, expected) in [
        ("", "v1"),
        ("X-Canary: yes\r\n", "v2"),
        ("X-Canary: YES\r\n", "v2"),
        ("X-Canary: no\r\n", "v1"),
        ("Cookie: canary=anything\r\n", "v2"),
        ("Cookie: a=b; canary=1\r\n", "v2"),
        ("Cookie: canary=\r\n", "v1"),
    ] {
        assert_eq!(shares(&nginx, headers, 6), BTreeMap::from([(expected.to_owned(), 6)]), "{headers}");
    }
    let alone = pool(5, &[("v2", &["v2"], &canary)]);
    assert_eq!(status(&request(&alone, "")), "503", "nobody but the canary is there");
    assert_eq!(app(&request(&alone, "X-Canary: yes\r\n")), Some("v2"));
    // The health check's own answer is nobody else's.
    assert_eq!(status(&alone.get("shop.example.com", "/healthz")), "503");
    // What means something to nginx's maps is a value like others.
    let words = pool(27, &[("v1", &["v1"], &[]), ("v2", &["v2"], &[("canary_header", "X-Canary:default")])]);
    assert_eq!(app(&request(&words, "")), Some("v1"));
    assert_eq!(app(&request(&words, "X-Canary: default\r\n")), Some("v2"));
}

#[test]
fn a_canary_without_a_share_is_a_preview() {
    let preview = [("weight", "0"), ("canary_header", "X-Canary")];
    let nginx = pool(61, &[("v1", &["v1"; 2], &[]), ("v2", &["v2"], &preview)]);
    assert_eq!(shares(&nginx, "", 10), BTreeMap::from([("v1".to_owned(), 10)]));
    assert_eq!(shares(&nginx, "X-Canary: 1\r\n", 10), BTreeMap::from([("v2".to_owned(), 10)]));
}

#[test]
fn h2_a_cookie_sticks_and_its_absence_spreads() {
    let names = ["one", "two", "three", "four"];
    let nginx = pool(6, &[("shop", &names, &[("sticky_session_cookie", "session")])]);
    let mut used = BTreeMap::new();
    for session in 0..40 {
        let shares = shares(&nginx, &format!("Cookie: session=s{session}\r\n"), 4);
        assert_eq!(shares.len(), 1, "{shares:?}");
        *used.entry(shares.into_keys().next().unwrap()).or_insert(0) += 1;
    }
    assert_eq!(used.len(), 4, "{used:?}");
    assert_eq!(shares(&nginx, "", 60).len(), 4);
}

/// NGINX has no variables for these names.
#[test]
fn h2_cookies_of_any_name_stick() {
    for (net, name) in [(62, "connect.sid"), (63, "laravel-session"), (64, "__Host-a.b-c")] {
        let nginx = pool(net, &[("shop", &["one", "two", "three"], &[("sticky_session_cookie", name)])]);
        let mut used = BTreeMap::new();
        for session in 0..20 {
            for header in [format!("{name}=s{session}"), format!("a=b;{name}=s{session}; x={name}=1; connectXsid=7")] {
                let shares = shares(&nginx, &format!("Cookie: {header}\r\n"), 2);
                assert_eq!(shares.len(), 1, "{name} {shares:?}");
                used.entry(session).or_insert_with(|| shares.clone());
                assert_eq!(used[&session], shares, "{header}");
            }
        }
        let tasks: std::collections::BTreeSet<_> = used.values().flat_map(BTreeMap::keys).collect();
        assert_eq!(tasks.len(), 3, "{name}: {used:?}");
        // Another name that ends like it is another cookie.
        assert_eq!(shares(&nginx, &format!("Cookie: x{name}=s1\r\n"), 30).len(), 3, "{name}");
    }
    let canary = [("canary_cookie", "beta.user:yes")];
    let nginx = pool(65, &[("v1", &["v1"; 2], &[]), ("v2", &["v2"], &canary)]);
    assert_eq!(shares(&nginx, "Cookie: beta.user=yes\r\n", 5), BTreeMap::from([("v2".to_owned(), 5)]));
    assert_eq!(shares(&nginx, "Cookie: betaXuser=yes\r\n", 5), BTreeMap::from([("v1".to_owned(), 5)]));
}

#[test]
fn balancers_in_front_see_the_health_of_proxies_and_say_which_ports_clients_see() {
    application("shop", "127.11.66.1:19100");
    let toml = "[Extensions.default]\nPublishMode = \"host\"\nHealthPath = \"/balancer\"\nClientPort = 80\nClientSSLPort = 443\n";
    let services = labelled("shop", 19_100, &[HOST])
        + &labelled("own", 19_100, &[("hosts", "own.example.com"), ("context_root", "/balancer")])
        + &labelled("gone", 19_100, &[("hosts", "gone.example.com,*.example.com")])
        + &labelled("only", 19_100, &[("hosts", "only.example.com"), ("ssl_cert", "pair"), ("ssl_only", "true")]);
    let tasks = [("shop", "127.11.66.1"), ("own", "127.11.66.1"), ("only", "127.11.66.1")];
    let nginx = Nginx::start_with(&rendered_with(&services, &tasks, &["pair"], toml), &[("pair", "")]);
    for host in ["shop", "own", "gone", "only", "x"].map(|name| format!("{name}.example.com")) {
        assert_eq!(status(&nginx.get(&host, "/balancer")), "200", "{host}");
    }
    assert_eq!(status(&nginx.get("10.0.0.1:8080", "/balancer")), "200");
    assert_eq!(status(&nginx.get("10.0.0.1:8080", "/balancer/x")), "503");
    assert_eq!(app(&nginx.get("own.example.com", "/balancer/x")), Some("shop"));
    let seen = request(&nginx, "");
    assert!(seen.contains("X-Forwarded-Port: 80\r\n"), "{seen}");
    let redirected = nginx.get("only.example.com", "/a");
    assert!(redirected.contains("Location: https://only.example.com/a\r\n"), "{redirected}");
}

#[test]
fn h3_ip_hash_keeps_a_client_at_one_task() {
    let nginx = pool(7, &[("shop", &["one", "two", "three"], &[("ip_hash", "true")])]);
    assert_eq!(shares(&nginx, "", 20).len(), 1);
}

#[test]
fn k5_a_task_that_fails_is_left_out_unless_max_fails_says_otherwise() {
    // The first task closes each connection, which counts as a failure.
    let failing = |address: &str| {
        let listener = std::net::TcpListener::bind(address).unwrap();
        let hits = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = hits.clone();
        std::thread::spawn(move || {
            for _ in listener.incoming().flatten() {
                counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        });
        hits
    };
    for (net, labels, often) in [(8, &[][..], false), (9, &[("max_fails", "1000"), ("fail_timeout", "0s")][..], true)] {
        let (bad, good) = (format!("127.11.{net}.1"), format!("127.11.{net}.2"));
        let hits = failing(&format!("{bad}:19100"));
        application("good", &format!("{good}:19100"));
        let text = labelled("shop", 19_100, &[&[HOST], labels].concat());
        // One worker counts for itself: with several, each finds out once.
        let toml = "[Extensions.default.Config]\nWorkerProcesses = 1\n";
        let files = rendered_with(&text, &[("shop", &bad), ("shop", &good)], &[], toml);
        let nginx = Nginx::start(&files);
        assert_eq!(shares(&nginx, "", 20), BTreeMap::from([("good".to_owned(), 20)]));
        let hits = hits.load(std::sync::atomic::Ordering::Relaxed);
        assert!(if often { hits > 5 } else { hits == 1 }, "{labels:?}: tried {hits} times");
    }
}

/// An application that closes the connection when it is asked for `/die`, and whose head is too large when it is asked for `/large`.
fn mortal(address: &str) {
    let listener = std::net::TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                use std::io::{Read, Write};
                let mut asked = [0; 1000];
                let length = stream.read(&mut asked).unwrap_or(0);
                let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
                let more = if asked.contains(" /large ") { "x".repeat(17_000) } else { String::new() };
                if !asked.contains(" /die ") {
                    let _ = write!(stream, "HTTP/1.0 200 OK\r\nX-More: {more}\r\n\r\napp=mortal\n");
                }
            });
        }
    });
}

#[test]
fn no_request_takes_the_last_tasks_out() {
    let balances: [&[(&str, &str)]; 4] =
        [&[], &[("max_fails", "2")], &[("ip_hash", "true")], &[("sticky_session_cookie", "session")]];
    for (number, labels) in balances.into_iter().enumerate() {
        for tasks in [1, 2, 4] {
            let addresses: Vec<_> =
                (1..=tasks).map(|task| format!("127.11.{}.{task}", 70 + 4 * number + tasks)).collect();
            addresses.iter().for_each(|address| mortal(&format!("{address}:19100")));
            let text = labelled("shop", 19_100, &[&[HOST], labels].concat());
            let tasks: Vec<_> = addresses.iter().map(|address| ("shop", address.as_str())).collect();
            let nginx = Nginx::start(&rendered(&text, &tasks));
            for path in ["/die", "/large"].repeat(6) {
                let cookie = "Cookie: session=1";
                let bad = nginx.raw(&format!(
                    "GET {path} HTTP/1.1\r\nHost: shop.example.com\r\n{cookie}\r\nConnection: close\r\n\r\n"
                ));
                assert_eq!(status(&bad), "502", "{path} {labels:?}");
                for _ in 0..4 {
                    assert_eq!(
                        status(&request(&nginx, &format!("{cookie}\r\n"))),
                        "200",
                        "{path} {labels:?} {tasks:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn allow_lets_in_whom_it_names() {
    assert_eq!(status(&request(&one(10, &[("allow", "10.0.0.0/8, 127.0.0.1")]), "")), "200");
    assert_eq!(status(&request(&one(11, &[("allow", "10.0.0.0/8")]), "")), "403");
}

/// Docker's own proxy hides IPv6 clients behind the bridge's gateway. The agent writes down which address that is.
#[test]
fn allow_does_not_take_the_gateway_for_a_client() {
    application("shop", "127.11.90.1:19100");
    let text = labelled("shop", 19_100, &[HOST, ("allow", "127.0.0.0/8")]);
    let files = rendered_with(&text, &[("shop", "127.11.90.1")], &[], "");
    for (denied, expected) in [("", "200"), ("deny 127.0.0.1;", "403"), ("deny 127.0.0.2;", "200")] {
        let nginx = Nginx::start_with(&files, &[("not-clients.conf", denied)]);
        assert_eq!(status(&request(&nginx, "")), expected, "{denied}");
    }
}

#[test]
fn basic_auth_asks_for_a_password() {
    application("shop", "127.11.12.1:19100");
    let text = labelled("shop", 19_100, &[HOST, ("basic_auth", "staff")]);
    let files = rendered_with(&text, &[("shop", "127.11.12.1")], &["staff"], "");
    let nginx = Nginx::start_with(&files, &[("staff", "joe:{PLAIN}secret\n")]);
    let refused = request(&nginx, "");
    assert!(status(&refused) == "401" && refused.contains("WWW-Authenticate: Basic"), "{refused}");
    assert_eq!(status(&request(&nginx, "Authorization: Basic am9lOnNlY3JldA==\r\n")), "200");
    assert_eq!(status(&request(&nginx, "Authorization: Basic am9lOndyb25n\r\n")), "401");
}

#[test]
fn rate_limit_answers_429() {
    let nginx = one(13, &[("rate_limit", "1,2")]);
    let statuses: Vec<_> = (0..6).map(|_| status(&request(&nginx, "")).to_owned()).collect();
    assert_eq!(statuses[..3], ["200"; 3]);
    assert!(statuses[3..].contains(&"429".to_owned()), "{statuses:?}");
}

#[test]
fn max_body_size_answers_413() {
    let nginx = one(14, &[("max_body_size", "1k")]);
    let post = |length: usize| {
        let body = "x".repeat(length);
        nginx.raw(&format!(
            "POST / HTTP/1.1\r\nHost: shop.example.com\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        ))
    };
    assert_eq!(status(&post(2000)), "413");
}

#[test]
fn headers_are_set_and_removed_on_both_sides() {
    let nginx = one(
        15,
        &[
            ("request_headers", "X-Tenant: blue \"quoted\"; -Accept-Encoding"),
            (
                "response_headers",
                "Content-Security-Policy: \"img-src *; default-src 'self'\"; X-Frame-Options: DENY; -X-Powered-By",
            ),
        ],
    );
    let answer = request(&nginx, "Accept-Encoding: gzip\r\nX-Tenant: red\r\nX-Forwarded-For: 6.6.6.6\r\n");
    let (head, told) = answer.split_once("\r\n\r\n").unwrap();
    assert!(told.contains("X-Tenant: blue \"quoted\"\r\n") && !told.contains("red"), "{told}");
    assert!(!told.contains("Accept-Encoding"), "{told}");
    // What proxies say about clients is said all the same.
    assert!(told.contains("X-Forwarded-For: 127.0.0.1\r\n") && !told.contains("6.6.6.6"), "{told}");
    assert!(head.contains("Content-Security-Policy: img-src *; default-src 'self'\r\n"), "{head}");
    assert!(head.contains("X-Frame-Options: DENY") && head.contains("x-request-id:"), "{head}");
}

/// An endpoint is a location inside that of its route, and has all from it that it does not say itself.
#[test]
fn h3_what_labels_say_of_a_route_stands_once_and_holds_for_its_endpoints() {
    let nginx = one(
        119,
        &[
            ("websocket_endpoints", "/ws, /live/events"),
            ("request_headers", "X-Tenant: blue"),
            ("response_headers", "X-Frame-Options: DENY"),
            ("rate_limit", "1,2"),
        ],
    );
    let ask = |path: &str| {
        nginx.raw(&format!(
            "GET {path} HTTP/1.1\r\nHost: shop.example.com\r\nX-Tenant: red\r\nConnection: close\r\n\r\n"
        ))
    };
    for path in ["/ws", "/ws/x", "/live/events"] {
        let answer = ask(path);
        let (head, told) = answer.split_once("\r\n\r\n").unwrap();
        assert!(told.contains("X-Tenant: blue\r\n") && !told.contains("red"), "{path}: {answer}");
        assert!(head.contains("X-Frame-Options: DENY") && head.contains("x-request-id:"), "{path}: {answer}");
    }
    // A client's requests count together, whichever of the paths they are for.
    assert!((0..4).any(|_| status(&ask("/ws/x")) == "429"));
    let nginx = one(120, &[("websocket_endpoints", "/ws"), ("allow", "192.0.2.1")]);
    for path in ["/", "/ws", "/ws/x"] {
        assert_eq!(status(&nginx.get("shop.example.com", path)), "403", "{path}");
    }
}

#[test]
fn compress_compresses_what_is_text() {
    let nginx = one(16, &[("compress", "true")]);
    // The answer has to be worth it.
    let long = format!("X-Long: {}\r\n", "a".repeat(900));
    let mut stream = TcpStream::connect(("127.0.0.1", nginx.port())).unwrap();
    let text =
        format!("GET / HTTP/1.1\r\nHost: shop.example.com\r\nAccept-Encoding: gzip\r\n{long}Connection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("Content-Encoding: gzip") && answer.contains("Vary: Accept-Encoding"), "{answer}");
}

#[test]
fn f1_redirects_keep_the_uri() {
    application("shop", "127.11.17.1:19100");
    let labels = [
        ("hosts", "old.example.com,shop.example.com"),
        ("redirects", "http://old.example.com,http://shop.example.com/"),
    ];
    let nginx = Nginx::start(&rendered(&labelled("shop", 19_100, &labels), &[("shop", "127.11.17.1")]));
    let answer = nginx.get("old.example.com", "/x?y=1");
    assert!(status(&answer) == "302" && answer.contains("Location: http://shop.example.com/x?y=1\r\n"), "{answer}");
    let slashes = nginx.get("old.example.com", "//evil.example/%2f..");
    assert!(slashes.contains("Location: http://shop.example.com//evil.example/%2f..\r\n"), "{slashes}");
    assert_eq!(app(&nginx.get("shop.example.com", "/x")), Some("shop"));
}

#[test]
fn who_is_trusted_says_who_the_client_is() {
    application("shop", "127.11.18.1:19100");
    let text = labelled("shop", 19_100, &[HOST]);
    let said = "X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: www.example.com\r\n";
    for (trusted, believed) in [("127.0.0.0/8", true), ("192.0.2.0/24", false)] {
        let toml = format!("[Extensions.default]\nTrustedProxies = [\"{trusted}\"]\n");
        let nginx = Nginx::start(&rendered_with(&text, &[("shop", "127.11.18.1")], &[], &toml));
        let told = request(&nginx, said);
        assert_eq!(told.contains("X-Real-IP: 192.0.2.9\r\n"), believed, "{told}");
        assert_eq!(told.contains("X-Forwarded-Proto: https\r\n"), believed, "{told}");
        assert_eq!(told.contains("X-Forwarded-Host: www.example.com\r\n"), believed, "{told}");
        assert!(
            told.contains(if believed { "X-Forwarded-Port: 443\r\n" } else { "X-Forwarded-Port: 8080\r\n" }),
            "{told}"
        );
        let port = request(&nginx, &format!("{said}X-Forwarded-Port: 4443\r\n"));
        assert_eq!(port.contains("X-Forwarded-Port: 4443\r\n"), believed, "{port}");
    }
}

#[test]
fn e7_the_proxy_protocol_is_believed_of_who_is_trusted() {
    application("shop", "127.11.19.1:19100");
    let text = labelled("shop", 19_100, &[HOST]);
    let line = "PROXY TCP4 192.0.2.9 192.0.2.1 4711 80\r\n";
    let plain = "GET /x HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n";
    for (trusted, believed) in [("127.0.0.0/8", true), ("192.0.2.0/24", false)] {
        let toml = format!("[Extensions.default]\nProxyProtocol = true\nTrustedProxies = [\"{trusted}\"]\n");
        let nginx = Nginx::start(&rendered_with(&text, &[("shop", "127.11.19.1")], &[], &toml));
        let told = nginx.raw(&format!("{line}{plain}"));
        assert_eq!(told.contains("X-Real-IP: 192.0.2.9\r\n"), believed, "{told}");
    }
    let nginx = Nginx::start(&rendered(&text, &[("shop", "127.11.19.1")]));
    assert_eq!(status(&nginx.raw(&format!("{line}{plain}"))), "400", "no listener takes it unasked");
}

#[test]
fn e7_a_line_of_the_proxy_protocol_is_whole_or_the_end() {
    application("shop", "127.11.20.1:19100");
    let text = labelled("shop", 19_100, &[HOST]);
    let plain = "GET /x HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n";
    let binary = |command: char, more: &str| {
        let [high, low] = u16::try_from(more.len()).unwrap().to_be_bytes().map(char::from);
        format!("\r\n\r\n\0\r\nQUIT\n{command}\u{11}{high}{low}{more}")
    };
    let address = "\u{42}\u{6}\u{6}\u{6}\u{7f}\0\0\u{1}\u{12}\u{67}\0\u{50}";
    // Of the binary form's additions, those that say nothing: a kind, a length and a byte.
    let additions = "\u{4}\0\u{1}x".repeat(200);
    for (trusted, believed) in [("127.0.0.0/8", true), ("192.0.2.0/24", false)] {
        let toml = format!("[Extensions.default]\nProxyProtocol = true\nTrustedProxies = [\"{trusted}\"]\n");
        let nginx = Nginx::start(&rendered_with(&text, &[("shop", "127.11.20.1")], &[], &toml));
        let client = |header: &str| {
            let answer =
                crate::support::http::exchange(("127.0.0.1", nginx.port()), &format!("{header}{plain}")).ok()?;
            let (_, told) = answer.split_once("X-Real-IP: ")?;
            Some(told.lines().next().unwrap().to_owned())
        };
        let said = |address: &str| Some(if believed { address } else { "127.0.0.1" }.to_owned());
        for (header, expected) in [
            ("PROXY TCP4 192.0.2.9 192.0.2.1 4711 80\r\n", said("192.0.2.9")),
            ("PROXY TCP6 2001:db8::9 2001:db8::1 4711 80\r\n", said("2001:db8::9")),
            ("PROXY UNKNOWN\r\n", said("127.0.0.1")),
            ("PROXY UNKNOWN 2001:db8::9 2001:db8::1 4711 80\r\n", said("127.0.0.1")),
            (&*binary('\u{20}', address), said("127.0.0.1")),
            (&binary('\u{21}', address), said("66.6.6.6")),
            (&binary('\u{21}', &format!("{address}{additions}")), said("66.6.6.6")),
            ("", None),
            ("PROXY\r\n", None),
            ("PROXY TCP4 192.0.2.9\r\n", None),
            ("PROXY TCP4 192.0.2.9 192.0.2.1 4711\r\n", None),
            ("PROXY TCP4 192.0.2.9 192.0.2.1 4711 80\n", None),
            ("PROXY TCP4 192.0.2.9 192.0.2.1 4711 80 ", None),
            ("PROXY TCP4 nonsense 192.0.2.1 4711 80\r\n", None),
            ("proxy TCP4 192.0.2.9 192.0.2.1 4711 80\r\n", None),
            (&format!("PROXY TCP4 {} 192.0.2.1 4711 80\r\n", "1".repeat(5000)), None),
            ("\r\n\r\n\0\r\nQUIT\n", None),
            (&binary('\u{31}', address), None),
        ] {
            assert_eq!(client(header), expected, "{header:?} from {trusted}");
        }
    }
}
