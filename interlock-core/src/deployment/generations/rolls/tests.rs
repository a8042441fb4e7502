use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::swarm::{ServiceSpec, UpdateStatus};

fn attachments(networks: &str) -> Attachments {
    Attachments { networks: networks.split_whitespace().map(Into::into).collect(), secrets: BTreeSet::new() }
}

/// The proxies' service over time. Each service needs the network of its name.
struct Story {
    now: Timestamp,
    roll: Option<Roll>,
    deployed: Attachments,
    before: Option<Attachments>,
    update: Option<UpdateStatus>,
    planned: Option<Added>,
    /// Networks with which no task starts.
    bad: BTreeSet<Attached>,
    /// What was rolled out, and when, in seconds.
    rolls: Vec<(i64, String)>,
}

impl Story {
    fn new(deployed: &str) -> Self {
        let deployed = attachments(deployed);
        let (rolls, bad) = (Vec::new(), BTreeSet::new());
        let now = Timestamp::UNIX_EPOCH;
        Self { now, roll: None, deployed, before: None, update: None, planned: None, bad, rolls }
    }

    fn with_bad(networks: &str) -> Self {
        let bad = attachments(networks).without(&Attachments::default());
        Self { bad, ..Self::new("demo") }
    }

    /// A look one second later, when these services need their networks; and an update if one follows, which takes no time.
    fn look(&mut self, needed: &str) -> Admitted {
        self.now += SignedDuration::from_secs(1);
        let needed_by: Services<'_> =
            needed.split_whitespace().map(|name| (Attached::Network(name.into()), BTreeSet::from([name]))).collect();
        let needed_by = Needs::from(needed_by);
        let service = Service {
            id: "p".into(),
            version: 1,
            created_at: Timestamp::UNIX_EPOCH,
            spec: ServiceSpec::default(),
            previous: None,
            virtual_ips: Vec::new(),
            update: self.update.clone(),
        };
        let (before, planned) = (self.before.as_ref(), self.planned.as_ref());
        let mut roll =
            Roll::looked(self.roll.as_ref(), &service, &self.deployed, before, planned, &needed_by, self.now);
        let admitted = roll.admit(&service, true, &attachments(needed), &needed_by, self.now);
        self.roll = Some(roll);
        if admitted.needed.without(&self.deployed).is_empty() {
            return admitted;
        }
        let mut wanted = admitted.needed.clone();
        wanted.networks.extend(self.deployed.networks.iter().cloned());
        self.update(&wanted);
        admitted
    }

    fn update(&mut self, wanted: &Attachments) {
        let what = wanted.without(&self.deployed);
        let names: Vec<_> = what.iter().map(|it| format!("{it:?}").replace("Network(", "").replace(')', "")).collect();
        let names: Vec<_> = names.iter().map(|name| name.rsplit('"').nth(1).unwrap_or(name).to_owned()).collect();
        self.rolls.push((self.now.as_second(), names.join(" ")));
        let before = self.update.as_ref().and_then(|update| update.started_at);
        let fails = what.iter().any(|new| self.bad.contains(new));
        self.planned = Some(Added { what, before });
        let state = if fails { UpdateState::RollbackCompleted } else { UpdateState::Completed };
        self.update = Some(UpdateStatus { state, started_at: Some(self.now), message: String::new() });
        if !fails {
            self.before = Some(std::mem::replace(&mut self.deployed, wanted.clone()));
        }
    }

    fn looks(&mut self, seconds: i64, needed: &str) {
        (0..seconds).for_each(|_| drop(self.look(needed)));
    }

    fn rolled(&self) -> Vec<&str> {
        self.rolls.iter().map(|(_, what)| what.as_str()).collect()
    }
}

#[test]
fn h6_what_failed_is_left_out_at_once_and_tried_alone_later_and_later() {
    let mut story = Story::with_bad("evil");
    story.looks(1, "demo evil honest");
    assert_eq!(story.rolled(), ["evil honest"], "it is not known which of them is bad");
    // Both are held. What comes now is not.
    story.looks(5, "demo evil honest other");
    assert_eq!(story.rolled()[1..], ["other"]);
    story.looks(300, "demo evil honest other");
    assert!(story.rolled().contains(&"honest"), "{:?}", story.rolls);
    let tried =
        |story: &Story| story.rolls.iter().filter(|(_, what)| what == "evil").map(|(at, _)| *at).collect::<Vec<_>>();
    story.looks(7200, "demo evil honest other");
    let evil = tried(&story);
    // A look later than the pause is over.
    let pauses: Vec<_> = evil.windows(2).map(|two| two[1] - two[0] - 1).collect();
    assert_eq!(pauses, [120, 240, 480, 960, 1920, 3600][..pauses.len()], "{:?}", story.rolls);
    assert!(evil.len() >= 5);
    assert!(story.rolls[1..].iter().all(|(_, what)| !what.contains(' ')), "each alone: {:?}", story.rolls);
    // Once it is mended it is as any other.
    story.bad.clear();
    story.looks(3600, "demo evil honest other");
    assert!(story.deployed.networks.contains("evil"));
    assert!(story.look("demo evil honest other").kept.is_empty());
}

