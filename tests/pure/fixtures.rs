//! Each label and each setting has a fixture that a reader finds by its name, and that shows what it does.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::support::Scenario;
use interlock_core::labels::{PREFIX, TABLE};
use interlock_core::reconcile::{Inputs, reconcile_embedded};
use interlock_core::settings::{Status, reference};

/// Settings that change neither files nor the plan, and why.
const WITHOUT_EFFECT_THERE: &[(&str, &str)] = &[
    ("PollInterval", "how often core looks"),
    ("DockerURL", "how core reaches the engine"),
    ("TLSCACert", "how core reaches the engine"),
    ("TLSCert", "how core reaches the engine"),
    ("TLSKey", "how core reaches the engine"),
    ("AllowInsecure", "how core reaches the engine"),
    ("LogLevel", "what core logs"),
    ("Kind", "this version supports nginx alone"),
];

/// Labels whose fixture has the name of what they are for.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("hosts", "one-host"),
    ("port", "one-host"),
    ("network", "several-networks"),
    ("context_root", "context-root"),
    ("context_root_rewrite", "context-root-rewrite"),
    ("default_backend", "default-backend"),
    ("service_cluster", "service-clusters"),
    // Of its own it asks for nothing.
    ("ssl_backend_ca", "label-ssl_backend_tls_verify"),
];

fn by_name() -> BTreeMap<String, Scenario> {
    Scenario::all().into_iter().map(|scenario| (scenario.name.clone(), scenario)).collect()
}

/// Whether other inputs give another plan or other files.
fn differ(one: &Inputs, other: &Inputs) -> bool {
    let ((one, files), (other, others)) = (reconcile_embedded(one), reconcile_embedded(other));
    one.plan != other.plan || files != others
}

#[test]
fn each_setting_has_a_fixture_that_shows_its_effect() {
    let fixtures = by_name();
    for key in reference().iter().filter(|key| key.status == Status::Works) {
        if WITHOUT_EFFECT_THERE.iter().any(|(name, _)| *name == key.name) {
            continue;
        }
        let name = format!("setting-{}", key.name);
        let scenario = fixtures.get(&name).unwrap_or_else(|| panic!("fixtures/{name}.yaml is missing"));
        let sets = |line: &&str| line.split(' ').next() == Some(key.name);
        let without: Vec<_> = scenario.state.settings.lines().filter(|line| !sets(line)).collect();
        assert!(without.len() < scenario.state.settings.lines().count(), "{name} does not set it");
        let without = Inputs { settings: crate::support::settings(&without.join("\n")), ..scenario.inputs() };
        assert!(differ(&scenario.inputs(), &without), "{name} shows no effect");
    }
}

#[test]
fn each_label_has_a_fixture_that_shows_its_effect() {
    let fixtures = by_name();
    for label in TABLE {
        let other = OTHER_NAMES.iter().find(|(key, _)| *key == label.key).map(|(_, name)| (*name).to_owned());
        let name = other.unwrap_or_else(|| format!("label-{}", label.key));
        let scenario = fixtures.get(&name).unwrap_or_else(|| panic!("fixtures/{name}.yaml is missing"));
        let mut without = scenario.inputs();
        let services = without.snapshot.services.iter_mut();
        let key = format!("{PREFIX}{}", label.key);
        let removed: Vec<_> = services.filter_map(|service| Arc::make_mut(service).spec.labels.remove(&key)).collect();
        assert!(!removed.is_empty(), "{name} does not have it");
        assert!(differ(&scenario.inputs(), &without), "{name} shows no effect");
    }
}

#[test]
fn what_needs_no_fixture_is_a_setting_that_works() {
    for (name, why) in WITHOUT_EFFECT_THERE {
        let key = reference().into_iter().find(|key| key.name == *name);
        assert!(key.is_some_and(|key| key.status == Status::Works), "{name} ({why})");
        assert!(!by_name().contains_key(&format!("setting-{name}")), "{name} has a fixture");
    }
}

#[test]
fn a_fixture_of_a_setting_or_label_is_of_one_that_exists() {
    for name in by_name().keys() {
        let setting = name.strip_prefix("setting-");
        let label = name.strip_prefix("label-");
        assert!(setting.is_none_or(|setting| reference().iter().any(|key| key.name == setting)), "{name}");
        assert!(label.is_none_or(|label| TABLE.iter().any(|row| row.key == label)), "{name}");
    }
}
