//! Who gets which request and under which conditions, as files say it.
//!
//! What is compared is what each host does on each port, location by location and directive by directive, with the addresses behind an
//! upstream's name in place of the name. How servers are laid out (one for many hosts with a map, or one for each) does not matter.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::HostPattern;
use crate::problem::shown;
use crate::render::nginx::{self, HEALTH_PORT};
use crate::render::parse_back::Directive;

/// What each host does: by the port or socket, and the host, the default one being `None`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Served(BTreeMap<(String, Option<HostPattern>), Server>);

/// What a server does for one host.
#[derive(Debug, Default, Clone, PartialEq)]
struct Server {
    /// Directives, but for its names and the address that it listens on.
    lines: BTreeSet<String>,
    /// By the words behind `location`.
    locations: BTreeMap<String, BTreeSet<String>>,
}

impl Served {
    /// What the http and stream blocks of files say.
    pub(super) fn in_files(http: &[Directive<'_>], stream: &[Directive<'_>]) -> Result<Self, String> {
        let reader = Reader { upstreams: upstreams(http)?, map: map(http, "$host", "$upstream")?, canaries: http };
        let mut served = Self::default();
        let mut by_map = BTreeSet::new();
        for server in blocks(http, "server") {
            reader.server(server, &mut served, &mut by_map)?;
        }
        if !served.0.keys().any(|(_, host)| host.is_none()) {
            return Err("no server is the default one".to_owned());
        }
        if let Some(host) = reader.map.keys().find(|host| !by_map.contains(*host)) {
            return Err(format!("{host} is in the map, and in no server that uses it"));
        }
        let passed = map(stream, "$ssl_preread_server_name", "$passthrough")?;
        let first = map(stream, "$ssl_preread_server_name", "$tls_to")?;
        if let Some(host) = passed.keys().find(|host| !first.contains_key(host)) {
            return Err(format!("{host} is passed through half the way"));
        }
        let upstreams = upstreams_of_stream(stream)?;
        for (host, to) in first {
            let servers = match passed.get(&host) {
                Some(name) => upstreams.get(name).ok_or_else(|| format!("there is no upstream {}", shown(name)))?,
                None => "no upstream",
            };
            let lines = BTreeSet::from([format!("by {to} to {servers}")]);
            served.0.insert(("stream".to_owned(), Some(host)), Server { lines, locations: BTreeMap::new() });
        }
        Ok(served)
    }

    /// The first difference from what is wanted.
    pub(super) fn difference(&self, wanted: &Self) -> Option<String> {
        let name = |(port, host): &(String, Option<HostPattern>)| {
            let host = host.as_ref().map_or("the default host".to_owned(), ToString::to_string);
            format!("{host} on {}", shown(port))
        };
        if let Some(extra) = self.0.keys().find(|host| !wanted.0.contains_key(host)) {
            return Some(format!("{} is no host of the model", name(extra)));
        }
        wanted.0.iter().find_map(|(host, wanted)| {
            let Some(found) = self.0.get(host) else { return Some(format!("{} is missing", name(host))) };
            let host = name(host);
            if let Some(line) = differs(&found.lines, &wanted.lines) {
                return Some(format!("{host}: {line}"));
            }
            if let Some(extra) = found.locations.keys().find(|path| !wanted.locations.contains_key(*path)) {
                return Some(format!("{host} has a location {}, which the model does not have", shown(extra)));
            }
            wanted.locations.iter().find_map(|(path, wanted)| match found.locations.get(path) {
                None => Some(format!("{host} has no location {path}")),
                Some(found) => differs(found, wanted).map(|line| format!("{host}, location {path}: {line}")),
            })
        })
    }
}

fn differs(found: &BTreeSet<String>, wanted: &BTreeSet<String>) -> Option<String> {
    let missing = wanted.difference(found).next();
    let extra = found.difference(wanted).next();
    match (extra, missing) {
        (None, None) => None,
        (Some(extra), Some(missing)) => Some(format!("`{}` instead of `{}`", shown(extra), shown(missing))),
        (Some(extra), None) => Some(format!("`{}`, which the model does not ask for", shown(extra))),
        (None, Some(missing)) => Some(format!("`{}` is missing", shown(missing))),
    }
}

/// The blocks of one name.
fn blocks<'d, 'a>(directives: &'d [Directive<'a>], name: &str) -> impl Iterator<Item = &'d Directive<'a>> {
    directives.iter().filter(move |directive| directive.name() == name)
}

