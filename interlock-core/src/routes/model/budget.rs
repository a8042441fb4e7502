//! What services come to is bounded, by numbers that are known before anything is rendered: what a service may cost by itself, and what
//! all of them may cost together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;

use super::{Model, Refusal, Route};
use crate::problem::{Effect, Problem};
use crate::settings::{Budget, Extension, Settings};
use crate::units::shared::Difference;
use crate::units::{Cluster, HostPattern, PathPrefix, ServiceId};

/// What a route comes to in the files of its proxies. Sums saturate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Price {
    /// Hosts, the default one included.
    pub(crate) hosts: usize,
    /// Locations of all hosts.
    pub(crate) locations: usize,
    /// Bytes of the headers that its labels name, as often as they stand in the file.
    pub(crate) header_bytes: usize,
    /// Zones for rate limits.
    pub(crate) rate_limits: usize,
    /// Bytes of all, but for its tasks.
    pub(crate) bytes: usize,
    /// Bytes that it adds to a server of one of its hosts.
    pub(crate) host_bytes: usize,
    /// Bytes of the lines that keep overlays out of what it allows. They are none of its labels' doing.
    pub(crate) overlay_bytes: usize,
    /// Bytes for its tasks, each time that they stand in an upstream.
    pub(crate) task_bytes: usize,
    /// In how many locations of a host it names its upstream.
    pub(crate) places: usize,
    /// Bytes for its hosts in lists of all hosts. These are there when somebody [names all hosts](Self::names_all_hosts).
    pub(crate) list_bytes: usize,
    /// Whether all hosts have to be named because of it: its wildcard or default host has a certificate or is passed through.
    pub(crate) names_all_hosts: bool,
    /// The most bytes of an upstream without its tasks and its name, and with all that it may need besides.
    pub(crate) upstream_bytes: usize,
    /// The most bytes of an upstream's name, where it stands.
    pub(crate) name_bytes: usize,
}

impl Price {
    /// What an upstream comes to that it shares with others, whose tasks have so many bytes, and which is named in so many places.
    pub(crate) fn shared(&self, others: usize, places: usize) -> usize {
        let names = (2 + places.max(self.places)).saturating_mul(self.name_bytes);
        self.upstream_bytes + names.saturating_add(self.task_bytes).saturating_add(others)
    }
}

/// What routes of a service cluster come to, as its kind of proxy counts.
pub struct Prices<'a> {
    /// What a route comes to by itself.
    pub(crate) of_route: Box<dyn Fn(&Route) -> Price + 'a>,
    /// How many files there are for hosts and upstreams.
    pub(crate) files: usize,
}

/// Says what routes come to for proxies with these settings that may come to have these overlays.
pub type Pricing = for<'a> fn(&Extension, &'a [IpNet]) -> Prices<'a>;

/// The budgets of all service clusters.
pub(super) struct Budgets<'a> {
    clusters: BTreeMap<&'a str, (Prices<'a>, Budget)>,
    /// How many bytes a file may have.
    limit: usize,
}

/// How many bytes all routes of one host may take: lists are cut into files between hosts, see `kinds::nginx::split`.
const fn of_one_host(limit: usize) -> usize {
    limit / 4
}

impl<'a> Budgets<'a> {
    /// For files of at most `limit` bytes each, of proxies that may come to have these overlays.
    pub(super) fn of(pricing: Pricing, settings: &'a Settings, limit: usize, overlays: &'a [IpNet]) -> Self {
        let extensions = settings.extensions.iter();
        let clusters = extensions.map(|(cluster, it)| (cluster.as_str(), (pricing(it, overlays), it.budget))).collect();
        Self { clusters, limit }
    }

    fn of_cluster(&self, cluster: &Cluster) -> Option<&(Prices<'a>, Budget)> {
        self.clusters.get(cluster.as_str())
    }

    /// What a route comes to by itself.
    pub(super) fn price(&self, route: &Route) -> Price {
        self.clusters.get(route.cluster.as_str()).map(|(prices, _)| (prices.of_route)(route)).unwrap_or_default()
    }

