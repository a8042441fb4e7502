//! Who says nothing: extensions that make no files, agents that do not follow core. Neither takes a route away, so nobody would notice
//! before the next change.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::kinds::Renderings;
use crate::peers::Reports;
use crate::problem::{Effect, Problem, Severity, Subject};
use crate::proxy_config::ProxyConfigs;
use crate::settings::{Extension, Settings};
use crate::swarm::{SwarmIndex, Task};
use crate::units::Cluster;

/// How long somebody may be silent before it is told.
const PATIENCE: SignedDuration = SignedDuration::from_secs(15);

/// Since when somebody is waited for, by service cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Waits {
    /// For files of the newest model.
    extensions: BTreeMap<Cluster, Timestamp>,
    /// For the agents of proxies that run.
    agents: BTreeMap<Cluster, Timestamp>,
}

/// What was heard, and by whom something is to be heard.
#[derive(Clone, Copy)]
pub(crate) struct Heard<'a> {
    pub(crate) snapshot: &'a SwarmIndex<'a>,
    pub(crate) settings: &'a Settings,
    pub(crate) configs: &'a ProxyConfigs,
    pub(crate) renderings: &'a Renderings,
    pub(crate) reports: &'a Reports,
    /// How new revisions get to running proxies.
    pub(crate) delivery: Delivery,
}

/// How new revisions get to running proxies that follow core. Others always get them by new tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// From core.
    #[default]
    ByCore,
    /// By new tasks all the same.
    ByNewTasks,
}

impl Waits {
    /// Who is waited for now, and what to tell of it.
    pub(crate) fn renewed(&self, heard: Heard<'_>) -> (Self, Vec<Problem>) {
        let now = heard.snapshot.observed_at;
        let (mut waits, mut problems) = (Self::default(), Vec::new());
        for (cluster, extension) in heard.settings.clusters() {
            let since =
                |before: &BTreeMap<Cluster, Timestamp>| before.get(&cluster).map_or(now, |since| now.min(*since));
            let is_long = |since: Timestamp| now.duration_since(since) >= PATIENCE;
            if is_unrendered(heard, &cluster) {
                let since = since(&self.extensions);
                problems.extend(is_long(since).then(|| without_files(&cluster, extension)));
                waits.extensions.insert(cluster.clone(), since);
            }
            if is_unfollowed(heard, &cluster, extension) {
                let since = since(&self.agents);
                problems.extend(is_long(since).then(|| without_agents(&cluster, extension)));
                waits.agents.insert(cluster, since);
            }
        }
        (waits, problems)
    }

    /// Whether the agents of proxies that run may still come, for all that is known.
    pub(crate) fn expect_agents(&self, cluster: &Cluster, now: Timestamp) -> bool {
        self.agents.get(cluster).is_some_and(|since| now.duration_since(*since) < PATIENCE)
    }

    /// Whether no agent of proxies that run has come for so long that it is told.
    pub(crate) fn misses_agents(&self, cluster: &Cluster, now: Timestamp) -> bool {
        self.agents.get(cluster).is_some_and(|since| now.duration_since(*since) >= PATIENCE)
    }

    /// Whether files of the newest model may still come, for all that is known.
    pub(crate) fn expect_files(&self, cluster: &Cluster, now: Timestamp) -> bool {
        self.extensions.get(cluster).is_some_and(|since| now.duration_since(*since) < PATIENCE)
    }
}

fn is_unrendered(heard: Heard<'_>, cluster: &Cluster) -> bool {
    heard.configs.iter().filter(|((of, _), _)| of == cluster).any(|(key, config)| {
        let rendering = heard.renderings.get(key);
        rendering.is_none_or(|rendering| rendering.revision != config.revision)
    })
}

/// Whether proxies run that get what changes from core, and none of them is connected.
fn is_unfollowed(heard: Heard<'_>, cluster: &Cluster, extension: &Extension) -> bool {
    let by_core = extension.hitless_service_update && heard.delivery == Delivery::ByCore;
    let service = heard.snapshot.named(&extension.proxy_service_name);
    let runs = || service.is_some_and(|service| heard.snapshot.tasks_of(&service.id).any(Task::serves));
    by_core && heard.reports.agents.values().all(|agent| agent.cluster != *cluster) && runs()
}

fn without_files(cluster: &Cluster, extension: &Extension) -> Problem {
    let right = match extension.image {
        Some(_) => format!("see `docker service ps {0}` and `docker service logs {0}`", extension.service_name),
        None => "see core's log, and check its processor and memory limits".to_owned(),
    };
    problem(cluster, "its extension has not rendered the newest routes for 15 s", right)
}

fn without_agents(cluster: &Cluster, extension: &Extension) -> Problem {
    let right =
        format!("see `docker service logs {}` for why its tasks cannot reach core", extension.proxy_service_name);
    problem(cluster, "none of its proxies has been connected to core for 15 s, so they get no changes", right)
}

fn problem(cluster: &Cluster, wrong: &str, right: String) -> Problem {
    Problem::new(Severity::Error, Subject::Cluster(cluster.clone()), wrong, right, Effect::Kept)
}
