//! The proxy configs of one service cluster, made one after the other: hosts about which nothing new was decided are not made again.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{ProxyConfig, ProxySettings, Revision, Upstream, UpstreamName, VirtualHost, has_target, virtual_host};
use crate::routes::{Routes, VirtualHost as ResolvedHost};
use crate::units::{Cluster, Hashed, HostPattern};

/// What the last config was made of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Builder {
    /// `None` before the first one.
    last: Option<(Arc<ProxyConfig>, Arc<Routes>)>,
    hosts: BTreeMap<HostPattern, Built>,
    default: Option<Built>,
    /// Hosts without a target.
    idle: BTreeSet<HostPattern>,
    /// How many hosts use each upstream.
    uses: BTreeMap<UpstreamName, usize>,
}

#[derive(Debug, Clone)]
struct Built {
    of: Arc<ResolvedHost>,
    host: Hashed<VirtualHost>,
    upstreams: BTreeSet<UpstreamName>,
}

impl Built {
    fn is_of(&self, host: &Arc<ResolvedHost>) -> bool {
        Arc::ptr_eq(&self.of, host)
    }
}

/// Builds the config of one service cluster.
pub fn build(cluster: &Cluster, proxy: ProxySettings, routes: &Arc<Routes>) -> Arc<ProxyConfig> {
    Builder::default().build(cluster, proxy, routes)
}

impl Builder {
    /// Builds the config of a service cluster: as [`build`], whatever was built before. It costs what changed.
    pub(crate) fn build(&mut self, cluster: &Cluster, proxy: ProxySettings, routes: &Arc<Routes>) -> Arc<ProxyConfig> {
        let (mut config, before) = match self.last.take() {
            Some((last, of)) if last.cluster == *cluster => (last, of),
            _ => {
                *self = Self::default();
                (Arc::new(ProxyConfig::empty(cluster, &proxy)), Arc::default())
            }
        };
        let is_first = config.revision.as_str().is_empty();
        let is_same = Arc::ptr_eq(&before, routes) && !is_first;
        if !is_same || config.proxy != proxy {
            let new = Arc::make_mut(&mut config);
            new.proxy = proxy;
            if !is_same {
                self.renew(new, routes);
            }
            new.revision = Revision::of(new);
        }
        self.last = Some((Arc::clone(&config), Arc::clone(routes)));
        config
    }

    fn renew(&mut self, config: &mut ProxyConfig, routes: &Routes) {
        // The two are sorted alike, and mostly have the same hosts.
        let is_gone = |pattern: &&HostPattern| !routes.virtual_hosts.contains_key(*pattern);
        let gone: Vec<_> = match self.hosts.keys().eq(routes.virtual_hosts.keys()) {
            true => Vec::new(),
            false => self.hosts.keys().filter(is_gone).cloned().collect(),
        };
        for pattern in gone {
            let built = self.hosts.remove(&pattern);
            self.replace(config, built, None);
            config.virtual_hosts.remove(&pattern);
            self.idle.remove(&pattern);
        }
        let (mut changed, mut known) = (Vec::new(), self.hosts.iter().peekable());
        for (pattern, host) in &routes.virtual_hosts {
            let built = known.next_if(|(known, _)| *known == pattern);
            if built.is_none_or(|(_, built)| !built.is_of(host)) {
                changed.push((pattern, host));
            }
        }
        for (pattern, host) in changed {
            let (built, upstreams) = make(host);
            let before = self.hosts.insert(pattern.clone(), built.clone());
            self.replace(config, before, Some((&built, upstreams)));
            if has_target(host) {
                self.idle.remove(pattern);
                config.virtual_hosts.insert(pattern.clone(), built.host);
            } else {
                self.idle.insert(pattern.clone());
            }
        }
        if self.default.as_ref().map(|built| &built.of).map(Arc::as_ptr) != routes.default.as_ref().map(Arc::as_ptr) {
            let made = routes.default.as_ref().map(make);
            let before = self.default.take();
            self.default = made.as_ref().map(|(built, _)| built.clone());
            config.default = self.default.as_ref().map(|built| built.host.clone());
            self.replace(config, before, made.as_ref().map(|(built, upstreams)| (built, upstreams.clone())));
        }
        for pattern in &self.idle {
            match self.hosts.get(pattern).filter(|_| shadows(pattern, routes)) {
                Some(built) => drop(config.virtual_hosts.insert(pattern.clone(), built.host.clone())),
                None => drop(config.virtual_hosts.remove(pattern)),
            }
        }
    }

    /// Counts the upstreams of a host that is made anew, in place of those that it had.
    fn replace(
        &mut self,
        config: &mut ProxyConfig,
        before: Option<Built>,
        now: Option<(&Built, BTreeMap<UpstreamName, Upstream>)>,
    ) {
        let (built, upstreams) = now.map_or((None, BTreeMap::new()), |(built, upstreams)| (Some(built), upstreams));
        for name in built.into_iter().flat_map(|built| &built.upstreams) {
            *self.uses.entry(name.clone()).or_default() += 1;
        }
        for (name, upstream) in upstreams {
            match config.upstreams.entry(name) {
                Entry::Occupied(held) if **held.get() == upstream => {}
                Entry::Occupied(mut held) => drop(held.insert(upstream.into())),
                Entry::Vacant(place) => drop(place.insert(upstream.into())),
            }
        }
        for name in before.into_iter().flat_map(|built| built.upstreams) {
            let Some(uses) = self.uses.get_mut(&name) else { continue };
            *uses -= 1;
            if *uses == 0 {
                self.uses.remove(&name);
                config.upstreams.remove(&name);
            }
        }
    }
}

fn make(host: &Arc<ResolvedHost>) -> (Built, BTreeMap<UpstreamName, Upstream>) {
    let mut upstreams = BTreeMap::new();
    let made = virtual_host(host, &mut upstreams).into();
    (Built { of: Arc::clone(host), host: made, upstreams: upstreams.keys().cloned().collect() }, upstreams)
}

/// Whether a host without a running task has to stand in the config all the same, because another answer would take its place.
/// Otherwise it is left to the 503 for unknown hosts: a service that was just created would cost the proxies an update, and once
/// more when its first task runs.
fn shadows(host: &HostPattern, routes: &Routes) -> bool {
    routes.default.is_some() || host.and_wider().skip(1).any(|wider| routes.virtual_hosts.contains_key(&wider))
}