    /// Why a service's routes are too much by themselves, with the first budget that they exceed.
    pub(super) fn exceeded(&self, routes: &[Arc<Route>]) -> Option<Refusal> {
        let mut clusters: BTreeMap<&Cluster, Price> = BTreeMap::new();
        for route in routes {
            let Some((_, budget)) = self.of_cluster(&route.cluster) else { continue };
            let sum = clusters.entry(&route.cluster).or_default();
            let price = &route.price;
            for (sum, more) in [
                (&mut sum.hosts, price.hosts),
                (&mut sum.locations, price.locations),
                (&mut sum.header_bytes, price.header_bytes),
                (&mut sum.rate_limits, price.rate_limits),
                (&mut sum.bytes, price.bytes),
            ] {
                *sum = sum.saturating_add(more);
            }
            let lines = [
                (sum.hosts, budget.hosts, "ServiceHosts", "hosts"),
                (sum.rate_limits, budget.rate_limits, "ServiceRateLimits", "rate limits"),
                (sum.locations, budget.locations, "ServiceLocations", "locations"),
                (sum.header_bytes, budget.header_bytes, "ServiceHeaderBytes", "bytes of headers"),
                (sum.bytes, budget.bytes, "ServiceBytes", "bytes of configuration"),
            ];
            if let Some((_, most, key, what)) = lines.into_iter().find(|(sum, most, ..)| *sum > *most as usize) {
                let wrong = format!("its routes need more than {most} {what} (limit {key})");
                let right = format!("spread the routes over several services, or ask the operator to raise {key}");
                return Some(Refusal::new(wrong, right));
            }
        }
        self.too_much_for_a_host(routes).map(|host| too_large(Some(host)))
    }

    /// A host that the routes alone make too large.
    fn too_much_for_a_host<'r>(&self, routes: &'r [Arc<Route>]) -> Option<&'r HostPattern> {
        let most = of_one_host(self.limit);
        if routes.iter().map(|route| route.price.host_bytes).fold(0, usize::saturating_add) <= most {
            return None;
        }
        let mut hosts: BTreeMap<_, usize> = BTreeMap::new();
        let each = routes.iter().flat_map(|route| route.hosts.iter().map(move |host| (route, host)));
        each.into_iter().find_map(|(route, host)| {
            let bytes = hosts.entry((&route.cluster, host)).or_default();
            *bytes = bytes.saturating_add(route.price.host_bytes);
            (*bytes > most).then_some(host)
        })
    }

    /// Leaves out the newest services until the rest fits into the proxies' files.
    pub(super) fn fit(&self, model: &mut Model) -> Vec<Problem> {
        let mut services: BTreeMap<_, Vec<&Route>> = BTreeMap::new();
        for route in model.routes.iter() {
            services.entry((&route.cluster, &route.seniority)).or_default().push(route);
        }
        let mut rooms: BTreeMap<&Cluster, Room<'_>> = BTreeMap::new();
        let mut left_out: BTreeSet<(Cluster, ServiceId)> = BTreeSet::new();
        let mut problems = Vec::new();
        for ((cluster, seniority), routes) in services {
            let Some((prices, budget)) = self.of_cluster(cluster) else { continue };
            let room = rooms.entry(cluster).or_insert_with(|| Room::of(prices.files, self.limit, budget));
            if let Err(refusal) = room.take(&routes) {
                problems.extend(routes.first().map(|route| refusal.problem(&route.service, Effect::LeftOut)));
                left_out.insert((cluster.clone(), seniority.id.clone()));
            }
        }
        let stays = |route: &Route| !left_out.contains(&(route.cluster.clone(), route.seniority.id.clone()));
        let bytes = rooms.into_iter().map(|(cluster, room)| (cluster.clone(), room.taken));
        model.bytes = bytes.collect();
        if !left_out.is_empty() {
            model.routes = Arc::new(model.routes.iter().filter(|route| stays(route)).cloned().collect());
        }
        problems
    }
}

/// What is left in a service cluster's files.
struct Room<'a> {
    bytes: usize,
    taken: usize,
    rate_limits: usize,
    most_rate_limits: u32,
    host_bytes: usize,
    hosts: BTreeMap<Option<&'a HostPattern>, Host<'a>>,
    /// What the lists of all hosts come to, and whether they are there.
    list_bytes: usize,
    has_lists: bool,
}

/// What a host has already.
#[derive(Default)]
struct Host<'a> {
    bytes: usize,
    paths: BTreeMap<&'a PathPrefix, Shared>,
}

/// What those have in common who share a host's path.
#[derive(Clone, Copy)]
struct Shared {
    /// How many bytes the tasks of all of them take.
    tasks: usize,
    /// Whether the eldest has a rate limit.
    limited: bool,
    /// In how many locations the eldest names its upstream.
    places: usize,
}

impl<'a> Room<'a> {
    fn of(files: usize, limit: usize, budget: &Budget) -> Self {
        Self {
            bytes: files.saturating_mul(limit / 4 * 3),
            taken: 0,
            rate_limits: budget.all_rate_limits as usize,
            most_rate_limits: budget.all_rate_limits,
            host_bytes: of_one_host(limit),
            hosts: BTreeMap::new(),
            list_bytes: 0,
            has_lists: false,
        }
    }

