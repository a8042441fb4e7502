//! Which directives may stand where.

use std::collections::{BTreeMap, BTreeSet};

use crate::problem::shown;
use crate::proxy_config::{Forward, ProxyConfig, ProxySettings, UpstreamName};
use crate::render::nginx;
use crate::render::parse_back::{self, Directive};
use crate::settings::{NginxOptions, ProxyOptions};

/// Directives that say what the settings say, and have to say the same.
const AS_SET: &[&str] = &[
    "access_log",
    "client_body_buffer_size",
    "client_body_timeout",
    "client_header_buffer_size",
    "client_max_body_size",
    "error_log",
    "large_client_header_buffers",
    "pid",
    "proxy_connect_timeout",
    "proxy_http_version",
    "proxy_read_timeout",
    "proxy_send_timeout",
    "send_timeout",
    "underscores_in_headers",
    "user",
    "worker_connections",
    "worker_processes",
    "worker_rlimit_nofile",
];

/// Checks every directive by its name and the blocks that it stands in, and those whose words matter by their words. What decides
/// who gets a request is left to [`super::served`].
pub(super) fn check(config: &ProxyConfig, directives: &[Directive<'_>]) -> Result<(), String> {
    let files = nginx::render(&sample(config), usize::MAX).map_err(|error| error.to_string())?;
    let mut own = Own::default();
    own.collect(&parse_back::parse(&files)?, "");
    own.check(directives, "")?;
    own.headers(directives)
}

/// A config with these settings and one host of each sort, so that its rendering has all that a rendering can have.
fn sample(config: &ProxyConfig) -> ProxyConfig {
    let upstream = UpstreamName::harmless(0);
    let forward = |rewrite, upstream| Forward { rewrite, upstream };
    let root = |upstream| [("/".parse().ok(), forward(false, upstream))];
    let cut = ("/cut".parse().ok(), forward(true, Some(upstream.clone())));
    let hosts = [
        ("plain.example", root(Some(upstream.clone())).to_vec()),
        ("gone.example", root(None).to_vec()),
        ("paths.example", vec![cut]),
    ];
    let known = |(path, forward): (Option<_>, _)| Some((path?, forward));
    ProxyConfig {
        cluster: config.cluster.clone(),
        revision: config.revision.clone(),
        proxy: without_raw_options(&config.proxy),
        virtual_hosts: hosts
            .into_iter()
            .filter_map(|(host, paths)| Some((host.parse().ok()?, paths.into_iter().filter_map(known).collect())))
            .collect(),
        default: None,
        upstreams: BTreeMap::from([(upstream, vec![([127, 0, 0, 1], 1).into()])]),
    }
}

fn without_raw_options(settings: &ProxySettings) -> ProxySettings {
    let mut settings = settings.clone();
    if let ProxyOptions::Nginx(options) = &mut settings.options {
        let NginxOptions { global_options, http_options, .. } = options.as_mut();
        global_options.clear();
        http_options.clear();
    }
    settings
}

/// What stands in a rendering of this version.
#[derive(Default)]
struct Own {
    /// The blocks around a directive, and its name.
    names: BTreeSet<(String, String)>,
    /// The words of directives.
    words: BTreeSet<(String, Vec<String>)>,
}

fn words(directive: &Directive<'_>) -> Vec<String> {
    directive.words.iter().map(ToString::to_string).collect()
}

impl Own {
    fn collect(&mut self, directives: &[Directive<'_>], place: &str) {
        for directive in directives {
            self.names.insert((place.to_owned(), directive.name().to_owned()));
            self.words.insert((place.to_owned(), words(directive)));
            if let Some(block) = &directive.block {
                self.collect(block, &below(place, directive));
            }
        }
    }

    fn check(&self, directives: &[Directive<'_>], place: &str) -> Result<(), String> {
        for directive in directives {
            let line = || shown(&directive.words.join(" "));
            if !self.names.contains(&(place.to_owned(), directive.name().to_owned())) {
                return Err(format!("`{}` in {} is nothing that a rendering holds", line(), place_name(place)));
            }
            let same = || self.words.contains(&(place.to_owned(), words(directive)));
            if AS_SET.contains(&directive.name()) && !same() {
                return Err(format!("`{}` is not what the settings say", line()));
            }
            let is_map_or_in_one = directive.name() == "map" || place.contains(" map ");
            if is_map_or_in_one && !same() {
                return Err(format!("`{}` in {} is not as it has to be", line(), place_name(place)));
            }
            let place = below(place, directive);
            // What is in the map of hosts are no directives, and not the same for other hosts.
            if place != "http map $host $upstream" {
                self.check(directive.block.as_deref().unwrap_or_default(), &place)?;
            }
        }
        Ok(())
    }

    /// Applications believe these headers, so a rendering has exactly ours, and may clear any other.
    fn headers(&self, directives: &[Directive<'_>]) -> Result<(), String> {
        let http = directives.iter().filter(|directive| directive.name() == "http");
        let found: BTreeSet<_> = http
            .filter_map(|http| http.block.as_ref())
            .flatten()
            .filter(|directive| directive.name() == "proxy_set_header")
            .map(words)
            .filter(|words| words.last().is_some_and(|value| !value.is_empty()))
            .collect();
        let wanted: BTreeSet<_> = self
            .words
            .iter()
            .filter(|(place, words)| place == "http" && words[0] == "proxy_set_header")
            .map(|(_, words)| words.clone())
            .filter(|words| words.last().is_some_and(|value| !value.is_empty()))
            .collect();
        match (found.difference(&wanted).next(), wanted.difference(&found).next()) {
            (Some(wrong), _) => Err(format!("`{}` tells applications something else", shown(&wrong.join(" ")))),
            (_, Some(missing)) => Err(format!("`{}` is missing", missing.join(" "))),
            (None, None) => Ok(()),
        }
    }
}

/// The place inside a block. Inside a map of ours, what matters is which map it is.
fn below(place: &str, directive: &Directive<'_>) -> String {
    let name = if directive.name() == "map" { directive.words.join(" ") } else { directive.name().to_owned() };
    if place.is_empty() { name } else { format!("{place} {name}") }
}

fn place_name(place: &str) -> &str {
    if place.is_empty() { "the main context" } else { place }
}
