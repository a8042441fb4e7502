//! Who gets which request, as a model says it and as files say it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use crate::names::{HostPattern, PathPrefix};
use crate::problem::shown;
use crate::proxy_config::{Forward, ProxyConfig, VirtualHost};
use crate::render::nginx::HEALTH_PORT;
use crate::render::parse_back::Directive;

/// What each host answers, the default one (`None`) included: by the words behind `location`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Served(BTreeMap<Option<HostPattern>, Locations>);

type Locations = BTreeMap<String, Answer>;

#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Unavailable,
    Redirect(String),
    Forward { servers: Vec<SocketAddr>, cut: bool },
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable => f.write_str("503"),
            Self::Redirect(to) => write!(f, "a redirect to {to}"),
            Self::Forward { servers, cut } => {
                let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
                write!(f, "{}{}", servers.join(", "), if *cut { " without the prefix" } else { "" })
            }
        }
    }
}

impl Served {
    /// What a model says.
    pub(super) fn in_model(config: &ProxyConfig) -> Self {
        let locations = |paths: &VirtualHost| -> Locations {
            let mut locations = Locations::from([("/".to_owned(), Answer::Unavailable)]);
            locations.extend(paths.iter().flat_map(|(path, forward)| path_locations(config, path, forward)));
            locations
        };
        let default = config.default.clone().unwrap_or_default();
        let hosts = config.virtual_hosts.iter().map(|(host, paths)| (Some(host.clone()), locations(paths)));
        Self(hosts.chain([(None, locations(&default))]).collect())
    }

    /// What the http block of files says, for requests to this port.
    pub(super) fn in_files(http: &[Directive<'_>], port: u16) -> Result<Self, String> {
        let reader = Reader { upstreams: upstreams(http)?, map: map(http)?, port: port.to_string() };
        let mut served = Self::default();
        let mut by_map = BTreeMap::new();
        for server in blocks(http, "server") {
            reader.server(server, &mut served, &mut by_map)?;
        }
        if !served.0.contains_key(&None) {
            return Err("no server is the default one".to_owned());
        }
        match reader.map.keys().find(|host| !by_map.contains_key(*host)) {
            Some(host) => Err(format!("{host} is in the map, and in no server that uses it")),
            None => Ok(served),
        }
    }

    /// The first difference from what is wanted.
    pub(super) fn difference(&self, wanted: &Self) -> Option<String> {
        let name =
            |host: &Option<HostPattern>| host.as_ref().map_or("the default host".to_owned(), ToString::to_string);
        if let Some(extra) = self.0.keys().find(|host| !wanted.0.contains_key(host)) {
            return Some(format!("{} is no host of the model", name(extra)));
        }
        wanted.0.iter().find_map(|(host, wanted)| {
            let Some(found) = self.0.get(host) else { return Some(format!("{} is missing", name(host))) };
            let host = name(host);
            if let Some(extra) = found.keys().find(|path| !wanted.contains_key(*path)) {
                return Some(format!("{host} has a location {}, which the model does not have", shown(extra)));
            }
            wanted.iter().find_map(|(path, wanted)| match found.get(path) {
                None => Some(format!("{host} has no location {path}")),
                Some(found) if found == wanted => None,
                Some(found) => {
                    Some(format!("{host}, location {path}: {} instead of {wanted}", shown(&found.to_string())))
                }
            })
        })
    }
}

/// A prefix ends where a segment ends, so it is two locations.
fn path_locations(config: &ProxyConfig, path: &PathPrefix, forward: &Forward) -> Vec<(String, Answer)> {
    let servers = forward.upstream.as_ref().and_then(|upstream| config.upstreams.get(upstream)).cloned();
    let answer = |cut| match &servers {
        None => Answer::Unavailable,
        Some(servers) => Answer::Forward { servers: servers.clone(), cut },
    };
    if path.is_root() {
        return vec![("/".to_owned(), answer(false))];
    }
    let itself = match servers {
        Some(_) if forward.rewrite => Answer::Redirect(format!("{path}/$is_args$args")),
        _ => answer(false),
    };
    vec![(format!("= {path}"), itself), (format!("{path}/"), answer(forward.rewrite))]
}

/// The blocks of one name.
fn blocks<'d, 'a>(directives: &'d [Directive<'a>], name: &str) -> impl Iterator<Item = &'d Directive<'a>> {
    directives.iter().filter(move |directive| directive.name() == name)
}

fn block<'d, 'a>(directive: &'d Directive<'a>) -> &'d [Directive<'a>] {
    directive.block.as_deref().unwrap_or_default()
}

fn line(directive: &Directive<'_>) -> String {
    shown(&directive.words.join(" "))
}

fn arguments<'d, 'a>(directive: &'d Directive<'a>) -> Vec<&'d str> {
    directive.words.iter().skip(1).map(|word| &**word).collect()
}

type Upstreams<'d> = BTreeMap<&'d str, Vec<SocketAddr>>;

