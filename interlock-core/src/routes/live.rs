//! Which routes proxies serve, to tell of those that come and go.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Routes, VirtualHost};
use crate::routes::model::Route;
use crate::swarm::Labels;
use crate::units::shared::are_same;
use crate::units::{Cluster, HostPattern};

/// The routes that proxies which run have files for, of each service cluster of which that is known: those of each generation.
pub type LiveRoutes = BTreeMap<Cluster, Vec<Arc<Routes>>>;

/// A route's place: where it answers, and for which service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The host pattern; `None` for all that nobody names.
    pub host: Option<Arc<str>>,
    /// The path, `/` for all.
    pub path: Arc<str>,
    /// The service.
    pub service: Arc<str>,
}

/// What is served there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Live {
    /// How many addresses get requests: those of tasks, or one virtual IP.
    pub tasks: usize,
    /// The labels that ask for it.
    pub labels: Arc<Labels>,
}

/// The hosts of some routes; `None` for all that nobody names.
type Hosts<'a> = BTreeMap<Option<&'a HostPattern>, &'a Arc<VirtualHost>>;

/// The routes with a task, of all of these.
pub fn live(routes: &[Arc<Routes>]) -> BTreeMap<Place, Live> {
    routes.iter().flat_map(|routes| of_hosts(&hosts(routes))).collect()
}

/// The routes with a task of before and of now, without those of hosts that are the same.
pub fn changed(before: &[Arc<Routes>], now: &[Arc<Routes>]) -> [BTreeMap<Place, Live>; 2] {
    if are_same(before, now) {
        return Default::default();
    }
    let (mut before, mut now): (Vec<_>, Vec<_>) =
        (before.iter().map(|it| hosts(it)).collect(), now.iter().map(|it| hosts(it)).collect());
    if let ([before], [now]) = (&mut before[..], &mut now[..]) {
        let all = now.clone();
        now.retain(|host, serves| before.get(host).is_none_or(|before| !Arc::ptr_eq(before, serves)));
        before.retain(|host, serves| all.get(host).is_none_or(|now| !Arc::ptr_eq(now, serves)));
    }
    [before, now].map(|hosts| hosts.iter().flat_map(of_hosts).collect())
}

fn hosts(routes: &Routes) -> Hosts<'_> {
    let named = routes.virtual_hosts.iter().map(|(host, serves)| (Some(host), serves));
    named.chain(routes.default.iter().map(|serves| (None, serves))).collect()
}

fn of_hosts(hosts: &Hosts<'_>) -> BTreeMap<Place, Live> {
    let mut live = BTreeMap::new();
    let mut names: BTreeMap<_, Arc<str>> = BTreeMap::new();
    for (host, serves) in hosts {
        let host: Option<Arc<str>> = host.map(|host| host.to_string().into());
        for (path, route) in places(serves).filter(|(_, route)| !route.targets.is_empty()) {
            let service = names.entry(route.seniority.id()).or_insert_with(|| Arc::from(&*route.service)).clone();
            let place = Place { host: host.clone(), path: path.into(), service };
            let here: &mut Live = live.entry(place).or_default();
            here.tasks += route.targets.len();
            here.labels = Arc::clone(&route.labels);
        }
    }
    live
}

fn places(serves: &VirtualHost) -> impl Iterator<Item = (&str, &Route)> {
    let located = serves
        .locations
        .iter()
        .flat_map(|(path, location)| location.members.iter().map(move |route| (path.as_str(), &**route)));
    located.chain(serves.passthrough.iter().map(|route| ("/", &**route)))
}
