//! Which of several cores acts.
//!
//! Two cores with different settings would undo each other's work for ever. Swarm orders services by their creation, and
//! all cores read the same order. So one rule, which each core applies by itself, leaves one that acts:
//!
//! - The core that acts is a task of the oldest service that mounts the authority and asks for tasks.
//! - A service whose tasks have not run for 60 s does not count, so that the next one takes over.
//! - A process that is no task of such a service, started by hand without the authority, acts where no such service counts.
//! - A core that starts beside a younger one that runs waits for 15 s, in which the younger one sees it and stops.
//!
//! A core that stands by decides and publishes as any, and changes nothing on the Swarm.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::ownership;
use crate::problem::{Effect, Problem, Severity, Subject, shown};
use crate::swarm::{Mode, Service, SwarmIndex, Task};
use crate::units::{Cluster, ServiceId};

/// For so long a service counts whose tasks do not run: they may be starting, or moving to another node.
const ABSENT: SignedDuration = SignedDuration::from_secs(60);
/// For so long a core that starts leaves a younger one the time to see it.
const NOTICE: SignedDuration = SignedDuration::from_secs(15);

/// What is remembered of other cores.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cores {
    /// When each was seen at work last; at first when it was seen at all.
    seen: BTreeMap<ServiceId, Timestamp>,
    /// Since when this one looks.
    since: Option<Timestamp>,
}

/// What a core does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// It acts.
    Acts,
    /// It stands by, since this service is core.
    StandsBy(String),
    /// It waits until this younger core has seen it.
    Waits(String),
}

/// The services that are core, the oldest first: they mount the authority and ask for tasks.
pub(crate) fn candidates<'a>(snapshot: &SwarmIndex<'a>) -> Vec<&'a Service> {
    let asks = |service: &&Service| service.spec.mode != Mode::Replicated(0);
    let mut cores: Vec<_> = ownership::with_authority(snapshot).filter(asks).collect();
    cores.sort_by_key(|service| (service.created_at, &service.id));
    cores
}

/// Decides whether this core acts.
pub(crate) fn part(snapshot: &SwarmIndex<'_>, before: &Cores) -> (Part, Cores) {
    let now = snapshot.observed_at;
    let others = candidates(snapshot).into_iter().filter(|service| Some(&service.id) != snapshot.core.as_ref());
    let others: Vec<_> = others.collect();
    let works = |service: &Service| snapshot.tasks_of(&service.id).any(Task::serves);
    let seen: BTreeMap<_, _> = others
        .iter()
        .map(|service| {
            let known = before.seen.get(&service.id).copied().filter(|_| !works(service));
            (service.id.clone(), known.unwrap_or(now))
        })
        .collect();
    let since = before.since.unwrap_or(now);
    let counts = |service: &&&Service| now.duration_since(seen[&service.id]) < ABSENT;
    let own = snapshot.core.as_ref().and_then(|id| snapshot.service(id));
    let is_older = |service: &&&Service| match own {
        Some(own) if ownership::has_authority(snapshot, own) => {
            (service.created_at, &service.id) < (own.created_at, &own.id)
        }
        Some(_) => true,
        // Whoever holds the authority is a task of a service that could not be found.
        None => snapshot.authority.is_none(),
    };
    let older = others.iter().filter(is_older).find(counts);
    let younger = others.iter().find(|service| !is_older(service) && own.is_some() && works(service));
    let name = |service: &&Service| service.spec.name.clone();
    let part = match (older, younger) {
        (Some(older), _) => Part::StandsBy(name(older)),
        (None, Some(younger)) if now.duration_since(since) < NOTICE => Part::Waits(name(younger)),
        _ => Part::Acts,
    };
    (part, Cores { seen, since: Some(since) })
}

impl Part {
    /// What is in the way of acting, as a problem.
    pub(crate) fn problem(&self, snapshot: &SwarmIndex<'_>) -> Option<Problem> {
        let (service, wrong) = match self {
            Self::Acts => return None,
            Self::StandsBy(service) => (shown(service), "is core and acts; this core stands by and changes nothing"),
            Self::Waits(service) => (
                shown(service),
                "is a younger core and runs; this core acts once the younger one has seen it and stopped",
            ),
        };
        let own = snapshot.core.as_ref().and_then(|id| snapshot.service(id));
        let or_this = match own {
            Some(own) => format!("`docker service rm {}`", shown(&own.spec.name)),
            None => "stop this process".to_owned(),
        };
        Some(Problem::new(
            Severity::Warning,
            Subject::Cluster(Cluster::default()),
            format!("service {service} {wrong}"),
            format!("a Swarm has one core: run `docker service rm {service}`, or {or_this}"),
            Effect::Kept,
        ))
    }
}
