//! Clients that do not stop: requests at a constant rate on kept and on new connections, WebSockets and long answers. Nothing is tried again,
//! and whatever fails is told.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(15);

/// Clients of some proxies, for one host.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

/// How it went.
#[derive(Debug)]
pub struct Outcome {
    pub answered: usize,
    pub failed: Vec<String>,
}

impl Load {
    /// For each address: a client on a kept connection that sends a POST now and then, one that connects anew each time, both at half
    /// of `per_second`; a WebSocket; and one long answer after the other.
    pub fn start(addresses: &[String], host: &str, per_second: u32) -> Self {
        Self::of(addresses, host, per_second, &[kept, anew, websocket, stream])
    }

    /// The same without what lasts longer than an application that ends.
    pub fn short(addresses: &[String], host: &str, per_second: u32) -> Self {
        Self::of(addresses, host, per_second, &[kept, anew])
    }

    /// For each address a client that connects anew for each request.
    pub fn anew(addresses: &[String], host: &str, per_second: u32) -> Self {
        // One client has half of the rate.
        Self::of(addresses, host, 2 * per_second, &[anew])
    }

    /// For each address one answer of three seconds after the other, of a client that tries again when a connection is refused, or ended without
    /// a word of an answer.
    pub fn slow(addresses: &[String], host: &str) -> Self {
        Self::of(addresses, host, 1, &[slow])
    }

    /// Clients on kept and on new connections that try another node when one refuses the connection, or ends it without a word of an
    /// answer: as what was asked for changes nothing, clients may (RFC 9110, 9.2.2). `per_second` in all.
    pub fn elsewhere(addresses: &[String], host: &str, per_second: u32) -> Self {
        Self::of(&[addresses.join(",")], host, per_second, &[elsewhere_kept, elsewhere_anew])
    }

    fn of(addresses: &[String], host: &str, per_second: u32, jobs: &[fn(&Shared, &str, &str, Duration)]) -> Self {
        let shared = Arc::new(Shared::default());
        let mut threads = Vec::new();
        let pause = Duration::from_secs(2) / per_second.max(1);
        for address in addresses {
            for &job in jobs {
                let (shared, address, host) = (shared.clone(), address.clone(), host.to_owned());
                threads.push(std::thread::spawn(move || job(&shared, &address, &host, pause)));
            }
        }
        Self { shared, threads }
    }

    /// Ends all of it. What is under way is finished first.
    pub fn stop(mut self) -> Outcome {
        self.shared.stop.store(true, Ordering::Relaxed);
        std::mem::take(&mut self.threads).into_iter().for_each(|thread| thread.join().unwrap());
        let failed = std::mem::take(&mut *self.shared.failed.lock().unwrap());
        Outcome { answered: self.shared.answered.load(Ordering::Relaxed), failed }
    }
}

/// The clients of a test that failed must not ask on while the next one runs.
impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn note(&self, what: &str, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(wrong) => self.failed.lock().unwrap().push(format!("{what}: {wrong}")),
        }
    }

    /// Runs at a constant rate, whatever one turn takes.
    fn at_rate(&self, pause: Duration, mut turn: impl FnMut(usize)) {
        let start = Instant::now();
        for number in 0_u32.. {
            if !self.goes_on() {
                return;
            }
            std::thread::sleep((start + pause * number).saturating_duration_since(Instant::now()));
            turn(number as usize);
        }
    }
}

