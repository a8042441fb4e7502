//! Which routes a checker does not take, when it refuses a whole configuration, or runs out of time or memory over it.
//!
//! The types that routes are made of and the budgets of services make this rare: it takes a name, or a number of them, that nginx
//! cannot hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::{Checker, Failure, make};
use crate::kinds::Renderer;
use crate::proxy_config::{ProxyConfig, Tls, VirtualHost};
use crate::routes::model::Suspect;
use crate::units::{Hashed, HostPattern, PathPrefix};

/// How many checks a search may take.
const MOST_CHECKS: usize = 64;
/// And how long, when checks end by themselves and when they run out of something, like time.
const LONGEST: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(60)];

/// Who is to blame.
pub(super) enum Blame {
    /// The settings: the checker refuses them without any route.
    Settings,
    /// Routes without which the checker takes the rest. None when that was not found out in time; when there are many, those that were.
    Routes(Vec<Suspect>),
}

/// Who is to blame. Routes that are as they were when all was `good` are tried before others, so
/// that of all that is too much together what is new is blamed.
pub(super) async fn suspects(
    config: &ProxyConfig,
    limit: usize,
    checker: &Checker,
    failure: &Failure,
    good: Option<&ProxyConfig>,
) -> Blame {
    let [refused, exhausted] = LONGEST;
    let mut search = Search {
        config,
        limit,
        checker,
        checks: 0,
        end: Instant::now() + if matches!(failure, Failure::Exhausted(_)) { exhausted } else { refused },
        good: Vec::new(),
        found: Vec::new(),
        may_pass: matches!(failure, Failure::Exhausted(_)),
    };
    match search.takes_settings().await {
        Some(true) => {}
        Some(false) if !search.may_pass => return Blame::Settings,
        _ => return Blame::Routes(Vec::new()),
    }
    let known = |route: &Suspect| good.is_some_and(|good| is_the_same(good, config, route));
    let (old, new): (Vec<_>, Vec<_>) = routes(config).into_iter().partition(known);
    search.run(&old, &new).await;
    search.found.sort();
    Blame::Routes(search.found)
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

/// Whether a route is the same in both, with its host and its tasks.
fn is_the_same(one: &ProxyConfig, other: &ProxyConfig, route: &Suspect) -> bool {
    let of = |config: &ProxyConfig| restricted(config, &[], std::slice::from_ref(route));
    let (one, other) = (of(one), of(other));
    one.virtual_hosts == other.virtual_hosts && one.default == other.default && one.upstreams == other.upstreams
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
    /// Whether a failure may be over when the same is tried again: then nothing is concluded from another check.
    may_pass: bool,
}

impl Search<'_> {
    /// Halves what is refused until single routes are left. Each group is tried together with all that is good, so that of two routes
    /// that only clash with each other one is found.
    async fn run(&mut self, old: &[Suspect], new: &[Suspect]) {
        let second = Group { routes: new, refused: old.is_empty() && !self.may_pass, first_half: false };
        let first = Group { routes: old, refused: new.is_empty() && !self.may_pass, first_half: true };
        let mut groups: Vec<_> = [second, first].into_iter().filter(|group| !group.routes.is_empty()).collect();
        while let Some(Group { routes, refused, first_half }) = groups.pop() {
            if !refused {
                match self.takes(routes).await {
                    None => return,
                    Some(true) => {
                        self.good.extend_from_slice(routes);
                        if let Some(other) = groups.last_mut().filter(|_| first_half) {
                            // Both halves together were refused.
                            other.refused = !self.may_pass;
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

    /// Whether the checker takes what is rendered without any route, but with hosts of ours where there are some of the same kind: some of the settings
    /// only count where a host has TLS.
    async fn takes_settings(&mut self) -> Option<bool> {
        let mut config = restricted(self.config, &[], &[]);
        let hosts = || self.config.virtual_hosts.values().chain(&self.config.default);
        let ends = hosts().find(|host| matches!(host.tls, Tls::Terminated(_))).map(|host| host.tls.clone());
        let passes = hosts().any(|host| matches!(host.tls, Tls::Passthrough(_))).then_some(Tls::Passthrough(None));
        for (name, tls) in [("ends.invalid", ends), ("passes.invalid", passes)] {
            let host = tls.map(|tls| VirtualHost { tls, ..VirtualHost::default() }.into());
            config.virtual_hosts.extend(name.parse().ok().zip(host));
        }
        self.takes_config(config).await
    }

    /// Whether the checker takes these routes with those that are good. `None`: that cannot be told any more.
    async fn takes(&mut self, routes: &[Suspect]) -> Option<bool> {
        self.takes_config(restricted(self.config, &self.good, routes)).await
    }

    async fn takes_config(&mut self, config: ProxyConfig) -> Option<bool> {
        if self.checks == MOST_CHECKS || Instant::now() >= self.end {
            return None;
        }
        self.checks += 1;
        match make(config.into(), self.limit, Some(self.checker), &mut Renderer::default()).await {
            Ok(_) => Some(true),
            Err(Failure::Refused(_) | Failure::Exhausted(_)) => Some(false),
            Err(Failure::Other(_)) => None,
        }
    }
}

/// The config with these routes alone. It keeps its revision.
fn restricted(config: &ProxyConfig, good: &[Suspect], routes: &[Suspect]) -> ProxyConfig {
    let mut hosts: BTreeMap<&Option<HostPattern>, VirtualHost> = BTreeMap::new();
    for Suspect { host, path } in good.iter().chain(routes) {
        let serves = match host {
            Some(host) => config.virtual_hosts.get(host),
            None => config.default.as_ref(),
        };
        let Some(serves) = serves else { continue };
        let target = hosts.entry(host).or_default();
        // What holds for the host as a whole comes with each of its routes.
        target.tls = serves.tls.clone();
        target.redirect_http.clone_from(&serves.redirect_http);
        target.redirect_https.clone_from(&serves.redirect_https);
        if let Some(forward) = serves.locations.get(path) {
            target.locations.insert(path.clone(), forward.clone());
        }
    }
    let used: BTreeSet<_> = hosts.values().flat_map(VirtualHost::upstreams).collect();
    let upstreams = config.upstreams.iter().filter(|(name, _)| used.contains(name));
    let upstreams = upstreams.map(|(name, upstream)| (name.clone(), upstream.clone())).collect();
    let default = hosts.remove(&None).map(Hashed::from);
    ProxyConfig {
        cluster: config.cluster.clone(),
        revision: config.revision.clone(),
        proxy: config.proxy.clone(),
        virtual_hosts: hosts.into_iter().filter_map(|(host, serves)| Some((host.clone()?, serves.into()))).collect(),
        default,
        upstreams,
    }
}
