//! Carrying a plan out, and holding back what failed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::docker::{self, Client, ErrorKind, OwnSpecs};
use crate::plan::{Action, Created, Step};
use crate::units::{Backoff, Cluster};

/// How far a plan came.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Steps that were done.
    pub(super) done: Vec<Step>,
    /// Steps that failed, the first of each service cluster.
    pub(super) failed: Vec<(Step, docker::Error)>,
    /// Removals of what is still in use, which hold up nothing.
    pub(super) in_use: Vec<(Step, docker::Error)>,
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
                applied.in_use.push((step, error));
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

/// What is not tried again for a while.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// Service clusters whose last step failed; core's own steps count as one more.
    clusters: BTreeMap<Option<Cluster>, Hold>,
    /// Single objects that could not be removed since they are in use.
    in_use: BTreeMap<String, InUse>,
}

#[derive(Debug)]
struct InUse {
    until: Instant,
    /// Whether it was told that the time is over.
    told: bool,
    delays: Backoff,
}

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

    /// An object could not be removed. Its last task ends within seconds, as a rule; if it does not, asking costs the engine something.
    pub(super) fn in_use(&mut self, step: &Step, now: Instant) {
        let delays = || Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
        let hold = self.in_use.entry(step.action.object()).or_insert_with(|| InUse {
            until: now,
            told: false,
            delays: delays(),
        });
        hold.until = now + hold.delays.next();
        hold.told = false;
    }

    /// A step failed. When its service cluster is tried again.
    pub(super) fn failed(&mut self, step: &Step, kind: ErrorKind, now: Instant) -> Instant {
        let hold = self.clusters.entry(step.cluster.clone()).or_insert_with(|| Hold {
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
        self.clusters.remove(cluster);
    }

    /// The steps that may be done now. What failed for good is tried again at once when something else is planned instead.
    pub(super) fn allowed(&mut self, steps: Vec<Step>, now: Instant) -> Vec<Step> {
        let planned = |cluster: &Option<Cluster>, action: &Action| {
            steps.iter().any(|step| step.cluster == *cluster && step.action == *action)
        };
        self.clusters.retain(|cluster, hold| match hold.kind {
            ErrorKind::TooLarge | ErrorKind::Permanent => planned(cluster, &hold.action),
            _ => true,
        });
        self.in_use.retain(|object, _| steps.iter().any(|step| step.action.object() == *object));
        let held = |step: &Step| {
            self.clusters.get(&step.cluster).is_some_and(|hold| hold.until > now)
                || self.in_use.get(&step.action.object()).is_some_and(|hold| hold.until > now)
        };
        steps.into_iter().filter(|step| !held(step)).collect()
    }

    /// When the next of them may be tried again.
    pub(super) fn next(&self) -> Option<Instant> {
        let clusters = self.clusters.values().map(|hold| (hold.until, hold.told));
        let objects = self.in_use.values().map(|hold| (hold.until, hold.told));
        clusters.chain(objects).filter(|(_, told)| !told).map(|(until, _)| until).min()
    }

    /// Whether something may be tried again that could not before. Says so once.
    pub(super) fn over(&mut self, now: Instant) -> bool {
        let clusters = self.clusters.values_mut().map(|hold| (hold.until, &mut hold.told));
        let objects = self.in_use.values_mut().map(|hold| (hold.until, &mut hold.told));
        let mut over = false;
        for (_, told) in clusters.chain(objects).filter(|(until, _)| *until <= now) {
            over |= !std::mem::replace(told, true);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::ConfigId;

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

    #[test]
    fn what_is_in_use_is_held_alone_and_for_seconds() {
        let now = Instant::now();
        let mut holds = Holds::default();
        let steps = || vec![step("red", "1"), step("red", "2")];
        holds.in_use(&step("red", "1"), now);
        assert_eq!(holds.allowed(steps(), now), [step("red", "2")]);
        let until = holds.next().unwrap();
        assert!(until - now <= Duration::from_millis(500), "{until:?}");
        assert!(holds.over(until) && !holds.over(until));
        assert_eq!(holds.allowed(steps(), until), steps());
        for _ in 0..20 {
            holds.in_use(&step("red", "1"), now);
        }
        let wait = holds.next().unwrap() - now;
        assert!((5..=10).contains(&wait.as_secs()), "{wait:?}");
        // It is gone, and one of its name is another one.
        assert_eq!(holds.allowed(vec![], now), []);
        assert_eq!((holds.next(), holds.allowed(steps(), now)), (None, steps()));
    }
}
