//! nginx, run by an agent: a file set is written aside, checked, put in place, read, confirmed; or all of that is taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use super::check_output;
use crate::kinds::reaper::Children;
use crate::kinds::server::{FileSet, Unserved};
use crate::proxy_config::Revision;

mod connections;
mod folder;
pub mod health;
mod master;
mod not_clients;
mod output;
mod processes;
mod program;
mod trial;

pub(crate) use connections::Connections;
use folder::{Folder, MAIN};
use master::{Master, NotServing};
use output::Output;
use processes::Generations;
pub(crate) use processes::room;
use program::Program;
pub(crate) use trial::Secret;

/// How long workers whose master died may take to give up their port.
const LONGEST_TAKE_OVER: Duration = Duration::from_secs(1);

/// What a server is made of.
#[derive(Debug)]
pub(crate) struct Options<'a> {
    /// The command that starts nginx.
    pub(crate) command: &'a [String],
    /// The agent's own folder, in memory.
    pub(crate) run: &'a Path,
    /// Where nginx says what it serves.
    pub(crate) health: SocketAddr,
    /// How long a check may take.
    pub(crate) check: Duration,
    /// How long new workers may take to serve, beyond three times what the check took.
    pub(crate) serve: Duration,
    /// How often the agent looks which tasks do not accept connections.
    pub(crate) look: Duration,
    /// How much memory old workers may take, in bytes.
    pub(crate) old_workers: u64,
    /// Whether file sets come and go while it runs.
    pub(crate) changes: bool,
    /// How processes are started.
    pub(crate) children: Children,
}

/// nginx, running or not.
pub(crate) struct Server {
    program: Program,
    folder: Folder,
    run: PathBuf,
    connections: Connections,
    health: SocketAddr,
    check: Duration,
    serve: Duration,
    master: Option<Master>,
    /// Masters that died, whose workers take connections until there is another one.
    orphaned: Vec<Pid>,
    /// The workers that reloads left.
    old: Generations,
    /// The Unix sockets that nginx has listened on.
    sockets: BTreeSet<PathBuf>,
}

/// Why a running nginx did not take a file set. It goes on with what it had, if it runs.
pub(crate) enum Unapplied {
    /// It was not taken.
    Unserved(Unserved),
    /// nginx ended meanwhile, with the reason if that was seen here. Who killed it need not have meant this file set.
    Ended(Option<String>),
}

impl From<Unserved> for Unapplied {
    fn from(unserved: Unserved) -> Self {
        Self::Unserved(unserved)
    }
}

/// Where a file set is checked.
struct Spot {
    main: PathBuf,
    folder: PathBuf,
    in_place: bool,
}

impl Server {
    /// Does not start it.
    ///
    /// # Errors
    ///
    /// When the agent's folder is of no use.
    pub(crate) fn new(options: &Options<'_>) -> io::Result<Self> {
        let Options { command, run, health, check, serve, look, old_workers, changes, children } = options;
        not_clients::note(run)?;
        let connections = Connections::new(*look);
        let output = Output::to_ours(run, &connections).map(Arc::new);
        let output =
            output.inspect_err(|error| tracing::warn!("nginx writes to this container's output itself: {error}"));
        Ok(Self {
            program: Program::new(command, *changes, children.clone(), output.ok()),
            folder: Folder::new(run),
            run: (*run).to_owned(),
            connections,
            health: *health,
            check: *check,
            serve: *serve,
            master: None,
            orphaned: Vec::new(),
            old: Generations::new(*old_workers),
            sockets: BTreeSet::new(),
        })
    }

    /// Which tasks do not accept its connections.
    pub(crate) fn connections(&self) -> Connections {
        self.connections.clone()
    }

    /// The version, like `1.30.7`; empty when it cannot be found out.
    pub(crate) async fn version(&self) -> String {
        self.program.version().await
    }

