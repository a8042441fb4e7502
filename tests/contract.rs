#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]
mod support;
use support::nginx::accepts;
use support::routes::{labelled, rendered};

#[test]
fn tmp_case() {
    let s = labelled("shop", 80, &[("hosts", "shop.example.com"), ("hosts.a", "a.example.com"), ("port.a", "80"), ("hosts.A", "b.example.com"), ("port.A", "80")]);
    println!("{:?}", accepts(&rendered(&s, &[("shop", "127.0.0.1")])));
}
#[test]
fn tmp_cookie() {
    let s = labelled("shop", 80, &[("hosts", "shop.example.com"), ("sticky_session_cookie", "Session")]) + &labelled("other", 80, &[("hosts", "other.example.com"), ("sticky_session_cookie", "session")])
    + &labelled("third", 80, &[("hosts", "third.example.com"), ("canary_header", "X-Canary:Yes"), ("canary_cookie", "Canary")])
    + &labelled("four", 80, &[("hosts", "third.example.com"), ("canary_header", "x-canary:yes"), ("canary_cookie", "canary")]);
    println!("{:?}", accepts(&rendered(&s, &[("shop", "127.0.0.1"), ("other", "127.0.0.1"), ("third", "127.0.0.1"), ("four", "127.0.0.1")])));
}
#[test]
fn tmp_redirects() {
    for t in ["http://n.e/?a=$", "https://n.example.com/#x", "https://n.example.com/%20x&a=1", "https://n.example.com/~*x", "https://n.example.com/(a)", "http://n.example.com?x", "http://n.example.com:99999", "http://n.example.com:80:80/x"] {
    let s = labelled("shop", 80, &[("hosts", "shop.example.com"), ("redirects", &format!("http://shop.example.com,{t}"))]);
    let f = std::panic::catch_unwind(|| rendered(&s, &[("shop", "127.0.0.1")]));
    if let Ok(f) = f { println!("{t} {:?} {}", accepts(&f), f[0].content.lines().find(|l| l.contains("return 30")).unwrap_or("")); }
    }
}
