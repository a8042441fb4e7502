//! Supervising nginx: starting it, starting it again when it crashed, giving it revisions, ending it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::candidate::{Candidate, Origin};
use super::follow::{Answer, Running};
use super::retry::Retry;
use super::seal::Seal;
use super::signals::{Attended, Ending, Order, Orders, attended};
use super::volume::Volume;
use super::{Error, Times};
use crate::kinds::nginx::server::Server;
use crate::kinds::server::Unserved;
use crate::units::Backoff;

/// An nginx that ended sooner did not do well with its configuration.
const EARLY: Duration = Duration::from_secs(10);
/// After so many early ends another configuration is tried.
pub(super) const EARLY_DEATHS: u32 = 3;
/// How often it is looked for old workers that a reload left later than expected.
const TICK: Duration = Duration::from_secs(5);
/// The same while a revision waits for them to end.
const PACED_TICK: Duration = Duration::from_millis(50);

/// The configuration that Docker mounts.
pub(super) enum Boot {
    /// nginx reads it where it is: it may include what is around it.
    InPlace(PathBuf),
    /// It is laid out like what core sends. The second file is its manifest.
    Aside(PathBuf, PathBuf),
}

/// What supervises.
pub(super) struct Supervisor {
    pub(super) server: Server,
    pub(super) volume: Volume,
    pub(super) boot: Boot,
    /// Whose signature configurations need; `None` where nothing is signed.
    pub(super) seal: Option<Seal>,
    /// The newest that core wants.
    pub(super) wanted: watch::Receiver<Option<Arc<Candidate>>>,
    pub(super) running: watch::Sender<Running>,
    pub(super) answers: mpsc::UnboundedSender<Answer>,
    pub(super) times: Times,
    /// For how long the ports stay open after the order to finish.
    pub(super) linger: Duration,
    /// Whether core was ever reached; `None` where nobody follows core.
    pub(super) reached: Option<watch::Receiver<bool>>,
    /// What it serves, or served before it crashed.
    pub(super) current: Option<Candidate>,
    /// The hash of what was refused last.
    pub(super) refused: Option<String>,
    /// When what core wants is tried again that was refused for a reason that may pass. It is kept for longer than that: see `accept`.
    pub(super) retry: Option<Retry>,
    /// Refusals that core is told once it is known what runs instead.
    pub(super) untold: Vec<(Candidate, String)>,
    pub(super) early_deaths: u32,
}

impl Supervisor {
    /// Until an order to end, or until nothing works at the start.
    pub(super) async fn run(mut self, mut orders: Orders) -> Result<(), Error> {
        if let Attended::Ended(_) = attended(&mut orders, None, self.hear_from_core()).await {
            return Ok(());
        }
        match attended(&mut orders, None, self.bring_up()).await {
            Attended::Done(started) => started?,
            Attended::Ended(ending) => return self.end(ending, &mut orders).await,
        }
        loop {
            if let Some(ending) = self.serve(&mut orders).await {
                return self.end(ending, &mut orders).await;
            }
            match attended(&mut orders, None, self.revive()).await {
                Attended::Done(()) => {}
                Attended::Ended(ending) => return self.end(ending, &mut orders).await,
            }
        }
    }

    /// Waits for core's first word, so that nobody is served what is long outdated. A core that does not answer is not waited
    /// for: what is mounted is as new as the last roll.
    async fn hear_from_core(&mut self) {
        if let Boot::InPlace(_) = self.boot {
            return;
        }
        if let Some(reached) = &mut self.reached {
            let reach = timeout(self.times.reach, reached.wait_for(|reached| *reached));
            let heard = self.wanted.wait_for(Option::is_some);
            let unreached = tokio::select! {
                reached = reach => !matches!(reached, Ok(Ok(_))),
                _ = heard => false,
            };
            if unreached {
                tracing::warn!(
                    "core did not answer within {}: serving the mounted configuration",
                    humantime::format_duration(self.times.reach)
                );
                return;
            }
        }
        let heard = timeout(self.times.core, self.wanted.wait_for(Option::is_some)).await.is_ok();
        if !heard {
            tracing::warn!(
                "core sent nothing for {}: serving an older configuration",
                humantime::format_duration(self.times.core)
            );
        }
    }

