//! What nginx serves: a configuration is written aside, checked, put in place, read, confirmed; or all of that is taken back.

use std::collections::BTreeSet;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep};

use super::candidate::{Candidate, Origin};
use super::folder::MAIN;
use super::follow::{Answer, Running};
use super::master::{Master, NotServing};
use super::processes;
use super::retry::{Retry, Unserved};
use super::signals::{Attended, Orders, attended};
use super::supervise::{Boot, EARLY_DEATHS, Supervisor};
use crate::kinds::nginx::check_output;
use crate::proxy_config::Revision;

/// How long workers whose master died may take to give up their port.
const LONGEST_TAKE_OVER: Duration = Duration::from_secs(1);

/// Where a configuration is checked.
struct Spot {
    main: PathBuf,
    folder: PathBuf,
    in_place: bool,
}

/// The Unix sockets that a configuration listens on.
fn sockets(candidate: &Candidate) -> impl Iterator<Item = PathBuf> {
    let lines = candidate.files.iter().flat_map(|file| file.content.lines());
    let paths = lines.filter_map(|line| line.trim_start().strip_prefix("listen")?.trim_start().strip_prefix("unix:"));
    paths.filter_map(|rest| rest.split([' ', '\t', ';']).next()).map(PathBuf::from)
}

impl Supervisor {
    /// The place where a configuration is checked, once it is written there.
    fn place(&self, candidate: &Candidate) -> Result<Spot, Unserved> {
        if let (Boot::InPlace(path), Origin::Boot) = (&self.boot, candidate.origin) {
            let folder = path.parent().unwrap_or(path).to_owned();
            return Ok(Spot { main: path.clone(), folder, in_place: true });
        }
        let failed = |error| Unserved::Failed(format!("it cannot be written: {error}"));
        let folder = self.folder.place(candidate).map_err(failed)?;
        Ok(Spot { main: folder.join(MAIN), folder, in_place: false })
    }

    /// Has a configuration checked. Answers how long nginx may take to serve it.
    async fn check(&self, candidate: &Candidate, spot: &Spot) -> Result<Duration, Unserved> {
        let began = Instant::now();
        let checked = self.program.check(candidate, &spot.main, self.times.check).await;
        checked.map_err(|unserved| unserved.with(|said| check_output::of_folder(said, &spot.folder)))?;
        Ok(self.times.serve + 3 * began.elapsed())
    }

    /// Starts nginx with a configuration. Answers the revision that it says it serves; none of it runs otherwise.
    pub(super) async fn start(&mut self, candidate: &Candidate) -> Result<String, Unserved> {
        let spot = self.place(candidate)?;
        let limit = self.check(candidate, &spot).await?;
        let config = if spot.in_place { spot.main } else { self.point(&spot.folder)? };
        self.take_over().await;
        self.sockets.extend(sockets(candidate));
        self.clear_sockets();
        let child = self.program.start(candidate, &config);
        let child = child.map_err(|error| Unserved::Failed(format!("nginx cannot be run: {error}")))?;
        let master = self.master.insert(Master::new(child));
        match master.serves(self.health, candidate.revision.as_ref(), &BTreeSet::new(), limit).await {
            Ok(revision) => Ok(revision),
            Err(NotServing::Late(..)) if spot.in_place => {
                // Somebody's own configuration need not have the server for health checks.
                tracing::warn!("nginx runs, and does not answer health checks on {}", self.health);
                Ok(String::new())
            }
            Err(error) => {
                match error {
                    NotServing::Late(..) => {
                        master.kill();
                        master.ended().await;
                    }
                    // It may have left workers, which hold the port.
                    NotServing::Ended(_) => self.generations.adopt(master.pid()),
                }
                self.master = None;
                Err(Unserved::Failed(error.to_string()))
            }
        }
    }

    /// Has workers whose master died give up their port, at the last moment: nobody else takes connections until nginx has started.
    async fn take_over(&mut self) {
        let deadline = Instant::now() + LONGEST_TAKE_OVER;
        while let Some(master) = self.orphaned.pop() {
            self.generations.adopt(master);
            // nginx waits for half a second when it finds the port in use.
            while !processes::accepting(master).is_empty() && Instant::now() < deadline {
                sleep(Duration::from_millis(1)).await;
            }
        }
    }