fn upstreams<'d>(http: &'d [Directive<'_>]) -> Result<Upstreams<'d>, String> {
    let mut upstreams = Upstreams::new();
    for directive in blocks(http, "upstream") {
        let [name] = arguments(directive)[..] else { return Err(format!("`{}` is no upstream", line(directive))) };
        let server = |server: &Directive<'_>| match arguments(server)[..] {
            [address] => {
                address.parse().map_err(|_| format!("`{}` in upstream {} is no address", line(server), shown(name)))
            }
            _ => Err(format!("`{}` in upstream {} is more than an address", line(server), shown(name))),
        };
        let servers = blocks(block(directive), "server").map(server).collect::<Result<_, _>>()?;
        if upstreams.insert(name, servers).is_some() {
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

/// The map from host to upstream.
fn map<'d>(http: &'d [Directive<'_>]) -> Result<BTreeMap<HostPattern, &'d str>, String> {
    let mut maps = blocks(http, "map").filter(|map| arguments(map) == ["$host", "$upstream"]);
    let Some(map) = maps.next() else { return Ok(BTreeMap::new()) };
    if maps.next().is_some() {
        return Err("there are two maps of hosts".to_owned());
    }
    let mut entries = BTreeMap::new();
    let mut fixed = Vec::new();
    for entry in block(map) {
        match (entry.name(), &arguments(entry)[..]) {
            _ if entry.block.is_some() => return Err(format!("`{}` in the map of hosts is a block", line(entry))),
            ("default", [""]) => fixed.push("default"),
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

/// What a location says, before it is known for which host.
enum Said<'d> {
    Answer(Answer),
    ByMap,
    Upstream { name: &'d str, cut: bool },
}

struct Reader<'d> {
    upstreams: Upstreams<'d>,
    map: BTreeMap<HostPattern, &'d str>,
    port: String,
}

impl<'d> Reader<'d> {
    /// Adds what a server answers. Hosts that the map decides about are noted.
    fn server(
        &self,
        server: &'d Directive<'_>,
        served: &mut Served,
        by_map: &mut BTreeMap<HostPattern, ()>,
    ) -> Result<(), String> {
        let listens: Vec<_> = blocks(block(server), "listen").map(arguments).collect();
        let names: Vec<_> = blocks(block(server), "server_name").flat_map(arguments).collect();
        let hosts: Vec<_> = match &listens[..] {
            [listen] if **listen == [format!("127.0.0.1:{HEALTH_PORT}")] => return Ok(()),
            [listen] if **listen == [self.port.as_str(), "default_server"] && matches!(names[..], [] | ["_"]) => {
                vec![None]
            }
            [listen] if **listen == [self.port.as_str()] && !names.is_empty() => {
                names.iter().map(|name| host(name).map(Some)).collect::<Result<_, _>>()?
            }
            _ => {
                let listens = listens.concat().join(" ");
                return Err(format!("a server listens on {} for {}", shown(&listens), shown(&names.join(" "))));
            }
        };
        let said = locations(block(server))?;
        for host in hosts {
            let mut locations = Locations::new();
            for (path, said) in &said {
                let answer = self.answer(host.as_ref(), said, by_map)?;
                locations.insert(path.clone(), answer);
            }
            let name = host.as_ref().map_or("the default host".to_owned(), ToString::to_string);
            if served.0.insert(host, locations).is_some() {
                return Err(format!("two servers answer for {name}"));
            }
        }
        Ok(())
    }

    fn answer(
        &self,
        host: Option<&HostPattern>,
        said: &Said<'_>,
        by_map: &mut BTreeMap<HostPattern, ()>,
    ) -> Result<Answer, String> {
        let (name, cut) = match said {
            Said::Answer(answer) => return Ok(answer.clone()),
            Said::Upstream { name, cut } => (*name, *cut),
            Said::ByMap => {
                let host = host.ok_or("the default host has no entry in the map of hosts")?;
                by_map.insert(host.clone(), ());
                (*self.map.get(host).ok_or_else(|| format!("{host} is not in the map of hosts"))?, false)
            }
        };
        let servers = self.upstreams.get(name).ok_or_else(|| format!("there is no upstream {}", shown(name)))?;
        Ok(Answer::Forward { servers: servers.clone(), cut })
    }
}

fn locations<'d>(server: &'d [Directive<'_>]) -> Result<BTreeMap<String, Said<'d>>, String> {
    let mut locations = BTreeMap::new();
    for location in blocks(server, "location") {
        let path = match arguments(location)[..] {
            [path] if path.starts_with('/') => path.to_owned(),
            ["=", path] => format!("= {path}"),
            _ => return Err(format!("`{}` is no location by prefix", line(location))),
        };
        let [directive] = block(location) else {
            return Err(format!("`{}` does not do one thing", line(location)));
        };
        let said =
            said(directive).ok_or_else(|| format!("`{}` in `{}` is no answer", line(directive), line(location)))?;
        if locations.insert(path, said).is_some() {
            return Err(format!("`{}` stands twice in a server", line(location)));
        }
    }
    Ok(locations)
}

fn said<'d>(directive: &'d Directive<'_>) -> Option<Said<'d>> {
    match (directive.name(), &arguments(directive)[..]) {
        ("return", ["503", _]) => Some(Said::Answer(Answer::Unavailable)),
        ("return", ["301", to]) => Some(Said::Answer(Answer::Redirect((*to).to_owned()))),
        ("proxy_pass", ["http://$upstream"]) => Some(Said::ByMap),
        ("proxy_pass", [url]) => {
            let upstream = url.strip_prefix("http://")?;
            let (name, cut) = upstream.strip_suffix('/').map_or((upstream, false), |name| (name, true));
            Some(Said::Upstream { name, cut })
        }
        _ => None,
    }
}
