//! What the proxies of a service cluster say about a secret, taken together.
//!
//! A secret's content is the same for all tasks that have it, so honest agents agree. One task has one voice, however many streams it has:
//! the most voices decide. A single proxy of several therefore changes nothing for the others; a single proxy of one is believed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{AgentReport, Reports, SecretReport};
use crate::problem::{Effect, Problem, Severity, Subject, shown};
use crate::proxy_config::Generation;
use crate::units::{Cluster, SecretName};

impl Reports {
    /// What the proxies of this service cluster know of a secret; see [`common`].
    pub(crate) fn secret(&self, cluster: &Cluster, name: &SecretName) -> Option<&SecretReport> {
        common(self.voices(cluster).into_values().filter_map(|agent| agent.secrets.get(name)))
    }

    /// Whether the proxies of this generation have certificates in a secret, so that all of it can start with them; `None` when none is
    /// connected. The most voices decide. If there are as many on both sides, the answer is yes: a proxy that cannot start with what it is
    /// sent keeps what it runs, while the other answer costs a route at all of them.
    pub(crate) fn has_certificates(
        &self,
        cluster: &Cluster,
        generation: &Generation,
        name: &SecretName,
    ) -> Option<bool> {
        let of_generation = self.voices(cluster).into_values().filter(|agent| agent.generation == *generation);
        let knows = |agent: &AgentReport| agent.secrets.get(name).is_some_and(SecretReport::has_certificate);
        let (yes, no): (Vec<_>, Vec<_>) = of_generation.partition(|agent| knows(agent));
        (!yes.is_empty() || !no.is_empty()).then_some(yes.len() >= no.len())
    }

    /// Proxies that say something else of a certificate than the others of their generation.
    pub(super) fn disagreements(&self) -> impl Iterator<Item = Problem> {
        let clusters: BTreeSet<_> = self.agents.values().map(|agent| &agent.cluster).collect();
        let mut generations: BTreeMap<_, Vec<&AgentReport>> = BTreeMap::new();
        for agent in clusters.into_iter().flat_map(|cluster| self.voices(cluster).into_values()) {
            generations.entry((&agent.cluster, &agent.generation)).or_default().push(agent);
        }
        generations.into_values().flat_map(|agents| differing(&agents))
    }

    /// One report of each task: that of its newest stream.
    fn voices(&self, cluster: &Cluster) -> BTreeMap<IpAddr, &AgentReport> {
        // By the number of their connection: a later one replaces an earlier one.
        self.of(cluster).map(|agent| (agent.address, agent)).collect()
    }
}

/// What most say of a secret's certificate. A certificate counts more than none if as many say so.
fn common<'a>(reports: impl Iterator<Item = &'a SecretReport>) -> Option<&'a SecretReport> {
    let mut by_certificate: BTreeMap<_, BTreeMap<&SecretReport, usize>> = BTreeMap::new();
    for report in reports {
        *by_certificate.entry(&report.public_key).or_default().entry(report).or_default() += 1;
    }
    let most = by_certificate.into_values().max_by_key(|reports| reports.values().sum::<usize>())?;
    most.into_iter().max_by_key(|(_, voices)| *voices).map(|(report, _)| report)
}

/// Those of one generation that differ from the others, each once. Of two nobody knows which one is wrong.
fn differing(agents: &[&AgentReport]) -> Vec<Problem> {
    let agree = agents.windows(2).all(|pair| pair[0].secrets == pair[1].secrets);
    if agree || agents.len() < 3 {
        return Vec::new();
    }
    let names: BTreeSet<_> = agents.iter().flat_map(|agent| agent.secrets.keys()).collect();
    let mut problems = BTreeMap::new();
    for name in names {
        let said = |agent: &AgentReport| agent.secrets.get(name).and_then(|report| report.public_key.clone());
        let mut voices: BTreeMap<_, usize> = BTreeMap::new();
        agents.iter().for_each(|agent| *voices.entry(said(agent)).or_default() += 1);
        let most = voices.into_iter().find(|(_, voices)| 2 * voices > agents.len());
        let Some((most, _)) = most else { continue };
        for agent in agents.iter().filter(|agent| said(agent) != most) {
            problems.entry(agent.address).or_insert_with(|| disagreement(agent, name));
        }
    }
    problems.into_values().collect()
}

