//! The demo app: what requests are routed to in the lab and in the tests on a real Swarm.
//!
//! It speaks HTTP/1.1 with keep-alive, one thread per connection, and needs nothing but the standard library, so that its
//! image is one binary. Every answer is JSON that says which task answered and what arrived there:
//!
//! | request | answer |
//! |---|---|
//! | `/ping` | `instance` (the container's host name), `version`, `metadata`, `request_id` (of `X-Request-Id`) |
//! | `/slow?ms=N` | as any other path, after N milliseconds |
//! | `/stream?ms=N` | a chunk every 100 ms for N milliseconds, then `end` |
//! | any other path | besides the fields of `/ping`: `method`, `path` (the request target as received), `headers`, `body_bytes` |
//! | `Upgrade: websocket`, any path | 101, then every message comes back |
//!
//! A client without a `session` cookie is given one. Environment: `PORT` (8080), `VERSION` (0.1), `METADATA`, and
//! `IDLE_CLOSE_MS`, after which an idle connection is closed (never, when not set). SIGTERM ends it at once; the image's
//! entry script is what drains.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, thread};

fn main() -> io::Result<()> {
    let port = variable("PORT")?.unwrap_or(8080);
    let app = Arc::new(App::from_environment()?);
    for stream in TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?.incoming() {
        // A connection that cannot be accepted or given a thread is closed; its neighbours are served.
        let Ok(stream) = stream else { continue };
        let app = Arc::clone(&app);
        let _ = thread::Builder::new().spawn(move || app.serve(&stream));
    }
    Ok(())
}

/// The value of an environment variable; one that does not parse is an error, not a default.
#[expect(clippy::disallowed_methods, reason = "the app's settings are its container's environment")]
fn variable<T: FromStr>(name: &str) -> io::Result<Option<T>> {
    let Ok(text) = env::var(name) else { return Ok(None) };
    let wrong = |_| io::Error::new(ErrorKind::InvalidInput, format!("{name}={text:?} is not a value for it"));
    text.parse().map(Some).map_err(wrong)
}

struct App {
    instance: String,
    version: String,
    metadata: String,
    idle_close: Option<Duration>,
}

impl App {
    fn from_environment() -> io::Result<Self> {
        let idle_close: Option<NonZeroU64> = variable("IDLE_CLOSE_MS")?;
        Ok(Self {
            instance: fs::read_to_string("/proc/sys/kernel/hostname")?.trim_end().to_owned(),
            version: variable("VERSION")?.unwrap_or_else(|| "0.1".to_owned()),
            metadata: variable("METADATA")?.unwrap_or_default(),
            idle_close: idle_close.map(|ms| Duration::from_millis(ms.get())),
        })
    }

    /// Serves a connection to its end. Errors are the client's: it went away, idled too long or spoke no HTTP.
    fn serve(&self, stream: &TcpStream) {
        let _ = self.exchange(stream);
    }

    fn exchange(&self, mut stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(self.idle_close)?;
        let mut reader = BufReader::new(stream);
        while let Some(request) = Request::read(&mut reader)? {
            if let Some(key) = request.websocket_key() {
                stream.set_read_timeout(None)?;
                stream.write_all(websocket::accept(key).as_bytes())?;
                return websocket::echo(&mut reader, &mut stream);
            }
            if request.path() == "/stream" {
                stream_for(&mut stream, request.asked("/stream?"))?;
                continue;
            }
            thread::sleep(request.asked("/slow?"));
            stream.write_all(self.answer(&request)?.as_bytes())?;
            if !request.keep_alive() {
                break;
            }
        }
        Ok(())
    }

