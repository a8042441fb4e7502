//! Texts of hosts and upstreams, kept from one rendering to the next: what is as before is not printed again.
//!
//! What is printed anew is proven by itself: it has the structure that the template gives to harmless values. So what all of them come to has
//! it, as long as what stands around them is proven.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::hosts::{self, HostText, Shared};
use super::names::{MapEntry, ServerName};
use super::section::Printed;
use super::upstreams::Upstream;
use super::{parse_back, print, too_large};
use crate::kinds::{RenderError, placeholders};
use crate::proxy_config::{self, ProxyConfig, ProxySettings, UpstreamName, VirtualHost};
use crate::units::{Hashed, HostPattern};

/// What was made of what, sorted.
type Kept<K, V> = Vec<(K, V)>;

/// What was printed for one config after the other.
#[derive(Default)]
pub(crate) struct Texts {
    /// On what all of them depend.
    around: Option<Around>,
    hosts: Kept<(HostPattern, Hashed<VirtualHost>), Arc<HostText>>,
    upstreams: Kept<(UpstreamName, Hashed<proxy_config::Upstream>), Arc<str>>,
    entries: Kept<(HostPattern, UpstreamName), Arc<str>>,
    names: Kept<HostPattern, Arc<str>>,
    unavailable: Kept<HostPattern, Arc<str>>,
    /// What stands around the lists, if it is proven.
    pub(super) frame: Option<String>,
    /// Whether what is printed anew is proven by itself.
    pub(super) proves: bool,
}

#[derive(PartialEq, Clone)]
struct Around {
    proxy: ProxySettings,
    behind_stream: bool,
    keepalive: u32,
}

impl Texts {
    /// Forgets all if something changed that matters for all.
    pub(super) fn renew(&mut self, proxy: &ProxySettings, behind_stream: bool, keepalive: u32) {
        let around = Around { proxy: proxy.clone(), behind_stream, keepalive };
        if self.around.as_ref() != Some(&around) {
            *self = Self { around: Some(around), ..Self::default() };
        }
    }

    /// The servers of hosts that have some of their own.
    pub(super) fn hosts<'a>(
        &mut self,
        shared: Shared<'_, '_>,
        config: &ProxyConfig,
        hosts: impl Iterator<Item = (&'a HostPattern, &'a Hashed<VirtualHost>)>,
        most: usize,
    ) -> Result<Vec<Arc<HostText>>, RenderError> {
        let (proves, printed) = (self.proves, Cell::new(0));
        let is_same = |one: &(HostPattern, Hashed<VirtualHost>), other: &(_, Hashed<_>)| one.1.has_content_of(&other.1);
        let keys = hosts.map(|(pattern, host)| (pattern.clone(), host.clone()));
        renew(
            &mut self.hosts,
            keys,
            |one, other| one.0.cmp(&other.0),
            is_same,
            |(pattern, host)| {
                let text = hosts::render(shared, pattern, host)?;
                printed.set(printed.get() + text.servers.iter().map(|server| server.len()).sum::<usize>());
                if printed.get() > most {
                    return Err(too_large(printed.get(), most));
                }
                if proves {
                    let twin = twin(config, Some((pattern, host)), None);
                    let shared = Shared { proxy: &twin.proxy, ..shared };
                    let (pattern, host) = twin.virtual_hosts.first_key_value().ok_or_else(no_twin)?;
                    let expected = hosts::render(shared, pattern, host)?;
                    prove(&text.servers.concat(), &expected.servers.concat())?;
                }
                Ok(Arc::new(text))
            },
        )
    }

    /// Upstreams for requests.
    pub(super) fn upstreams<'a>(
        &mut self,
        config: &ProxyConfig,
        keepalive: u32,
        upstreams: impl Iterator<Item = (&'a UpstreamName, &'a Hashed<proxy_config::Upstream>)>,
    ) -> Result<Vec<Arc<str>>, RenderError> {
        let proves = self.proves;
        let is_same = |one: &(UpstreamName, Hashed<proxy_config::Upstream>), other: &(_, Hashed<_>)| {
            one.1.has_content_of(&other.1)
        };
        let keys = upstreams.map(|(name, upstream)| (name.clone(), upstream.clone()));
        renew(
            &mut self.upstreams,
            keys,
            |one, other| one.0.cmp(&other.0),
            is_same,
            |(name, upstream)| {
                let text = printed(&Upstream::of(name, upstream, keepalive))?;
                if proves {
                    let twin = twin(config, None, Some((name, upstream)));
                    let (name, upstream) = twin.upstreams.first_key_value().ok_or_else(no_twin)?;
                    prove(&text, &printed(&Upstream::of(name, upstream, keepalive))?)?;
                }
                Ok(text)
            },
        )
    }

    /// Hosts that send every path to one upstream: where each goes, and the name of each.
    pub(super) fn plain<'a>(
        &mut self,
        hosts: &[(&'a HostPattern, &'a UpstreamName)],
    ) -> Result<[Vec<Arc<str>>; 2], RenderError> {
        let proves = self.proves;
        let keys = hosts.iter().map(|(host, upstream)| ((*host).clone(), (*upstream).clone()));
        let is_same = |one: &(HostPattern, UpstreamName), other: &(HostPattern, UpstreamName)| one == other;
        let entries = renew(
            &mut self.entries,
            keys,
            |one, other| one.0.cmp(&other.0),
            is_same,
            |(host, upstream)| {
                let text = printed(&MapEntry { host, upstream })?;
                if proves {
                    let (host, upstream) = (harmless(host)?, UpstreamName::harmless(0));
                    prove(&text, &printed(&MapEntry { host: &host, upstream: &upstream })?)?;
                }
                Ok(text)
            },
        );
        let names = named(&mut self.names, proves, hosts.iter().map(|(host, _)| *host));
        Ok([entries?, names?])
    }

    /// The names of hosts without a running task.
    pub(super) fn unavailable(&mut self, hosts: &[&HostPattern]) -> Result<Vec<Arc<str>>, RenderError> {
        named(&mut self.unavailable, self.proves, hosts.iter().copied())
    }
}

