//! What NGINX writes to its standard output and error, passed on.
//!
//! The engine reads a container's output. While an engine hangs nobody does, and a process that writes there waits: a worker of NGINX would
//! wait with all of its requests. So the agent gives NGINX two files in memory instead, which no write waits for, and passes on what is in
//! them. When nobody reads, lines wait in the agent as long as there is room; others are dropped and counted. Lines about connections that
//! failed are read on the way, dropped or not.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::fcntl::{FallocateFlags, fallocate};

use super::connections::Connections;

/// How much is passed on at once, in bytes.
const CHUNK: usize = 64 * 1024;
/// How much waits for the reader before lines are dropped, in bytes. As much may be on its way to it.
const ROOM: usize = 2 * 1024 * 1024;
/// How often the files are looked at.
const PAUSE: Duration = Duration::from_millis(100);
/// How often what waits is offered again.
const AGAIN: Duration = Duration::from_millis(10);
/// How much of a file may have been passed on before its memory is given back, in bytes.
const KEPT: u64 = 1024 * 1024;
/// How long what waits may take to be read when all is over.
const LAST: Duration = Duration::from_secs(1);

/// NGINX's standard output and error.
#[derive(Debug)]
pub(super) struct Output {
    files: [File; 2],
    over: Arc<AtomicBool>,
    passing: Vec<JoinHandle<()>>,
}

impl Output {
    /// Begins to pass on. `folder` is the agent's own, in memory.
    pub(super) fn to_ours(folder: &Path, connections: &Connections) -> io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let (out, of_out) = file(&folder.join("stdout.log"))?;
        let (err, of_err) = file(&folder.join("stderr.log"))?;
        let passing = vec![
            spawn("nginx-stdout", of_out, io::stdout(), over.clone(), connections.clone())?,
            spawn("nginx-stderr", of_err, io::stderr(), over.clone(), connections.clone())?,
        ];
        Ok(Self { files: [out, err], over, passing })
    }

    /// For a process that is started.
    pub(super) fn stdio(&self) -> io::Result<[Stdio; 2]> {
        let [out, err] = &self.files;
        Ok([out.try_clone()?.into(), err.try_clone()?.into()])
    }
}

/// Passes on the rest, as far as somebody reads.
impl Drop for Output {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.passing.drain(..) {
            // Its panic was printed.
            let _ = thread.join();
        }
    }
}

/// An empty file, to append to and to read.
fn file(path: &Path) -> io::Result<(File, File)> {
    let append = OpenOptions::new().create(true).append(true).open(path)?;
    append.set_len(0)?;
    Ok((append, OpenOptions::new().read(true).write(true).open(path)?))
}

/// A thread that reads the file, and one that writes, which may have to wait.
fn spawn(
    name: &str,
    file: File,
    mut to: impl Write + Send + 'static,
    over: Arc<AtomicBool>,
    connections: Connections,
) -> io::Result<JoinHandle<()>> {
    let (chunks, waiting) = mpsc::sync_channel::<Vec<u8>>(0);
    let (all_written, written) = mpsc::sync_channel::<()>(0);
    std::thread::Builder::new().name(format!("{name}-out")).spawn(move || {
        while let Ok(chunk) = waiting.recv() {
            // A reader that is gone for good is no reason to keep anything for it.
            let _ = to.write_all(&chunk).and_then(|()| to.flush());
        }
        drop(all_written);
    })?;
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let until = pass_on(&file, chunks, &over, &connections);
        let _ = written.recv_timeout(until.saturating_duration_since(Instant::now()));
    })
}

/// Whole lines, in order, until all is over and everything was read. Says until when the rest may be read.
fn pass_on(file: &File, to: SyncSender<Vec<u8>>, over: &AtomicBool, connections: &Connections) -> Instant {
    let (mut at, mut freed, mut dropped, mut is_part) = (0, 0, 0, false);
    let mut chunk = vec![0; CHUNK];
    let mut waiting = Vec::new();
    let mut until = None;
    loop {
        if over.load(Ordering::Relaxed) {
            until.get_or_insert_with(|| Instant::now() + LAST);
        }
        let read = file.read_at(&mut chunk, at).unwrap_or(0);
        let lines = chunk[..read].iter().rposition(|b| *b == b'\n').map_or(0, |last| last + 1);
        // A line that is longer than a chunk goes in parts, the last one as it is.
        let length = if lines == 0 && (read == CHUNK || until.is_some()) { read } else { lines };
        if length > 0 {
            // A chunk that begins within a line is read from the next one on.
            let end = || chunk[..length].iter().position(|b| *b == b'\n').map_or(length, |end| end + 1);
            let whole = if is_part { end() } else { 0 };
            connections.read(&chunk[whole..length]);
            is_part = lines == 0;
        }
        if waiting.len() + length <= ROOM {
            waiting.extend_from_slice(&chunk[..length]);
        } else {
            dropped += chunk[..length].iter().filter(|b| **b == b'\n').count();
        }
        at += length as u64;
        if at - freed >= KEPT {
            freed = give_back(file, &mut at, freed, read < CHUNK);
        }
        if !waiting.is_empty() {
            match to.try_send(std::mem::take(&mut waiting)) {
                Ok(()) if dropped > 0 => {
                    let text = "lines of nginx's log were dropped: nobody read this container's output";
                    tracing::warn!(lines = dropped, "{text}");
                    dropped = 0;
                }
                Ok(()) => {}
                Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) => waiting = back,
            }
        }
        match until {
            Some(until) if length == 0 && (waiting.is_empty() || Instant::now() >= until) => return until,
            _ if length == 0 => std::thread::sleep(if waiting.is_empty() { PAUSE } else { AGAIN }),
            _ => {}
        }
    }
}

