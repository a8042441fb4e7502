//! Who asks for which host, kept from one decision to the next: a host is decided about again when those who ask for it changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Routes, VirtualHost, not_its_host};
use crate::problem::Problem;
use crate::routes::model::{Route, Seniority};
use crate::settings::HostPolicy;
use crate::units::shared::{are_same, difference};
use crate::units::{Cluster, HostPattern, RouteName};

/// A host pattern; `None` for all hosts that nobody names.
type Asked = Option<HostPattern>;

/// Routes put together, and what is needed to put together others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    policy: HostPolicy,
    routes: Vec<Arc<Route>>,
    clusters: BTreeMap<Cluster, Hosts>,
    /// What is told of hosts that belong to other stacks.
    claims: Vec<Problem>,
}

/// The hosts of a service cluster.
#[derive(Debug, Clone, Default)]
struct Hosts {
    /// Who asks for each, the oldest first.
    asked: BTreeMap<Asked, Vec<Arc<Route>>>,
    routes: Arc<Routes>,
    /// What is told of each, if there is something.
    problems: BTreeMap<Asked, Vec<Problem>>,
}

/// Puts the routes of each service cluster together.
pub fn resolve(routes: &[Arc<Route>], policy: HostPolicy) -> (BTreeMap<Cluster, Arc<Routes>>, Vec<Problem>) {
    let mut table = Table::default();
    table.renew(routes, policy);
    (table.clusters(), table.problems())
}

fn age(route: &Route) -> (&Seniority, &RouteName) {
    (&route.seniority, &route.name)
}

impl Table {
    /// Puts these routes together: as [`resolve`], whatever was here before. Sorted as those of a model, they cost what changed.
    pub(crate) fn renew(&mut self, routes: &[Arc<Route>], policy: HostPolicy) {
        if policy != self.policy {
            *self = Self { policy, ..Self::default() };
        }
        let changed = match policy {
            // Who asks for a host has a say in others.
            HostPolicy::Stack => self.by_claims(routes),
            HostPolicy::Shared => self.by_difference(routes),
        };
        for (cluster, changed) in changed {
            self.clusters.entry(cluster).or_default().decide(changed, policy);
        }
        self.clusters.retain(|_, hosts| !hosts.asked.is_empty());
    }

    /// The virtual hosts of each service cluster that has routes.
    pub(crate) fn clusters(&self) -> BTreeMap<Cluster, Arc<Routes>> {
        self.clusters.iter().map(|(cluster, hosts)| (cluster.clone(), Arc::clone(&hosts.routes))).collect()
    }

    /// What is told of the routes, sorted.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let of_hosts = self.clusters.values().flat_map(|hosts| hosts.problems.values().flatten());
        let problems: BTreeSet<_> = of_hosts.chain(&self.claims).collect();
        problems.into_iter().cloned().collect()
    }

    fn by_difference(&mut self, routes: &[Arc<Route>]) -> BTreeMap<Cluster, BTreeSet<Asked>> {
        let difference = difference(&self.routes, routes, Route::order);
        difference.apply(&mut self.routes, Route::order);
        let mut changed: BTreeMap<Cluster, BTreeSet<Asked>> = BTreeMap::new();
        for (route, comes) in
            difference.gone.iter().map(|it| (it, false)).chain(difference.come.iter().map(|it| (it, true)))
        {
            let hosts = self.clusters.entry(route.cluster.clone()).or_default();
            let changed = changed.entry(route.cluster.clone()).or_default();
            for host in asks_for(route) {
                let asking = hosts.asked.entry(host.clone()).or_default();
                if comes {
                    asking.insert(asking.partition_point(|other| age(other) <= age(route)), Arc::clone(route));
                } else {
                    asking.retain(|other| !Arc::ptr_eq(other, route));
                }
                changed.insert(host);
            }
        }
        changed
    }

    /// Of different stacks the one that asks for a host first has it, and all names under its wildcards.
    fn by_claims(&mut self, routes: &[Arc<Route>]) -> BTreeMap<Cluster, BTreeSet<Asked>> {
        if are_same(&self.routes, routes) {
            return BTreeMap::new();
        }
        self.routes = routes.to_vec();
        let mut by_age: Vec<_> = routes.iter().collect();
        by_age.sort_by(|a, b| age(a).cmp(&age(b)));
        let mut asked: BTreeMap<Cluster, BTreeMap<Asked, Vec<Arc<Route>>>> = BTreeMap::new();
        self.claims.clear();
        for route in by_age {
            let hosts = asked.entry(route.cluster.clone()).or_default();
            for host in asks_for(route) {
                let claim = host.as_ref().and_then(|host| claim(hosts, host));
                match (claim.filter(|(_, elder)| elder.stack != route.stack), &host) {
                    (Some((claim, elder)), Some(host)) => self.claims.push(not_its_host(route, elder, host, &claim)),
                    _ => hosts.entry(host).or_default().push(Arc::clone(route)),
                }
            }
        }
        let mut changed = BTreeMap::new();
        for cluster in asked.keys() {
            self.clusters.entry(cluster.clone()).or_default();
        }
        for (cluster, hosts) in &mut self.clusters {
            let now = asked.remove(cluster).unwrap_or_default();
            let is_same = |(host, asking): &(&Asked, &Vec<Arc<Route>>)| {
                hosts.asked.get(*host).is_some_and(|before| are_same(before, asking))
            };
            let others = now.iter().filter(|it| !is_same(it)).map(|(host, _)| host);
            let gone = hosts.asked.keys().filter(|host| !now.contains_key(*host));
            changed.insert(cluster.clone(), others.chain(gone).cloned().collect());
            hosts.asked = now;
        }
        changed
    }
}

/// The hosts that a route asks for.
fn asks_for(route: &Route) -> impl Iterator<Item = Asked> + '_ {
    route.hosts.iter().cloned().map(Some).chain(route.default_backend.then_some(None))
}

/// Who has a host so far: by the host itself, or by the narrowest wildcard over it.
fn claim<'a>(asked: &'a BTreeMap<Asked, Vec<Arc<Route>>>, host: &HostPattern) -> Option<(HostPattern, &'a Arc<Route>)> {
    host.and_wider().find_map(|claim| {
        let claim = Some(claim);
        let first = asked.get(&claim)?.first()?;
        Some((claim?, first))
    })
}

impl Hosts {
    /// Decides again about hosts: other routes ask for them now.
    fn decide(&mut self, changed: BTreeSet<Asked>, policy: HostPolicy) {
        if changed.is_empty() {
            return;
        }
        let routes = Arc::make_mut(&mut self.routes);
        for host in changed {
            let asking = self.asked.get(&host).filter(|asking| !asking.is_empty());
            let decided = asking.map(|asking| VirtualHost::of(host.as_ref(), asking, policy));
            let (serves, problems) =
                decided.map_or((None, Vec::new()), |(serves, told)| (Some(Arc::new(serves)), told));
            if serves.is_none() {
                self.asked.remove(&host);
            }
            match (&host, serves) {
                (None, serves) => routes.default = serves,
                (Some(pattern), Some(serves)) => drop(routes.virtual_hosts.insert(pattern.clone(), serves)),
                (Some(pattern), None) => drop(routes.virtual_hosts.remove(pattern)),
            }
            if problems.is_empty() {
                self.problems.remove(&host);
            } else {
                self.problems.insert(host, problems);
            }
        }
    }
}