fn named<'a>(
    kept: &mut Kept<HostPattern, Arc<str>>,
    proves: bool,
    hosts: impl Iterator<Item = &'a HostPattern>,
) -> Result<Vec<Arc<str>>, RenderError> {
    renew(
        kept,
        hosts.cloned(),
        HostPattern::cmp,
        |_, _| true,
        |host| {
            let text = printed(&ServerName(host))?;
            if proves {
                prove(&text, &printed(&ServerName(&harmless(host)?))?)?;
            }
            Ok(text)
        },
    )
}

/// Takes what is kept for these keys, sorted as they are, and makes the rest.
fn renew<K, V: Clone>(
    kept: &mut Kept<K, V>,
    now: impl Iterator<Item = K>,
    order: impl Fn(&K, &K) -> Ordering,
    is_same: impl Fn(&K, &K) -> bool,
    make: impl Fn(&K) -> Result<V, RenderError>,
) -> Result<Vec<V>, RenderError> {
    let mut before = std::mem::take(kept).into_iter().peekable();
    for key in now {
        while before.next_if(|(old, _)| order(old, &key).is_lt()).is_some() {}
        let value = match before.next_if(|(old, _)| order(old, &key).is_eq()) {
            Some((old, value)) if is_same(&old, &key) => value,
            _ => make(&key)?,
        };
        kept.push((key, value));
    }
    Ok(kept.iter().map(|(_, value)| value.clone()).collect())
}

fn printed(item: &impl Printed) -> Result<Arc<str>, RenderError> {
    Ok(print(item.template(), item)?.into())
}

/// The twin of a config with nothing but one host, or one upstream.
fn twin(
    config: &ProxyConfig,
    host: Option<(&HostPattern, &Hashed<VirtualHost>)>,
    upstream: Option<(&UpstreamName, &Hashed<proxy_config::Upstream>)>,
) -> ProxyConfig {
    let used = host.into_iter().flat_map(|(_, host)| host.upstreams());
    let used = used.filter_map(|name| config.upstreams.get_key_value(name));
    let upstreams = used.chain(upstream).map(|(name, upstream)| (name.clone(), upstream.clone()));
    placeholders::twin(&ProxyConfig {
        cluster: config.cluster.clone(),
        revision: config.revision.clone(),
        proxy: config.proxy.clone(),
        virtual_hosts: host.into_iter().map(|(pattern, host)| (pattern.clone(), host.clone())).collect(),
        default: None,
        upstreams: upstreams.collect::<BTreeMap<_, _>>(),
    })
}

/// A name of the same kind that no service has.
fn harmless(host: &HostPattern) -> Result<HostPattern, RenderError> {
    let name = if host.is_wildcard() { "*.h.example" } else { "h.example" };
    name.parse().map_err(|_| no_twin())
}

fn no_twin() -> RenderError {
    RenderError::Structure("there is nothing to compare it with".to_owned())
}

/// Whether a text has the structure that the template gives to another.
fn prove(text: &str, twin: &str) -> Result<(), RenderError> {
    let rendered = parse_back::parse_text(text).map_err(RenderError::Structure)?;
    let expected = parse_back::parse_text(twin).map_err(RenderError::Structure)?;
    match parse_back::difference(&rendered, &expected, "a part of the file") {
        None => Ok(()),
        Some(difference) => Err(RenderError::Structure(difference)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_with_another_structure_than_its_twin_is_refused() {
        assert_eq!(prove("a b; c { d; }", "a x; c { d; }"), Ok(()));
        for wrong in
            ["a b; c { d; } e;", "a b c; c { d; }", "x b; c { d; }", "a b; c { d;", "a b; } c { d; }", "a 'b; c { d; }"]
        {
            assert!(matches!(prove(wrong, "a x; c { d; }"), Err(RenderError::Structure(_))), "{wrong}");
        }
    }
}
