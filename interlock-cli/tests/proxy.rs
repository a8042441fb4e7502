//! `interlock proxy` as a container runs it: signals, exit codes, the health check. With the real nginx.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use interlock_core::trust::Authority;
use interlock_core::units::{Cluster, Role};

const PATIENCE: Duration = Duration::from_secs(30);

/// An address that nobody else has, and that no outgoing connection takes meanwhile.
fn free() -> SocketAddr {
    static USED: AtomicU8 = AtomicU8::new(1);
    let process = std::process::id();
    let part = |number: u32| u8::try_from(number % 200).unwrap() + 20;
    let own = Ipv4Addr::new(127, part(process), part(process / 200), USED.fetch_add(1, Ordering::Relaxed));
    TcpListener::bind((own, 0)).unwrap().local_addr().unwrap()
}

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A container, so to say.
struct Container {
    folder: tempfile::TempDir,
    port: SocketAddr,
    health: SocketAddr,
}

impl Container {
    fn new() -> Self {
        let container = Self { folder: tempfile::tempdir().unwrap(), port: free(), health: free() };
        container.configure("");
        container
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, more: &str) {
        let Self { port, health, .. } = self;
        let folder = self.folder.path().display();
        // The compiled-in folders belong to somebody else.
        let modules = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let folders: String = modules.map(|name| format!("{name}_temp_path {folder}/{name}; ")).concat();
        let text = format!(
            "pid {folder}/nginx.pid;\nerror_log {folder}/error.log;\nevents {{}}\nhttp {{\n  access_log off; {folders}\n\
             server {{ listen {health}; location = /healthz {{ return 200 \"0123456789abcdef\\n\"; }} }}\n\
             server {{ listen {port}; location / {{ return 200; }} }}\n}}\n{more}"
        );
        std::fs::write(self.path("nginx.conf"), text).unwrap();
    }

    fn arguments(&self) -> Vec<String> {
        let path = |name: &str| self.path(name).display().to_string();
        let health = self.health.to_string();
        let arguments = ["proxy", "--config", &path("nginx.conf"), "--state", &path("state"), "--run", &path("run")];
        arguments.into_iter().chain(["--health-address", &health]).map(str::to_owned).collect()
    }

    fn start(&self) -> Proxy {
        let mut command = Command::new(env!("CARGO_BIN_EXE_interlock"));
        Proxy(command.args(self.arguments()).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn is_healthy(&self) -> (bool, String) {
        let address = self.health.to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_interlock"));
        let output = command.args(["proxy", "health", "--health-address", &address]).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    }

    fn serves(&self) {
        eventually("an answer", || self.is_healthy().0);
        assert!(TcpStream::connect(self.port).is_ok());
    }
}

struct Proxy(Child);

impl Proxy {
    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap().success());
    }

    /// The exit code, and what it said.
    fn ended(mut self) -> (Option<i32>, String) {
        eventually("the end", || self.0.try_wait().unwrap().is_some());
        let mut said = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.0.wait().unwrap().code(), said)
    }
}

