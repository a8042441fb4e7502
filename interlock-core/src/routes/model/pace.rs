//! How often a service's labels may change. Each change costs all proxies a reload, and each reload leaves workers
//! behind that finish what they have: whoever changes them again and again waits longer and longer, and others do not
//! notice.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::Refusal;
use crate::labels;
use crate::swarm::{Labels, Service};
use crate::units::ServiceId;

/// How the labels of services have changed, by the service's name: one that is removed and created anew has another id.
pub type Paces = BTreeMap<String, Pace>;

/// How the labels of a service have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// The service that they were read from last.
    id: ServiceId,
    /// Those that it was last routed by.
    labels: Arc<Labels>,
    /// How many changes are taken at once.
    spare: u32,
    /// From when on it counts for the next one.
    since: Timestamp,
    /// How often it had to wait.
    waits: u32,
    /// Until when it waits.
    until: Option<Timestamp>,
    /// Until then it is not served at all: it was taken away, or got other protection.
    withheld: bool,
}

/// So many changes are taken at once.
const SPARE: u32 = 10;
/// One more each time that this has passed.
const REFILL: SignedDuration = SignedDuration::from_secs(30);
/// The first pause. Each one after that is twice as long.
const PAUSE: SignedDuration = SignedDuration::from_secs(60);
/// The longest pause.
const LONGEST: SignedDuration = SignedDuration::from_hours(1);

/// Which labels a service is routed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Those that it has.
    Follow,
    /// Those of before, until this time.
    Hold(Arc<Labels>, Timestamp),
    /// None, until this time.
    Withhold(Timestamp),
}

impl Pace {
    /// What follows for a service that could be routed by these labels now; by none if it asks for nothing any more.
    pub(super) fn look(
        before: Option<&Self>,
        service: &Service,
        labels: Option<&Arc<Labels>>,
        now: Timestamp,
    ) -> (Option<Self>, Verdict) {
        let Some(before) = before else {
            let new = |labels: &Arc<Labels>| {
                let (id, labels) = (service.id.clone(), Arc::clone(labels));
                Self { id, labels, spare: SPARE, since: now, waits: 0, until: None, withheld: false }
            };
            return (labels.map(new), Verdict::Follow);
        };
        let mut pace = before.refilled(now);
        let is_over = pace.until.is_some_and(|until| until <= now);
        let differs = pace.id != service.id || pace.withheld || labels.is_none_or(|labels| **labels != *pace.labels);
        if let Some(until) = pace.until.filter(|_| !is_over) {
            pace.withheld |= labels.is_none_or(|labels| !labels::protect_alike(labels, &pace.labels));
            let held = if pace.withheld { Verdict::Withhold(until) } else { Verdict::Hold(pace.labels.clone(), until) };
            // It goes on by what it has, which are those of before.
            let held = if differs { held } else { Verdict::Follow };
            return (Some(pace), held);
        }
        if is_over {
            // What it has by now is taken, and the next change is soon.
            Self { until: None, withheld: labels.is_none(), spare: 0, since: now, ..pace }.taken(service, labels)
        } else if !differs || pace.withheld && labels.is_none() {
            (Some(pace), Verdict::Follow)
        } else if let Some(spare) = pace.spare.checked_sub(1) {
            // From the first change on, time makes good for it.
            let since = if pace.spare == SPARE { now } else { pace.since };
            // What comes back after it was taken away has changed.
            Self { withheld: labels.is_none(), spare, since, ..pace }.taken(service, labels)
        } else {
            let doubled = PAUSE.checked_mul(1 << pace.waits.min(6)).unwrap_or(LONGEST);
            let until = now.checked_add(doubled.min(LONGEST)).unwrap_or(now);
            let pace = Self { until: Some(until), waits: pace.waits + 1, withheld: false, ..pace };
            Self::look(Some(&pace), service, labels, now)
        }
    }

    fn taken(self, service: &Service, labels: Option<&Arc<Labels>>) -> (Option<Self>, Verdict) {
        let labels = labels.cloned().unwrap_or(self.labels);
        (Some(Self { id: service.id.clone(), labels, ..self }), Verdict::Follow)
    }

    /// Nothing is made good while it waits.
    fn refilled(&self, now: Timestamp) -> Self {
        let passed = now.duration_since(self.since).as_secs() / REFILL.as_secs();
        let mut pace = self.clone();
        if self.until.is_some() || passed <= 0 || self.spare == SPARE {
            return pace;
        }
        let more = u32::try_from(passed).unwrap_or(u32::MAX);
        pace.since = self.since.checked_add(SignedDuration::from_secs(REFILL.as_secs() * passed)).unwrap_or(now);
        pace.spare = pace.spare.saturating_add(more).min(SPARE);
        if pace.spare == SPARE {
            pace.waits = 0;
        }
        pace
    }

    /// Whether time alone changes nothing about it.
    pub(super) fn rests(&self) -> bool {
        self.spare == SPARE && self.until.is_none() && !self.withheld
    }

    /// Whether a service that is not there any more is still to be known.
    pub(super) fn lasts(&self, now: Timestamp) -> bool {
        let pace = self.refilled(now);
        pace.spare < SPARE || pace.until.is_some_and(|until| until > now)
    }

    /// Withholds what cannot be routed by the labels of before.
    pub(super) fn withholding(self) -> Self {
        Self { withheld: true, ..self }
    }
}

