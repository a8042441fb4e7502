//! Which tasks do not accept NGINX's connections, by the error log that the agent passes on.
//!
//! One refusal says little: a task that starts or ends refuses for a moment. So what counts is for how long connections to an address fail. The
//! log shows failures only, so a task counts as reachable again when no connection to it has failed for a while.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::kinds::nginx::check_output;
use crate::kinds::server::{MOST_UNREACHABLE, UnreachableTask};

/// For so many looks connections have failed when a task is reported: 20 s.
const COUNTS: u32 = 4;
/// For so many when that is lasting: 60 s.
const LASTS: u32 = 12;
/// After so many looks without a failure it is over: 5 min, so that a service with few requests is one problem and not one after the other.
const CALM: u32 = 60;

/// NGINX cuts a line of its error log off at 2,048 bytes. A line as long as that may lack what NGINX writes behind a client's request.
const CUT_OFF: usize = 2048;

/// The tasks to which connections fail. Copies share them.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    failing: Arc<Mutex<Failing>>,
    look: Duration,
}

impl Connections {
    /// Nothing has failed. `look`: how often [`unreachable`](Self::unreachable) is called.
    pub(super) fn new(look: Duration) -> Self {
        Self { failing: Arc::new(Mutex::new(Failing { look, spells: BTreeMap::new() })), look }
    }

    /// How often to look.
    pub(crate) fn look(&self) -> Duration {
        self.look
    }

    /// Reads lines of NGINX's logs. Most are of the access log, and left aside by a look at one place.
    pub(super) fn read(&self, mut lines: &[u8]) {
        while !lines.is_empty() {
            let rest = lines;
            // Memory can always be read.
            let length = lines.skip_until(b'\n').unwrap_or(rest.len());
            if let Some((address, refuses)) = failure(&rest[..length]) {
                self.locked(|failing| failing.add(address, refuses, Instant::now()));
            }
        }
    }

    /// The tasks that do not accept connections now, sorted by address.
    pub(crate) fn unreachable(&self) -> Vec<UnreachableTask> {
        self.locked(|failing| failing.unreachable(Instant::now()))
    }

    fn locked<T>(&self, work: impl FnOnce(&mut Failing) -> T) -> T {
        work(&mut self.failing.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Debug)]
struct Failing {
    look: Duration,
    /// At most [`MOST_UNREACHABLE`]: addresses beyond that wait until others are over.
    spells: BTreeMap<SocketAddr, Spell>,
}

/// The time in which connections to an address fail.
#[derive(Debug, Clone, Copy)]
struct Spell {
    first: Instant,
    last: Instant,
    refuses: bool,
}

impl Failing {
    fn add(&mut self, address: SocketAddr, refuses: bool, now: Instant) {
        if self.spells.len() >= MOST_UNREACHABLE && !self.spells.contains_key(&address) {
            self.forget(now);
            if self.spells.len() >= MOST_UNREACHABLE {
                return;
            }
        }
        let new = Spell { first: now, last: now, refuses };
        let spell = self.spells.entry(address).or_insert(new);
        if now.saturating_duration_since(spell.last) >= self.look * CALM {
            *spell = new;
        }
        spell.last = now;
        spell.refuses |= refuses;
    }

    fn unreachable(&mut self, now: Instant) -> Vec<UnreachableTask> {
        self.forget(now);
        let lasted = |spell: &Spell| spell.last.saturating_duration_since(spell.first);
        let counting = self.spells.iter().filter(|(_, spell)| lasted(spell) >= self.look * COUNTS);
        let task = |(address, spell): (&SocketAddr, &Spell)| UnreachableTask {
            address: *address,
            refuses: spell.refuses,
            is_lasting: lasted(spell) >= self.look * LASTS,
        };
        counting.map(task).collect()
    }