fn disagreement(agent: &AgentReport, secret: &SecretName) -> Problem {
    Problem::new(
        Severity::Warning,
        Subject::Cluster(agent.cluster.clone()),
        format!(
            "proxy {} at {} reports other content for secret {} than the other proxies, which agree",
            shown(&agent.hostname),
            agent.address,
            shown(secret.as_str())
        ),
        "core ignores its report: replace this task; if it recurs, check the node",
        Effect::Kept,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> SecretName {
        "ca.pem".parse().expect("a name")
    }

    fn generation() -> Generation {
        "00000000000000aa".parse().expect("a generation")
    }

    /// An agent at this address that says this of the secret: `None` when it does not have it.
    fn agent(last: u8, key: Option<&str>) -> AgentReport {
        let secret = |key: &str| {
            let public_key = (!key.is_empty()).then(|| key.to_owned());
            SecretReport { public_key, not_after: None, key_of: None, has_key: false, unusable: None }
        };
        AgentReport {
            cluster: Cluster::default(),
            generation: generation(),
            address: [10, 0, 5, last].into(),
            hostname: format!("proxy-{last}"),
            version: None,
            secrets: key.map(|key| (name(), secret(key))).into_iter().collect::<BTreeMap<_, _>>().into(),
            version_warning: String::new(),
            running: None,
            refused: None,
            unreachable: Default::default(),
        }
    }

    fn reports<const N: usize>(agents: [(u8, Option<&str>); N]) -> Reports {
        let agents = agents.map(|(last, key)| agent(last, key));
        Reports { agents: (1..).zip(agents).collect(), ..Reports::default() }
    }

    #[test]
    fn m3_most_tasks_decide_whether_there_are_certificates() {
        let knows = |reports: Reports| reports.has_certificates(&Cluster::default(), &generation(), &name());
        assert_eq!(knows(Reports::default()), None);
        assert_eq!(knows(reports([(1, Some("aa"))])), Some(true));
        assert_eq!(knows(reports([(1, None)])), Some(false), "the word of one alone is all that there is");
        assert_eq!(knows(reports([(1, Some("aa")), (2, None)])), Some(true), "as many: what is served stays");
        assert_eq!(knows(reports([(1, Some("aa")), (2, None), (3, Some(""))])), Some(false));
        assert_eq!(knows(reports([(1, None), (2, Some("aa")), (3, Some("aa"))])), Some(true), "one lies");
    }

    #[test]
    fn m3_a_task_has_one_voice_however_many_streams_it_has() {
        let said = reports([(1, Some("aa")), (2, None), (2, None), (2, None), (3, Some("aa"))]);
        assert_eq!(said.has_certificates(&Cluster::default(), &generation(), &name()), Some(true));
        let renewed = reports([(1, None), (1, Some("aa"))]);
        assert_eq!(renewed.has_certificates(&Cluster::default(), &generation(), &name()), Some(true), "the newest");
    }

    #[test]
    fn m3_what_most_say_of_a_secret_is_told_and_the_one_that_differs_is_named() {
        let said = reports([(1, Some("bb")), (2, Some("aa")), (3, Some("aa"))]);
        let secret = said.secret(&Cluster::default(), &name()).expect("it is known");
        assert_eq!(secret.public_key.as_deref(), Some("aa"));
        let told: Vec<_> = said.problems().map(|problem| problem.to_string()).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("proxy proxy-1 at 10.0.5.1 reports other content for secret ca.pem"), "{told:?}");
        assert_eq!(reports([(1, Some("aa")), (2, Some("aa")), (3, Some("aa"))]).problems().count(), 0);
        let lacks = reports([(1, None), (2, Some("aa")), (3, Some("aa"))]);
        assert_eq!(lacks.problems().count(), 1, "it says that it has none");
        let either = reports([(1, Some("bb")), (2, Some("aa"))]);
        assert_eq!(either.problems().count(), 0, "of two nobody knows which one lies");
    }
}