    /// Takes a service in, or says why there is no room for it.
    fn take(&mut self, routes: &[&'a Route]) -> Result<(), Refusal> {
        let (mut bytes, mut rate_limits) = (0_usize, 0_usize);
        let mut hosts: BTreeMap<Option<&HostPattern>, Host<'a>> = BTreeMap::new();
        for route in routes {
            let price = &route.price;
            bytes =
                bytes.saturating_add(price.bytes).saturating_add(price.task_bytes).saturating_add(price.overlay_bytes);
            rate_limits += price.rate_limits;
            let named = route.hosts.iter().map(Some).chain(route.default_backend.then_some(None));
            for name in named {
                let known = self.hosts.get(&name);
                let mine = hosts.entry(name).or_default();
                let elder = known.and_then(|host| host.paths.get(&route.path)).copied();
                let sibling = mine.paths.get(&route.path).copied();
                if let Some(Shared { tasks, limited, places }) = elder.or(sibling) {
                    // Whoever shares requests makes another upstream, and another zone where there is one.
                    let others = tasks.saturating_add(sibling.filter(|_| elder.is_some()).map_or(0, |it| it.tasks));
                    bytes = bytes.saturating_add(price.shared(others, places));
                    rate_limits += usize::from(limited);
                } else {
                    mine.bytes = mine.bytes.saturating_add(price.host_bytes);
                }
                if known.map_or(0, |host| host.bytes).saturating_add(mine.bytes) > self.host_bytes {
                    return Err(too_large(name));
                }
                let limited = route.asks.options.rate_limit.is_some();
                let first = Shared { tasks: 0, limited, places: price.places };
                let shared = mine.paths.entry(&route.path).or_insert(first);
                shared.tasks = shared.tasks.saturating_add(price.task_bytes);
            }
        }
        let lists = routes.iter().map(|route| route.price.list_bytes).fold(0, usize::saturating_add);
        let has_lists = self.has_lists || routes.iter().any(|route| route.price.names_all_hosts);
        if has_lists {
            let others = if self.has_lists { 0 } else { self.list_bytes };
            bytes = bytes.saturating_add(lists).saturating_add(others);
        }
        if bytes > self.bytes {
            let wrong =
                "with it the configuration of its service cluster would be too large, and it is the newest service";
            return Err(Refusal::new(wrong, "use another service cluster, or remove other services"));
        }
        if rate_limits > self.rate_limits && rate_limits > 0 {
            let most = self.most_rate_limits;
            let wrong =
                format!("with it the service cluster would have more than {most} rate limits (limit RateLimits)");
            return Err(Refusal::new(wrong, "use another service cluster, or ask the operator to raise RateLimits"));
        }
        self.bytes -= bytes;
        self.taken += bytes;
        self.list_bytes = self.list_bytes.saturating_add(lists);
        self.has_lists = has_lists;
        self.rate_limits -= rate_limits;
        for (name, Host { bytes, paths }) in hosts {
            let host = self.hosts.entry(name).or_default();
            host.bytes += bytes;
            for (path, mine) in paths {
                let shared = host.paths.entry(path).or_insert(Shared { tasks: 0, ..mine });
                shared.tasks = shared.tasks.saturating_add(mine.tasks);
            }
        }
        Ok(())
    }
}

/// What all routes come to if none is left out. Made of that of earlier routes it costs what changed since.
///
/// It counts as [`Budgets::fit`] does, in another order: by service cluster and by host instead of by service.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    limit: usize,
    clusters: BTreeMap<Cluster, OfCluster>,
}

/// A route, and whether it comes or goes.
type Change<'a> = (&'a Arc<Route>, bool);

#[derive(Debug, Clone, Default)]
struct OfCluster {
    routes: usize,
    bytes: usize,
    rate_limits: usize,
    list_bytes: usize,
    naming_all_hosts: usize,
    /// Hosts that are too large.
    too_large: usize,
    hosts: BTreeMap<Option<HostPattern>, OfHost>,
}

/// What a host comes to besides what its routes do by themselves.
#[derive(Debug, Clone, Default)]
struct OfHost {
    /// The oldest first.
    routes: Vec<Arc<Route>>,
    host_bytes: usize,
    shared_bytes: usize,
    rate_limits: usize,
}

