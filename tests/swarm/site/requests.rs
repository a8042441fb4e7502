//! The requests of a user, and where they go.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::{Answer, Site};
use crate::support::http;

impl Site {
    /// The addresses of all nodes, the managers' first.
    pub(crate) fn nodes(&self) -> &[String] {
        &self.lab.nodes
    }

    /// The nodes that proxies run on.
    pub(crate) fn workers(&self) -> &[String] {
        &self.lab.nodes[self.lab.managers..]
    }

    /// Where the proxies of the workers answer.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.workers().iter().map(|node| format!("{node}:8080")).collect()
    }

    /// The address that this process has for the nodes.
    pub(crate) fn client(&self) -> String {
        let stream = TcpStream::connect((self.workers()[0].as_str(), 8080)).unwrap();
        stream.local_addr().unwrap().ip().to_string()
    }

    pub(crate) fn raw(&self, node: &str, request: &str) -> String {
        http::exchange((node, 8080), request).unwrap()
    }

    pub(crate) fn get(&self, node: &str, host: &str, path: &str) -> Result<Answer, String> {
        self.get_at((node, 8080), host, path)
    }

    pub(crate) fn get_at(&self, address: (&str, u16), host: &str, path: &str) -> Result<Answer, String> {
        self.get_with(address, host, path, "")
    }

    /// The same with these header lines.
    pub(crate) fn get_with(&self, address: (&str, u16), host: &str, path: &str, more: &str) -> Result<Answer, String> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n");
        let text = http::exchange(address, &request).map_err(|error| error.to_string())?;
        Answer::parse(&text).ok_or(text)
    }

    /// Asks as a client does that tries the other node when one refuses the connection.
    pub(crate) fn try_ask(&self, host: &str, path: &str) -> Result<Answer, String> {
        let mut said = String::new();
        for node in self.workers() {
            match self.get(node, host, path) {
                Ok(answer) => return Ok(answer),
                Err(error) => said = error,
            }
        }
        Err(said)
    }

    pub(crate) fn ask(&self, host: &str, path: &str) -> Answer {
        self.try_ask(host, path)
            .unwrap_or_else(|error| panic!("no node answers for {host}{path}: {error}\n{}", self.look()))
    }

    /// Sends a text over a WebSocket and reads what comes back.
    pub(crate) fn websocket(&self, node: &str, request: &str, text: &str) -> String {
        let mut stream = TcpStream::connect((node, 8080)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        // A final text frame, masked with zeroes, which leaves the text as it is.
        let length = u8::try_from(text.len()).unwrap();
        let frame = [&[0x81, 0x80 | length, 0, 0, 0, 0][..], text.as_bytes()].concat();
        stream.write_all(&frame).unwrap();
        let mut answer = vec![0; 2 + text.len()];
        stream.read_exact(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[2..]).into_owned()
    }
}
