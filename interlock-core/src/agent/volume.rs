//! The node's volume, which may be slow or hang: one thing at a time is done with it, and none is waited for longer than is said. So what
//! hangs costs one thread and holds up nobody.

use std::io;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::candidate::Candidate;
use super::history::Copies;

pub(super) struct Volume {
    copies: Copies,
    limit: Duration,
    job: Option<JoinHandle<()>>,
    /// What could not be kept because something else hung.
    unkept: Option<Candidate>,
}

impl Volume {
    pub(super) fn new(copies: Copies, limit: Duration) -> Self {
        Self { copies, limit, job: None, unkept: None }
    }

    /// Keeps a copy, now or when the volume does not hang any more.
    ///
    /// # Errors
    ///
    /// When there is none yet.
    pub(super) async fn keep(&mut self, candidate: Candidate) -> io::Result<()> {
        if self.hangs() {
            self.unkept = Some(candidate);
            return Err(slow());
        }
        self.unkept = None;
        self.run(move |copies| copies.keep(&candidate)).await?
    }

    /// Begins to keep what could not be kept before, if that can be tried.
    pub(super) fn catch_up(&mut self) {
        if self.hangs() {
            return;
        }
        let Some(candidate) = self.unkept.take() else { return };
        self.begin(move |copies| match copies.keep(&candidate) {
            Ok(()) => tracing::info!("the volume has a copy of the served configuration again"),
            Err(error) => tracing::warn!("the volume may have no copy of the served configuration: {error}"),
        });
    }

    /// The copies, the newest first.
    pub(super) async fn newest_first(&mut self) -> Vec<Candidate> {
        let read = if self.hangs() { Err(slow()) } else { self.run(Copies::newest_first).await };
        read.unwrap_or_else(|error| {
            tracing::warn!("unreadable copies on the volume ignored: {error}");
            Vec::new()
        })
    }

    fn hangs(&self) -> bool {
        self.job.as_ref().is_some_and(|job| !job.is_finished())
    }

    fn begin(&mut self, work: impl FnOnce(&Copies) + Send + 'static) {
        let copies = self.copies.clone();
        self.job = Some(tokio::task::spawn_blocking(move || work(&copies)));
    }

    async fn run<T: Send + 'static>(&mut self, work: impl FnOnce(&Copies) -> T + Send + 'static) -> io::Result<T> {
        let (done, result) = oneshot::channel();
        self.begin(move |copies| drop(done.send(work(copies))));
        timeout(self.limit, result).await.map_err(|_| slow())?.map_err(io::Error::other)
    }
}

fn slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the volume is very slow")
}
