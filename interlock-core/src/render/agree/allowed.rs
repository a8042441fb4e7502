//! Which directives may stand where.

use std::collections::BTreeSet;

use crate::problem::shown;
use crate::render::nginx;
use crate::render::parse_back::Directive;

/// Directives that have to say the same as ours, most of them since the settings say it.
const AS_SET: &[&str] = &[
    "absolute_redirect",
    "access_log",
    "client_body_buffer_size",
    "client_body_timeout",
    "client_header_buffer_size",
    "client_max_body_size",
    "default_type",
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

/// Checks every directive by its name and the blocks that it stands in, and those whose words matter by their words, against our own
/// rendering. What hosts do and what upstreams are is left to [`super::served`].
pub(super) fn check(own: &[Directive<'_>], directives: &[Directive<'_>]) -> Result<(), String> {
    let mut known = Own::default();
    known.collect(own, "");
    known.check(directives, "")?;
    known.headers(directives)?;
    if health(directives)? == health(own)? {
        Ok(())
    } else {
        Err("the server for health checks is not as it has to be".to_owned())
    }
}

/// The server for health checks, which nobody outside can reach.
fn health<'d, 'a>(directives: &'d [Directive<'a>]) -> Result<&'d Directive<'a>, String> {
    let address = format!("127.0.0.1:{}", nginx::HEALTH_PORT);
    let http = directives.iter().filter(|directive| directive.name() == "http").filter_map(|it| it.block.as_ref());
    let listens = |server: &&Directive<'_>| {
        let lines = server.block.iter().flatten();
        lines.into_iter().any(|line| line.name() == "listen" && line.words.get(1).is_some_and(|word| **word == address))
    };
    let mut servers = http.flatten().filter(|directive| directive.name() == "server").filter(listens);
    match (servers.next(), servers.next()) {
        (Some(server), None) => Ok(server),
        _ => Err("there is not one server for health checks".to_owned()),
    }
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
            if let Some(block) = directive.block.as_ref().filter(|_| !is_compared(directive)) {
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
            let is_map_or_in_one = is_data(directive.name()) || place.contains(" map ") || place.contains(" geo ");
            if is_map_or_in_one && !same() {
                return Err(format!("`{}` in {} is not as it has to be", line(), place_name(place)));
            }
            let place = below(place, directive);
            // What is in a map of hosts are no directives, and is compared with the model.
            if !is_compared(directive) {
                self.check(directive.block.as_deref().unwrap_or_default(), &place)?;
            }
        }
        Ok(())
    }

    /// Applications believe the headers of requests, so a rendering sets exactly ours, and may clear any other. What clients get besides
    /// an application's own headers are ours; their values may be those of another version.
    fn headers(&self, directives: &[Directive<'_>]) -> Result<(), String> {
        let own = |name: &'static str| self.words.iter().map(|(_, words)| words).filter(move |words| words[0] == name);
        let set = |words: &&Vec<String>| words.last().is_some_and(|value| !value.is_empty());
        // Those that are cleared, too: by them a client would say who it is.
        let wanted: BTreeSet<_> = own("proxy_set_header").collect();
        let http = directives.iter().filter(|directive| directive.name() == "http");
        let found: Vec<_> = http.filter_map(|http| http.block.as_ref()).flatten().map(words).collect();
        let found = |name: &'static str| found.iter().filter(move |words| words[0] == name);
        let same_name = |one: &[String], other: &[String]| match (one.get(1), other.get(1)) {
            (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
            _ => false,
        };
        for header in found("proxy_set_header").filter(|header| !wanted.contains(header)) {
            if set(&header) || wanted.iter().any(|own| same_name(own, header)) {
                return Err(format!("`{}` tells applications something else", shown(&header.join(" "))));
            }
        }
        if let Some(missing) = wanted.into_iter().find(|own| !found("proxy_set_header").any(|header| header == *own)) {
            return Err(format!("`{}` is missing", missing.join(" ")));
        }
        match found("add_header").find(|header| !own("add_header").any(|own| same_name(own, header))) {
            Some(other) => Err(format!("`{}` is no header of ours", shown(&other.join(" ")))),
            None => Ok(()),
        }
    }
}

fn is_data(name: &str) -> bool {
    matches!(name, "map" | "geo")
}

/// Whether what is in a block is compared with the model.
fn is_compared(directive: &Directive<'_>) -> bool {
    let of_hosts =
        ["map $host $upstream", "map $ssl_preread_server_name $passthrough", "map $ssl_preread_server_name $tls_to"];
    match directive.name() {
        "upstream" | "server" => true,
        "map" => of_hosts.contains(&directive.words.join(" ").as_str()),
        _ => false,
    }
}

/// The place inside a block. Inside a map of ours, what matters is which map it is.
fn below(place: &str, directive: &Directive<'_>) -> String {
    let name = if is_data(directive.name()) { directive.words.join(" ") } else { directive.name().to_owned() };
    if place.is_empty() { name } else { format!("{place} {name}") }
}

fn place_name(place: &str) -> &str {
    if place.is_empty() { "the main context" } else { place }
}
