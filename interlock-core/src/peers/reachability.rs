//! Tasks that run and do not accept connections, by the reports of the proxies: one problem a service, whatever the number of requests.
//!
//! Reports cost no route anything. An address that no task of a route has now is left aside, so a task that ends is no problem.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::labels::BackendMode;
use crate::peers::{Failure, Reports, Unreachable};
use crate::problem::{Effect, Problem, Severity, Subject, shown};
use crate::routes::model::{Model, Route};
use crate::swarm::{Labels, SwarmIndex};
use crate::units::{Cluster, Port, ServiceId};

/// For how long a problem stays as it was reported: proxies that go and come back, a number that changes, or a proxy that says something else every
/// second are no new lines in the log.
const CALM: SignedDuration = SignedDuration::from_secs(60);

/// What is reported of services whose tasks do not accept connections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reported(BTreeMap<ServiceId, Report>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Report {
    problem: Problem,
    since: Timestamp,
    /// The labels by which the service was routed. Others may be the remedy.
    labels: Arc<Labels>,
}

impl Reported {
    /// What is reported now. All tasks of a route count once proxies report them, since clients get errors. If others accept connections, no request
    /// is lost and a task may just be slow to start, so it counts when that lasts.
    pub(crate) fn renewed(&self, snapshot: &SwarmIndex<'_>, model: &Model, reports: &Reports) -> (Self, Vec<Problem>) {
        let unreachable = by_cluster(reports);
        if unreachable.is_empty() && self.0.is_empty() {
            return (Self::default(), Vec::new());
        }
        let mut found: BTreeMap<&ServiceId, Vec<Finding<'_>>> = BTreeMap::new();
        for route in model.routes.iter() {
            let id = route.seniority.id();
            let of_cluster = unreachable.get(&route.cluster);
            let finding = of_cluster.and_then(|unreachable| look(route, unreachable));
            found.entry(id).or_default().extend(finding);
        }
        let now = snapshot.observed_at;
        let report = |(id, found): (&ServiceId, Vec<Finding<'_>>)| {
            let labels = model.last_good.get(id)?;
            let is_fresh = |held: &&Report| now.duration_since(held.since) < CALM && held.labels == *labels;
            let held = self.0.get(id).filter(is_fresh).cloned();
            let new = || Some(Report { problem: problem(&found)?, since: now, labels: Arc::clone(labels) });
            Some((id.clone(), held.or_else(new)?))
        };
        let reported: BTreeMap<_, _> = found.into_iter().filter_map(report).collect();
        let problems = reported.values().map(|report| report.problem.clone()).collect();
        (Self(reported), problems)
    }
}

/// What the proxies of each service cluster report, taken together: each sees the connections of its own clients only.
fn by_cluster(reports: &Reports) -> BTreeMap<&Cluster, Unreachable> {
    let mut unreachable: BTreeMap<_, Unreachable> = BTreeMap::new();
    for agent in reports.agents.values().filter(|agent| !agent.unreachable.is_empty()) {
        let of_cluster = unreachable.entry(&agent.cluster).or_default();
        for (address, failure) in &agent.unreachable {
            let Failure { refuses, is_lasting } = of_cluster.entry(*address).or_default();
            *refuses |= failure.refuses;
            *is_lasting |= failure.is_lasting;
        }
    }
    unreachable
}

/// What is wrong with the tasks of a route.
struct Finding<'a> {
    route: &'a Route,
    extent: Extent,
    refuses: bool,
}

/// How many tasks it is about. The worst comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    /// So many of several.
    Some(usize),
    /// Any of those behind a virtual IP: which one is not known.
    Virtual,
    All,
}

fn look<'a>(route: &'a Route, unreachable: &Unreachable) -> Option<Finding<'a>> {
    let failing: Vec<_> = route.targets.iter().filter_map(|address| unreachable.get(address)).collect();
    let lasting: Vec<_> = failing.iter().filter(|failure| failure.is_lasting).collect();
    let (extent, refuses) = if route.backend == BackendMode::Vip {
        (Extent::Virtual, lasting.first()?.refuses)
    } else if failing.len() == route.targets.len() {
        (Extent::All, failing.iter().any(|failure| failure.refuses))
    } else {
        (Extent::Some(lasting.len()), lasting.iter().any(|failure| failure.refuses))
    };
    let is_any = !failing.is_empty() && extent != Extent::Some(0);
    is_any.then_some(Finding { route, extent, refuses })
}

/// The problem of a service: about its worst route, with the number of other ports.
fn problem(found: &[Finding<'_>]) -> Option<Problem> {
    let Finding { route, extent, refuses } = found.iter().max_by_key(|found| (found.extent, found.refuses))?;
    let ports: BTreeSet<Port> = found.iter().map(|found| found.route.port).collect();
    let more = match ports.len() - 1 {
        0 => String::new(),
        1 => " and at 1 other port".to_owned(),
        more => format!(" and at {more} other ports"),
    };
    let place = format!("connections at port {}{more}", route.port);
    let (does, is_done) = if *refuses { ("refuse", "refused") } else { ("do not answer", "not answered") };
    let all = route.targets.len();
    let wrong = match extent {
        Extent::All => format!("tasks {does} {place} ({all} of {all} tasks)"),
        Extent::Some(some) => format!("tasks {does} {place} ({some} of {all} tasks)"),
        Extent::Virtual => format!("{place} of its virtual IP are {is_done}"),
    };
    let service = shown(&route.service);
    let right = match (refuses, extent) {
        (true, Extent::All | Extent::Virtual) => format!(
            "set {} to the port that the application listens on, and let it listen on all addresses, not on 127.0.0.1 only",
            shown(&route.label("port"))
        ),
        (true, Extent::Some(_)) => format!(
            "see `docker service logs {service}`; give it a health check, so that tasks get requests only while they listen"
        ),
        (false, _) => format!(
            "see `docker service logs {service}` for tasks that hang, and whether nodes reach each other at UDP port 4789"
        ),
    };
    let effect = match extent {
        Extent::All => Effect::NoRequests,
        Extent::Some(_) => Effect::Served,
        Extent::Virtual => Effect::Kept,
    };
    let subject = Subject::Service(route.service.clone());
    Some(Problem::new(Severity::Warning, subject, wrong, right, effect))
}
