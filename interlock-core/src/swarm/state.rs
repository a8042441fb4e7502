//! State files: the settings and the snapshot of one scenario in YAML. `interlock snapshot` writes them, `--state` reads them,
//! and the project's own fixtures are some. Unknown keys are errors.

use serde::{Deserialize, Serialize};

use crate::swarm::Snapshot;

/// What a state file holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The settings in TOML, as in a settings file; empty for the defaults.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub settings: String,
    /// What is on the Swarm.
    pub snapshot: Snapshot,
}

/// Why a text is no state file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {wrong}")]
pub struct StateError {
    /// The line, from 1; 0 when the place is not known.
    pub line: u64,
    /// The column, from 1; 0 when the place is not known.
    pub column: u64,
    /// What is wrong.
    pub wrong: String,
}

impl State {
    /// Reads a state file. JSON is YAML, too.
    pub fn parse(text: &str) -> Result<Self, StateError> {
        // The limits on size that the reader has by default are for input from strangers; this is the operator's own file.
        let options = serde_saphyr::options! { budget: None, with_snippet: false };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let place = error.location();
            StateError {
                line: place.map_or(0, |place| place.line()),
                column: place.map_or(0, |place| place.column()),
                wrong: error.without_snippet().to_string(),
            }
        })
    }

    /// Writes a state file.
    pub fn to_yaml(&self) -> Result<String, StateError> {
        serde_saphyr::to_string(self).map_err(|error| StateError { line: 0, column: 0, wrong: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "settings: |\n  PollInterval = \"3s\"\nsnapshot:\n  observed_at: 2026-01-01T00:00:00Z\n  services:\n    - id: s1\n      version: 7\n      created_at: 2026-01-01T00:00:00Z\n      spec:\n        name: shop\n        labels: { com.docker.lb.hosts: shop.example.com }\n";

    #[test]
    fn what_is_written_is_read_again() {
        let state = State::parse(SMALL).unwrap();
        assert_eq!(state.snapshot.services[0].spec.name, "shop");
        assert_eq!(State::parse(&state.to_yaml().unwrap()).unwrap(), state);
    }

    #[test]
    fn an_error_names_the_place() {
        let error = State::parse(&SMALL.replace("version: 7", "verison: 7")).unwrap_err();
        assert!(error.line >= 6 && error.line <= 7, "{error}");
        assert!(error.wrong.contains("verison"), "{error}");
    }
}
