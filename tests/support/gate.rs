//! nginx behind a script that holds its checks until a test lets them go on.

use std::path::{Path, PathBuf};

use super::agent::eventually;
use super::checker::executable;

/// When a check is held.
#[derive(Debug, Clone, Copy)]
pub enum Moment {
    /// nginx has not looked at anything.
    Before,
    /// It has come to a result, which nobody knows.
    After,
}

pub struct Gate {
    folder: PathBuf,
}

impl Gate {
    /// The files of it are in this folder.
    pub fn new(folder: &Path) -> Self {
        let lines = "hold() {
          [ -e \"$0.hold-$1\" ] || return
          : >\"$0.at-$1\"
          while [ -e \"$0.hold-$1\" ]; do sleep 0.01; done
        }
        for word; do
          [ \"$word\" = -t ] || continue
          hold Before; nginx \"$@\"; code=$?; hold After
          exit $code
        done
        exec nginx \"$@\"\n";
        let gate = Self { folder: folder.to_owned() };
        executable(&gate.program(), lines);
        gate
    }

    /// What is run in place of nginx.
    pub fn program(&self) -> PathBuf {
        self.folder.join("gate")
    }

    fn file(&self, what: &str, moment: Moment) -> PathBuf {
        self.folder.join(format!("gate.{what}-{moment:?}"))
    }

    /// Holds checks from now on.
    pub fn close(&self, moment: Moment) {
        let _ = std::fs::remove_file(self.file("at", moment));
        std::fs::write(self.file("hold", moment), "").unwrap();
    }

    /// Waits until one is held.
    pub fn reached(&self, moment: Moment) {
        eventually("a check that is held", || self.file("at", moment).exists());
    }

    /// Lets all go on.
    pub fn open(&self) {
        for moment in [Moment::Before, Moment::After] {
            let _ = std::fs::remove_file(self.file("hold", moment));
        }
    }
}
