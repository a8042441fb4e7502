//! What several test files need.
#![expect(dead_code, unreachable_pub, reason = "each test binary uses its own part of this module")]

pub mod agent;
pub mod backend;
pub mod bombs;
pub mod checker;
pub mod core;
pub mod gate;
pub mod http;
pub mod laws;
pub mod load;
pub mod nginx;
pub mod pki;
pub mod processes;
pub mod real;
pub mod routes;
pub mod site;
pub mod tenant;
pub mod tls;
pub mod world;

use std::path::{Path, PathBuf};

use interlock_core::reconcile::Inputs;
use interlock_core::settings::Settings;
use interlock_core::swarm::state::State;

/// A fixture, read.
pub struct Scenario {
    pub name: String,
    pub state: State,
    pub settings: Settings,
}

impl Scenario {
    pub fn load(path: &Path) -> Self {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(path).unwrap();
        let state = State::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let settings = settings(&state.settings);
        Self { name, state, settings }
    }

    /// All fixtures, by name.
    pub fn all() -> Vec<Self> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
        paths.sort();
        assert!(paths.len() > 10, "fixtures are missing");
        paths.iter().map(|path| Self::load(path)).collect()
    }

    /// All fixtures that the nginx of this machine is new enough for.
    pub fn for_nginx() -> Vec<Self> {
        let installed = nginx::installed();
        let fits = |scenario: &Self| {
            scenario.settings.extensions.values().all(|it| it.proxy_version.is_none_or(|version| version <= installed))
        };
        Self::all().into_iter().filter(fits).collect()
    }

    pub fn inputs(&self) -> Inputs {
        Inputs::new(self.state.snapshot.clone(), self.settings.clone())
    }
}

pub fn settings(toml: &str) -> Settings {
    if toml.is_empty() {
        Settings::default()
    } else {
        Settings::parse(toml).unwrap_or_else(|error| panic!("{error}")).0
    }
}
