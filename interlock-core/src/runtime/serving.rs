//! Waiting until the extensions and proxies of an installation serve.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::log_changes::{Told, chain};
use super::{Error, Options, Progress};
use crate::docker::{Client, ErrorKind};
use crate::install::{self, Pending};
use crate::problem::{Problem, Severity, Subject};
use crate::reconcile::{Inputs, reconcile_embedded};
use crate::settings::Settings;
use crate::swarm::Snapshot;
use crate::units::Cluster;

const POLL: Duration = Duration::from_millis(300);
/// How long core has to give services their settings. One of another version may give them others than this program would.
const SETTINGS: Duration = Duration::from_secs(60);
/// How often is looked what is wrong, which takes time on a large Swarm.
const LOOK: Duration = Duration::from_secs(10);

/// Waits until all extensions and proxies of these settings run what they should and are healthy. Core has to run.
///
/// # Errors
///
/// [`Error::UpdateFailed`] when Swarm gave a roll up; [`Error::InTheWay`] when a service cluster cannot be deployed; [`Error::Timeout`] when they
/// do not serve in time, with Swarm's own reasons; [`Error::Docker`] for what fails for good.
pub async fn serving(
    settings: &Settings,
    options: &Options,
    limit: Duration,
    mut progress: impl FnMut(Progress),
) -> Result<(), Error> {
    let mut waiting = vec!["the engine's answer".to_owned()];
    match timeout(limit, wait(settings, options, &mut waiting, &mut progress)).await {
        Ok(result) => result,
        Err(_) => Err(Error::Timeout { limit, left: waiting.join("; ") }),
    }
}

async fn wait(
    settings: &Settings,
    options: &Options,
    waiting: &mut Vec<String>,
    progress: &mut impl FnMut(Progress),
) -> Result<(), Error> {
    let client = Client::connect_with(&options.endpoint, options.deadlines).await?.for_settings(settings);
    let (start, mut looked) = (Instant::now(), Instant::now());
    let mut told = Told::default();
    let mut before = None;
    loop {
        let snapshot = match client.observe((options.clock)()).await {
            Ok(observation) => observation.snapshot,
            Err(error) => match error.kind() {
                ErrorKind::Conflict | ErrorKind::Gone | ErrorKind::Unavailable | ErrorKind::Unreachable => {
                    progress(Progress::Retrying(chain(&error)));
                    sleep(POLL * 4).await;
                    continue;
                }
                _ => return Err(error.into()),
            },
        };
        let before = before.get_or_insert_with(|| {
            snapshot.services().filter_map(|service| service.update.as_ref()?.started_at).collect()
        });
        if let Some(problem) = install::refused(&snapshot, settings) {
            return Err(Error::InTheWay(Box::new(problem)));
        }
        if let Some((service, reason)) = install::failed(&snapshot, settings, before) {
            return Err(Error::UpdateFailed { service, reason });
        }
        let pending = install::pending(&snapshot, settings);
        let is_late = start.elapsed() >= SETTINGS;
        let counts = |pending: &Pending| pending.is_certain || !is_late;
        let now: Vec<_> = pending.into_iter().filter(counts).map(|pending| pending.what).collect();
        if now.is_empty() {
            return Ok(());
        }
        if now != *waiting {
            progress(Progress::Waiting(now.clone()));
        }
        *waiting = now;
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            let problems = of_clusters(snapshot, settings);
            told.problems(&problems).0.into_iter().for_each(|problem| progress(Progress::Problem(problem)));
            if let Some(problem) = problems.into_iter().find(|problem| is_late && is_in_the_way(problem)) {
                return Err(Error::InTheWay(Box::new(problem)));
            }
        }
        sleep(POLL).await;
    }
}

/// What is wrong with service clusters. What is wrong with services is for their owners.
fn of_clusters(snapshot: Snapshot, settings: &Settings) -> Vec<Problem> {
    let (outcome, _) = reconcile_embedded(&Inputs::new(snapshot, settings.clone()));
    let mut problems = outcome.problems;
    problems.retain(|problem| matches!(problem.subject, Subject::Cluster(_)) && problem.severity == Severity::Error);
    problems
}

fn is_in_the_way(problem: &Problem) -> bool {
    let stuck: Option<&Cluster> = super::once::stuck(problem);
    stuck.is_some()
}