    /// Serves until nginx has ended by itself (`None`) or an order to end came.
    async fn serve(&mut self, orders: &mut Orders) -> Option<Ending> {
        // Until when what core wants waits for old workers to end: another reload would end some that have connections.
        let mut paced: Option<Instant> = None;
        loop {
            if std::mem::take(&mut orders.reload)
                && let Attended::Ended(ending) = self.attended_reload(orders).await
            {
                return Some(ending);
            }
            self.server.pid()?;
            let is_due = |retry: &&Retry| self.refused.as_ref().is_some_and(|refused| retry.is_of(refused));
            let retry_at = self.retry.as_ref().filter(is_due).map(|retry| retry.at);
            tokio::select! {
                biased;
                order = orders.next() => match order {
                    Order::Stop => return Some(Ending::Stop),
                    Order::Drain => return Some(Ending::Drain),
                    Order::Reload => orders.reload = true,
                    Order::Reopen => self.server.reopen(),
                },
                ended = self.server.ended() => {
                    tracing::error!("nginx ended by itself: {ended}");
                    self.died();
                    return None;
                }
                Ok(()) = self.wanted.changed(), if paced.is_none() => {
                    self.server.look();
                    if let Some(pause) = self.server.pause(self.times.pace) {
                        tracing::info!(
                            bytes = self.server.old_memory(),
                            "old workers with open connections take much memory: the next revision waits for up to {}",
                            humantime::format_duration(pause)
                        );
                        paced = Some(Instant::now() + pause);
                        continue;
                    }
                    if let Attended::Ended(ending) = self.attended_take(orders).await {
                        return Some(ending);
                    }
                }
                () = until(retry_at), if paced.is_none() => {
                    // Whatever becomes of it, the next one is later.
                    let next = Instant::now() + self.times.retry.0;
                    self.retry.iter_mut().for_each(|retry| retry.at = next);
                    if let Attended::Ended(ending) = self.attended_take(orders).await {
                        return Some(ending);
                    }
                }
                () = sleep(if paced.is_some() { PACED_TICK } else { TICK }) => {
                    self.server.look();
                    self.volume.catch_up();
                    if paced.is_some_and(|until| until <= Instant::now() || self.server.pause(self.times.pace).is_none()) {
                        paced = None;
                        if let Attended::Ended(ending) = self.attended_take(orders).await {
                            return Some(ending);
                        }
                    }
                }
            }
        }
    }

    /// Gives the running nginx the newest that core wants.
    async fn attended_take(&mut self, orders: &mut Orders) -> Attended<()> {
        let pid = self.server.pid();
        let Some(wanted) = self.wanted.borrow_and_update().clone() else { return Attended::Done(()) };
        attended(orders, pid, self.take(&wanted)).await
    }

    /// Starts nginx again, for as long as it takes.
    async fn revive(&mut self) {
        let mut pauses = Backoff::new(self.times.pause.0, self.times.pause.1);
        // An nginx that comes up and dies again is given pauses as well.
        for _ in 1..self.early_deaths {
            pauses.next();
        }
        if self.early_deaths > 0 {
            sleep(pauses.next()).await;
        }
        while let Err(error) = self.bring_up().await {
            let pause = pauses.next();
            tracing::error!("{error}; trying again in {} s", pause.as_secs_f32().ceil());
            tokio::select! {
                () = sleep(pause) => {}
                Ok(()) = self.wanted.changed() => {}
            }
        }
    }

    /// Starts nginx with the first configuration that it serves.
    async fn bring_up(&mut self) -> Result<(), Error> {
        let mut tries = Tries::default();
        // What ends each time comes last.
        let last = self.current.clone().filter(|_| self.early_deaths >= EARLY_DEATHS);
        let is_last = |candidate: &Candidate| last.as_ref().is_some_and(|last| candidate.is_same(last));
        let is_not_last = |candidate: &io::Result<Candidate>| !candidate.as_ref().is_ok_and(is_last);
        let (mounted, otherwise) = match &self.boot {
            Boot::InPlace(path) => (Some(Candidate::boot(path, None)), None),
            Boot::Aside(path, manifest) => (None, Some(Candidate::boot(path, Some(manifest)))),
        };
        let known = self.known().into_iter().map(Ok).chain(mounted).filter(is_not_last);
        for candidate in known.collect::<Vec<_>>() {
            if self.serves(candidate, &mut tries).await {
                return Ok(());
            }
        }
        // Only then, as the volume may hang.
        let copies = self.volume.newest_first().await.into_iter().map(Ok);
        let others = copies.chain(otherwise).filter(is_not_last).chain(last.clone().map(Ok));
        for candidate in others.collect::<Vec<_>>() {
            if self.serves(candidate, &mut tries).await {
                return Ok(());
            }
        }
        self.running.send_replace(Running::default());
        self.tell_refusals();
        Err(Error::NothingServes(tries.first_error.unwrap_or_else(|| "there is none".to_owned())))
    }

