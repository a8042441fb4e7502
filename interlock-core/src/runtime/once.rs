//! One run until nothing is left to do, for pipelines.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::checked::reconcile_checked;
use super::execute::{Stop, apply};
use super::log_changes::{Told, chain};
use super::swarm_copy::World;
use super::timing::BEGIN;
use super::{Error, Options};
use crate::docker::{self, Client, ErrorKind};
use crate::install;
use crate::kinds::Checker;
use crate::ownership;
use crate::plan::Step;
use crate::problem::{Effect, Problem, Severity, Subject};
use crate::reconcile::Outcome;
use crate::settings::Settings;
use crate::swarm::Snapshot;
use crate::units::{Backoff, Cluster};

/// What happens meanwhile, for a person who watches.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Progress {
    /// Something is wrong with the inputs. Told once.
    Problem(Problem),
    /// A step was done.
    Done(Step),
    /// A step failed, for this reason. Whether it is tried again depends on the reason.
    Failed(Step, String),
    /// What is being waited for now, as phrases. Told when it changes; empty when the waiting is over.
    Waiting(Vec<String>),
    /// The Swarm could not be read or written, and will be tried again.
    Retrying(String),
}

/// How it ended.
#[must_use = "that it ended does not mean that all went well"]
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How many steps were done.
    pub done: usize,
    /// What is wrong with the inputs at the end.
    pub problems: Vec<Problem>,
    /// What failed and will fail again: the object and the reason, by service cluster; `None` for what is core's own.
    pub failed: BTreeMap<Option<Cluster>, String>,
}

impl Report {
    /// Whether every service cluster is as the settings and labels ask. Problems of single services do not count.
    pub fn converged(&self) -> bool {
        self.failed.is_empty() && self.problems.iter().all(|problem| stuck(problem).is_none())
    }
}

/// The service cluster that cannot become what it should be because of this problem.
pub(super) fn stuck(problem: &Problem) -> Option<&Cluster> {
    match &problem.subject {
        Subject::Cluster(cluster) if problem.severity == Severity::Error && problem.effect == Effect::Kept => {
            Some(cluster)
        }
        _ => None,
    }
}

/// Works until there is nothing left to do and all proxies run what they should, or until it is clear that this will not
/// happen, or until the time is over.
///
/// # Errors
///
/// [`Error::Docker`] when the engine cannot be worked with, [`Error::Timeout`] when the time is over. Steps that failed for good are
/// no error but in the [`Report`]: the other service clusters were worked on all the same.
pub async fn run_once(
    settings: Settings,
    options: &Options,
    limit: Duration,
    mut progress: impl FnMut(Progress),
) -> Result<Report, Error> {
    let mut once = Once {
        world: World::new(settings, options.delivery),
        told: Told::default(),
        report: Report::default(),
        waiting: Vec::new(),
        touched: None,
        in_use_since: None,
        left: BTreeSet::new(),
        soon: Backoff::new(Duration::from_millis(50), Duration::from_millis(250)),
        later: Backoff::new(Duration::from_secs(1), Duration::from_secs(5)),
    };
    match timeout(limit, once.work(options, &mut progress)).await {
        Ok(result) => result.map(|()| once.report),
        Err(_) if once.waiting.is_empty() => {
            Err(Error::Timeout { limit, left: "the engine did not answer".to_owned() })
        }
        Err(_) => Err(Error::Timeout { limit, left: once.waiting.join("; ") }),
    }
}

struct Once {
    world: World,
    told: Told,
    report: Report,
    waiting: Vec<String>,
    /// When tasks were last made to be replaced.
    touched: Option<Instant>,
    /// Since when nothing is left to do but to remove what is in use.
    in_use_since: Option<Instant>,
    /// What is in use for so long that it is left to later runs.
    left: BTreeSet<String>,
    soon: Backoff,
    later: Backoff,
}

impl Once {
    const POLL: Duration = Duration::from_millis(300);
    /// How long what is in use is waited for. Unused objects do no harm, and somebody else's task may use one for ever.
    const IN_USE: Duration = Duration::from_secs(10);

    async fn work(&mut self, options: &Options, progress: &mut impl FnMut(Progress)) -> Result<(), Error> {
        let client = Client::connect_with(&options.endpoint, options.deadlines).await?;
        let client = client.for_settings(&self.world.inputs.settings).with_authority(options.authority.clone());
        loop {
            let start = Instant::now();
            match client.observe((options.clock)()).await {
                Ok(observation) => {
                    let ticket = self.world.ticket();
                    self.world.all(ticket, observation);
                }
                Err(error) => {
                    self.retry(error, progress).await?;
                    continue;
                }
            }
            let took = start.elapsed();
            let steps = self.decide(options.checker.as_deref(), progress).await;
            if !steps.is_empty() {
                self.apply(&client, steps, progress).await?;
                continue;
            }
            if self.waiting.is_empty() {
                return Ok(());
            }
            sleep(Self::POLL.max(took * 4)).await;
        }
    }