/// Gives the memory back of what was passed on, and answers up to where. Where holes cannot be made, the file begins anew, once all of it was
/// read.
fn give_back(file: &File, at: &mut u64, freed: u64, is_all: bool) -> u64 {
    let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let (from, length) = (i64::try_from(freed), i64::try_from(*at - freed));
    if let (Ok(from), Ok(length)) = (from, length)
        && fallocate(file, hole, from, length).is_ok()
    {
        return *at;
    }
    if is_all && file.set_len(0).is_ok() {
        *at = 0;
        return 0;
    }
    freed
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Reader(Arc<Mutex<Vec<u8>>>);

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn all_is_passed_on_in_order_and_takes_little_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut out, of_out) = file(&folder.path().join("log")).expect("a file");
        let (reader, over) = (Reader::default(), Arc::new(AtomicBool::new(false)));
        let connections = Connections::new(Duration::from_secs(5));
        let thread = spawn("test", of_out, reader.clone(), over.clone(), connections).expect("a thread");
        let mut written = Vec::new();
        for number in 0..200 {
            let line = format!("{number} {}\n", "x".repeat(20_000));
            out.write_all(line.as_bytes()).expect("room");
            written.extend_from_slice(line.as_bytes());
            // A reader that keeps up.
            while written.len() - reader.0.lock().expect("no panic").len() > 2 * CHUNK {
                std::thread::yield_now();
            }
        }
        out.write_all(b"the end").expect("room");
        written.extend_from_slice(b"the end");
        over.store(true, Ordering::Relaxed);
        thread.join().expect("no panic");
        assert!(*reader.0.lock().expect("no panic") == written, "something is missing or changed");
        let about = out.metadata().expect("it is there");
        assert!(about.blocks() * 512 < 2 * KEPT, "{} bytes are kept of {}", about.blocks() * 512, written.len());
    }

    /// However little there is at a time, and whoever waits for it.
    #[test]
    fn what_nobody_reads_waits_as_long_as_there_is_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut out, of_out) = file(&folder.path().join("log")).expect("a file");
        let over = Arc::new(AtomicBool::new(false));
        let (chunks, waiting) = mpsc::sync_channel::<Vec<u8>>(0);
        let is_over = over.clone();
        let thread =
            std::thread::spawn(move || pass_on(&of_out, chunks, &is_over, &Connections::new(Duration::from_secs(5))));
        let mut written = Vec::new();
        for line in ["a\n", "b\n", "c\n"] {
            out.write_all(line.as_bytes()).expect("room");
            written.extend_from_slice(line.as_bytes());
            std::thread::sleep(2 * PAUSE);
        }
        let mut read = Vec::new();
        while read.len() < written.len() {
            read.extend(waiting.recv_timeout(10 * LAST).expect("nothing was dropped"));
        }
        assert_eq!(read, written);

        let kilobyte = format!("{}\n", "x".repeat(1023));
        for _ in 0..4 * ROOM / kilobyte.len() {
            out.write_all(kilobyte.as_bytes()).expect("room");
        }
        // Nobody reads, and yet little of it is kept: in the file, and beside it.
        let kept = || out.metadata().expect("it is there").blocks() * 512;
        let deadline = Instant::now() + 30 * LAST;
        while kept() > 2 * KEPT {
            assert!(Instant::now() < deadline, "{} bytes are kept", kept());
            std::thread::yield_now();
        }
        let read = waiting.recv_timeout(10 * LAST).expect("something waits").len();
        assert!(read <= ROOM && read > ROOM / 2, "{read}");
        over.store(true, Ordering::Relaxed);
        thread.join().expect("no panic");
    }
}
