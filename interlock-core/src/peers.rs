//! What extensions and agents say about themselves: values that the running core collects and that decisions depend on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use jiff::Timestamp;

use crate::problem::{Effect, Problem, Severity, Subject, said, shown};
use crate::proxy_config::{Generation, Revision};
use crate::units::{Cluster, ProxyVersion, SecretName};

pub(crate) mod certificates;
pub(crate) mod reachability;
mod silence;
mod versions;
mod words;

pub(crate) use silence::Heard;
pub use silence::{Delivery, Waits};
pub use versions::{VersionInUse, Versions};

/// What is known from those that are connected now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reports {
    /// Agents, by a number of their connection.
    pub agents: BTreeMap<u64, AgentReport>,
    /// The versions that extensions check with, by a number of their connection.
    pub checkers: BTreeMap<u64, (Cluster, ProxyVersion)>,
    /// The version that core checks with, of each service cluster that it renders for by itself.
    pub own_checkers: BTreeMap<Cluster, ProxyVersion>,
}

/// What a proxy's agent said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentReport {
    /// Its service cluster, by its certificate.
    pub cluster: Cluster,
    /// What its task can serve.
    pub generation: Generation,
    /// Where it connects from: its task's own address, unless peers share one behind a published port.
    pub address: IpAddr,
    /// Its task's host name.
    pub hostname: String,
    /// The version of its proxy program.
    pub version: Option<ProxyVersion>,
    /// What is wrong with that version; empty if nothing is known.
    pub version_warning: String,
    /// What the secrets are that its task has.
    pub secrets: Secrets,
    /// What its proxy runs.
    pub running: Option<Revision>,
    /// The newest revision that its proxy did not take, and what the checker said.
    pub refused: Option<(Revision, String)>,
    /// The tasks that do not accept its proxy's connections.
    pub unreachable: Unreachable,
}

/// Tasks that do not accept connections, by the address that the proxy connects to.
pub type Unreachable = BTreeMap<SocketAddr, Failure>;

/// How connections to a task fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Failure {
    /// Whether the task refused a connection. Otherwise it did not answer.
    pub refuses: bool,
    /// Whether connections have failed for a minute.
    pub is_lasting: bool,
}

/// What secrets are, by name. The honest agents of a generation say the same, and share one value.
pub type Secrets = Arc<BTreeMap<SecretName, SecretReport>>;

/// What an agent knows of a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretReport {
    /// The SHA-256 of the public key in the first certificate; `None` when there is no certificate.
    pub public_key: Option<String>,
    /// When that certificate ends.
    pub not_after: Option<Timestamp>,
    /// The SHA-256 of the public key that belongs to the private key; `None` when there is none, or of an unknown kind.
    pub key_of: Option<String>,
    /// Whether there is a private key.
    pub has_key: bool,
    /// Why the proxy cannot use the certificate or the key, in its own words.
    pub unusable: Option<String>,
}

impl SecretReport {
    /// Whether it holds a certificate that the proxy can use.
    pub(crate) fn has_certificate(&self) -> bool {
        self.public_key.is_some() && self.unusable.is_none()
    }
}

impl Reports {
    /// The oldest version among a service cluster's proxies; `None` when none is connected, or one did not say.
    pub fn proxy_version(&self, cluster: &Cluster) -> Option<ProxyVersion> {
        let versions: Option<Vec<_>> = self.of(cluster).map(|agent| agent.version).collect();
        versions?.into_iter().min()
    }

    /// The newest version among them.
    fn newest_version(&self, cluster: &Cluster) -> Option<ProxyVersion> {
        self.of(cluster).filter_map(|agent| agent.version).max()
    }

    /// The oldest version that a service cluster's files are checked with; `None` when it is not known.
    pub fn checker_version(&self, cluster: &Cluster) -> Option<ProxyVersion> {
        let connected = self.checkers.values().filter(|(of, _)| of == cluster).map(|(_, version)| *version);
        connected.chain(self.own_checkers.get(cluster).copied()).min()
    }

    /// What is wrong with proxies.
    pub(crate) fn problems(&self) -> impl Iterator<Item = Problem> {
        self.refusals().chain(self.old_versions()).chain(self.disagreements())
    }

    /// Proxy programs that lack security fixes, each told once a service cluster.
    fn old_versions(&self) -> impl Iterator<Item = Problem> {
        let warned = self.agents.values().filter(|agent| !agent.version_warning.is_empty());
        let told: BTreeSet<_> = warned.map(|agent| (&agent.cluster, &agent.version_warning)).collect();
        told.into_iter().map(|(cluster, warning)| {
            Problem::new(
                Severity::Warning,
                Subject::Cluster(cluster.clone()),
                format!("its proxies' {}", said(warning)),
                "build the image on a newer base",
                Effect::Kept,
            )
        })
    }

    /// What proxies refused and did not get over.
    fn refusals(&self) -> impl Iterator<Item = Problem> {
        self.agents.values().filter_map(|agent| {
            let (revision, message) =
                agent.refused.as_ref().filter(|(revision, _)| agent.running.as_ref() != Some(revision))?;
            Some(Problem::new(
                Severity::Error,
                Subject::Cluster(agent.cluster.clone()),
                format!("proxy {} rejected revision {revision}: {}", shown(&agent.hostname), said(message)),
                "see its log; it keeps its configuration",
                Effect::Kept,
            ))
        })
    }

    /// Whether a proxy of this generation runs this revision.
    pub(crate) fn run(&self, cluster: &Cluster, generation: &Generation, revision: &Revision) -> bool {
        self.of(cluster).any(|agent| agent.generation == *generation && agent.running.as_ref() == Some(revision))
    }

    fn of(&self, cluster: &Cluster) -> impl Iterator<Item = &AgentReport> {
        self.agents.values().filter(move |agent| agent.cluster == *cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn agent() -> AgentReport {
        AgentReport {
            cluster: Cluster::default(),
            generation: "00000000000000aa".parse().expect("a generation"),
            address: [10, 0, 5, 1].into(),
            hostname: "a".into(),
            version: None,
            secrets: Secrets::default(),
            version_warning: String::new(),
            running: None,
            refused: None,
            unreachable: Unreachable::new(),
        }
    }

    pub(super) fn reports(agents: impl IntoIterator<Item = AgentReport>) -> Reports {
        Reports { agents: (1..).zip(agents).collect(), ..Reports::default() }
    }

    #[test]
    fn a_version_that_lacks_fixes_is_told_once_a_service_cluster() {
        let agent =
            AgentReport { version_warning: "NGINX 1.30.6 lacks security fixes: use 1.30.7 or later".into(), ..agent() };
        let other = AgentReport { hostname: "b".into(), ..agent.clone() };
        let told: Vec<_> = reports([agent, other]).problems().map(|problem| problem.to_string()).collect();
        assert_eq!(
            told,
            [
                "service cluster default: its proxies' NGINX 1.30.6 lacks security fixes: use 1.30.7 or later; build the image on a newer base (interlock keeps what is deployed)"
            ]
        );
    }
}