    /// Plans, and notes what has to be waited for.
    async fn decide(&mut self, checker: Option<&Checker>, progress: &mut impl FnMut(Progress)) -> Vec<Step> {
        let inputs = std::sync::Arc::make_mut(&mut self.world.inputs);
        let (outcome, renderings) = reconcile_checked(inputs, checker).await;
        let Outcome { plan, problems, memory, .. } = outcome;
        inputs.memory = memory;
        inputs.renderings = renderings;
        let (begun, _) = self.told.problems(&problems);
        begun.into_iter().for_each(|problem| progress(Progress::Problem(problem)));
        self.report.problems = problems;

        let given_up = |cluster: &Option<Cluster>| {
            self.report.failed.contains_key(cluster)
                || self.report.problems.iter().filter_map(stuck).any(|stuck| Some(stuck) == cluster.as_ref())
        };
        let is_left = |step: &Step| self.left.contains(&step.action.object());
        let steps: Vec<_> = plan.steps.into_iter().filter(|step| !given_up(&step.cluster) && !is_left(step)).collect();
        let given_up = |cluster: &Cluster| given_up(&Some(cluster.clone()));
        let waiting = plan.waiting.into_iter().filter(|waiting| !given_up(&waiting.cluster));
        let mut reasons: Vec<_> = waiting.map(|waiting| waiting.reason).collect();
        if reasons.is_empty() {
            reasons = unsettled(&inputs.snapshot, given_up);
        }
        let just_begun = self.touched.is_some_and(|touched| touched.elapsed() < BEGIN);
        if reasons.is_empty() && just_begun {
            reasons.push("the update begins".to_owned());
        }
        if steps.is_empty() && reasons != self.waiting {
            progress(Progress::Waiting(reasons.clone()));
        }
        self.waiting = reasons;
        steps
    }

    async fn apply(
        &mut self,
        client: &Client,
        steps: Vec<Step>,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(), Error> {
        self.waiting = steps.iter().map(|step| format!("{} {}", step.action.verb(), step.action.object())).collect();
        let told = |step: &Step| progress(Progress::Done(step.clone()));
        let applied = apply(client, steps, &self.world.specs, Stop::default(), told).await;
        if applied.done.iter().any(|step| step.restarts_tasks) {
            self.touched = Some(Instant::now());
        }
        self.report.done += applied.done.len();
        let (done, failures) = (applied.done.len(), applied.failed.len());
        if done + failures > 0 || applied.in_use.is_empty() {
            self.in_use_since = None;
        } else if self.in_use_since.get_or_insert_with(Instant::now).elapsed() >= Self::IN_USE {
            for (step, error) in &applied.in_use {
                progress(Progress::Failed(step.clone(), chain(error)));
                self.left.insert(step.action.object());
            }
        }
        for (step, error) in applied.failed {
            let reason = chain(&error);
            progress(Progress::Failed(step.clone(), reason.clone()));
            match error.kind() {
                ErrorKind::TooLarge | ErrorKind::Permanent => {
                    self.report.failed.insert(step.cluster, reason);
                }
                _ => self.retry(error, progress).await?,
            }
        }
        if failures == 0 {
            self.soon.reset();
            self.later.reset();
        }
        if !applied.in_use.is_empty() && failures == 0 {
            // Something is still in use: wait for the tasks that use it to end.
            sleep(Self::POLL).await;
        }
        Ok(())
    }

    /// Waits before the next try, or gives up when there is none.
    async fn retry(&mut self, error: docker::Error, progress: &mut impl FnMut(Progress)) -> Result<(), Error> {
        match error.kind() {
            ErrorKind::Conflict | ErrorKind::Gone => sleep(self.soon.next()).await,
            ErrorKind::Unavailable | ErrorKind::Unreachable | ErrorKind::InUse => {
                progress(Progress::Retrying(chain(&error)));
                sleep(self.later.next()).await;
            }
            ErrorKind::TooLarge | ErrorKind::Permanent | ErrorKind::NotAManager | ErrorKind::Permission => {
                return Err(error.into());
            }
        }
        Ok(())
    }
}

/// What is not yet as it should be about our proxy services, as phrases.
fn unsettled(snapshot: &Snapshot, given_up: impl Fn(&Cluster) -> bool) -> Vec<String> {
    let proxies = snapshot.services().filter(|service| ownership::is_our_proxy(service));
    let ours = proxies
        .filter(|service| !ownership::cluster_of(&service.spec.labels).is_some_and(|cluster| given_up(&cluster)));
    ours.filter_map(|service| install::not_running(snapshot, service)).collect()
}
