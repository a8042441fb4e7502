//! A lab with interlock's binary at work on it, and the requests of a user.

use std::process::Child;
use std::sync::Mutex;
use std::time::Duration;

// Benchmarks include this file from elsewhere.
#[path = "site/answer.rs"]
mod answer;
#[path = "site/program.rs"]
mod program;
#[path = "site/requests.rs"]
mod requests;
#[path = "site/swarm.rs"]
mod swarm;
#[path = "site/waiting.rs"]
mod waiting;

pub(crate) use answer::Answer;

use crate::support::real::Lab;

/// How long after the end of a fault all is as it should be: what the project promises.
pub(crate) const CONVERGES: Duration = Duration::from_secs(10);

/// Says what was measured.
#[expect(clippy::print_stderr, reason = "figures are a result, too")]
pub(crate) fn tell(figures: &str) {
    eprintln!("{figures}");
}

pub(crate) struct Site {
    lab: Lab,
    folder: tempfile::TempDir,
    controller: Mutex<Option<Child>>,
}

impl Site {
    /// A lab with nothing on it, and settings for it with these lines behind.
    pub(crate) async fn new(more: &str) -> Self {
        let lab = Lab::find();
        lab.clear().await;
        let folder = tempfile::tempdir().unwrap();
        let site = Self { lab, folder, controller: Mutex::default() };
        site.settings("nginx", more);
        site
    }

    pub(crate) async fn end(self) {
        self.kill_controller();
        self.lab.clear().await;
    }

    /// A command of the lab, such as a fault.
    pub(crate) fn lab(&self, args: &[&str]) {
        self.lab.command(args);
    }

    /// Sends commands to this manager from now on, 0 being the first.
    pub(crate) fn talk_to(&self, manager: usize) {
        self.lab.talk_to(manager);
    }

    pub(crate) fn docker(&self, args: &[&str]) -> String {
        self.lab.docker(args)
    }

    pub(crate) fn try_docker(&self, args: &[&str]) -> Result<String, String> {
        self.lab.try_docker(args)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.kill_controller();
    }
}