    /// Whether nginx serves this now, having been started with it.
    async fn serves(&mut self, candidate: io::Result<Candidate>, tries: &mut Tries) -> bool {
        let candidate = match candidate {
            Ok(candidate) if tries.tried.iter().any(|tried| tried.is_same(&candidate)) => return false,

            Ok(candidate) => candidate,
            Err(error) => {
                tries.first_error.get_or_insert(error.to_string());
                return false;
            }
        };
        if let Some(wrong) = self.seal.as_ref().and_then(|seal| seal.breaks(&candidate)) {
            tracing::error!("{candidate} is not served: {wrong}");
            tries.first_error.get_or_insert_with(|| format!("{candidate}: {wrong}"));
            return false;
        }
        if tries.first_error.is_some() {
            tracing::error!("trying {candidate} instead");
        }
        let in_place = match (&self.boot, candidate.origin) {
            (Boot::InPlace(path), Origin::Boot) => Some(path.as_path()),
            _ => None,
        };
        match self.server.start(&candidate, in_place).await {
            Ok(revision) => {
                // After a crash something else may serve again than what core wants and was refused: that stays refused.
                let wanted = self.wanted.borrow().as_ref().is_some_and(|wanted| wanted.hash == candidate.hash);
                self.serving(candidate, &revision, wanted).await;
                self.tell_refusals();
                true
            }
            Err(unserved) => {
                self.refuse(&candidate, &unserved);
                tries.first_error.get_or_insert_with(|| unserved.message().to_owned());
                tries.tried.push(candidate);
                false
            }
        }
    }

    /// What core wants, unless it was refused, and what was served.
    fn known(&mut self) -> Vec<Candidate> {
        let wanted = self.wanted.borrow_and_update().clone();
        let wanted = wanted.filter(|wanted| self.refused.as_ref() != Some(&wanted.hash));
        wanted.map(|wanted| (*wanted).clone()).into_iter().chain(self.current.clone()).collect()
    }

    /// nginx's master process is gone. Its workers go on.
    fn died(&mut self) {
        let Some(lived) = self.server.died() else { return };
        self.early_deaths = if lived < EARLY { self.early_deaths + 1 } else { 0 };
        let Some(current) = self.current.clone() else { return };
        if self.early_deaths >= EARLY_DEATHS {
            // It would be served, and end again. If somebody else is to blame, another attempt goes well.
            let message = format!("nginx ended by itself {} times soon after it was started", self.early_deaths);
            self.refuse(&current, &Unserved::Failed(message));
        } else if self.early_deaths == 0 {
            self.retry = self.retry.take().filter(|retry| !retry.is_of(&current.hash));
        }
    }

    /// Ends nginx, and with it the agent.
    async fn end(mut self, ending: Ending, orders: &mut Orders) -> Result<(), Error> {
        tracing::info!(
            "{}",
            match ending {
                Ending::Stop => "stopping",
                Ending::Drain => "finishing the open connections, then stopping",
            }
        );
        let mut stopping = ending == Ending::Stop;
        let began = Instant::now();
        let mut deadline = stopping.then(|| began + self.times.stop);
        let mut closing = (!stopping).then(|| began + self.linger);
        if stopping {
            self.server.stop();
        }
        self.server.adopt_orphans();
        loop {
            if stopping {
                self.server.end_old();
            }
            tokio::select! {
                biased;
                order = orders.next() => if order == Order::Stop && !stopping {
                    stopping = true;
                    closing = None;
                    deadline = Some(Instant::now() + self.times.stop);
                    self.server.stop();
                },
                ended = self.server.gone() => {
                    tracing::info!("nginx ended: {ended}");
                    return Ok(());
                }
                () = until(closing) => {
                    closing = None;
                    self.server.drain();
                }
                () = until(deadline) => {
                    tracing::warn!("nginx does not end and is killed");
                    self.server.kill();
                    deadline = None;
                }
            }
        }
    }
}

/// What was tried to bring nginx up.
#[derive(Default)]
struct Tries {
    tried: Vec<Candidate>,
    first_error: Option<String>,
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
