//! Many requests at once over HTTP/2, by h2load.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::clients::{HOST, PATIENCE, PORT, Site};
use crate::support::nginx::application;
use crate::support::processes::kill;

/// NGINX ends a connection after 1,000 requests, which h2load does not know to begin anew.
const REQUESTS: usize = 24 * 900;

/// Starts h2load: 24 connections with 4 requests at a time on each, which is fewer than applications let queue.
fn h2load(site: &Site) -> std::process::Child {
    Command::new("h2load")
        .args(["--clients=24", "--max-concurrent-streams=4", &format!("--requests={REQUESTS}")])
        .arg(format!("--connect-to=127.0.0.1:{}", site.nginx.port() + 1))
        .arg(format!("https://{HOST}/load"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A number that h2load tells before a word: `20000 succeeded`.
fn told(output: &Output, word: &str) -> usize {
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers = text.lines().filter(|line| line.starts_with("requests:") || line.starts_with("status codes:"));
    let mut parts = numbers.flat_map(|line| line.split([':', ',']));
    let part = parts.find_map(|part| part.trim().strip_suffix(word)).unwrap_or_else(|| panic!("{text}"));
    part.trim().parse().unwrap()
}

/// How many requests nginx answered so.
fn logged(site: &Site, status: &str) -> usize {
    let sign = format!("\"GET /load HTTP/2.0\" {status}");
    site.nginx.log().lines().filter(|line| line.contains(&sign)).count()
}

#[test]
#[ignore = "needs h2load: scripts/test installs it"]
fn all_of_many_requests_over_http_2_succeed() {
    application("shop", &format!("127.30.40.1:{PORT}"));
    let site = Site::start(&["127.30.40.1"], &[], "");
    let output = h2load(&site).wait_with_output().unwrap();
    assert_eq!([told(&output, " succeeded"), told(&output, " 2xx")], [REQUESTS; 2], "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("Application protocol: h2"), "{output:?}");
}

#[test]
#[ignore = "needs h2load: scripts/test installs it"]
fn what_is_asked_over_http_2_when_nginx_is_reloaded_is_answered_or_was_never_taken() {
    application("shop", &format!("127.30.41.1:{PORT}"));
    let site = Site::start(&["127.30.41.1"], &[], "");
    let mut load = h2load(&site);
    let deadline = Instant::now() + PATIENCE;
    while logged(&site, "200") < 5000 {
        assert!(Instant::now() < deadline && load.try_wait().unwrap().is_none(), "the load does not go on");
        std::thread::sleep(Duration::from_millis(10));
    }
    kill("-HUP", site.nginx.id());
    let output = load.wait_with_output().unwrap();
    let [succeeded, failed, errored] = [" succeeded", " failed", " errored"].map(|word| told(&output, word));
    // A worker that ends says which requests it took (GOAWAY). h2load sends the others to nobody, and calls them errors.
    assert_eq!((succeeded + errored, failed), (REQUESTS, errored), "{output:?}");
    assert_eq!([" 3xx", " 4xx", " 5xx"].map(|word| told(&output, word)), [0; 3], "{output:?}");
    // nginx writes of a request after it was answered.
    while logged(&site, "200") < succeeded && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!((logged(&site, ""), logged(&site, "200")), (succeeded, succeeded), "what was taken was answered");
    let output = h2load(&site).wait_with_output().unwrap();
    assert_eq!(told(&output, " succeeded"), REQUESTS, "{output:?}");
}
