//! Whatever stands in labels: a rendering has the structure that its template gives it, says what the model says, and leaves the
//! neighbours alone.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use std::sync::LazyLock;

use interlock_core::labels::{PREFIX, TABLE};
use interlock_core::reconcile::{Inputs, reconcile_embedded};
use interlock_core::render::agree::agree;
use interlock_core::snapshot::{Labels, Secret};
use proptest::prelude::*;
use support::Scenario;

/// What is done to a value that is right.
#[derive(Debug, Clone)]
enum Change {
    None,
    Insert(usize, String),
    Cut(usize),
    Instead(String),
}

fn change() -> impl Strategy<Value = Change> {
    // What means something to nginx, to templates, to terminals; and anything.
    let evil = "[;{}\"'\\\\$#\n\r\t \\[\\]*~^|&<>%\\x00\u{2028}\u{202e}]{1,3}";
    prop_oneof![
        3 => Just(Change::None),
        3 => (0..40_usize, prop_oneof![evil, ".{1,4}"]).prop_map(|(at, text)| Change::Insert(at, text)),
        1 => (0..40_usize).prop_map(Change::Cut),
        1 => prop_oneof![".{0,40}", "\\PC{0,40}"].prop_map(Change::Instead),
    ]
}

fn changed(value: &str, change: &Change) -> String {
    let at = |at: usize| value.char_indices().map(|(i, _)| i).chain([value.len()]).nth(at).unwrap_or(value.len());
    match change {
        Change::None => value.to_owned(),
        Change::Insert(place, text) => {
            let (before, after) = value.split_at(at(*place));
            format!("{before}{text}{after}")
        }
        Change::Cut(place) => value[..at(*place)].to_owned(),
        Change::Instead(text) => text.clone(),
    }
}

static BASE: LazyLock<Inputs> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/one-host.yaml");
    Scenario::load(std::path::Path::new(path)).inputs()
});

/// A service with these labels beside one that wants nothing special.
fn beside_another(labels: Vec<(usize, Change)>) -> Inputs {
    let mut inputs = BASE.clone();
    for label in TABLE.iter().filter(|label| label.syntax.contains("secret")) {
        let name = label.example.to_owned();
        inputs.snapshot.secrets.push(Secret { id: name.as_str().into(), name, labels: Labels::new() });
    }
    let mut service = inputs.snapshot.services[0].clone();
    service.id = "other".into();
    service.spec.name = "other".to_owned();
    service.spec.labels = [("hosts", "other.example.com"), ("port", "8080")]
        .map(|(key, value)| (format!("{PREFIX}{key}"), value.to_owned()))
        .into();
    for (index, change) in labels {
        let label = TABLE[index % TABLE.len()];
        service.spec.labels.insert(format!("{PREFIX}{}", label.key), changed(label.example, &change));
    }
    for mut task in inputs.snapshot.tasks.clone() {
        task.id = format!("other-{}", task.id).as_str().into();
        task.service = service.id.clone();
        inputs.snapshot.tasks.push(task);
    }
    inputs.snapshot.services.push(service);
    inputs
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_labels_give_a_rendering_that_says_what_the_model_says(
        labels in proptest::collection::vec((0..TABLE.len(), change()), 0..5),
    ) {
        let inputs = beside_another(labels);
        let (outcome, renderings) = reconcile_embedded(&inputs);
        for (key, config) in &outcome.proxy_configs {
            let files = renderings[key].result.as_ref().map_err(|error| TestCaseError::fail(error.to_string()))?;
            agree(config, files, 1_000_000).map_err(TestCaseError::fail)?;
            prop_assert!(files[0].content.contains("shop.example.com"), "the neighbour is served");
        }
    }
}
