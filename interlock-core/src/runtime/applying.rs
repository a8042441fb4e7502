//! Carrying a plan out, and holding back what failed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::timing::Backoff;
use crate::docker::{self, Client, ErrorKind, OwnSpecs};
use crate::names::Cluster;
use crate::plan::{Action, Created, Step};

/// How far a plan came.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Steps that were done.
    pub(super) done: Vec<Step>,
    /// Steps that failed, the first of each service cluster.
    pub(super) failed: Vec<(Step, docker::Error)>,
}

impl Applied {
    /// Whether it is known what every step did.
    pub(super) fn certain(&self) -> bool {
        self.failed.iter().all(|(_, error)| error.kind() != ErrorKind::Unavailable)
    }
}

/// Asks an application to end after the call that is under way.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(super) fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Carries steps out, one after the other. A failed step ends its own service cluster's steps, the others go on; an engine that
/// cannot do anything now ends all of them. `tell` hears of each step that was done.
pub(super) async fn apply(
    client: &Client,
    steps: Vec<Step>,
    specs: &OwnSpecs,
    stop: Stop,
    mut tell: impl FnMut(&Step),
) -> Applied {
    let mut applied = Applied::default();
    let mut created = Created::default();
    let mut failed = BTreeSet::new();
    for step in steps {
        if stop.is_set() {
            break;
        }
        if failed.contains(&step.cluster) {
            continue;
        }
        match client.apply(&step.action, specs, &mut created).await {
            Ok(()) => {
                tell(&step);
                applied.done.push(step);
            }
            Err(error) if error.kind() == ErrorKind::InUse => {
                // A task that is ending still has it. A later plan removes it.
                tracing::debug!(cluster = step.title(), "{} is still in use", step.action.object());
            }
            Err(error) => {
                use ErrorKind::{NotAManager, Permission, Unavailable, Unreachable};
                let of_the_engine = matches!(error.kind(), Unavailable | Unreachable | NotAManager | Permission);
                failed.insert(step.cluster.clone());
                applied.failed.push((step, error));
                if of_the_engine {
                    break;
                }
            }
        }
    }
    applied
}

/// Service clusters whose last step failed and that are not tried again for a while; core's own steps count as one more.
#[derive(Debug, Default)]
pub(super) struct Holds(BTreeMap<Option<Cluster>, Hold>);

#[derive(Debug)]
struct Hold {
    action: Action,
    kind: ErrorKind,
    failures: u32,
    until: Instant,
    /// Whether it was told that the time is over.
    told: bool,
    quick: Backoff,
    slow: Backoff,
}

impl Holds {
    /// Conflicts solve themselves by reading again; when they do not, something is fighting with us.
    const CONFLICTS: u32 = 5;

    /// A step failed. When its service cluster is tried again.
    pub(super) fn failed(&mut self, step: &Step, kind: ErrorKind, now: Instant) -> Instant {
        let hold = self.0.entry(step.cluster.clone()).or_insert_with(|| Hold {
            action: step.action.clone(),
            kind,
            failures: 0,
            until: now,
            told: false,
            quick: Backoff::new(Duration::from_millis(50), Duration::from_millis(250)),
            slow: Backoff::new(Duration::from_secs(1), Duration::from_secs(30)),
        });
        hold.action = step.action.clone();
        hold.kind = kind;
        hold.failures += 1;
        hold.told = false;
        let soon = matches!(kind, ErrorKind::Conflict | ErrorKind::Gone) && hold.failures <= Self::CONFLICTS;
        hold.until = now + if soon { hold.quick.next() } else { hold.slow.next() };
        hold.until
    }

    /// All of a service cluster's steps were done.
    pub(super) fn succeeded(&mut self, cluster: &Option<Cluster>) {
        self.0.remove(cluster);
    }

    /// The steps that may be done now. What failed for good is tried again at once when something else is planned instead.
    pub(super) fn allowed(&mut self, steps: Vec<Step>, now: Instant) -> Vec<Step> {
        let planned = |cluster: &Option<Cluster>, action: &Action| {
            steps.iter().any(|step| step.cluster == *cluster && step.action == *action)
        };
        self.0.retain(|cluster, hold| match hold.kind {
            ErrorKind::TooLarge | ErrorKind::Permanent => planned(cluster, &hold.action),
            _ => true,
        });
        let held = |cluster: &Option<Cluster>| self.0.get(cluster).is_some_and(|hold| hold.until > now);
        steps.into_iter().filter(|step| !held(&step.cluster)).collect()
    }

    /// When the next service cluster may be tried again.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().filter(|hold| !hold.told).map(|hold| hold.until).min()
    }

    /// Whether a service cluster may be tried again that could not before. Says so once.
    pub(super) fn over(&mut self, now: Instant) -> bool {
        let mut over = false;
        for hold in self.0.values_mut().filter(|hold| hold.until <= now) {
            over |= !std::mem::replace(&mut hold.told, true);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::ConfigId;

    fn step(cluster: &str, id: &str) -> Step {
        Step {
            cluster: cluster.parse().ok(),
            action: Action::RemoveConfig { id: ConfigId::from(id), name: id.to_owned() },
            reason: String::new(),
            restarts_tasks: false,
        }
    }

    #[test]
    fn a_failed_cluster_waits_and_the_others_do_not() {
        let now = Instant::now();
        let mut holds = Holds::default();
        let steps = || vec![step("red", "1"), step("blue", "2")];
        let until = holds.failed(&step("red", "1"), ErrorKind::Permanent, now);
        assert_eq!(holds.allowed(steps(), now), [step("blue", "2")]);
        assert_eq!((holds.next(), holds.over(now)), (Some(until), false));
        assert_eq!(holds.allowed(steps(), until), steps());
        assert!(holds.over(until));
        assert_eq!((holds.next(), holds.over(until)), (None, false));
    }

    #[test]
    fn what_failed_for_good_is_forgotten_when_the_plan_is_another() {
        let now = Instant::now();
        let mut holds = Holds::default();
        holds.failed(&step("red", "1"), ErrorKind::TooLarge, now);
        assert_eq!(holds.allowed(vec![step("red", "1")], now), []);
        assert_eq!(holds.allowed(vec![step("red", "2")], now), [step("red", "2")]);
        holds.failed(&step("red", "1"), ErrorKind::Unavailable, now);
        assert_eq!(holds.allowed(vec![step("red", "2")], now), [], "this is not about the step");
    }

    #[test]
    fn conflicts_are_tried_again_soon_but_not_for_ever() {
        let now = Instant::now();
        let mut holds = Holds::default();
        for _ in 0..Holds::CONFLICTS {
            let wait = holds.failed(&step("red", "1"), ErrorKind::Conflict, now) - now;
            assert!((50..=500).contains(&wait.as_millis()), "{wait:?}");
        }
        let wait = holds.failed(&step("red", "1"), ErrorKind::Conflict, now) - now;
        assert!(wait >= Duration::from_secs(1), "{wait:?}");
        holds.succeeded(&"red".parse().ok());
        let wait = holds.failed(&step("red", "1"), ErrorKind::Conflict, now) - now;
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
    }
}
