//! A decision, made on a thread of its own.
//!
//! It is a matter of a second where there are ten thousand services. Meanwhile the loop takes events, answers and what peers say. A decision
//! that panics changes nothing: what was decided before stays in force. Without that one bad input would end core, and the next core would
//! read the same input.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::reconcile::{Inputs, Memo, Outcome};

/// A decision that was made, or was not.
pub(super) struct Decided {
    /// What it was made of.
    pub(super) inputs: Arc<Inputs>,
    /// Whether it was begun when its plan could be carried out.
    pub(super) may_act: bool,
    /// The outcome with the time that it took.
    pub(super) result: Result<(Outcome, Duration), Undecided>,
    /// What was made on the way, for the next decision.
    pub(super) memo: Memo,
}

/// Why there is no decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Undecided {
    /// What the panic said.
    pub(super) message: String,
    /// The service without which there would be a decision, if there is one.
    pub(super) service: Option<String>,
}

/// How decisions are made.
pub(super) type Reconcile = fn(&Inputs, &mut Memo) -> Outcome;

/// Decides. `last`: why there was none the last time.
pub(super) async fn decide(
    inputs: Arc<Inputs>,
    memo: Memo,
    may_act: bool,
    reconcile: Reconcile,
    last: Option<Undecided>,
) -> Decided {
    let of_thread = inputs.clone();
    let made = tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        attempt(&of_thread, memo, reconcile).map(|(outcome, memo)| (outcome, start.elapsed(), memo)).map_err(
            |message| {
                // To find the service takes as long as several decisions.
                let known = last.filter(|last| last.message == message);
                known.unwrap_or_else(|| Undecided { service: culprit(&of_thread, reconcile), message })
            },
        )
    });
    // Panics are caught in there, and nobody cancels it.
    let ended = |error: tokio::task::JoinError| Undecided { message: error.to_string(), service: None };
    match made.await.unwrap_or_else(|error| Err(ended(error))) {
        Ok((outcome, took, memo)) => Decided { inputs, may_act, result: Ok((outcome, took)), memo },
        Err(undecided) => Decided { inputs, may_act, result: Err(undecided), memo: Memo::default() },
    }
}

fn attempt(inputs: &Inputs, mut memo: Memo, reconcile: Reconcile) -> Result<(Outcome, Memo), String> {
    // Nothing outlives a panic, the memo least of all.
    let decide = AssertUnwindSafe(|| (reconcile(inputs, &mut memo), memo));
    catch_unwind(decide).map_err(|panic| message(&*panic))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it did not say why").to_owned()
}

/// The last service of the shortest list of services that makes decisions panic.
fn culprit(inputs: &Inputs, reconcile: Reconcile) -> Option<String> {
    let panics = |services: usize| {
        let mut fewer = inputs.clone();
        fewer.snapshot.services.truncate(services);
        attempt(&fewer, Memo::default(), reconcile).is_err()
    };
    let (mut fine, mut bad) = (0, inputs.snapshot.services.len());
    if panics(fine) {
        return None;
    }
    while bad - fine > 1 {
        let middle = fine.midpoint(bad);
        if panics(middle) { bad = middle } else { fine = middle }
    }
    Some(inputs.snapshot.services.get(fine)?.spec.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use crate::swarm::state::State;

    fn evil(inputs: &Inputs, memo: &mut Memo) -> Outcome {
        let services = &inputs.snapshot.services;
        assert!(services.iter().all(|service| service.spec.name != "s3"), "no case for {}", services.len());
        crate::reconcile::reconcile_with(inputs, memo)
    }

    #[tokio::test]
    async fn a_decision_that_panics_names_the_service() {
        let service = |n: usize| {
            format!("    - {{ id: s{n}, version: 1, created_at: 2026-01-01T00:00:00Z, spec: {{ name: s{n} }} }}\n")
        };
        let text = (0..9).map(service).collect::<String>();
        let text = format!("snapshot:\n  observed_at: 2026-01-01T12:00:00Z\n  services:\n{text}");
        let inputs = Arc::new(Inputs::new(State::parse(&text).unwrap().snapshot, Settings::default()));
        let Err(undecided) = decide(inputs.clone(), Memo::default(), true, evil, None).await.result else {
            panic!("it was decided")
        };
        assert_eq!(undecided, Undecided { message: "no case for 9".to_owned(), service: Some("s3".to_owned()) });
        let known = Some(Undecided { service: Some("as before".to_owned()), ..undecided });
        let Err(again) = decide(inputs, Memo::default(), true, evil, known.clone()).await.result else {
            panic!("it was decided")
        };
        assert_eq!(Some(again), known, "it is looked for once");
    }
}