    fn answer(&self, request: &Request) -> io::Result<String> {
        let body = self.describe(request);
        let cookie = if request.has_session() {
            String::new()
        } else {
            let session = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
            format!("Set-Cookie: session={}; Path=/\r\n", session.trim_end())
        };
        let connection = if request.keep_alive() { "keep-alive" } else { "close" };
        let length = body.len();
        let sent = if request.method == "HEAD" { "" } else { &body };
        Ok(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\
             {cookie}\r\n{sent}"
        ))
    }

    fn describe(&self, request: &Request) -> String {
        let mut fields = vec![
            ("instance", json::string(&self.instance)),
            ("version", json::string(&self.version)),
            ("metadata", json::string(&self.metadata)),
            ("request_id", json::string(request.header("x-request-id"))),
        ];
        if request.path() != "/ping" {
            let headers = request.headers.iter().map(|(name, value)| (name.as_str(), json::string(value)));
            fields.extend([
                ("method", json::string(&request.method)),
                ("path", json::string(&request.target)),
                ("headers", json::object(headers)),
                ("body_bytes", request.body_bytes.to_string()),
            ]);
        }
        json::object(fields) + "\n"
    }
}

/// A request whose body has been read, so that the next one on the connection can be.
struct Request {
    method: String,
    target: String,
    version: String,
    /// By lower-case name; a repeated header's values are joined with a comma.
    headers: BTreeMap<String, String>,
    body_bytes: u64,
}

impl Request {
    /// The next request of the connection, or `None` at its end.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(start) = line(reader)? else { return Ok(None) };
        let [method, target, version] = start.split(' ').collect::<Vec<_>>()[..] else {
            return Err(malformed("request line"));
        };
        let mut request = Self {
            method: method.to_owned(),
            target: target.to_owned(),
            version: version.to_owned(),
            headers: BTreeMap::new(),
            body_bytes: 0,
        };
        request.read_headers(reader)?;
        request.read_body(reader)?;
        Ok(Some(request))
    }

    fn read_headers(&mut self, reader: &mut impl BufRead) -> io::Result<()> {
        loop {
            let header = line(reader)?.ok_or(ErrorKind::UnexpectedEof)?;
            if header.is_empty() {
                return Ok(());
            }
            let (name, value) = header.split_once(':').ok_or_else(|| malformed("header"))?;
            self.headers
                .entry(name.to_ascii_lowercase())
                .and_modify(|values| *values = format!("{values}, {}", value.trim()))
                .or_insert_with(|| value.trim().to_owned());
        }
    }

    fn read_body(&mut self, reader: &mut impl BufRead) -> io::Result<()> {
        if self.header("transfer-encoding").eq_ignore_ascii_case("chunked") {
            while let size @ 1.. = chunk_size(reader)? {
                self.body_bytes += skip(reader, size)?;
                line(reader)?;
            }
            // Trailers, up to the empty line that ends the body.
            while line(reader)?.is_some_and(|trailer| !trailer.is_empty()) {}
        } else if let Some(length) = self.headers.get("content-length") {
            let length = length.parse().map_err(|_| malformed("Content-Length"))?;
            self.body_bytes = skip(reader, length)?;
        }
        Ok(())
    }

    /// A header's value, empty when it was not sent.
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The time that a request for this path asks for.
    fn asked(&self, path: &str) -> Duration {
        let query = self.target.strip_prefix(path).unwrap_or_default();
        let ms = query.split('&').find_map(|pair| pair.strip_prefix("ms=")?.parse().ok());
        Duration::from_millis(ms.unwrap_or_default())
    }

    fn has_session(&self) -> bool {
        self.header("cookie").split(';').any(|cookie| cookie.trim().starts_with("session="))
    }

    fn keep_alive(&self) -> bool {
        let connection = self.header("connection").to_ascii_lowercase();
        if self.version == "HTTP/1.0" { connection == "keep-alive" } else { connection != "close" }
    }

    fn websocket_key(&self) -> Option<&str> {
        if self.header("upgrade").eq_ignore_ascii_case("websocket") {
            self.headers.get("sec-websocket-key").map(String::as_str)
        } else {
            None
        }
    }
}

