//! A socket that gives the answers of an engine with many services: bytes made beforehand, so that serving them costs a copy.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use interlock_testkit::Swarm;

type Answers = Arc<BTreeMap<&'static str, Vec<u8>>>;

const PATHS: [&str; 8] = ["/version", "/info", "/services", "/tasks", "/networks", "/nodes", "/configs", "/secrets"];

/// Serves, on threads that end with the process. Returns how many bytes the answers have together.
pub(crate) fn serve(socket: &Path, services: usize, tasks_each: u64) -> usize {
    let mut swarm = Swarm::with_many(services, tasks_each);
    let answers: BTreeMap<_, _> = PATHS.into_iter().map(|path| (path, swarm.answer("GET", path, b"").body)).collect();
    let bytes = answers.values().map(Vec::len).sum();
    let answers = Arc::new(answers);
    let listener = UnixListener::bind(socket).expect("a socket");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answers = answers.clone();
            std::thread::spawn(move || answer(&stream, &answers));
        }
    });
    bytes
}

/// Answers one request after the other until the client goes away.
fn answer(stream: &UnixStream, answers: &Answers) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let mut stream = stream;
    while let Some(request) = lines.next().transpose()? {
        while lines.next().transpose()?.is_some_and(|header| !header.is_empty()) {}
        let path = request.split(' ').nth(1).unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default().trim_start_matches("/v1.41");
        let empty = Vec::new();
        let (status, body) = answers.get(path).map_or(("404 Not Found", &empty), |body| ("200 OK", body));
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )?;
        stream.write_all(body)?;
    }
    Ok(())
}
