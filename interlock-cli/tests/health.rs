//! `interlock health`: a process answers while it works, whatever it waits for, and not when it hangs.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use interlock_core::trust::Authority;
use interlock_core::units::{Cluster, Role};

/// A process with a socket for health checks. It ends with the value.
struct Process {
    child: Child,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl Process {
    fn start(args: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("health.sock");
        // As one that was killed leaves it.
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_interlock"));
        command.args(args(folder.path())).env("INTERLOCK_HEALTH_SOCKET", &socket).env_remove("RUST_LOG");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { child, socket, _folder: folder }
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// The exit code of a health check, and what it says.
    fn health(&self) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_interlock"));
        let output = command.arg("health").env("INTERLOCK_HEALTH_SOCKET", &self.socket).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// How a second process ends that would answer at the same socket.
    fn second(&self) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_interlock"));
        command.args(["reconcile", "--host", "unix:///no/such/socket"]).env("INTERLOCK_HEALTH_SOCKET", &self.socket);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let code = ends(&mut child);
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (code, said)
    }

    fn becomes_healthy(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.health().0 != Some(0) {
            assert!(Instant::now() < deadline, "{:?}", self.health());
        }
    }
}

/// The exit code of a process that shall end soon.
fn ends(child: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait().unwrap().code()
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// It waits for an engine that is not there: another in its place could do no more.
fn core() -> Process {
    Process::start(|folder| {
        let socket = format!("unix://{}", folder.join("docker.sock").display());
        ["reconcile", "--host", &socket].map(str::to_owned).to_vec()
    })
}

/// It waits for a core that is not there.
fn extension() -> Process {
    Process::start(|folder| {
        let identity = folder.join("identity");
        let issued = Authority::generate().unwrap().issue(Role::Extension, &Cluster::default()).unwrap();
        std::fs::write(&identity, issued.pem.as_bytes()).unwrap();
        let core = ["extension", "nginx", "--core", "127.0.0.1:1", "--identity"];
        core.into_iter().map(str::to_owned).chain([identity.display().to_string()]).collect()
    })
}

#[test]
fn what_works_answers_and_what_hangs_does_not() {
    for mut process in [core(), extension()] {
        process.becomes_healthy();
        let (code, said) = process.second();
        assert_eq!((code, said.contains("another process answers there")), (Some(2), true), "{said}");
        process.becomes_healthy();
        process.signal("-STOP");
        let (code, said) = process.health();
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("nobody answers at") && said.contains("health.sock"), "{said}");
        process.signal("-CONT");
        process.becomes_healthy();
        process.signal("-TERM");
        assert_eq!(ends(&mut process.child), Some(0));
        assert!(!process.socket.exists(), "nothing is left");
        assert_eq!(process.health().0, Some(1));
    }
}

#[test]
fn without_a_socket_there_is_nothing_to_ask() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_interlock"));
    let output = command.arg("health").env_remove("INTERLOCK_HEALTH_SOCKET").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.contains("--health-socket")), (Some(2), true), "{said}");
}