impl OfHost {
    fn of(routes: Vec<Arc<Route>>) -> Self {
        let (mut host_bytes, mut shared_bytes, mut rate_limits) = (0_usize, 0_usize, 0_usize);
        let mut paths: BTreeMap<&PathPrefix, Shared> = BTreeMap::new();
        for route in &routes {
            let price = &route.price;
            match paths.get_mut(&route.path) {
                Some(shared) => {
                    shared_bytes = shared_bytes.saturating_add(price.shared(shared.tasks, shared.places));
                    rate_limits += usize::from(shared.limited);
                    shared.tasks = shared.tasks.saturating_add(price.task_bytes);
                }
                None => {
                    host_bytes = host_bytes.saturating_add(price.host_bytes);
                    let limited = route.asks.options.rate_limit.is_some();
                    paths.insert(&route.path, Shared { tasks: price.task_bytes, limited, places: price.places });
                }
            }
        }
        Self { routes, host_bytes, shared_bytes, rate_limits }
    }
}

impl Sums {
    /// Counts the changed routes instead of those that were; all of them for files of another size.
    pub(super) fn renew(&mut self, changed: &Difference<Route>, all: &[Arc<Route>], limit: usize) {
        if limit != self.limit {
            *self = Self { limit, clusters: BTreeMap::new() };
            let come = all.to_vec();
            return self.count(&Difference { gone: Vec::new(), come });
        }
        self.count(changed);
    }

    fn count(&mut self, changed: &Difference<Route>) {
        let mut hosts: BTreeMap<_, Vec<Change<'_>>> = BTreeMap::new();
        let gone = changed.gone.iter().map(|route| (route, false));
        for (route, comes) in gone.chain(changed.come.iter().map(|route| (route, true))) {
            self.clusters.entry(route.cluster.clone()).or_default().count(route, comes);
            let named = route.hosts.iter().map(Some).chain(route.default_backend.then_some(None));
            named.for_each(|host| hosts.entry((&route.cluster, host)).or_default().push((route, comes)));
        }
        for ((cluster, host), changed) in hosts {
            let Some(cluster) = self.clusters.get_mut(cluster) else { continue };
            cluster.renew(host.cloned(), &changed, of_one_host(self.limit));
        }
        self.clusters.retain(|_, cluster| cluster.routes > 0);
    }

    /// What the routes of each service cluster come to in bytes, if there is room for all of them.
    pub(super) fn fit(&self, budgets: &Budgets<'_>) -> Option<BTreeMap<Cluster, usize>> {
        let mut taken = BTreeMap::new();
        for (cluster, sums) in &self.clusters {
            let Some((prices, budget)) = budgets.of_cluster(cluster) else { continue };
            let room = Room::of(prices.files, budgets.limit, budget);
            let bytes = if sums.naming_all_hosts > 0 { sums.bytes + sums.list_bytes } else { sums.bytes };
            if bytes > room.bytes || sums.rate_limits > room.rate_limits || sums.too_large > 0 {
                return None;
            }
            taken.insert(cluster.clone(), bytes);
        }
        Some(taken)
    }
}

impl OfCluster {
    fn count(&mut self, route: &Route, comes: bool) {
        let price = &route.price;
        let bytes = price.bytes.saturating_add(price.task_bytes).saturating_add(price.overlay_bytes);
        for (sum, of_route) in [
            (&mut self.routes, 1),
            (&mut self.bytes, bytes),
            (&mut self.rate_limits, price.rate_limits),
            (&mut self.list_bytes, price.list_bytes),
            (&mut self.naming_all_hosts, usize::from(price.names_all_hosts)),
        ] {
            *sum = if comes { *sum + of_route } else { *sum - of_route };
        }
    }

    fn renew(&mut self, host: Option<HostPattern>, changed: &[Change<'_>], most: usize) {
        let before = self.hosts.remove(&host).unwrap_or_default();
        self.too_large -= usize::from(before.host_bytes > most);
        self.bytes -= before.shared_bytes;
        self.rate_limits -= before.rate_limits;
        let mut routes = before.routes;
        routes.retain(|route| !changed.iter().any(|(gone, comes)| !comes && Arc::ptr_eq(gone, route)));
        routes.extend(changed.iter().filter(|(_, comes)| *comes).map(|(route, _)| Arc::clone(route)));
        routes.sort_by(|a, b| (&a.seniority, &a.name).cmp(&(&b.seniority, &b.name)));
        if routes.is_empty() {
            return;
        }
        let now = OfHost::of(routes);
        self.too_large += usize::from(now.host_bytes > most);
        self.bytes += now.shared_bytes;
        self.rate_limits += now.rate_limits;
        self.hosts.insert(host, now);
    }
}

fn too_large(host: Option<&HostPattern>) -> Refusal {
    let host = host.map_or_else(|| "the default backend".to_owned(), ToString::to_string);
    Refusal::new(
        format!("its routes would make the configuration of {host} too large"),
        "use fewer paths, endpoints and headers, or another host",
    )
}
