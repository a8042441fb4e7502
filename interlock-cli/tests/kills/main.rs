//! SIGKILL for nginx, the agent or the extension at each step of a delivery: what core wants is served all the same.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod container;
mod delivery;
mod extension;
mod support;
mod visitor;

use std::time::{Duration, Instant};

use delivery::{Delivery, Step, Victim};
use interlock_core::grpc::v1::follow_request::Event;
use support::agent::eventually;
use support::processes::masters;
use tokio::time::timeout_at;
use visitor::Visitor;

/// Whatever died: so long after it could start again, what is wanted is served and acknowledged.
const CONVERGED: Duration = Duration::from_secs(10);
/// How long a client that tries again may be without an answer.
const RESTARTED: Duration = CONVERGED;

async fn survives(step: Step) {
    for victim in [Victim::Nginx, Victim::Agent] {
        let mut delivery = Delivery::begin().await;
        let visitor = Visitor::come(&delivery.node);
        delivery.reach(step).await;
        delivery.kill(victim);
        let began = Instant::now();
        if victim == Victim::Agent {
            // What the old one said may come late.
            while !matches!(delivery.core.hears().await, Event::Hello(_)) {}
        }
        converges(&mut delivery, began + CONVERGED, visitor, &format!("{victim:?} killed when {step:?}")).await;
    }
}

/// What is wanted is acknowledged and served in time, and nobody was without an answer for long.
async fn converges(delivery: &mut Delivery, deadline: Instant, visitor: Visitor, what: &str) {
    let (wanted, n) = delivery.wanted.clone();
    let accepted = timeout_at(deadline.into(), delivery.core.accepts_in_the_end(&wanted)).await;
    assert!(accepted.is_ok(), "{what}: not acknowledged in time");
    assert_eq!(delivery.node.served(), Some(n), "{what}: acknowledged and not served");
    let visit = visitor.leave();
    assert!(visit.longest_gap < RESTARTED, "{what}: {visit:?}");
    assert!(visit.answers.iter().all(|answer| (1..=n).contains(answer)), "{what}: {visit:?}");
    eventually("a copy", || delivery.is_copied());
    eventually("one nginx", || masters(delivery.node.folder.path()) == [delivery.node.master()]);
    assert!(delivery.agent_lives(), "{what}: no agent");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_revision_is_written_aside() {
    survives(Step::Written).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_revision_is_checked() {
    survives(Step::Checked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_revision_is_in_place_and_not_read() {
    survives(Step::Swapped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_new_workers_run() {
    survives(Step::Started).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_revision_is_acknowledged() {
    survives(Step::Acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_copy_is_half_written() {
    survives(Step::Copied).await;
}

/// The revision is not to blame.
#[tokio::test(flavor = "multi_thread")]
async fn when_nginx_is_killed_again_and_again() {
    let mut delivery = Delivery::begin().await;
    delivery.reach(Step::Acknowledged).await;
    for time in 1..=4 {
        let visitor = Visitor::come(&delivery.node);
        delivery.kill(Victim::Nginx);
        // Its pauses grow.
        let deadline = Instant::now() + 2 * CONVERGED;
        converges(&mut delivery, deadline, visitor, &format!("nginx killed {time} times")).await;
    }
}