    /// The secrets of this folder that nginx cannot use, with the reasons. Those that the time does not suffice for are taken to be good.
    pub(crate) async fn judge(
        &self,
        folder: &Path,
        secrets: &[Secret<'_>],
        limit: Duration,
    ) -> BTreeMap<String, String> {
        trial::judge(&self.program, &self.run, folder, secrets, limit).await
    }

    /// Its process, while it runs.
    pub(crate) fn pid(&self) -> Option<Pid> {
        self.master.as_ref().map(Master::pid)
    }

    /// Starts it with a file set, or with the file that stands at `in_place` already. Answers the revision that it says it serves; none of it runs
    /// otherwise.
    pub(crate) async fn start(&mut self, set: &FileSet, in_place: Option<&Path>) -> Result<String, Unserved> {
        let spot = self.place(set, in_place)?;
        let limit = self.check(set, &spot).await?;
        let config = if spot.in_place { spot.main } else { self.point(&spot.folder)? };
        self.take_over().await;
        self.sockets.extend(sockets(set));
        self.clear_sockets();
        let child = self.program.start(set, &config);
        let child = child.map_err(|error| Unserved::Failed(format!("nginx cannot be run: {error}")))?;
        let master = self.master.insert(Master::new(child));
        match master.serves(self.health, set.revision.as_ref(), &BTreeSet::new(), limit).await {
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
                    NotServing::Ended(_) => self.old.adopt(master.pid()),
                }
                self.master = None;
                Err(Unserved::Failed(error.to_string()))
            }
        }
    }

    /// Gives the running nginx another file set: checks, swaps, reloads, confirms; or takes it all back and says why. `current`: the revision
    /// that it serves.
    pub(crate) async fn apply(&mut self, set: &FileSet, current: Option<&Revision>) -> Result<(), Unapplied> {
        let spot = self.place(set, None)?;
        let limit = self.check(set, &spot).await?;
        let before = self.folder.current();
        self.sockets.extend(sockets(set));
        let _ = self.point(&spot.folder)?;
        let Err(error) = self.reload_within(set.revision.as_ref(), limit).await else { return Ok(()) };
        if let Some(before) = &before {
            self.point(before)?;
        }
        if let Some(NotServing::Late(..)) = error
            && let Err(Some(error)) = self.reload_within(current, limit).await
        {
            tracing::error!("nginx does not go back to what it served: {error}");
        }
        self.folder.tidy();
        Err(match error {
            Some(error @ NotServing::Late(..)) => Unserved::Failed(error.to_string()).into(),
            Some(error @ NotServing::Ended(_)) => Unapplied::Ended(Some(error.to_string())),
            None => Unapplied::Ended(None),
        })
    }

    /// Has it read again what it serves, and waits until new workers do. Answers the reason when they do not; `None` when nginx has ended.
    pub(crate) async fn reload(&mut self) -> Result<(), Option<String>> {
        self.reload_within(None, self.serve).await.map_err(|error| error.map(|error| error.to_string()))
    }

    /// Has it read again what it serves, without waiting.
    pub(crate) fn reread(&self) {
        self.signal(Signal::SIGHUP);
    }

    /// Has it open its logs again.
    pub(crate) fn reopen(&self) {
        self.signal(Signal::SIGUSR1);
    }

    /// Has it take no new connections, finish the open ones and end.
    pub(crate) fn drain(&self) {
        self.signal(Signal::SIGQUIT);
    }

    /// Has it end at once; connections are cut.
    pub(crate) fn stop(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Kills it and all workers.
    pub(crate) fn kill(&mut self) {
        if let Some(master) = &self.master {
            master.kill();
        }
        self.old.end(Signal::SIGKILL);
    }

    /// Has the workers end that reloads and masters that died have left.
    pub(crate) fn end_old(&mut self) {
        self.old.end(Signal::SIGTERM);
    }

    /// Counts the workers of masters that died as old ones.
    pub(crate) fn adopt_orphans(&mut self) {
        self.orphaned.drain(..).for_each(|master| self.old.adopt(master));
    }

    /// Waits until it has ended; for ever when it does not run. May be given up, and called again.
    pub(crate) async fn ended(&mut self) -> String {
        match &mut self.master {
            Some(master) => master.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Waits until it and all workers are gone.
    pub(crate) async fn gone(&mut self) -> String {
        let ended = match &mut self.master {
            Some(master) => master.ended().await,
            None => "it did not run".to_owned(),
        };
        while !self.old.are_gone() {
            sleep(Duration::from_millis(100)).await;
        }
        ended
    }

    /// Its master process is gone; the workers go on. Answers for how long it ran with what it served last; `None` when that was known.
    pub(crate) fn died(&mut self) -> Option<Duration> {
        let master = self.master.take()?;
        self.orphaned.push(master.pid());
        Some(master.since.elapsed())
    }

    /// What it serves from now on has to live for some time of its own.
    pub(crate) fn begin_anew(&mut self) {
        if let Some(master) = &mut self.master {
            master.since = Instant::now();
        }
    }

    /// Looks which workers only finish what they have.
    pub(crate) fn look(&mut self) {
        if let Some(pid) = self.pid() {
            self.old.observe(pid);
        }
    }

    /// How long the next file set waits, so that old workers end by themselves; `None` for not at all.
    pub(crate) fn pause(&mut self, shortest: Duration) -> Option<Duration> {
        self.old.pause(shortest)
    }

    /// How many bytes of memory old workers take.
    pub(crate) fn old_memory(&self) -> u64 {
        self.old.memory()
    }

    /// Removes the file sets that it does not serve.
    pub(crate) fn tidy(&self) {
        self.folder.tidy();
    }

    fn signal(&self, signal: Signal) {
        if let Some(master) = &self.master {
            master.signal(signal);
        }
    }

    /// The place where a file set is checked, once it is written there.
    fn place(&self, set: &FileSet, in_place: Option<&Path>) -> Result<Spot, Unserved> {
        if let Some(path) = in_place {
            let folder = path.parent().unwrap_or(path).to_owned();
            return Ok(Spot { main: path.to_owned(), folder, in_place: true });
        }
        let failed = |error| Unserved::Failed(format!("it cannot be written: {error}"));
        let folder = self.folder.place(set).map_err(failed)?;
        Ok(Spot { main: folder.join(MAIN), folder, in_place: false })
    }

    /// Has a file set checked. Answers how long nginx may take to serve it.
    async fn check(&self, set: &FileSet, spot: &Spot) -> Result<Duration, Unserved> {
        let began = Instant::now();
        let checked = self.program.check(set, &spot.main, self.check).await;
        checked.map_err(|unserved| unserved.with(|said| check_output::of_folder(said, &spot.folder)))?;
        Ok(self.serve + 3 * began.elapsed())
    }

    fn point(&self, folder: &Path) -> Result<PathBuf, Unserved> {
        let failed = |error| Unserved::Failed(format!("it cannot be put in place: {error}"));
        self.folder.point(folder).map_err(failed)?;
        Ok(self.folder.config())
    }

    /// Has nginx read what `current` points at, and waits until new workers serve it.
    async fn reload_within(&mut self, revision: Option<&Revision>, limit: Duration) -> Result<(), Option<NotServing>> {
        let Some(master) = &mut self.master else { return Err(None) };
        if master.has_ended() {
            return Err(None);
        }
        let before = master.workers();
        master.signal(Signal::SIGHUP);
        let served = master.serves(self.health, revision, &before, limit).await;
        if served.is_ok() {
            self.old.renewed();
        }
        self.old.observe(master.pid());
        served.map(drop).map_err(Some)
    }

    /// Has workers whose master died give up their port, at the last moment: nobody else takes connections until nginx has started.
    async fn take_over(&mut self) {
        let deadline = Instant::now() + LONGEST_TAKE_OVER;
        while let Some(master) = self.orphaned.pop() {
            self.old.adopt(master);
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
}

/// The Unix sockets that a file set listens on.
fn sockets(set: &FileSet) -> impl Iterator<Item = PathBuf> {
    let lines = set.files.iter().flat_map(|file| file.content.lines());
    let paths = lines.filter_map(|line| line.trim_start().strip_prefix("listen")?.trim_start().strip_prefix("unix:"));
    paths.filter_map(|rest| rest.split([' ', '\t', ';']).next()).map(PathBuf::from)
}