/// Tells the owner.
pub(super) fn refusal(until: Timestamp) -> Refusal {
    Refusal::new(
        "its labels change too often, and each change reloads all proxies",
        format!("stop changing them: core reads them again after {until:.0}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::ServiceSpec;

    fn service(id: &str) -> Service {
        Service {
            id: id.into(),
            version: 1,
            created_at: Timestamp::UNIX_EPOCH,
            spec: ServiceSpec::default(),
            previous: None,
            virtual_ips: Vec::new(),
            update: None,
        }
    }

    fn labels(text: &str) -> Arc<Labels> {
        Arc::new(
            text.split_whitespace()
                .filter_map(|label| label.split_once('='))
                .map(|(key, value)| (format!("com.docker.lb.{key}"), value.to_owned()))
                .collect(),
        )
    }

    /// A service over time, as one look after another sees it.
    struct Story {
        pace: Option<Pace>,
        now: Timestamp,
    }

    impl Story {
        fn new() -> Self {
            Self { pace: None, now: Timestamp::UNIX_EPOCH }
        }

        /// It has these labels (none if empty) so many seconds later.
        fn look(&mut self, seconds: i64, id: &str, text: &str) -> Verdict {
            self.now += SignedDuration::from_secs(seconds);
            let labels = (!text.is_empty()).then(|| labels(text));
            let (pace, verdict) = Pace::look(self.pace.as_ref(), &service(id), labels.as_ref(), self.now);
            self.pace = pace;
            verdict
        }

        /// How many changes are taken in so many seconds when there is another one every second.
        fn taken(&mut self, seconds: i64) -> usize {
            (0..seconds).filter(|n| self.look(1, "a", &format!("hosts=h{n}.x")) == Verdict::Follow).count()
        }
    }

    #[test]
    fn h8_whoever_changes_labels_without_end_waits_longer_and_longer() {
        let mut story = Story::new();
        assert_eq!(story.taken(50), 1 + SPARE as usize, "what it came with, and so many changes");
        let hour = story.taken(3600);
        assert!((5..=7).contains(&hour), "after 1, 2, 4, 8, 16 and 32 min: {hour}");
        assert!(story.taken(3 * 3600) <= 4);
        // Whoever leaves them alone for a while is as everybody else.
        story.look(3600, "a", "hosts=a.x");
        assert_eq!(story.look(i64::from(SPARE) * REFILL.as_secs(), "a", "hosts=a.x"), Verdict::Follow);
        assert_eq!(story.taken(SPARE.into()), SPARE as usize);
    }

    #[test]
    fn h8_changes_by_hand_are_taken_at_once() {
        let mut story = Story::new();
        for n in 0..100 {
            assert_eq!(story.look(30, "a", &format!("hosts=h{n}.x")), Verdict::Follow, "{n}");
        }
        // And what does not change costs nothing.
        assert!((0..100).all(|_| story.look(1, "a", "hosts=h99.x") == Verdict::Follow));
        assert_eq!(story.taken(3), 3);
    }

    fn waiting() -> Story {
        let mut story = Story::new();
        story.look(0, "a", "hosts=a.x allow=192.0.2.0/24");
        while story.look(1, "a", "hosts=a.x allow=192.0.2.0/24 weight=1") == Verdict::Follow {
            story.look(1, "a", "hosts=a.x allow=192.0.2.0/24");
        }
        story
    }

    #[test]
    fn h8_meanwhile_the_labels_of_before_are_followed() {
        let mut story = waiting();
        let Verdict::Hold(held, until) = story.look(1, "a", "hosts=b.x allow=192.0.2.0/24") else { panic!() };
        assert_eq!(held, labels("hosts=a.x allow=192.0.2.0/24"));
        // So for one that was removed and created anew.
        assert!(matches!(story.look(1, "b", "hosts=b.x allow=192.0.2.0/24"), Verdict::Hold(..)));
        assert_eq!(story.look(1, "a", "hosts=a.x allow=192.0.2.0/24"), Verdict::Follow, "they are what it has");
        let rest = until.duration_since(story.now).as_secs();
        assert_eq!(story.look(rest, "a", "hosts=b.x allow=192.0.2.0/24"), Verdict::Follow);
    }

    #[test]
    fn h8_less_is_served_at_once_and_more_only_in_the_end() {
        for (less, more) in [
            ("hosts=a.x allow=192.0.2.1/32", "hosts=a.x allow=192.0.2.0/24"),
            ("hosts=a.x allow=192.0.2.0/24 basic_auth=users", "hosts=a.x allow=192.0.2.0/24"),
            ("", "hosts=a.x allow=192.0.2.0/24"),
        ] {
            let mut story = waiting();
            assert!(matches!(story.look(1, "a", less), Verdict::Withhold(_)), "{less}");
            let Verdict::Withhold(until) = story.look(1, "a", more) else { panic!("{more}: not to and fro") };
            let rest = until.duration_since(story.now).as_secs();
            assert_eq!(story.look(rest, "a", more), Verdict::Follow);
        }
    }

    #[test]
    fn h8_coming_and_going_counts() {
        let mut story = Story::new();
        story.look(0, "a", "hosts=a.x");
        let gone = |n| if n % 2 == 0 { "" } else { "hosts=a.x" };
        assert!((0..100).filter(|n| story.look(1, "a", gone(*n)) == Verdict::Follow).count() < 14);
        let anew = |story: &mut Story, n: i32| story.look(1, &n.to_string(), "hosts=a.x") == Verdict::Follow;
        let mut story = Story::new();
        assert!((0..100).filter(|n| anew(&mut story, *n)).count() < 14);
    }
}