fn block<'d, 'a>(directive: &'d Directive<'a>) -> &'d [Directive<'a>] {
    directive.block.as_deref().unwrap_or_default()
}

fn line(directive: &Directive<'_>) -> String {
    shown(&words(directive))
}

/// All of a directive, without a doubt about where a word ends.
fn words(directive: &Directive<'_>) -> String {
    let words = directive.words.iter().map(|word| match word.contains([' ', '\t', '"']) || word.is_empty() {
        true => format!("{word:?}"),
        false => word.to_string(),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn arguments<'d, 'a>(directive: &'d Directive<'a>) -> Vec<&'d str> {
    directive.words.iter().skip(1).map(|word| &**word).collect()
}

type Upstreams<'d> = BTreeMap<&'d str, String>;

/// What each upstream is: all of its lines but for those that do not matter, in their order.
fn upstreams<'d>(http: &'d [Directive<'_>]) -> Result<Upstreams<'d>, String> {
    named_upstreams(http, &["keepalive", "keepalive_timeout"])
}

fn upstreams_of_stream<'d>(stream: &'d [Directive<'_>]) -> Result<Upstreams<'d>, String> {
    named_upstreams(stream, &[])
}

fn named_upstreams<'d>(context: &'d [Directive<'_>], aside: &[&str]) -> Result<Upstreams<'d>, String> {
    let mut upstreams = Upstreams::new();
    for directive in blocks(context, "upstream") {
        let [name] = arguments(directive)[..] else { return Err(format!("`{}` is no upstream", line(directive))) };
        let lines = block(directive).iter().filter(|line| !aside.contains(&line.name()));
        let lines: Vec<_> = lines.map(|line| words(line).trim_start_matches("server ").to_owned()).collect();
        if upstreams.insert(name, lines.join(", ")).is_some() {
            return Err(format!("there are two upstreams {}", shown(name)));
        }
    }
    Ok(upstreams)
}

/// A host as nginx has to read it: another spelling of it could mean something else there.
fn host(word: &str) -> Result<HostPattern, String> {
    let host = word.parse::<HostPattern>().ok().filter(|host| host.to_string() == word);
    host.ok_or_else(|| format!("{} is no host", shown(word)))
}

/// A map from hosts.
fn map<'d>(context: &'d [Directive<'_>], from: &str, to: &str) -> Result<BTreeMap<HostPattern, &'d str>, String> {
    let mut maps = blocks(context, "map").filter(|map| arguments(map) == [from, to]);
    let Some(map) = maps.next() else { return Ok(BTreeMap::new()) };
    if maps.next().is_some() {
        return Err("there are two maps of hosts".to_owned());
    }
    let mut entries = BTreeMap::new();
    let mut fixed = Vec::new();
    for entry in block(map) {
        match (entry.name(), &arguments(entry)[..]) {
            _ if entry.block.is_some() => return Err(format!("`{}` in the map of hosts is a block", line(entry))),
            ("default", [value]) if value.is_empty() || to == "$tls_to" => fixed.push("default"),
            ("hostnames", []) => fixed.push("hostnames"),
            (name, [upstream]) => {
                if entries.insert(host(name)?, *upstream).is_some() {
                    return Err(format!("{name} is in the map of hosts twice"));
                }
            }
            _ => return Err(format!("`{}` in the map of hosts is no entry", line(entry))),
        }
    }
    fixed.sort_unstable();
    if fixed != ["default", "hostnames"] {
        return Err("the map of hosts begins otherwise than with `hostnames` and an empty default".to_owned());
    }
    Ok(entries)
}

struct Reader<'d, 'a> {
    upstreams: Upstreams<'d>,
    map: BTreeMap<HostPattern, &'d str>,
    /// Where the maps of canaries are.
    canaries: &'d [Directive<'a>],
}

impl Reader<'_, '_> {
    /// Adds what a server does. Hosts that the map decides about are noted.
    fn server(
        &self,
        server: &Directive<'_>,
        served: &mut Served,
        by_map: &mut BTreeSet<HostPattern>,
    ) -> Result<(), String> {
        let listens: Vec<_> = blocks(block(server), "listen").map(arguments).collect();
        let names: Vec<_> = blocks(block(server), "server_name").flat_map(arguments).collect();
        let wrong =
            || format!("a server listens on {} for {}", shown(&listens.concat().join(" ")), shown(&names.join(" ")));
        let [listen] = &listens[..] else { return Err(wrong()) };
        let (address, options) = listen.split_first().ok_or_else(wrong)?;
        if *address == format!("127.0.0.1:{HEALTH_PORT}") {
            return Ok(());
        }
        let is_default = options.contains(&"default_server");
        let hosts: Vec<_> = match &names[..] {
            [] | ["_"] if is_default => vec![None],
            [] => return Err(wrong()),
            names if !is_default => names.iter().map(|name| host(name).map(Some)).collect::<Result<_, _>>()?,
            _ => return Err(wrong()),
        };
        let mut lines: BTreeSet<_> = block(server)
            .iter()
            .filter(|line| !matches!(line.name(), "listen" | "server_name" | "location"))
            .map(words)
            .collect();
        lines.extend(options.iter().map(|option| format!("listens {option}")));
        for host in hosts {
            let locations = self.locations(host.as_ref(), block(server), by_map)?;
            let name = host.as_ref().map_or("the default host".to_owned(), ToString::to_string);
            let one = Server { lines: lines.clone(), locations };
            if served.0.insert(((*address).to_owned(), host), one).is_some() {
                return Err(format!("two servers answer for {name}"));
            }
        }
        Ok(())
    }

    fn locations(
        &self,
        host: Option<&HostPattern>,
        server: &[Directive<'_>],
        by_map: &mut BTreeSet<HostPattern>,
    ) -> Result<BTreeMap<String, BTreeSet<String>>, String> {
        let mut locations = BTreeMap::new();
        for location in blocks(server, "location") {
            let path = match arguments(location)[..] {
                [path] if path.starts_with('/') || path == nginx::grpc::FAILURE => path.to_owned(),
                ["=", path] => format!("= {path}"),
                _ => return Err(format!("`{}` is no location by prefix", line(location))),
            };
            let mut lines = BTreeSet::new();
            for directive in block(location) {
                if directive.block.is_some() {
                    return Err(format!("`{}` in a location is a block", line(directive)));
                }
                let said = match (directive.name(), &arguments(directive)[..]) {
                    (program @ ("proxy_pass" | "grpc_pass"), [url]) => self.pass(host, program, url, by_map)?,
                    // The words are for people.
                    ("return", ["503", _]) => "return 503".to_owned(),
                    _ => words(directive),
                };
                if !lines.insert(said) {
                    return Err(format!("`{}` stands twice in a location", line(directive)));
                }
            }
            if locations.insert(path, lines).is_some() {
                return Err(format!("`{}` stands twice in a server", line(location)));
            }
        }
        Ok(locations)
    }

    /// Where requests go, by addresses.
    fn pass(
        &self,
        host: Option<&HostPattern>,
        program: &str,
        url: &str,
        by_map: &mut BTreeSet<HostPattern>,
    ) -> Result<String, String> {
        let no_url = || format!("`{program} {}` is no answer", shown(url));
        let (scheme, rest) = url.split_once("://").ok_or_else(no_url)?;
        if rest == "$upstream" {
            let host = host.ok_or("the default host has no entry in the map of hosts")?;
            by_map.insert(host.clone());
            let name = self.map.get(host).ok_or_else(|| format!("{host} is not in the map of hosts"))?;
            return Ok(format!("{program} {scheme}://{}", self.servers(name)?));
        }
        let (name, below) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        Ok(format!("{program} {scheme}://{} {below}", self.target(name, 0)?).trim_end().to_owned())
    }

    fn servers(&self, name: &str) -> Result<&str, String> {
        self.upstreams.get(name).map(String::as_str).ok_or_else(|| format!("there is no upstream {}", shown(name)))
    }

    /// An upstream's addresses, or those that a map chooses among.
    fn target(&self, name: &str, depth: usize) -> Result<String, String> {
        if !name.starts_with('$') || depth > 4 {
            return self.servers(name).map(str::to_owned);
        }
        let mut maps = blocks(self.canaries, "map").filter(|map| arguments(map).get(1) == Some(&name));
        let (Some(map), None) = (maps.next(), maps.next()) else {
            return Err(format!("there is no map of {}", shown(name)));
        };
        let mut entries = BTreeSet::new();
        for entry in block(map) {
            let [to] = arguments(entry)[..] else { return Err(format!("`{}` is no entry of a map", line(entry))) };
            entries.insert(format!("{:?}: {}", entry.name(), self.target(to, depth + 1)?));
        }
        let source = arguments(map)[0];
        Ok(format!("by {source} {{ {} }}", entries.into_iter().collect::<Vec<_>>().join("; ")))
    }
}
