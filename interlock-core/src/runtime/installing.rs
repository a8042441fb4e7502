//! Setting interlock up, and taking it away: observe, plan, apply, until nothing is left to do.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::applying::{Stop, apply};
use super::telling::chain;
use super::{Error, Options, Progress};
use crate::docker::{Client, ErrorKind};
use crate::install::{self, Core};
use crate::plan::{Plan, Step};
use crate::problem::Problem;
use crate::settings::Settings;
use crate::snapshot::{Snapshot, TaskState};

/// Sets core up, or brings it up to date. Ends when a task of core runs with what was asked for. Returns how many steps were done.
///
/// # Errors
///
/// [`Error::InTheWay`] when a service of this name is not ours, and nothing was done; [`Error::Docker`] for what fails for good;
/// [`Error::Timeout`] when core does not run in time: what was asked for is wrong, and an older core was put back.
pub async fn install(
    core: &Core,
    options: &Options,
    limit: Duration,
    progress: impl FnMut(Progress),
) -> Result<usize, Error> {
    let decide = |snapshot: &Snapshot| {
        let (mut plan, problem) = install::install(snapshot, core);
        if plan.is_empty() && problem.is_none() {
            plan.waiting.extend(not_running(snapshot, &core.name));
        }
        (plan, problem)
    };
    work(options, limit, decide, progress).await
}

/// Makes the networks and the authority for a core that is deployed by hand. Returns how many steps were done.
///
/// # Errors
///
/// As [`install()`].
pub async fn authority(
    settings: &Settings,
    options: &Options,
    limit: Duration,
    progress: impl FnMut(Progress),
) -> Result<usize, Error> {
    work(options, limit, |snapshot| (install::authority(snapshot, settings), None), progress).await
}

/// Removes what is ours. Ends when it is gone. Returns how many steps were done.
///
/// # Errors
///
/// As [`install()`]; a core that was deployed by hand is in the way.
pub async fn uninstall(
    keep_authority: bool,
    options: &Options,
    limit: Duration,
    progress: impl FnMut(Progress),
) -> Result<usize, Error> {
    work(options, limit, |snapshot| install::uninstall(snapshot, keep_authority), progress).await
}

const POLL: Duration = Duration::from_millis(300);

async fn work(
    options: &Options,
    limit: Duration,
    decide: impl Fn(&Snapshot) -> (Plan, Option<Problem>),
    mut progress: impl FnMut(Progress),
) -> Result<usize, Error> {
    let mut waiting = vec!["the engine's answer".to_owned()];
    // Networks are listed until their last task is gone, long after they were removed.
    let mut done = BTreeSet::new();
    let working = async {
        let client = Client::connect_with(&options.endpoint, options.deadlines).await?;
        loop {
            let observation = client.observe((options.clock)()).await?;
            let (plan, problem) = decide(&observation.snapshot);
            if let Some(problem) = problem {
                return Err(Error::InTheWay(Box::new(problem)));
            }
            if plan.is_empty() && plan.waiting.is_empty() {
                return Ok(());
            }
            let planned: Vec<_> = plan.steps.iter().map(|step| step.action.object()).collect();
            let before = done.len();
            let tell = |step: &Step| {
                if done.insert(format!("{step}")) {
                    progress(Progress::Done(step.clone()));
                }
            };
            let applied = apply(&client, plan.steps, &observation.specs, Stop::default(), tell).await;
            for (step, error) in applied.failed {
                progress(Progress::Failed(step, chain(&error)));
                match error.kind() {
                    ErrorKind::Conflict | ErrorKind::Gone | ErrorKind::InUse | ErrorKind::Unavailable => {}
                    _ => return Err(error.into()),
                }
            }
            if done.len() == before {
                let in_use = planned.into_iter().map(|object| format!("{object} is still in use"));
                let now: Vec<_> = in_use.chain(plan.waiting.into_iter().map(|waiting| waiting.reason)).collect();
                if now != waiting {
                    progress(Progress::Waiting(now.clone()));
                }
                waiting = now;
                sleep(POLL).await;
            }
        }
    };
    match timeout(limit, working).await {
        Ok(result) => result.map(|()| done.len()),
        Err(_) => Err(Error::Timeout { limit, left: waiting.join("; ") }),
    }
}

/// Why a service has no task that runs what it should, if so.
fn not_running(snapshot: &Snapshot, name: &str) -> Option<crate::plan::Waiting> {
    let service = snapshot.services.iter().find(|service| service.spec.name == name)?;
    let of_service = || snapshot.tasks.iter().filter(|task| task.service == service.id);
    let current = |task: &&crate::snapshot::Task| {
        task.serves() && service.spec.configs.iter().all(|config| task.configs.contains(&config.id))
    };
    let updating = service.update.as_ref().is_some_and(|update| update.state.in_progress());
    if !updating && of_service().any(|task| current(&task)) {
        return None;
    }
    let mut failed = of_service().filter(|task| task.state > TaskState::Running && !task.error.is_empty());
    let why = failed.next_back().map(|task| format!(" ({})", crate::problem::said(&task.error))).unwrap_or_default();
    let reason = format!("service {name} has no running task yet{why}");
    Some(crate::plan::Waiting { cluster: crate::names::Cluster::default(), reason })
}
