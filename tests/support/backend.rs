//! Applications that remember each request as it came, and nginx in front of several of them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::nginx::Nginx;
use super::routes::{labelled, rendered_with};

/// A request as an application got it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The request line and the headers.
    pub head: String,
    pub body: Vec<u8>,
}

impl Seen {
    /// What the request line asks for.
    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// All values of a header, by its exact name in any case.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let headers = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        headers.filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }
}

/// An application. It ends with the test process.
#[derive(Clone)]
pub struct Backend {
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Backend {
    /// One that answers with its name and the request's head.
    pub fn start(name: &'static str, address: &str) -> Self {
        Self::answering(address, move |seen| {
            let body = format!("app={name}\n{}", seen.head);
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        })
    }

    /// One that answers with these bytes.
    pub fn answering(address: &str, answer: impl Fn(&Seen) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let backend = Self { seen: Arc::default() };
        let (remembered, answer) = (backend.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (remembered, answer) = (remembered.clone(), answer.clone());
                std::thread::spawn(move || remembered.serve(&stream, &*answer));
            }
        });
        backend
    }

    /// What it was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn serve(&self, stream: &TcpStream, answer: &dyn Fn(&Seen) -> String) -> Option<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let request = read(&mut reader)?;
            self.seen.lock().unwrap().push(request.clone());
            let mut writer = stream;
            writer.write_all(answer(&request).as_bytes()).ok()?;
        }
    }
}

/// Reads one request; `None` at the end of the connection.
fn read(reader: &mut impl BufRead) -> Option<Seen> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        // One character for each byte, whatever it is.
        head.extend(line.into_iter().map(char::from));
    }
    let mut seen = Seen { head, body: Vec::new() };
    if seen.values("Transfer-Encoding").iter().any(|value| value.eq_ignore_ascii_case("chunked")) {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let size = u64::from_str_radix(line.trim(), 16).ok()?;
            reader.take(size).read_to_end(&mut seen.body).ok()?;
            reader.read_line(&mut line).ok()?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = seen.values("Content-Length").first().and_then(|length| length.parse().ok()) {
        reader.take(length).read_to_end(&mut seen.body).ok()?;
    }
    Some(seen)
}

/// A service and its labels, but for the port.
pub type Service<'a> = (&'static str, &'a [(&'a str, &'a str)]);

/// nginx in front of a task for each service.
pub struct Site {
    pub nginx: Nginx,
    backends: BTreeMap<&'static str, Backend>,
}

/// Where all applications of a site listen, each at an address of its own.
pub const PORT: u16 = 19_300;

impl Site {
    /// `net`: the first three parts of addresses that no other test uses.
    pub fn start(net: &str, services: &[Service<'_>]) -> Self {
        Self::start_with(net, services, &[], "")
    }

    /// The same with secrets and settings. Who is passed through is not started, as it speaks TLS; and a service whose name begins with
    /// `gone` has no task.
    pub fn start_with(net: &str, services: &[Service<'_>], secrets: &[(&str, &str)], toml: &str) -> Self {
        let mut backends = BTreeMap::new();
        let (mut text, mut tasks) = (String::new(), Vec::new());
        for (number, (name, labels)) in services.iter().enumerate() {
            let address = address(net, number);
            text += &labelled(name, PORT, labels);
            if name.starts_with("gone") {
                continue;
            }
            if !labels.contains(&("ssl_passthrough", "true")) {
                backends.insert(*name, Backend::start(name, &format!("{address}:{PORT}")));
            }
            tasks.push((*name, address));
        }
        let tasks: Vec<_> = tasks.iter().map(|(name, address)| (*name, address.as_str())).collect();
        let names: Vec<_> = secrets.iter().map(|(name, _)| *name).collect();
        let nginx = Nginx::start_with(&rendered_with(&text, &tasks, &names, toml), secrets);
        Self { nginx, backends }
    }

    /// What an application was asked so far.
    pub fn seen(&self, name: &str) -> Vec<Seen> {
        self.backends[name].seen()
    }

    /// How many requests reached anybody.
    pub fn requests(&self) -> usize {
        self.backends.values().map(|backend| backend.seen().len()).sum()
    }
}

/// Where the task of the service of this number is.
pub fn address(net: &str, number: usize) -> String {
    format!("{net}.{}", number + 1)
}