    /// Removes the Unix sockets of all that was served or tried. nginx removes its own when it ends in order; where one is left by a master that
    /// was killed, it neither starts nor takes it with a reload. This is the container's only nginx, and it does not run.
    fn clear_sockets(&self) {
        for path in &self.sockets {
            if std::fs::symlink_metadata(path).is_ok_and(|about| about.file_type().is_socket()) {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    fn point(&self, folder: &Path) -> Result<PathBuf, Unserved> {
        let failed = |error| Unserved::Failed(format!("it cannot be put in place: {error}"));
        self.folder.point(folder).map_err(failed)?;
        Ok(self.folder.config())
    }

    /// Gives the running nginx another revision.
    pub(super) async fn take(&mut self, wanted: &Candidate) {
        if self.current.as_ref().is_some_and(|current| current.is_same(wanted) && current.revision == wanted.revision) {
            self.accept(wanted.clone(), true);
            return;
        }
        self.retry = self.retry.take().filter(|retry| retry.is_of(&wanted.hash));
        tracing::info!("taking {wanted}");
        match self.apply(wanted).await {
            Ok(()) => {
                // Each configuration has to live for some time of its own.
                if let Some(master) = &mut self.master {
                    master.since = Instant::now();
                }
                if self.retry.is_none() {
                    self.early_deaths = 0;
                }
                self.serving(wanted.clone(), "", true).await;
            }
            Err(Some(unserved)) => {
                self.refuse(wanted, &unserved);
                self.tell_refusals();
            }
            // It is tried again when nginx is started again.
            Err(None) => {}
        }
    }

    /// Checks, swaps, reloads, confirms; or takes it all back and says why. `None` when nginx died meanwhile, the first time.
    async fn apply(&mut self, wanted: &Candidate) -> Result<(), Option<Unserved>> {
        let spot = self.place(wanted)?;
        let limit = self.check(wanted, &spot).await?;
        let before = self.folder.current();
        self.sockets.extend(sockets(wanted));
        let _ = self.point(&spot.folder)?;
        let Err(error) = self.reload(wanted.revision.as_ref(), limit).await else { return Ok(()) };
        if let Some(before) = &before {
            self.point(before)?;
        }
        if let Some(NotServing::Late(..)) = error {
            let current = self.current.as_ref().and_then(|current| current.revision.clone());
            if let Err(Some(error)) = self.reload(current.as_ref(), limit).await {
                tracing::error!("nginx does not go back to what it served: {error}");
            }
        }
        self.folder.tidy();
        // Who killed nginx need not have meant this one: it is what nginx is started with first. Unless that did not go well.
        let error = error.filter(|error| self.retry.is_some() || matches!(error, NotServing::Late(..)));
        Err(error.map(|error| Unserved::Failed(error.to_string())))
    }

    /// Has nginx read what `current` points at, and waits until new workers serve it.
    async fn reload(&mut self, revision: Option<&Revision>, limit: Duration) -> Result<(), Option<NotServing>> {
        let Some(master) = &mut self.master else { return Err(None) };
        if master.has_ended() {
            return Err(None);
        }
        let before = master.workers();
        master.signal(Signal::SIGHUP);
        let served = master.serves(self.health, revision, &before, limit).await;
        if served.is_ok() {
            self.generations.renewed();
        }
        self.generations.observe(master.pid());
        served.map(drop).map_err(Some)
    }

    /// A reload that somebody asked for, as when certificates changed in place.
    pub(super) async fn attended_reload(&mut self, orders: &mut Orders) -> Attended<()> {
        let pid = self.master.as_ref().map(Master::pid);
        let work = async {
            if self.current.as_ref().is_some_and(|current| current.revision.is_none()) {
                // Somebody's own configuration does not say what it serves.
                self.master.iter().for_each(|master| master.signal(Signal::SIGHUP));
                return;
            }
            match self.reload(None, self.times.serve).await {
                Ok(()) => tracing::info!("nginx read its configuration again"),
                Err(Some(error)) => tracing::error!("a reload failed: {error}"),
                Err(None) => {}
            }
        };
        attended(orders, pid, work).await
    }

    /// It serves this now, as nginx said. Core is told when it asked for it.
    pub(super) async fn serving(&mut self, mut candidate: Candidate, said: &str, tell: bool) {
        if candidate.revision.is_none() {
            candidate.revision = said.parse().ok();
        }
        tracing::info!("nginx serves {candidate}");
        let keep = match (&self.boot, candidate.origin) {
            (Boot::InPlace(_), Origin::Boot) | (_, Origin::Core) => true,
            (_, Origin::Boot | Origin::Volume) => false,
        };
        self.accept(candidate.clone(), tell);
        self.folder.tidy();
        if keep && let Err(error) = self.volume.keep(candidate).await {
            tracing::warn!("there may be no copy of this for a restart: {error}");
        }
    }

    fn accept(&mut self, candidate: Candidate, tell: bool) {
        let running = Running {
            revision: candidate.revision.as_ref().map(ToString::to_string).unwrap_or_default(),
            hash: candidate.hash.clone(),
        };
        if tell {
            let Running { revision, hash } = running.clone();
            // Nobody listens in classic delivery.
            let _ = self.answers.send(Answer::Accepted { revision, hash });
        }
        self.running.send_replace(running);
        // What was refused before this one stays so: it is not what a crash shall be answered with.
        self.refused = self.refused.take().filter(|refused| *refused != candidate.hash);
        // What nginx dies of is served at first each time: its pauses go on to grow.
        let is_over = |retry: &Retry| retry.is_of(&candidate.hash) && self.early_deaths < EARLY_DEATHS;
        self.retry = self.retry.take().filter(|retry| !is_over(retry));
        self.current = Some(candidate);
    }

    pub(super) fn refuse(&mut self, candidate: &Candidate, unserved: &Unserved) {
        tracing::error!("nginx does not take {candidate}: {}", unserved.message());
        if candidate.origin == Origin::Core {
            self.refused = Some(candidate.hash.clone());
            self.untold.push((candidate.clone(), unserved.message().to_owned()));
            match (&mut self.retry, unserved) {
                (retry, Unserved::Refused(_)) => *retry = None,
                (Some(retry), Unserved::Failed(_)) if retry.is_of(&candidate.hash) => retry.later(),
                (retry, Unserved::Failed(_)) => *retry = Some(Retry::new(&candidate.hash, self.times.retry)),
            }
        }
    }

    pub(super) fn tell_refusals(&mut self) {
        for (candidate, message) in self.untold.drain(..) {
            let revision = candidate.revision.map(|revision| revision.to_string()).unwrap_or_default();
            let running = self.running.borrow().revision.clone();
            let _ = self.answers.send(Answer::Refused { revision, hash: candidate.hash, message, running });
        }
    }
}
