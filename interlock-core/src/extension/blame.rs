//! Which routes a checker does not take, when it refuses a whole configuration.
//!
//! The types that routes are made of make this rare: it takes a name, or a number of them, that nginx cannot hold.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::{Checker, make};
use crate::names::{HostPattern, PathPrefix};
use crate::proxy_config::{ProxyConfig, VirtualHost};
use crate::render::{RenderError, Suspect};

/// How many checks a search may take.
const MOST_CHECKS: usize = 64;
/// And how long.
const LONGEST: Duration = Duration::from_secs(20);

/// Routes without which the checker takes the rest. None when it refuses the settings alone, or when it was not found out in time;
/// when there are many, those that were found in time.
pub(super) async fn suspects(config: &ProxyConfig, limit: usize, checker: &Checker) -> Vec<Suspect> {
    let mut search = Search {
        config,
        limit,
        checker,
        checks: 0,
        end: Instant::now() + LONGEST,
        good: Vec::new(),
        found: Vec::new(),
    };
    // With no route at all: the settings are to blame.
    if search.takes(&[]).await != Some(true) {
        return Vec::new();
    }
    search.run(&routes(config)).await;
    search.found.sort();
    search.found
}

fn routes(config: &ProxyConfig) -> Vec<Suspect> {
    let of = |host: Option<&HostPattern>, serves: &VirtualHost| -> Vec<_> {
        let paths = serves.locations.keys().cloned();
        // What is passed through has none.
        let paths = paths.chain(serves.locations.is_empty().then(PathPrefix::root));
        paths.map(|path| Suspect { host: host.cloned(), path }).collect()
    };
    let hosts = config.virtual_hosts.iter().flat_map(|(host, serves)| of(Some(host), serves));
    hosts.chain(config.default.iter().flat_map(|serves| of(None, serves))).collect()
}

/// Routes that are tried together.
struct Group<'r> {
    routes: &'r [Suspect],
    /// Whether it is known already that they are refused together with those that are good.
    refused: bool,
    /// Whether the next group is the other half of the same.
    first_half: bool,
}

struct Search<'c> {
    config: &'c ProxyConfig,
    limit: usize,
    checker: &'c Checker,
    checks: usize,
    end: Instant,
    /// Routes that the checker takes all together.
    good: Vec<Suspect>,
    found: Vec<Suspect>,
}

impl Search<'_> {
    /// Halves what is refused until single routes are left. Each group is tried together with all that is good, so that of two routes
    /// that only clash with each other one is found.
    async fn run(&mut self, routes: &[Suspect]) {
        let mut groups = vec![Group { routes, refused: true, first_half: false }];
        while let Some(Group { routes, refused, first_half }) = groups.pop() {
            if !refused {
                match self.takes(routes).await {
                    None => return,
                    Some(true) => {
                        self.good.extend_from_slice(routes);
                        if let Some(other) = groups.last_mut().filter(|_| first_half) {
                            // Both halves together were refused.
                            other.refused = true;
                        }
                        continue;
                    }
                    Some(false) => {}
                }
            }
            match routes {
                [] => {}
                [route] => self.found.push(route.clone()),
                routes => {
                    let (first, second) = routes.split_at(routes.len() / 2);
                    groups.push(Group { routes: second, refused: false, first_half: false });
                    groups.push(Group { routes: first, refused: false, first_half: true });
                }
            }
        }
    }

    /// Whether the checker takes these routes with those that are good. `None`: that cannot be told any more.
    async fn takes(&mut self, routes: &[Suspect]) -> Option<bool> {
        if self.checks == MOST_CHECKS || Instant::now() >= self.end {
            return None;
        }
        self.checks += 1;
        let config = restricted(self.config, &self.good, routes);
        match make(config, self.limit, Some(self.checker)).await {
            Ok(_) => Some(true),
            Err(RenderError::Refused { .. }) => Some(false),
            Err(_) => None,
        }
    }
}

/// The config with these routes alone. It keeps its revision.
fn restricted(config: &ProxyConfig, good: &[Suspect], routes: &[Suspect]) -> ProxyConfig {
    let mut restricted = ProxyConfig {
        cluster: config.cluster.clone(),
        revision: config.revision.clone(),
        proxy: config.proxy.clone(),
        virtual_hosts: Default::default(),
        default: None,
        upstreams: Default::default(),
    };
    for Suspect { host, path } in good.iter().chain(routes) {
        let serves = match host {
            Some(host) => config.virtual_hosts.get(host),
            None => config.default.as_ref(),
        };
        let Some(serves) = serves else { continue };
        let target = match host {
            Some(host) => restricted.virtual_hosts.entry(host.clone()).or_default(),
            None => restricted.default.get_or_insert_default(),
        };
        // What holds for the host as a whole comes with each of its routes.
        target.tls = serves.tls.clone();
        target.redirect_http.clone_from(&serves.redirect_http);
        target.redirect_https.clone_from(&serves.redirect_https);
        if let Some(forward) = serves.locations.get(path) {
            target.locations.insert(path.clone(), forward.clone());
        }
    }
    let hosts = restricted.virtual_hosts.values().chain(&restricted.default);
    let used: BTreeSet<_> = hosts.flat_map(VirtualHost::upstreams).cloned().collect();
    restricted.upstreams =
        config.upstreams.iter().filter(|(name, _)| used.contains(*name)).map(|(n, u)| (n.clone(), u.clone())).collect();
    restricted
}
