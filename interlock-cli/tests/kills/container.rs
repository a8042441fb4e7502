//! A process of `interlock` with what it starts, as if in a container of its own.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::processes::kill_with_descendants;

pub(crate) struct Container(Child);

impl Container {
    /// Its temporary files are in this folder, as nobody else tidies up after it.
    pub(crate) fn start(arguments: &[&str], folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_interlock"));
        command.args(arguments).stdin(Stdio::null()).env_remove("RUST_LOG").env("TMPDIR", folder);
        Self(command.process_group(0).spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> i32 {
        self.0.id().try_into().unwrap()
    }

    /// Whether its first process lives.
    pub(crate) fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

/// A container goes with all its processes, by SIGKILL.
impl Drop for Container {
    fn drop(&mut self) {
        if self.lives() {
            kill_with_descendants(self.pid());
            self.0.wait().unwrap();
        }
    }
}