#[test]
fn h6_a_fresh_process_goes_by_the_spec_that_failed() {
    let mut story = Story::with_bad("evil");
    story.looks(1, "demo evil");
    (story.roll, story.planned) = (None, None);
    story.before = Some(attachments("demo evil"));
    story.looks(50, "demo evil honest");
    assert_eq!(story.rolled(), ["evil", "honest"]);
}

#[test]
fn h6_what_fails_by_itself_is_no_reason_to_try_others_again() {
    let mut story = Story::with_bad("evil");
    story.looks(2, "demo evil");
    // An image that does not run: nothing is new in the update that failed.
    story.planned = Some(Added { what: BTreeSet::new(), before: story.update.as_ref().unwrap().started_at });
    story.now += SignedDuration::from_secs(1);
    let failed =
        UpdateStatus { state: UpdateState::RollbackCompleted, started_at: Some(story.now), message: String::new() };
    story.update = Some(failed);
    story.looks(3600, "demo evil");
    assert_eq!(story.rolled(), ["evil"], "as long as that fails, nobody can know");
    story.update = story.update.map(|update| UpdateStatus { state: UpdateState::Completed, ..update });
    story.looks(2, "demo evil");
    assert_eq!(story.rolled(), ["evil", "evil"]);
}

#[test]
fn g4_one_roll_in_30_seconds_and_the_first_at_once() {
    let mut story = Story::new("demo");
    for n in 0..600 {
        // Another new service each second.
        let all: Vec<_> = (0..=n).map(|n| format!("s{n}")).collect();
        story.looks(1, &format!("demo {}", all.join(" ")));
    }
    let times: Vec<_> = story.rolls.iter().map(|(at, _)| *at).collect();
    assert_eq!(times[0], 1);
    assert!(times.windows(2).all(|two| two[1] - two[0] >= 30), "{times:?}");
    assert!(times.len() >= 19, "nobody waits longer: {times:?}");
}

#[test]
fn h8_who_needs_something_new_again_and_again_waits_longer_and_longer() {
    // The network of one service is another each second; a second service comes in between.
    let mut story = Story::new("demo");
    let rolls = |story: &mut Story, from: i64, to: i64, other: &str| {
        for n in from..to {
            story.now += SignedDuration::from_secs(1);
            let (network, owner) = (Attached::Network(format!("n{n}").as_str().into()), BTreeSet::from(["flaps"]));
            let mut needs = Services::from([(network, owner)]);
            let mut needed = attachments(&format!("demo n{n} {other}"));
            if other.is_empty() {
                needed = attachments(&format!("demo n{n}"));
            } else {
                needs.insert(Attached::Network(other.into()), BTreeSet::from(["calm"]));
            }
            let service = Service {
                id: "p".into(),
                version: 1,
                created_at: Timestamp::UNIX_EPOCH,
                spec: ServiceSpec::default(),
                previous: None,
                virtual_ips: Vec::new(),
                update: story.update.clone(),
            };
            let needs = Needs::from(needs);
            let planned = story.planned.clone();
            let mut roll =
                Roll::looked(story.roll.as_ref(), &service, &story.deployed, None, planned.as_ref(), &needs, story.now);
            let admitted = roll.admit(&service, true, &needed, &needs, story.now);
            story.roll = Some(roll);
            if !admitted.needed.without(&story.deployed).is_empty() {
                story.update(&admitted.needed.clone());
            }
        }
    };
    rolls(&mut story, 0, 3600, "");
    let times: Vec<_> = story.rolls.iter().map(|(at, _)| *at).collect();
    let pauses: Vec<_> = times.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(pauses.windows(2).all(|two| two[1] > two[0]) && pauses[0] >= 30, "{pauses:?}");
    assert!((5..=8).contains(&pauses.len()), "{pauses:?}");
    let before = story.rolls.len();
    rolls(&mut story, 3600, 3605, "calm");
    assert_eq!(story.rolls[before..].iter().map(|(_, what)| what.as_str()).collect::<Vec<_>>(), ["calm"], "soon");
}

/// A stack comes piece by piece. Whoever starts with less than is needed does not wait.
#[test]
fn what_comes_together_is_one_roll() {
    let mut story = Story::new("demo");
    story.looks(1, "demo first");
    assert_eq!(story.rolls, [(1, "first".to_owned())]);
    story.looks(60, "demo first");
    for n in 0..50 {
        let all: Vec<_> = (0..=n).map(|n| format!("s{n}")).collect();
        story.looks(i64::from(n % 2), &format!("demo first {}", all.join(" ")));
    }
    let all: Vec<_> = (0..50).map(|n| format!("s{n}")).collect();
    let needed = format!("demo first {}", all.join(" "));
    let kept = story.look(&needed);
    assert!(kept.kept.iter().all(|kept| kept.why == Why::More) && kept.next > Some(story.now));
    story.looks(4, &needed);
    assert_eq!(story.rolls.len(), 2, "{:?}", story.rolls);
    assert_eq!(story.rolls[1].1.split(' ').count(), 50);
}
