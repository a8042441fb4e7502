//! How much of a proxy one client may occupy.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::ask;
use crate::support::backend::{Service, Site};

const SHOP: Service<'_> = ("shop", &[("hosts", "shop.example.com")]);
const LONG: Duration = Duration::from_secs(20);

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// Whether the other side ends a connection before the time is over.
fn is_ended(stream: &mut TcpStream) -> bool {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// What a client with this `X-Forwarded-For`, or none, gets.
fn get(site: &Site, from: &str) -> String {
    let from = if from.is_empty() { String::new() } else { format!("X-Forwarded-For: {from}\r\n") };
    ask(site, &format!("GET /x HTTP/1.1\r\nHost: shop.example.com\r\n{from}Connection: close\r\n\r\n"))
}

/// A request that is under way until the value is dropped: its body does not end.
fn held(site: &Site, from: &str) -> TcpStream {
    let from = if from.is_empty() { String::new() } else { format!("X-Forwarded-For: {from}\r\n") };
    let mut stream = connect(site.nginx.port());
    let head = format!("POST /x HTTP/1.1\r\nHost: shop.example.com\r\n{from}Content-Length: 100\r\n\r\nx");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// Requests under way that take all that one address may have; `other` asks from the same. A question that came before one of them took
/// its place, and had it refused: that one is begun again.
fn all_held(site: &Site, count: usize, from: &str, other: &str) -> Vec<TcpStream> {
    let mut all: Vec<_> = (0..count).map(|_| held(site, from)).collect();
    becomes("429", || {
        for stream in &mut all {
            stream.set_nonblocking(true).unwrap();
            let is_refused = stream.peek(&mut [0]).is_ok();
            stream.set_nonblocking(false).unwrap();
            if is_refused {
                *stream = held(site, from);
            }
        }
        get(site, other)
    });
    all
}

/// Asks until this is the answer.
fn becomes(status: &str, mut get: impl FnMut() -> String) {
    let deadline = Instant::now() + LONG;
    loop {
        let got = get();
        if got == status {
            return;
        }
        assert!(Instant::now() < deadline, "still {got} instead of {status}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn m1_a_head_that_does_not_end_ends_its_connection() {
    let toml = "[Extensions.default.Config]\nClientHeaderTimeout = \"1s\"\n";
    let site = Site::start_with("127.25.1", &[SHOP], &[], toml);
    let mut stands = connect(site.nginx.port());
    stands.write_all(b"GET / HTTP/1.1\r\nHost: shop.example.com\r\nX-A: ").unwrap();
    assert!(is_ended(&mut stands));
    // Nor does it help to go on a little at a time.
    let mut drips = connect(site.nginx.port());
    drips.write_all(b"GET / HTTP/1.1\r\nHost: shop.example.com\r\nX-A: ").unwrap();
    drips.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let deadline = Instant::now() + LONG;
    while !is_ended(&mut drips) && drips.write_all(b"a").is_ok() {
        assert!(Instant::now() < deadline, "a byte now and then keeps a connection");
    }
    assert_eq!(get(&site, ""), "200");
}

#[test]
fn m1_an_address_has_no_more_than_its_share() {
    let toml = "[Extensions.default]\nPublishMode = \"host\"\n[Extensions.default.Config]\nConnectionsPerAddress = 3\n";
    let site = Site::start_with("127.25.2", &[SHOP], &[], toml);
    let held = all_held(&site, 3, "", "");
    drop(held);
    becomes("200", || get(&site, ""));
}

/// The address is that of the client, by the word of who is trusted; the balancer itself stands for many clients. Of IPv6 the first 64 bits
/// count, as one client has all addresses behind them.
#[test]
fn m1_clients_behind_a_balancer_are_told_apart() {
    let toml = "[Extensions.default]\nTrustedProxies = [\"127.0.0.0/8\"]\n[Extensions.default.Config]\nConnectionsPerAddress = 1\n";
    let site = Site::start_with("127.25.3", &[SHOP], &[], toml);
    for (one, same, other) in [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("2001:db8:1:2:a:b:c:d", "2001:db8:1:2::1", "2001:db8:1:3:a:b:c:d"),
        ("2001:db8:1:2:a::1", "2001:db8:1:2:b::1", "2001:db8:1:3:a::1"),
        ("2001:DB8:1:2:0:0:0:1", "2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:20::1"),
        ("2001:db8::1:2:3:4", "2001:db8:0:0:5:6:7:8", "2001:db8:0:1:1:2:3:4"),
        ("2001:db8::1", "2001:db8::ffff", "2001:db9::1"),
        ("2001::5:1:2:3:4", "2001:0:0:5:5:6:7:8", "2001::6:1:2:3:4"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"),
        ("::1", "::1", "::2"),
    ] {
        let held = all_held(&site, 1, one, same);
        assert_eq!(get(&site, other), "200", "{one} and {other} are two clients");
        drop(held);
        becomes("200", || get(&site, same));
    }
    let held: Vec<_> = (0..5).map(|_| held(&site, "")).collect();
    assert_eq!(get(&site, ""), "200");
    assert_eq!(held.len(), 5);
}

/// Connections whose TLS is passed through are counted, too, and the first message of a handshake has to come at once.
#[test]
fn m1_connections_that_are_passed_through_have_the_same_limits() {
    let through: Service<'_> = ("through", &[("hosts", "through.example.com"), ("ssl_passthrough", "true")]);
    let start = |net: &str, config: &str| {
        let toml = format!("[Extensions.default]\nPublishMode = \"host\"\n[Extensions.default.Config]\n{config}\n");
        Site::start_with(net, &[through], &[], &toml)
    };
    let open = |site: &Site| {
        let mut stream = connect(site.nginx.port() + 1);
        stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc]).unwrap();
        stream
    };
    let site = start("127.25.4", "ClientHeaderTimeout = \"1s\"");
    assert!(is_ended(&mut open(&site)), "nobody waits for the rest of a first message");
    // Here all have time, and those beyond the limit are ended.
    let site = start("127.25.5", "ClientHeaderTimeout = \"10m\"\nConnectionsPerAddress = 3");
    let briefly = |site: &Site| {
        let stream = open(site);
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        stream
    };
    let deadline = Instant::now() + LONG;
    let mut held: Vec<_> = Vec::new();
    loop {
        // Whoever looked whether nginx has started may have a place for a moment: then the last of these has none, and the next one gets it.
        held.resize_with(3, || briefly(&site));
        let is_next_ended = is_ended(&mut briefly(&site));
        held.retain_mut(|stream| !is_ended(stream));
        if is_next_ended && held.len() == 3 {
            break;
        }
        assert!(Instant::now() < deadline, "{} connections are open: {}", held.len(), site.nginx.log());
    }
    assert!((0..8).all(|_| is_ended(&mut open(&site))), "beyond the limit");
}
