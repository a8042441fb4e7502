//! Setting interlock up, and taking it away: observe, plan, apply, until nothing is left to do.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::execute::{Stop, apply};
use super::log_changes::chain;
use super::timing::BEGIN;
use super::{Error, Options, Progress};
use crate::deployment::lack_of_nodes;
use crate::docker::{Client, ErrorKind};
use crate::install::{self, Core};
use crate::plan::{Action, Plan, Step, Waiting};
use crate::problem::{self, Problem};
use crate::settings::Settings;
use crate::swarm::index::Directory;
use crate::swarm::{Service, Snapshot, SwarmIndex, TaskState};
use crate::units::{Cluster, Fingerprint, ServiceId};

/// What was set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// How many steps were done.
    pub steps: usize,
    /// The authority that was made, if one was. Who knows its fingerprint can tell it from others.
    pub authority: Option<Fingerprint>,
}

/// Sets core up, or brings it up to date. Ends when a task of core runs with what was asked for. An authority that exists without a core that has
/// it counts only if it is the one of `adopts`.
///
/// # Errors
///
/// [`Error::InTheWay`] when a service of this name is not ours, and nothing was done; [`Error::Docker`] for what fails for good;
/// [`Error::UpdateFailed`] when what was asked for is wrong, and an older core was put back; [`Error::Timeout`] when core does not run in time.
pub async fn install(
    core: &Core,
    adopts: Option<&Fingerprint>,
    options: &Options,
    limit: Duration,
    progress: impl FnMut(Progress),
) -> Result<Installed, Error> {
    let decide = |snapshot: &Snapshot, made: Option<&Fingerprint>| {
        let (mut plan, problem) = install::install(snapshot, core, adopts.or(made));
        if plan.is_empty() && problem.is_none() {
            plan.waiting.extend(not_running(snapshot, &core.name));
        }
        (plan, problem)
    };
    work(
        options,
        limit,
        |snapshot| lack_of_nodes(&SwarmIndex::new(snapshot, &Directory::of(snapshot)), &core.settings),
        decide,
        progress,
    )
    .await
}

/// Makes the networks and the authority for a core that is deployed by hand. `adopts` as for [`install()`].
///
/// # Errors
///
/// As [`install()`].
pub async fn authority(
    settings: &Settings,
    adopts: Option<&Fingerprint>,
    options: &Options,
    limit: Duration,
    progress: impl FnMut(Progress),
) -> Result<Installed, Error> {
    let decide =
        |snapshot: &Snapshot, made: Option<&Fingerprint>| install::authority(snapshot, settings, adopts.or(made));
    work(options, limit, |_| Vec::new(), decide, progress).await
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
    let decide = |snapshot: &Snapshot, _: Option<&Fingerprint>| install::uninstall(snapshot, keep_authority);
    let removed = work(options, limit, |_| Vec::new(), decide, progress).await;
    removed.map(|removed| removed.steps)
}

const POLL: Duration = Duration::from_millis(300);

/// Works until `decide` has nothing more to do. `warns`: what to report of the Swarm as it is found.
async fn work(
    options: &Options,
    limit: Duration,
    warns: impl Fn(&Snapshot) -> Vec<Problem>,
    decide: impl Fn(&Snapshot, Option<&Fingerprint>) -> (Plan, Option<Problem>),
    mut progress: impl FnMut(Progress),
) -> Result<Installed, Error> {
    let mut waiting = vec!["the engine's answer".to_owned()];
    // Networks are listed until their last task is gone, long after they were removed.
    let mut done = BTreeSet::new();
    let (mut updated, mut touched) = (BTreeSet::new(), None::<Instant>);
    let mut warned = false;
    let working = async {
        let client = Client::connect_with(&options.endpoint, options.deadlines).await?;
        loop {
            let observation = client.observe((options.clock)()).await?;
            if let Some(failed) = failed(&observation.snapshot, &updated) {
                return Err(failed);
            }
            if !std::mem::replace(&mut warned, true) {
                warns(&observation.snapshot).into_iter().for_each(|problem| progress(Progress::Problem(problem)));
            }
            let made = client.made_authority();
            let (mut plan, problem) = decide(&observation.snapshot, made.as_ref());
            if let Some(problem) = problem {
                return Err(Error::InTheWay(Box::new(problem)));
            }
            if plan.is_empty() && plan.waiting.is_empty() {
                if touched.is_none_or(|touched| touched.elapsed() >= BEGIN) {
                    return Ok(made);
                }
                plan.waiting.push(waiting_for("the update begins".to_owned()));
            }
            let planned: Vec<_> = plan.steps.iter().map(|step| step.action.object()).collect();
            let before = done.len();
            let tell = |step: &Step| {
                if done.insert(format!("{step}")) {
                    progress(Progress::Done(step.clone()));
                }
            };
            let applied = apply(&client, plan.steps, &observation.specs, Stop::default(), tell).await;
            if applied.done.iter().any(|step| step.restarts_tasks) {
                touched = Some(Instant::now());
            }
            updated.extend(applied.done.iter().filter_map(|step| match &step.action {
                Action::UpdateService { id, .. } => Some(id.clone()),
                _ => None,
            }));
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
        Ok(result) => result.map(|authority| Installed { steps: done.len(), authority }),
        Err(_) => Err(Error::Timeout { limit, left: waiting.join("; ") }),
    }
}

fn waiting_for(reason: String) -> Waiting {
    Waiting { cluster: Cluster::default(), reason }
}

/// What became of the updates that were made, if one failed and that is over. Made again it would fail again, and cost core each time. An
/// update clears what Swarm says of the one before.
fn failed(snapshot: &Snapshot, updated: &BTreeSet<ServiceId>) -> Option<Error> {
    let ours = snapshot.services().filter(|service| updated.contains(&service.id));
    let mut over = ours.filter_map(|service| Some((service, service.update.as_ref()?)));
    let (service, update) = over.find(|(_, update)| update.state.failed() && !update.state.in_progress())?;
    let reason = said_by_task(snapshot, service).unwrap_or_else(|| problem::said(&update.message).to_string());
    Some(Error::UpdateFailed { service: service.spec.name.clone(), reason })
}

/// Why a task of the service ended.
fn said_by_task(snapshot: &Snapshot, service: &Service) -> Option<String> {
    let of_service = snapshot.tasks().filter(|task| task.service == service.id);
    let mut failed = of_service.filter(|task| task.state > TaskState::Running && !task.error.is_empty());
    failed.next_back().map(|task| problem::said(&task.error).to_string())
}

/// Why a service has no task that runs what it should, if so.
fn not_running(snapshot: &Snapshot, name: &str) -> Option<Waiting> {
    let service = snapshot.services().find(|service| service.spec.name == name)?;
    let current = |task: &&crate::swarm::Task| {
        task.serves() && service.spec.configs.iter().all(|config| task.configs.contains(&config.id))
    };
    let updating = service.update.as_ref().is_some_and(|update| update.state.in_progress());
    let mut of_service = snapshot.tasks().filter(|task| task.service == service.id);
    if !updating && of_service.any(|task| current(&task)) {
        return None;
    }
    let why = said_by_task(snapshot, service).map(|said| format!(" ({said})")).unwrap_or_default();
    Some(waiting_for(format!("service {name} has no running task yet{why}")))
}
