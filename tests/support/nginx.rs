//! The real nginx with a rendered configuration, and applications behind it on loopback addresses of their own.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use interlock_core::kinds::File;
use interlock_core::units::ProxyVersion;

use super::http;

/// Where Debian has the module for `stream`, of the nginx that is installed.
const STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// The nginx to test with: the one that is installed here, or what `INTERLOCK_NGINX` names.
fn nginx() -> Command {
    #[expect(clippy::disallowed_methods, reason = "there is no command line")]
    let named = std::env::var("INTERLOCK_NGINX");
    Command::new(named.as_deref().unwrap_or("nginx"))
}

/// The version of that nginx.
pub fn installed() -> ProxyVersion {
    let output = nginx().arg("-v").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = said.trim().rsplit('/').next().unwrap_or_default().split(' ').next().unwrap_or_default();
    version.parse().unwrap_or_else(|_| panic!("no version: {said}"))
}

/// Writes the files under a folder, with its folder `secrets` in the place of Docker's and HTTPS on the next port. What is mapped is where
/// things are, not what is said.
pub fn write(files: &[File], root: &Path, port: u16) -> String {
    let secrets = root.join("secrets");
    std::fs::create_dir_all(&secrets).unwrap();
    if !secrets.join("ca.pem").exists() {
        // nginx reads it at the start.
        let authority = interlock_core::trust::Authority::generate().unwrap().to_pem();
        std::fs::write(secrets.join("ca.pem"), &*authority).unwrap();
    }
    let root = root.to_str().unwrap();
    for file in files {
        let path = format!("{root}{}", file.path);
        std::fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        let content: String = file.content.lines().map(|line| here(line, root, port) + "\n").collect();
        let content = content
            .replace("unix:/var/run/", &format!("unix:{root}/"))
            .replace("/run/secrets", &format!("{root}/secrets"))
            .replace("/run/interlock/", &format!("{root}/secrets/"))
            .replace("server 127.0.0.1:18988;", &format!("server unix:{root}/none.sock;"));
        std::fs::write(&path, content).unwrap();
    }
    format!("{root}{}", files[0].path)
}

/// A directive with a place of this test's instead of one in a container.
fn here(line: &str, root: &str, port: u16) -> String {
    let text = line.trim_start().trim_end_matches(';');
    match text.split(' ').collect::<Vec<_>>().as_slice() {
        ["pid", _] => format!("pid {root}/proxy.pid;"),
        ["error_log", _] => format!("error_log {root}/log;"),
        ["access_log", path, format] if path.starts_with('/') => format!("access_log {root}/log {format};"),
        ["listen", "127.0.0.1:18989"] => format!("listen unix:{root}/health.sock;"),
        ["listen", "127.0.0.1:18988", _] => format!("listen unix:{root}/none.sock;"),
        ["listen", at, rest @ ..] if at.parse::<u16>().is_ok() => {
            let port = if at.ends_with("443") { port + 1 } else { port };
            format!("listen 127.0.0.1:{port} {};", rest.join(" "))
        }
        _ => line.to_owned(),
    }
}

/// What is loaded for these files, by the command line as the agent does it.
fn modules(files: &[File]) -> String {
    let streams = files[0].content.contains("\nstream {");
    if streams && Path::new(STREAM).exists() { format!("load_module {STREAM};") } else { String::new() }
}

/// Runs `nginx -t`. A warning counts: nginx warns of names that it ignores.
pub fn accepts(files: &[File]) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let main = write(files, folder.path(), 18_080);
    let output = nginx()
        .args(["-t", "-q", "-p", folder.path().to_str().unwrap(), "-c", &main, "-g", &modules(files)])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // Not being root is no fault of the file: nginx says that it ignores `user`, and cannot open its compiled-in log.
    let said: Vec<_> = said.lines().filter(|line| !line.contains("could not open error log file")).collect();
    if output.status.success() && said.is_empty() { Ok(()) } else { Err(said.join("\n")) }
}

/// A running nginx; ends with the value.
pub struct Nginx {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Nginx {
    /// As [`Self::start`], with these files in the folder of secrets.
    pub fn start_with(files: &[File], secrets: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("secrets")).unwrap();
        for (name, content) in secrets {
            std::fs::write(folder.path().join("secrets").join(name), content).unwrap();
        }
        Self::in_folder(files, folder)
    }

    /// Where it listens for HTTP. TLS is on the next port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of its master.
    pub fn id(&self) -> i32 {
        self.process.id().try_into().unwrap()
    }

    pub fn start(files: &[File]) -> Self {
        Self::start_with(files, &[])
    }

    fn in_folder(files: &[File], folder: tempfile::TempDir) -> Self {
        let port = two_ports();
        let main = write(files, folder.path(), port);
        // Workers are somebody else, and have to get there.
        let _ = Command::new("chmod").args(["-R", "a+rX", folder.path().to_str().unwrap()]).status();
        let process = nginx()
            .args([
                "-p",
                folder.path().to_str().unwrap(),
                "-c",
                &main,
                "-g",
                &format!("daemon off; {}", modules(files)),
            ])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let nginx = Self { process, port, folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        // It begins to listen at one after the other.
        let tls = files.iter().any(|file| file.content.contains("listen 443"));
        for port in port..=port + u16::from(tls) {
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                assert!(Instant::now() < deadline, "nginx does not listen: {}", nginx.log());
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        nginx
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Sends raw bytes and reads one answer.
    pub fn raw(&self, request: &str) -> String {
        http::exchange(("127.0.0.1", self.port), request).unwrap()
    }

    pub fn get(&self, host: &str, path: &str) -> String {
        self.raw(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    }
}

/// A port that is free, as is the next one: of those that no outgoing connection is given, and in turn.
pub fn two_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // More than a process needs: what tested an earlier nginx may still look for it.
    let process = u16::try_from(std::process::id() % 12).unwrap();
    loop {
        let port = 20_000 + process * 1000 + NEXT.fetch_add(2, Ordering::Relaxed) % 1000;
        if [port, port + 1].iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()) {
            return port;
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // A master that is killed leaves its workers: ask it to stop.
        let id = self.process.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let _ = self.process.wait();
    }
}

/// Starts an application that answers each request with its name and the request as it came. It ends with the test process.
pub fn application(name: &'static str, address: &str) {
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(name, stream));
        }
    });
}

fn answer(name: &str, stream: TcpStream) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line == "\r\n" {
                break;
            }
            head += &line;
        }
        let body = format!("app={name}\n{head}");
        let length = body.len();
        write!(writer, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nX-Accel-Redirect: /elsewhere\r\n\r\n{body}")
            .ok()?;
    }
}
