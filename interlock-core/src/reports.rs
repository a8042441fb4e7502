//! What extensions and agents say about themselves: values that the running core collects and that decisions depend on.

use std::collections::BTreeMap;

use crate::names::Cluster;
use crate::problem::{Effect, Problem, Severity, Subject, said, shown};
use crate::proxy_config::{Generation, ProxyVersion, Revision};

/// What is known from those that are connected now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reports {
    /// Agents, by a number of their connection.
    pub agents: BTreeMap<u64, AgentReport>,
    /// The versions that extensions check with, by a number of their connection.
    pub checkers: BTreeMap<u64, (Cluster, ProxyVersion)>,
}

/// What a proxy's agent said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentReport {
    /// Its service cluster, by its certificate.
    pub cluster: Cluster,
    /// What its task can serve.
    pub generation: Generation,
    /// Its task's host name.
    pub hostname: String,
    /// The version of its proxy program.
    pub version: Option<ProxyVersion>,
    /// What its proxy runs.
    pub running: Option<Revision>,
    /// The newest revision that its proxy did not take, and what the checker said.
    pub refused: Option<(Revision, String)>,
}

impl Reports {
    /// The oldest version among a service cluster's proxies; `None` when none is connected, or one did not say.
    pub fn proxy_version(&self, cluster: &Cluster) -> Option<ProxyVersion> {
        let versions: Option<Vec<_>> = self.of(cluster).map(|agent| agent.version).collect();
        versions?.into_iter().min()
    }

    /// The oldest version that a service cluster's files are checked with; `None` when it is not known.
    pub fn checker_version(&self, cluster: &Cluster) -> Option<ProxyVersion> {
        self.checkers.values().filter(|(of, _)| of == cluster).map(|(_, version)| *version).min()
    }

    /// What proxies refused and did not get over.
    pub(crate) fn problems(&self) -> impl Iterator<Item = Problem> {
        self.agents.values().filter_map(|agent| {
            let (revision, message) =
                agent.refused.as_ref().filter(|(revision, _)| agent.running.as_ref() != Some(revision))?;
            Some(Problem {
                severity: Severity::Error,
                subject: Subject::Cluster(agent.cluster.clone()),
                label: None,
                value: None,
                wrong: format!("proxy {} refuses revision {revision}: {}", shown(&agent.hostname), said(message)),
                right: "it goes on with what it has; see its log".to_owned(),
                effect: Effect::Kept,
            })
        })
    }

    fn of(&self, cluster: &Cluster) -> impl Iterator<Item = &AgentReport> {
        self.agents.values().filter(move |agent| agent.cluster == *cluster)
    }
}
