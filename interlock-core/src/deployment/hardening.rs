//! What our own services are given where the engine has it.
//!
//! Core may move to a manager with another engine. What a service was given stays then: to take it back would replace all tasks, and to
//! give it again once more.

use std::collections::BTreeMap;

use serde_json::json;

use super::fields::{Field, LOG, NO_NEW_PRIVILEGES};
use crate::ownership;
use crate::swarm::{Engine, SwarmIndex};

/// No process of the service gets privileges that it was not started with, by a program that is set-uid for instance.
pub(super) fn no_new_privileges(snapshot: &SwarmIndex<'_>, service: &str) -> BTreeMap<String, Field> {
    given(snapshot, service, NO_NEW_PRIVILEGES, knows_privileges(&snapshot.engine), Field { value: json!(true) })
}

/// How much of the service's log is kept, where it would be all: `json-file` keeps it unless it is told otherwise. Who set up another
/// driver for the engine has said what becomes of logs.
pub(super) fn log(snapshot: &SwarmIndex<'_>, service: &str) -> BTreeMap<String, Field> {
    let keeps_all = snapshot.engine.log_driver.as_deref() == Some("json-file");
    let value = json!({ "Name": "json-file", "Options": { "max-size": "10m", "max-file": "5" } });
    given(snapshot, service, LOG, keeps_all, Field { value })
}

/// The first engine that knows it is 25.0.
fn knows_privileges(engine: &Engine) -> bool {
    const FIRST: (u32, u32) = (1, 44);
    let version = engine.api_version.split_once('.');
    let version = version.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    version.is_some_and(|version: (u32, u32)| version >= FIRST)
}

fn given(snapshot: &SwarmIndex<'_>, service: &str, name: &str, wanted: bool, field: Field) -> BTreeMap<String, Field> {
    let has = || {
        let existing = snapshot.named(service)?;
        let applied = existing.spec.labels.get(ownership::APPLIED)?;
        serde_json::from_str::<BTreeMap<String, String>>(applied).ok()?.contains_key(name).then_some(())
    };
    if wanted || has().is_some() { BTreeMap::from([(name.to_owned(), field)]) } else { BTreeMap::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::index::Directory;
    use crate::swarm::state::State;

    /// The names of what a service is given by this engine, and the labels that it has.
    fn given(engine: &str, labels: &str) -> Vec<String> {
        let text = format!(
            "snapshot:\n  observed_at: 2026-01-01T12:00:00Z\n  engine: {{ {engine} }}\n  services:\n    - {{ id: s, version: 1, \
             created_at: 2026-01-01T00:00:00Z, spec: {{ name: core, labels: {{ {labels} }} }} }}\n"
        );
        let snapshot = State::parse(&text).unwrap().snapshot;
        let directory = Directory::of(&snapshot);
        let snapshot = SwarmIndex::new(&snapshot, &directory);
        let fields = no_new_privileges(&snapshot, "core").into_iter().chain(log(&snapshot, "core"));
        fields.map(|(name, _)| name).collect()
    }

    #[test]
    fn m7_a_service_is_given_what_the_engine_has() {
        assert_eq!(given("api_version: '1.41', log_driver: journald", ""), [""; 0]);
        assert_eq!(given("api_version: '1.9'", ""), [""; 0]);
        assert_eq!(given("api_version: ''", ""), [""; 0]);
        assert_eq!(given("api_version: '1.44', log_driver: json-file", ""), [NO_NEW_PRIVILEGES, LOG]);
        assert_eq!(given("api_version: '2.0', log_driver: local", ""), [NO_NEW_PRIVILEGES]);
    }

    #[test]
    fn m7_what_a_newer_engine_gave_is_not_taken_back_by_an_older_one() {
        let applied = r#"com.docker.interlock.applied: '{"no new privileges":"x","log":"y","image":"z"}'"#;
        assert_eq!(given("api_version: '1.41', log_driver: journald", applied), [NO_NEW_PRIVILEGES, LOG]);
        assert_eq!(given("api_version: '1.41'", "com.docker.interlock.applied: nonsense"), [""; 0]);
    }
}
