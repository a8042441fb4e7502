//! What the newest settings on the Swarm want: those that core's service mounts.
//!
//! A core that still runs with older settings, because it is about to be replaced or was cut off, must not remove what
//! its successor makes.

use std::collections::BTreeSet;

use super::core_peers;
use crate::ownership;
use crate::ownership::core_name::any_core;
use crate::settings::Settings;
use crate::swarm::SwarmIndex;
use crate::units::Cluster;

/// What the newest settings on the Swarm want besides the settings that decide.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Newest {
    /// Whether these settings cannot be read: a later version wrote them, and may want anything.
    pub(crate) is_unknown: bool,
    clusters: BTreeSet<Cluster>,
    services: BTreeSet<String>,
    networks: BTreeSet<String>,
}

impl Newest {
    /// Reads the settings that core's service mounts, if `install` made them.
    pub(crate) fn of(snapshot: &SwarmIndex<'_>) -> Self {
        let core = any_core(snapshot);
        let mut mounts = core.iter().flat_map(|core| &core.spec.configs);
        let mounted = mounts.find(|mount| mount.name.starts_with(ownership::SETTINGS_PREFIX));
        let config = mounted.and_then(|mount| snapshot.configs.iter().find(|config| config.id == mount.id));
        let Some(config) = config.filter(|config| ownership::is_ours(&config.labels)) else { return Self::default() };
        match Settings::parse(&config.data) {
            Ok((settings, _)) => Self {
                is_unknown: false,
                clusters: settings.clusters().map(|(cluster, _)| cluster).collect(),
                services: services(&settings).collect(),
                networks: core_peers::core_networks(&settings).into_keys().collect(),
            },
            Err(_) => Self { is_unknown: true, ..Self::default() },
        }
    }

    pub(crate) fn wants_cluster(&self, cluster: &Cluster) -> bool {
        self.is_unknown || self.clusters.contains(cluster)
    }

    pub(crate) fn wants_service(&self, name: &str) -> bool {
        self.is_unknown || self.services.contains(name)
    }

    pub(crate) fn wants_network(&self, name: &str) -> bool {
        self.is_unknown || self.networks.contains(name)
    }
}

fn services(settings: &Settings) -> impl Iterator<Item = String> {
    settings.extensions.values().flat_map(|extension| {
        let renders = extension.image.is_some().then(|| extension.service_name.clone());
        renders.into_iter().chain([extension.proxy_service_name.clone()])
    })
}
