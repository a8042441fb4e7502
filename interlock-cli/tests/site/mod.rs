//! A Swarm on which core is this test, and the command beside it.

use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use interlock_testkit::{Swarm, server};

/// A Swarm on which core is this test: it does what core would do once core runs.
pub(crate) struct Site {
    pub(crate) handle: server::Handle,
    pub(crate) folder: tempfile::TempDir,
}

impl Site {
    /// With these settings, which arguments name as SETTINGS.
    pub(crate) fn new(settings: &str, change: impl FnOnce(&mut Swarm)) -> Self {
        let mut swarm = Swarm::three_nodes();
        change(&mut swarm);
        swarm.settle();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("settings.toml"), settings).unwrap();
        let handle = server::serve(Arc::new(Mutex::new(swarm)), folder.path()).unwrap().with_clock(20.0);
        Self { handle, folder }
    }

    pub(crate) async fn run(&self, args: &str) -> (i32, String, String) {
        let settings = self.folder.path().join("settings.toml");
        let mut command = Command::new(env!("CARGO_BIN_EXE_interlock"));
        let args = args.replace("SETTINGS", settings.to_str().unwrap());
        command.args(args.split(' ')).stdin(Stdio::null()).env("DOCKER_HOST", self.handle.url()).env_remove("RUST_LOG");
        let Output { status, stdout, stderr } =
            tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    async fn runs(&self, service: &str) {
        while self.handle.swarm().find_service(service).is_none() || self.handle.swarm().running(service).is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Installs while core does its part.
    pub(crate) async fn install(&self, args: &str) -> (i32, String, String) {
        let core = async {
            self.runs("interlock-core").await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            let authority = self.handle.swarm().secret_bytes("com.docker.interlock.authority").unwrap();
            let file = self.folder.path().join("authority");
            std::fs::write(&file, authority).unwrap();
            self.run(&format!("reconcile --once --timeout 8s --authority {}", file.display())).await
        };
        let (installed, _) = tokio::join!(self.run(args), core);
        installed
    }
}