fn kept(shared: &Shared, address: &str, host: &str, pause: Duration) {
    let mut connection: Option<Connection> = None;
    shared.at_rate(pause, |number| {
        let post =
            |body: &str| format!("POST /ping HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let request = match number % 50 {
            // More than a buffer: nginx writes it to a file.
            25 => post(&"x".repeat(50_000)),
            few if few % 5 == 0 => post("hello"),
            _ => format!("GET /ping HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        };
        let stream = match connection.take() {
            Some(stream) => Ok(stream),
            None => connect(address),
        };
        let result = stream.and_then(|mut stream| {
            let answer = ask(&mut stream, &request)?;
            // nginx says when it ends a connection; then the next request gets a new one.
            if !answer.to_ascii_lowercase().contains("\r\nconnection: close") {
                connection = Some(stream);
            }
            Ok(())
        });
        shared.note(&format!("kept connection to {address}, request {number}"), result);
    });
}

fn anew(shared: &Shared, address: &str, host: &str, pause: Duration) {
    let request = format!("GET /ping HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    shared.at_rate(pause, |_| {
        let result = connect(address).and_then(|mut stream| ask(&mut stream, &request).map(drop));
        shared.note(&format!("new connection to {address}"), result);
    });
}

fn websocket(shared: &Shared, address: &str, host: &str, _: Duration) {
    let result = connect(address).and_then(|mut stream| {
        let request = format!(
            "GET /echo HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.get_mut().write_all(request.as_bytes()).map_err(text)?;
        let head = until(&mut stream, "\r\n\r\n")?;
        if !head.starts_with("HTTP/1.1 101") {
            return Err(head);
        }
        while shared.goes_on() {
            // A final text frame, masked with zeroes, which leaves the text as it is.
            stream.get_mut().write_all(b"\x81\x82\0\0\0\0hi").map_err(text)?;
            let mut echo = [0; 4];
            stream.read_exact(&mut echo).map_err(text)?;
            std::thread::sleep(Duration::from_millis(300));
        }
        Ok(())
    });
    shared.note(&format!("WebSocket to {address}"), result);
}

fn stream(shared: &Shared, address: &str, host: &str, _: Duration) {
    while shared.goes_on() {
        let result = connect(address).and_then(|mut stream| {
            let request = format!("GET /stream?ms=10000 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            stream.get_mut().write_all(request.as_bytes()).map_err(text)?;
            until(&mut stream, "end\n\r\n0\r\n\r\n").map(drop)
        });
        shared.note(&format!("long answer from {address}"), result);
    }
}

fn slow(shared: &Shared, address: &str, host: &str, _: Duration) {
    while shared.goes_on() {
        match connect(address) {
            Ok(mut stream) => {
                let request = format!("GET /slow?ms=3000 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
                match ask(&mut stream, &request).map(drop) {
                    Err(wrong) if wrong == CUT => {}
                    result => shared.note(&format!("slow answer from {address}"), result),
                }
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn elsewhere_kept(shared: &Shared, addresses: &str, host: &str, pause: Duration) {
    elsewhere(shared, addresses, host, pause, true);
}

fn elsewhere_anew(shared: &Shared, addresses: &str, host: &str, pause: Duration) {
    elsewhere(shared, addresses, host, pause, false);
}

fn elsewhere(shared: &Shared, addresses: &str, host: &str, pause: Duration, keep: bool) {
    let addresses: Vec<_> = addresses.split(',').collect();
    let close = if keep { "" } else { "Connection: close\r\n" };
    let request = format!("GET /ping HTTP/1.1\r\nHost: {host}\r\n{close}\r\n");
    let mut kept: Option<Connection> = None;
    shared.at_rate(pause, |number| {
        let old = kept.take().and_then(|mut stream| match ask(&mut stream, &request) {
            Err(wrong) if wrong == CUT => None,
            result => Some(result.map(|head| (head, stream))),
        });
        let result = old.unwrap_or_else(|| {
            let mut last = Err("every node refuses".to_owned());
            for address in addresses.iter().cycle().skip(number).take(addresses.len()) {
                let Ok(mut stream) = connect(address) else { continue };
                last = ask(&mut stream, &request).map(|head| (head, stream));
                if !matches!(&last, Err(wrong) if wrong == CUT) {
                    break;
                }
            }
            last
        });
        let result = result.map(|(head, stream)| {
            if keep && !head.to_ascii_lowercase().contains("\r\nconnection: close") {
                kept = Some(stream);
            }
        });
        shared.note(&format!("a client of {addresses:?}, request {number}"), result);
    });
}

fn text(error: std::io::Error) -> String {
    error.to_string()
}

type Connection = BufReader<TcpStream>;

fn connect(address: &str) -> Result<Connection, String> {
    let address = address.parse().map_err(|_| "no address".to_owned())?;
    let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(|error| format!("not connected: {error}"))?;
    stream.set_nodelay(true).map_err(text)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(text)?;
    Ok(BufReader::new(stream))
}

fn is_gone(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// Sends a request and reads a whole answer, which has to be a 200.
fn ask(stream: &mut Connection, request: &str) -> Result<String, String> {
    let sent = stream.get_mut().write_all(request.as_bytes());
    sent.map_err(|error| if is_gone(&error) { CUT.to_owned() } else { text(error) })?;
    let head = until(stream, "\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
    let mut body = vec![0; length.unwrap_or_default()];
    stream.read_exact(&mut body).map_err(text)?;
    if head.starts_with("HTTP/1.1 200") { Ok(head) } else { Err(head + &String::from_utf8_lossy(&body)) }
}

/// What is said of a connection that ended without a word, or was gone before it was asked.
const CUT: &str = "cut before an answer";

/// Reads lines up to the one with which the text ends like this.
fn until(stream: &mut Connection, end: &str) -> Result<String, String> {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        match stream.read_until(b'\n', &mut read) {
            Ok(0) if read.is_empty() => return Err(CUT.to_owned()),
            Ok(0) => return Err(format!("cut after {} bytes", read.len())),
            Err(error) if read.is_empty() && is_gone(&error) => return Err(CUT.to_owned()),
            Ok(_) => {}
            Err(error) => return Err(format!("{error} after {} bytes", read.len())),
        }
    }
    Ok(String::from_utf8_lossy(&read).into_owned())
}