/// An answer that takes its time.
fn stream_for(stream: &mut impl Write, time: Duration) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    for _ in 0..time.as_millis() / 100 {
        thread::sleep(Duration::from_millis(100));
        stream.write_all(b"5\r\ntick\n\r\n")?;
        stream.flush()?;
    }
    stream.write_all(b"4\r\nend\n\r\n0\r\n\r\n")
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("malformed {what}"))
}

/// The next line without its end, or `None` at the end of the stream. Longer ones than any proxy sends are refused.
fn line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    const LONGEST: u64 = 64 * 1024;
    let mut bytes = Vec::new();
    if reader.take(LONGEST).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    let text = bytes.strip_suffix(b"\n").ok_or_else(|| malformed("line"))?;
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    Ok(Some(String::from_utf8_lossy(text).into_owned()))
}

fn chunk_size(reader: &mut impl BufRead) -> io::Result<u64> {
    let line = line(reader)?.ok_or(ErrorKind::UnexpectedEof)?;
    let digits = line.split(';').next().unwrap_or_default();
    u64::from_str_radix(digits.trim(), 16).map_err(|_| malformed("chunk size"))
}

fn skip(reader: &mut impl BufRead, bytes: u64) -> io::Result<u64> {
    let skipped = io::copy(&mut reader.take(bytes), &mut io::sink())?;
    if skipped == bytes { Ok(bytes) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

/// As much JSON as the app writes.
mod json {
    use std::fmt::Write;

    pub(crate) fn string(text: &str) -> String {
        let mut json = String::from("\"");
        for character in text.chars() {
            match character {
                '"' | '\\' => json.extend(['\\', character]),
                control if control.is_control() => {
                    // Control characters are all below U+00A0. Writing to a string cannot fail.
                    let _ = write!(json, "\\u{:04x}", u32::from(control));
                }
                other => json.push(other),
            }
        }
        json + "\""
    }

    /// An object of fields whose values are JSON already.
    pub(crate) fn object<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> String {
        let fields: Vec<_> = fields.into_iter().map(|(name, value)| format!("{}:{value}", string(name))).collect();
        format!("{{{}}}", fields.join(","))
    }
}

/// As much of RFC 6455 as an echo needs.
mod websocket {
    use super::{Read, Write, io, malformed};

    const CLOSE: u8 = 0x8;
    const PING: u8 = 0x9;
    const PONG: u8 = 0xA;

    /// The answer to a handshake with that key.
    pub(crate) fn accept(key: &str) -> String {
        let accept = base64(&sha1(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes()));
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        )
    }

    /// Sends every frame back until the client closes; fragments return as fragments.
    pub(crate) fn echo(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
        loop {
            let (first, payload) = read_frame(from)?;
            let opcode = first & 0x0f;
            match opcode {
                PONG => continue,
                PING => write_frame(to, 0x80 | PONG, &payload)?,
                _ => write_frame(to, first, &payload)?,
            }
            if opcode == CLOSE {
                return Ok(());
            }
        }
    }

    /// A frame's first byte, which holds the final bit and the opcode, and its payload.
    fn read_frame(from: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
        const LARGEST: u64 = 1024 * 1024;
        let [first, second] = read_bytes(from)?;
        let length = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes(read_bytes(from)?)),
            127 => u64::from_be_bytes(read_bytes(from)?),
            short => u64::from(short),
        };
        let masked = second & 0x80 != 0;
        if !masked || length > LARGEST {
            return Err(malformed("frame"));
        }
        let mask: [u8; 4] = read_bytes(from)?;
        let mut payload = Vec::new();
        from.take(length).read_to_end(&mut payload)?;
        for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        Ok((first, payload))
    }

    fn read_bytes<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        from.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn write_frame(to: &mut impl Write, first: u8, payload: &[u8]) -> io::Result<()> {
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..126 => frame.push(length as u8),
            length @ 126..0x1_0000 => {
                frame.push(126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(payload);
        to.write_all(&frame)
    }

    fn base64(bytes: &[u8]) -> String {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for group in bytes.chunks(3) {
            let [a, b, c] = [0, 1, 2].map(|i| u32::from(group.get(i).copied().unwrap_or_default()));
            let bits = a << 16 | b << 8 | c;
            for i in 0..4 {
                let digit = ALPHABET[(bits >> (18 - 6 * i) & 0x3f) as usize];
                text.push(if i <= group.len() { char::from(digit) } else { '=' });
            }
        }
        text
    }

    /// SHA-1 (RFC 3174). The handshake demands it; it protects nothing here.
    fn sha1(message: &[u8]) -> [u8; 20] {
        let mut padded = message.to_vec();
        padded.push(0x80);
        while padded.len() % 64 != 56 {
            padded.push(0);
        }
        padded.extend((message.len() as u64 * 8).to_be_bytes());

        let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
        for block in padded.chunks_exact(64) {
            let mut words: Vec<u32> = block
                .chunks_exact(4)
                .map(|word| word.iter().fold(0, |bits, &byte| bits << 8 | u32::from(byte)))
                .collect();
            for i in 16..80 {
                words.push((words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16]).rotate_left(1));
            }
            let [mut a, mut b, mut c, mut d, mut e] = state;
            for (i, word) in words.into_iter().enumerate() {
                let (mix, constant) = match i {
                    0..20 => (b & c | !b & d, 0x5a82_7999),
                    20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                    40..60 => (b & c | b & d | c & d, 0x8f1b_bcdc),
                    _ => (b ^ c ^ d, 0xca62_c1d6_u32),
                };
                let next = a.rotate_left(5).wrapping_add(mix).wrapping_add(e).wrapping_add(word).wrapping_add(constant);
                (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
            }
            for (total, part) in state.iter_mut().zip([a, b, c, d, e]) {
                *total = total.wrapping_add(part);
            }
        }
        let mut digest = [0; 20];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// The example of RFC 6455, section 1.3.
        #[test]
        fn handshake_is_answered_with_the_key_of_the_rfc() {
            assert!(accept("dGhlIHNhbXBsZSBub25jZQ==").contains("Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        }

        /// Frames of all three length encodings, and a close that ends the echo.
        #[test]
        fn masked_frames_come_back_unmasked() -> io::Result<()> {
            for length in [5, 126, 70_000] {
                let payload = vec![b'x'; length];
                let mut sent = Vec::new();
                write_frame(&mut sent, 0x81, &payload)?;
                let (header, body) = sent.split_at(sent.len() - length);
                let mut masked = header.to_vec();
                masked[1] |= 0x80;
                masked.extend([1, 2, 3, 4]);
                masked.extend(body.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, mask)| byte ^ mask));
                masked.extend([0x80 | CLOSE, 0x80, 0, 0, 0, 0]);

                let mut echoed = Vec::new();
                echo(&mut masked.as_slice(), &mut echoed)?;
                assert_eq!(echoed, [sent.as_slice(), &[0x80 | CLOSE, 0]].concat());
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_on_one_connection_do_not_run_into_each_other() -> io::Result<()> {
        let mut bytes: &[u8] = b"POST /a?b=%2F HTTP/1.1\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 3\r\n\r\nabc\
            POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n\
            GET /slow?ms=7 HTTP/1.0\r\n\r\n";
        let mut next = || Request::read(&mut bytes)?.ok_or(io::Error::from(ErrorKind::UnexpectedEof));

        let sized = next()?;
        assert_eq!((sized.target.as_str(), sized.header("x-a"), sized.body_bytes), ("/a?b=%2F", "1, 2", 3));
        let chunked = next()?;
        assert_eq!((chunked.path(), chunked.body_bytes, chunked.keep_alive()), ("/c", 12, true));
        let slow = next()?;
        assert_eq!((slow.asked("/slow?"), slow.keep_alive()), (Duration::from_millis(7), false));
        assert!(Request::read(&mut bytes)?.is_none());
        Ok(())
    }

    #[test]
    fn json_strings_are_escaped() {
        assert_eq!(json::string("a\"b\\c\nd"), r#""a\"b\\c\u000ad""#);
    }
}
