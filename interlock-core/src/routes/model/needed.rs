//! What the routes of each service cluster have in common, counted: it costs what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{LastGood, Route};
use crate::swarm::Labels;
use crate::units::shared::Difference;
use crate::units::{Cluster, NetworkId, SecretName, ServiceId};

/// What each service cluster's routes need.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Needed(BTreeMap<Cluster, OfCluster>);

/// What the routes of a service cluster need, with how many of them need it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct OfCluster {
    routes: usize,
    /// By those with a target.
    pub(crate) networks: BTreeMap<NetworkId, usize>,
    /// By those with a target.
    pub(crate) secrets: BTreeMap<SecretName, usize>,
    /// By all of them.
    pub(crate) named: BTreeMap<SecretName, usize>,
    /// Of those secrets, the authorities of tasks' certificates.
    pub(crate) authorities: BTreeMap<SecretName, usize>,
    /// By which labels its services are routed.
    pub(crate) labels: Arc<LastGood>,
}

impl Needed {
    /// Of these routes.
    pub(super) fn of(routes: &[Arc<Route>]) -> Self {
        let mut needed = Self::default();
        needed.renew(&Difference { gone: Vec::new(), come: routes.to_vec() });
        needed
    }

    /// Counts the changed routes in place of those that were: of a service all or none.
    pub(super) fn renew(&mut self, changed: &Difference<Route>) {
        let mut labels: BTreeMap<(&Cluster, &ServiceId), Option<&Arc<Labels>>> = BTreeMap::new();
        for route in &changed.gone {
            self.0.entry(route.cluster.clone()).or_default().count(route, false);
            labels.insert((&route.cluster, route.seniority.id()), None);
        }
        for route in &changed.come {
            self.0.entry(route.cluster.clone()).or_default().count(route, true);
            labels.insert((&route.cluster, route.seniority.id()), Some(&route.labels));
        }
        for ((cluster, id), labels) in labels {
            let Some(of_cluster) = self.0.get_mut(cluster) else { continue };
            if of_cluster.labels.get(id) == labels {
                continue;
            }
            let known = Arc::make_mut(&mut of_cluster.labels);
            match labels {
                Some(labels) => drop(known.insert(id.clone(), Arc::clone(labels))),
                None => drop(known.remove(id)),
            }
        }
        self.0.retain(|_, of_cluster| of_cluster.routes > 0);
    }

    /// Whether somebody names a secret.
    pub(super) fn name_secrets(&self) -> bool {
        self.0.values().any(|of_cluster| !of_cluster.named.is_empty())
    }

    /// Of a service cluster.
    pub(crate) fn by(&self, cluster: &Cluster) -> Option<&OfCluster> {
        self.0.get(cluster)
    }
}

impl OfCluster {
    fn count(&mut self, route: &Route, comes: bool) {
        self.routes = if comes { self.routes + 1 } else { self.routes - 1 };
        let secrets: BTreeSet<_> = route.asks.secrets().collect();
        secrets.iter().for_each(|name| count(&mut self.named, name, comes));
        route.asks.options.ssl_backend_ca.iter().for_each(|name| count(&mut self.authorities, name, comes));
        if !route.targets.is_empty() {
            secrets.iter().for_each(|name| count(&mut self.secrets, name, comes));
            route.network().into_iter().for_each(|network| count(&mut self.networks, network, comes));
        }
    }
}

fn count<K: Ord + Clone>(counts: &mut BTreeMap<K, usize>, key: &K, comes: bool) {
    match (counts.get_mut(key), comes) {
        (Some(count), true) => *count += 1,
        (Some(count), false) if *count > 1 => *count -= 1,
        (Some(_), false) => drop(counts.remove(key)),
        (None, true) => drop(counts.insert(key.clone(), 1)),
        (None, false) => {}
    }
}
