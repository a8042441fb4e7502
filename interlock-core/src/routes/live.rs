//! Which routes proxies serve, to tell of those that come and go.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Routes, VirtualHost};
use crate::routes::model::Route;
use crate::swarm::Labels;
use crate::units::Cluster;

/// The routes that proxies which run have files for, of each service cluster of which that is known.
pub type LiveRoutes = BTreeMap<Cluster, BTreeMap<Place, Live>>;

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

/// The routes with a task.
pub(crate) fn live(routes: &Routes) -> BTreeMap<Place, Live> {
    let mut live = BTreeMap::new();
    let mut names: BTreeMap<_, Arc<str>> = BTreeMap::new();
    let hosts = routes.virtual_hosts.iter().map(|(host, serves)| (Some(host.to_string()), serves));
    for (host, serves) in hosts.chain(routes.default.iter().map(|serves| (None::<String>, serves))) {
        let host: Option<Arc<str>> = host.map(Arc::from);
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