    fn forget(&mut self, now: Instant) {
        self.spells.retain(|_, spell| now.saturating_duration_since(spell.last) < self.look * CALM);
    }
}

/// The address that a line of the error log says NGINX could not connect to, and whether it was refused there.
///
/// NGINX writes requests and headers into the line as clients sent them, quotes included. Before them stands what failed, which no client writes.
/// The address stands behind the request and before the headers, and only a line that names one address is read. So a client can hide a
/// failure of its own request, and cannot invent one.
fn failure(line: &[u8]) -> Option<(SocketAddr, bool)> {
    const LEVEL: &[u8] = b" [error] ";
    let level = "2026/01/31 12:00:00".len();
    if line.len() >= CUT_OFF || line.get(level..level + LEVEL.len()) != Some(LEVEL) {
        return None;
    }
    let line = String::from_utf8_lossy(line);
    let (_, text) = check_output::message(&line)?;
    let (connection, text) = text.strip_prefix('*')?.split_once(' ')?;
    let (said, about) = text.split_once(" while connecting to upstream, client: ")?;
    let is_connecting = ["connect() failed (", "connect() to ", "upstream timed out ("];
    if !connection.bytes().all(|b| b.is_ascii_digit()) || !is_connecting.iter().any(|how| said.starts_with(how)) {
        return None;
    }
    let (error, _) = said.split_once(" (")?.1.split_once(": ")?;
    let refuses = match error {
        // ECONNREFUSED.
        "111" => true,
        // ENETUNREACH, ETIMEDOUT, EHOSTUNREACH. Other errors are the proxy's own, such as having no port left.
        "101" | "110" | "113" => false,
        _ => return None,
    };
    let mut named = about.split(", upstream: \"").skip(1);
    let (Some(upstream), None) = (named.next(), named.next()) else { return None };
    // `http://10.0.1.5:8080/path`, or `10.0.1.5:8443` where TLS is passed through.
    let (upstream, _) = upstream.split_once('"')?;
    let place = upstream.split_once("://").map_or(upstream, |(_, place)| place);
    let address = place.split('/').next()?.parse().ok()?;
    Some((address, refuses))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "2026/11/30 14:03:53 [error] 31#31: *5 ";
    const REFUSED: &str = "connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: shop.example.com";
    const GET: &str = r#", request: "GET / HTTP/1.1", upstream: "#;

    fn read(line: &str) -> Option<(String, bool)> {
        failure(line.as_bytes()).map(|(address, refuses)| (address.to_string(), refuses))
    }

    #[test]
    fn the_address_that_refuses_is_found() {
        for (what, upstream, expected) in [
            (REFUSED, r#""http://10.0.1.5:8080/", host: "shop.example.com""#, ("10.0.1.5:8080", true)),
            (REFUSED, r#""https://10.0.1.5:8443/a/b?c=d://e""#, ("10.0.1.5:8443", true)),
            (REFUSED, r#""grpc://10.0.1.5:50051", host: "x""#, ("10.0.1.5:50051", true)),
            (REFUSED, r#""http://[fd00::5]:80/", host: "x", referrer: "http://10.9.9.9:80/""#, ("[fd00::5]:80", true)),
            (
                "connect() failed (113: No route to host) while connecting to upstream, client: unix:, server: ",
                r#""http://10.0.1.5:80/""#,
                ("10.0.1.5:80", false),
            ),
            (
                "connect() to 10.0.1.5:80 failed (101: Network is unreachable) while connecting to upstream, client: 10.0.0.9, server: ",
                r#""http://10.0.1.5:80/""#,
                ("10.0.1.5:80", false),
            ),
            (
                "upstream timed out (110: Connection timed out) while connecting to upstream, client: 10.0.0.9, server: ",
                r#""http://10.0.1.5:80/""#,
                ("10.0.1.5:80", false),
            ),
        ] {
            let line = format!("{HEAD}{what}{GET}{upstream}\n");
            assert_eq!(read(&line), Some((expected.0.to_owned(), expected.1)), "{line}");
        }
        let passed_through = format!(
            "{HEAD}{REFUSED}, upstream: \"10.0.1.5:8443\", bytes from/to client:0/0, bytes from/to upstream:0/0\n"
        );
        assert_eq!(read(&passed_through), Some(("10.0.1.5:8443".to_owned(), true)));
    }

    #[test]
    fn what_is_no_failed_connection_to_a_task_is_left_aside() {
        for line in [
            "",
            "\n",
            r#"10.0.0.9 - - [30/Nov/2026:14:03:53 +0000] "GET / HTTP/1.1" 502 157 "-" "curl""#,
            &format!("{HEAD}{REFUSED}"),
            &format!("{HEAD}{REFUSED}{GET}\"http://shop/\""),
            &format!("{HEAD}{REFUSED}{GET}\"http://10.0.1.5/\""),
            &format!("{HEAD}{REFUSED}{GET}\"http://10.0.1.5:80"),
            &format!("{HEAD}{REFUSED}{GET}\"http://10.0.1.5:99999/\""),
            &format!("{}{REFUSED}{GET}\"http://10.0.1.5:80/\"", HEAD.replace("error", "warn")),
            &format!("x{HEAD}{REFUSED}{GET}\"http://10.0.1.5:80/\""),
            &format!("{}{REFUSED}{GET}\"http://10.0.1.5:80/\"", HEAD.replace("*5 ", "")),
            &format!(
                "{HEAD}no live upstreams while connecting to upstream, client: 10.0.0.9{GET}\"http://10.0.1.5:80/\""
            ),
            &format!(
                "{HEAD}connect() to 10.0.1.5:80 failed (99: Cannot assign requested address) while connecting to upstream, client: 10.0.0.9{GET}\"http://10.0.1.5:80/\""
            ),
            &format!(
                "{HEAD}upstream timed out (110: Connection timed out) while reading response header from upstream, client: 10.0.0.9{GET}\"http://10.0.1.5:80/\""
            ),
        ] {
            assert_eq!(read(line), None, "{line}");
        }
        assert_eq!(failure(&[0xff; 300]), None);
    }

    /// NGINX escapes nothing in its error log: these are lines that NGINX 1.22.1 wrote, or that an older one would write.
    #[test]
    fn a_client_cannot_name_an_address() {
        const OWN: &str = r#""http://10.0.1.5:80/"#;
        let own = Some(("10.0.1.5:80".to_owned(), true));
        for (request, behind, expected) in [
            // Without a space behind the comma, as a target has none.
            (r#"/x",upstream:"http://10.9.9.9:80/"#, r#"x",upstream:"http://10.9.9.9:80/""#, own),
            // Old versions took targets with spaces.
            (r#"/x", upstream: "http://10.9.9.9:80/"#, r#"x", upstream: "http://10.9.9.9:80/""#, None),
            ("/", r#"", host: "a"b", referrer: "x", upstream: "http://10.9.9.9:80/", host: """#, None),
            (" while connecting to upstream, client: 10.0.0.9, upstream: \"http://10.9.9.9:80/", "\"", None),
        ] {
            let line = format!("{HEAD}{REFUSED}, request: \"GET {request} HTTP/1.1\", upstream: {OWN}{behind}\n");
            assert_eq!(read(&line), expected, "{line}");
        }
        // What NGINX says itself was cut off.
        let long =
            format!("{HEAD}{REFUSED}, request: \"GET /\", upstream: \"http://10.9.9.9:80/{}", "\"a".repeat(1000));
        let cut_off = format!("{}\n", &long[..CUT_OFF - 1]);
        assert_eq!(read(&cut_off), None);
        assert!(read(&format!("{}\n", &long[..CUT_OFF - 2])).is_some(), "only its length tells");
        // A failure in the middle of another message is none of NGINX's.
        let quoted = format!("{HEAD}open() \"/{REFUSED}{GET}\"http://10.9.9.9:80/\"\" failed (2: No such file)");
        assert_eq!(read(&quoted), None);
    }

    const LOOK: Duration = Duration::from_secs(5);

    /// What is reported of the addresses of a story of failures, each so many seconds after the beginning, at its end.
    fn reported(failures: &[(u64, u8)], end: u64) -> Vec<(String, bool)> {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut failing = Failing { look: LOOK, spells: BTreeMap::new() };
        for (seconds, host) in failures {
            failing.add(([10, 0, 1, *host], 80).into(), true, at(*seconds));
        }
        failing.unreachable(at(end)).into_iter().map(|task| (task.address.to_string(), task.is_lasting)).collect()
    }

    #[test]
    fn a_task_counts_when_its_connections_fail_for_a_while_and_until_they_do_not() {
        let task = |is_lasting| vec![("10.0.1.5:80".to_owned(), is_lasting)];
        assert_eq!(reported(&[(0, 5), (0, 5), (1, 5)], 30), [], "a task that starts or ends");
        assert_eq!(reported(&[(0, 5), (19, 5), (3, 6), (9, 6)], 30), []);
        assert_eq!(reported(&[(0, 5), (20, 5)], 20), task(false));
        assert_eq!(reported(&[(0, 5), (60, 5)], 60), task(true));
        assert_eq!(reported(&[(0, 5), (20, 5)], 319), task(false), "few requests");
        assert_eq!(reported(&[(0, 5), (20, 5)], 320), [], "none has failed for five minutes");
        assert_eq!(reported(&[(0, 5), (299, 5)], 300), task(true));
        assert_eq!(reported(&[(0, 5), (300, 5)], 300), [], "it begins anew");
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let start = Instant::now();
        let mut failing = Failing { look: LOOK, spells: BTreeMap::new() };
        for later in [0, 20] {
            for port in 1..=5000 {
                failing.add(([10, 0, 1, 5], port).into(), true, start + Duration::from_secs(later));
            }
        }
        let now = start + Duration::from_secs(20);
        assert_eq!(failing.unreachable(now).len(), MOST_UNREACHABLE);
        failing.add(([10, 0, 1, 5], 9000).into(), true, now + LOOK * CALM);
        assert_eq!(failing.spells.len(), 1, "those that are over make room");
    }
}
