//! What the proxy is given, what it serves, and what core hears of it.

use super::candidate::{Candidate, Origin};
use super::follow::{Answer, Running};
use super::retry::Retry;
use super::signals::{Attended, Orders, attended};
use super::supervise::{Boot, EARLY_DEATHS, Supervisor};
use crate::kinds::nginx::server::Unapplied;
use crate::kinds::server::Unserved;

impl Supervisor {
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
                self.server.begin_anew();
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

    /// The same. `None` when nginx died meanwhile, the first time.
    async fn apply(&mut self, wanted: &Candidate) -> Result<(), Option<Unserved>> {
        let current = self.current.as_ref().and_then(|current| current.revision.clone());
        self.server.apply(wanted, current.as_ref()).await.map_err(|unapplied| match unapplied {
            Unapplied::Unserved(unserved) => Some(unserved),
            // It is what nginx is started with first. Unless that did not go well.
            Unapplied::Ended(reason) => reason.filter(|_| self.retry.is_some()).map(Unserved::Failed),
        })
    }

    /// A reload that somebody asked for, as when certificates changed in place.
    pub(super) async fn attended_reload(&mut self, orders: &mut Orders) -> Attended<()> {
        let pid = self.server.pid();
        let work = async {
            if self.current.as_ref().is_some_and(|current| current.revision.is_none()) {
                // Somebody's own configuration does not say what it serves.
                self.server.reread();
                return;
            }
            match self.server.reload().await {
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
            candidate.set.revision = said.parse().ok();
        }
        tracing::info!("nginx serves {candidate}");
        let keep = match (&self.boot, candidate.origin) {
            (Boot::InPlace(_), Origin::Boot) | (_, Origin::Core) => true,
            (_, Origin::Boot | Origin::Volume) => false,
        };
        self.accept(candidate.clone(), tell);
        self.server.tidy();
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
            let revision = candidate.set.revision.map(|revision| revision.to_string()).unwrap_or_default();
            let running = self.running.borrow().revision.clone();
            let _ = self.answers.send(Answer::Refused { revision, hash: candidate.set.hash, message, running });
        }
    }
}