/// A test that fails leaves nothing behind.
impl Drop for Proxy {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|status| status.is_none()) {
            self.signal("-TERM");
            let deadline = Instant::now() + Duration::from_secs(10);
            while Instant::now() < deadline && self.0.try_wait().is_ok_and(|status| status.is_none()) {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

#[test]
fn the_health_check_says_what_is() {
    let container = Container::new();
    let (healthy, said) = container.is_healthy();
    assert!(!healthy && said.lines().count() == 1 && said.contains("nginx does not answer on"), "{said}");
    let proxy = container.start();
    container.serves();
    assert_eq!(container.is_healthy(), (true, String::new()));
    drop(proxy);
    assert!(!container.is_healthy().0);
}

/// The engine reads a container's output. One that hangs does not, for as long as it hangs.
#[test]
fn nginx_answers_while_nobody_reads_the_containers_output() {
    let container = Container::new();
    let text = std::fs::read_to_string(container.path("nginx.conf")).unwrap();
    let text = text.replace("access_log off;", "access_log /dev/stdout; large_client_header_buffers 4 16k;");
    let text = text.replace("error.log;", "error.log;\nerror_log /dev/stderr debug;");
    std::fs::write(container.path("nginx.conf"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_interlock"));
    command.args(container.arguments()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut proxy = Proxy(command.spawn().unwrap());
    container.serves();
    // More than a pipe and the agent hold together.
    let long = "x".repeat(10_000);
    for number in 0..1200 {
        let mut stream = TcpStream::connect(container.port).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET /{number}?{long} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{number}: {answer}");
    }
    // What was not dropped arrives in whole lines, but for the one at which all ended.
    let mut stdout = proxy.0.stdout.take().unwrap();
    let reading = std::thread::spawn(move || {
        let mut lines = String::new();
        stdout.read_to_string(&mut lines).unwrap();
        lines
    });
    proxy.signal("-TERM");
    proxy.ended();
    let lines = reading.join().unwrap();
    let (lines, _) = lines.rsplit_once('\n').unwrap();
    assert!(lines.lines().count() > 100, "{}", lines.lines().count());
    let is_whole = |line: &str| line.starts_with("127.") && line.contains("\"GET /") && line.ends_with("\"-\" \"-\"");
    let broken = lines.lines().find(|line| !is_whole(line)).map(|line| (line.len(), &line[..line.len().min(100)]));
    assert_eq!(broken, None);
}

#[test]
fn it_ends_well_when_it_is_told_to() {
    for signal in ["-TERM", "-INT", "-QUIT"] {
        let container = Container::new();
        let proxy = container.start();
        container.serves();
        let began = Instant::now();
        proxy.signal(signal);
        let (code, said) = proxy.ended();
        assert_eq!(code, Some(0), "{signal}: {said}");
        assert!(began.elapsed() < Duration::from_secs(5), "{signal}: {said}");
        assert!(TcpStream::connect(container.port).is_err());
    }
}

#[test]
fn a_mounted_configuration_that_nginx_refuses_ends_it() {
    let container = Container::new();
    container.configure("foo bar;\n");
    let (code, said) = container.start().ended();
    assert_eq!(code, Some(1));
    assert!(said.contains("nginx.conf:9: unknown directive \"foo\""), "{said}");
}

#[test]
fn what_was_served_before_is_served_instead() {
    let container = Container::new();
    let proxy = container.start();
    container.serves();
    eventually("a copy", || {
        let copies = std::fs::read_dir(container.path("state/copies/classic"));
        copies.is_ok_and(|mut copies| copies.any(|copy| copy.unwrap().path().extension().is_some_and(|e| e == "json")))
    });
    proxy.signal("-TERM");
    proxy.ended();
    container.configure("foo bar;\n");
    let proxy = container.start();
    container.serves();
    proxy.signal("-QUIT");
    let (code, said) = proxy.ended();
    assert_eq!(code, Some(0));
    assert!(said.contains("nginx.conf:9: unknown directive \"foo\""), "{said}");
    assert!(said.contains("ERROR trying revision 0123456789abcdef from the volume instead"), "{said}");
}

#[test]
fn a_file_that_was_named_has_to_be_there() {
    let container = Container::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_interlock"));
    let output = command.args(container.arguments()).args(["--agent-file", "/nowhere.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere.toml: "));
}

/// A secret that somebody else made would have the proxies, or the extension, follow him.
#[test]
fn k2_an_identity_of_another_authority_is_not_used() {
    let container = Container::new();
    let (ours, tenant) = (Authority::generate().unwrap(), Authority::generate().unwrap());
    let identity = container.folder.path().join("identity");
    std::fs::write(&identity, tenant.issue(Role::Proxy, &Cluster::default()).unwrap().pem.as_str()).unwrap();
    let file = container.folder.path().join("whom.toml");
    let fingerprint = ours.fingerprint();
    let agent = format!(
        "core = \"127.0.0.1:1\"\ncluster = \"\"\ngeneration = \"00000000000000aa\"\nkind = \"nginx\"\nboot = \"/x\"\nauthority = \"{fingerprint}\"\n"
    );
    std::fs::write(&file, agent).unwrap();
    let (file, identity) = (file.to_str().unwrap(), identity.to_str().unwrap());
    for arguments in [
        &["proxy", "--agent-file", file, "--identity", identity][..],
        &["extension", "nginx", "--extension-file", file, "--identity", identity, "--core", "127.0.0.1:1"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_interlock")).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("{fingerprint} is the one to follow")), "{said}");
    }
}

/// As the first process of a container it inherits those that others leave, and nginx's workers when their master is killed.
#[test]
fn nobody_stays_a_zombie() {
    let namespace = ["--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let is_possible = Command::new("unshare").args(namespace).arg("true").output().is_ok_and(|it| it.status.success());
    if !is_possible {
        // Not everywhere may a test have process ids of its own.
        return;
    }
    let container = Container::new();
    // Nobody else exists there.
    container.configure("user root;\n");
    let agent = env!("CARGO_BIN_EXE_interlock");
    let path = |name: &str| container.path(name).display().to_string();
    let (health, master, seen) = (container.health, path("nginx.pid"), path("seen"));
    let copies = path("state/copies/classic");
    // Looks on from inside. Whoever it leaves behind by its own end is a stranger to the agent.
    let script = format!(
        "healthy() {{ until {agent} proxy health --health-address {health} 2>/dev/null; do sleep 0.01; done; }}
        zombies() {{ cat /proc/[0-9]*/status 2>/dev/null | grep -c '^State:.Z'; }}
        until ls {copies} 2>/dev/null | grep -q json; do sleep 0.01; done
        for i in 1 2 3 4 5 6 7 8; do (sleep 0.0$i &) ; done
        first=$(cat {master}); kill -KILL $first
        while [ \"$(cat {master})\" = \"$first\" ]; do sleep 0.01; done
        healthy
        for i in $(seq 200); do left=$(zombies); [ $left = 0 ] && break; sleep 0.05; done
        echo zombies $left >{seen}; kill -TERM 1"
    );
    std::fs::write(path("script"), script).unwrap();
    let init = "(sh \"$0\" >/dev/null 2>&1 &); exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(namespace).args(["sh", "-c", init, &path("script"), agent]).args(container.arguments());
    let proxy = Proxy(command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let (code, said) = proxy.ended();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(std::fs::read_to_string(container.path("seen")).unwrap(), "zombies 0\n", "{said}");
    assert!(said.contains("nginx ended by itself: signal 9"), "{said}");
}
