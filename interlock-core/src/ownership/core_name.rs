//! Where core is, and who else goes by its name.
//!
//! Peers find core by its name in Docker's resolver. The resolver asks the networks of a container one after the other, by name, so
//! whoever has core's name on one of a proxy's networks may answer in core's place. TLS keeps him from being taken for core, and agents try
//! the addresses that they know besides. All the same such a network is not attached, and one that is attached is given back if nobody else
//! needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::ownership;
use crate::ownership::acting;
use crate::problem::{Effect, Problem, Severity, Subject, shown};
use crate::settings::Settings;
use crate::swarm::{Network, STACK_LABEL, Service, ServiceSpec, SwarmIndex, UpdateState};
use crate::units::{NetworkId, ServiceId};

/// Core's own service, if it carries our labels: the one that we are a task of, else the oldest.
pub(crate) fn core_service<'a>(snapshot: &SwarmIndex<'a>) -> Option<&'a Service> {
    let mut cores = snapshot.labelled().filter(|service| ownership::is_core(snapshot, service));
    match &snapshot.core {
        Some(own) => cores.find(|service| service.id == *own),
        None => cores.min_by_key(|service| (service.created_at, &service.id)),
    }
}

/// Core's service: the one that we are a task of, else the one that acts. Somebody may have deployed core by hand, and
/// whoever asks need not be a task of it.
pub(crate) fn any_core<'a>(snapshot: &SwarmIndex<'a>) -> Option<&'a Service> {
    let own = snapshot.core.as_ref().and_then(|id| snapshot.service(id));
    let by_hand = || {
        let cores = ownership::with_authority(snapshot);
        cores.min_by(|a, b| (a.created_at, &a.spec.name).cmp(&(b.created_at, &b.spec.name)))
    };
    let acts = || acting::candidates(snapshot).into_iter().next();
    own.or_else(acts).or_else(|| core_service(snapshot)).or_else(by_hand)
}

/// Where peers find core, as a name and a port. Its service has no virtual IP in between: each task has an address of its own.
pub(crate) fn address(snapshot: &SwarmIndex<'_>, settings: &Settings) -> String {
    if let Some(address) = &settings.endpoint_override {
        return address.clone();
    }
    let name = any_core(snapshot).map_or(ownership::CORE_SERVICE, |service| &service.spec.name);
    format!("tasks.{name}:{}", port(settings).unwrap_or("8080"))
}

fn port(settings: &Settings) -> Option<&str> {
    settings.listen_addr.rsplit(':').next().filter(|port| !port.is_empty())
}

/// How many addresses of core are written down: there is one core, and for a while there may be two.
const MOST_ADDRESSES: usize = 2;

/// The addresses of core's tasks on a network, sorted. None where peers go another way.
pub(crate) fn addresses(snapshot: &SwarmIndex<'_>, settings: &Settings, network: &NetworkId) -> Vec<SocketAddr> {
    let (Some(core), None) = (any_core(snapshot), &settings.endpoint_override) else { return Vec::new() };
    let Ok(port) = port(settings).unwrap_or("8080").parse() else { return Vec::new() };
    let tasks = snapshot.tasks_of(&core.id).filter(|task| task.serves());
    let on_network = tasks.flat_map(|task| &task.networks).filter(|attached| attached.network == *network);
    let mut found: Vec<_> =
        on_network.flat_map(|attached| &attached.addresses).map(|address| SocketAddr::new(*address, port)).collect();
    found.sort_unstable();
    found.dedup();
    found.truncate(MOST_ADDRESSES);
    found
}

/// Those that go by core's name, by network.
pub(crate) type Claims<'a> = BTreeMap<&'a NetworkId, Vec<Claim<'a>>>;

/// A service that is not core and has core's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim<'a> {
    service: &'a Service,
    by: By<'a>,
}

/// By what a service has a name in Docker's resolver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By<'a> {
    Name,
    Alias(&'a str),
    Hostname(&'a str),
}

impl Claim<'_> {
    /// Whether this service, or another of its stack, is behind it.
    pub(crate) fn is_of(&self, service: &Service) -> bool {
        let stack = |service: &Service| service.spec.labels.get(STACK_LABEL).cloned();
        self.service.id == service.id || (stack(service).is_some() && stack(self.service) == stack(service))
    }

    /// Like `service evil has core's name (network alias interlock-core)`.
    pub(crate) fn wrong(&self) -> String {
        format!("service {} has core's name ({})", shown(&self.service.spec.name), self.by())
    }

    fn by(&self) -> String {
        match self.by {
            By::Name => "its own name".to_owned(),
            By::Alias(alias) => format!("network alias {}", shown(alias)),
            By::Hostname(hostname) => format!("host name {}", shown(hostname)),
        }
    }

    /// The change that ends it.
    pub(crate) fn right(&self, network: &str) -> String {
        let service = shown(&self.service.spec.name);
        match self.by {
            By::Name => format!("remove service {service} and create it under another name"),
            By::Alias(_) => format!(
                "remove the alias: `docker service update --network-rm {network} {service}`, then `docker service update \
                 --network-add {network} {service}`"
            ),
            By::Hostname(_) => format!("give it another host name: `docker service update --hostname NAME {service}`"),
        }
    }
}

/// Who goes by core's name. Empty where no peer of core is on a network of tenants: only the proxies of hitless delivery are.
pub(crate) fn claims<'a>(snapshot: &'a SwarmIndex<'a>, settings: &Settings) -> Claims<'a> {
    let mut claims = Claims::new();
    if !settings.extensions.values().any(|extension| extension.hitless_service_update) {
        return claims;
    }
    let address = address(snapshot, settings);
    let host = address.rsplit_once(':').map_or(&*address, |(host, _)| host);
    let networks: BTreeMap<_, _> = snapshot.networks.iter().map(|network| (&network.id, network)).collect();
    let core = any_core(snapshot).map(|core| &core.id);
    let is_core = |id: &ServiceId, service: &Service| Some(id) == core || ownership::has_authority(snapshot, service);
    for service in snapshot.services().filter(|service| !is_core(&service.id, service)) {
        let underway = service.update.as_ref().is_some_and(|update| {
            update.state.in_progress() || matches!(update.state, UpdateState::Paused | UpdateState::RollbackPaused)
        });
        // During an update tasks of both kinds run.
        let previous = service.previous.as_ref().filter(|_| underway);
        for spec in [Some(&service.spec), previous].into_iter().flatten() {
            for network in spec.networks.iter().filter_map(|id| networks.get(id)) {
                let Some(by) = claimed_by(spec, network, host) else { continue };
                let claim = Claim { service, by };
                let of_network: &mut Vec<_> = claims.entry(&network.id).or_default();
                if !of_network.contains(&claim) {
                    of_network.push(claim);
                }
            }
        }
    }
    claims
}

fn claimed_by<'a>(spec: &'a ServiceSpec, network: &Network, host: &str) -> Option<By<'a>> {
    let answers = |name: &str| answers(name, &spec.name, network, host);
    if answers(&spec.name) {
        return Some(By::Name);
    }
    let aliases = spec.aliases.get(&network.id).into_iter().flatten();
    let alias = aliases.map(String::as_str).find(|alias| answers(alias)).map(By::Alias);
    alias.or_else(|| spec.hostname.as_deref().filter(|name| answers(name)).map(By::Hostname))
}

/// Whether Docker's resolver answers for `host` where a task on this network has this name. It also answers for `tasks.NAME`, and for both with
/// the network's name behind them.
fn answers(name: &str, service: &str, network: &Network, host: &str) -> bool {
    let plain = |text: &str| text.trim_end_matches('.').to_ascii_lowercase();
    let (host, service, pattern) = (plain(host), plain(service), plain(name));
    let inside = host.strip_suffix(&format!(".{}", plain(&network.name)));
    [Some(&*host), inside].into_iter().flatten().any(|host| {
        let without_tasks = host.strip_prefix("tasks.");
        [Some(host), without_tasks].into_iter().flatten().any(|host| may_be(&pattern, &service, host))
    })
}

/// Whether a name that may hold templates of Swarm's, like `{{.Node.Hostname}}-web`, may become this host. `service` is the service's name.
fn may_be(pattern: &str, service: &str, host: &str) -> bool {
    let host = host.as_bytes();
    let after = |at: usize, text: &str| host[at..].starts_with(text.as_bytes()).then_some(at + text.len());
    // How much of the host may have been made so far.
    let mut made = BTreeSet::from([0]);
    let mut rest = pattern;
    loop {
        let (literal, templates) = rest.split_once("{{").map_or((rest, None), |(text, rest)| (text, Some(rest)));
        made = made.into_iter().filter_map(|at| after(at, literal)).collect();
        let Some(templates) = templates else { return made.contains(&host.len()) };
        let Some((template, behind)) = templates.split_once("}}") else { return false };
        made = match template.trim() {
            // Nobody chooses these who creates a service.
            ".node.id" | ".node.hostname" | ".service.id" | ".task.id" | ".task.name" => return false,
            ".service.name" => made.into_iter().filter_map(|at| after(at, service)).collect(),
            ".task.slot" => {
                let digits = |at: usize| host[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                made.into_iter().flat_map(|at| at + 1..=at + digits(at)).collect()
            }
            // A label or a text of his own: it may become anything.
            _ => made.first().map(|first| (*first..=host.len()).collect()).unwrap_or_default(),
        };
        rest = behind;
    }
}

/// A problem for each service that goes by core's name.
pub(crate) fn problems(snapshot: &SwarmIndex<'_>, settings: &Settings) -> Vec<Problem> {
    let network_name = |id: &NetworkId| {
        let known = snapshot.networks.iter().find(|network| network.id == *id);
        known.map_or_else(|| id.to_string(), |network| network.name.clone())
    };
    let claims = claims(snapshot, settings);
    let all = claims.iter().flat_map(|(id, claims)| claims.iter().map(move |claim| (network_name(id), claim)));
    let problem = |(network, claim): (String, &Claim<'_>)| {
        Problem::new(
            Severity::Warning,
            Subject::Service(claim.service.spec.name.clone()),
            format!(
                "it has core's name on network {} ({}), so proxies may connect to it instead of core",
                shown(&network),
                claim.by()
            ),
            claim.right(&shown(&network)),
            Effect::Kept,
        )
    };
    // Each service is told once.
    let by_service: BTreeMap<_, _> = all.map(|(network, claim)| (&claim.service.id, (network, claim))).collect();
    by_service.into_values().map(problem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h2_what_docker_answers_for_cores_name() {
        let network = |name: &str| Network {
            id: NetworkId::new("n"),
            name: name.to_owned(),
            driver: "overlay".to_owned(),
            ingress: false,
            labels: Default::default(),
            subnets: Vec::new(),
            created_at: None,
        };
        let core = "tasks.interlock-core";
        for (name, on, host, expected) in [
            ("interlock-core", "aaa", core, true),
            ("tasks.interlock-core", "aaa", core, true),
            ("Tasks.Interlock-Core.", "aaa", core, true),
            ("interlock-core2", "aaa", core, false),
            ("core", "aaa", core, false),
            ("tasks", "interlock-core", core, true),
            ("tasks", "aaa", core, false),
            ("core.example.com", "aaa", "core.example.com", true),
            ("core", "example.com", "core.example.com", true),
            ("{{.Node.Hostname}}", "aaa", core, false),
            ("{{.Service.Name}}-{{.Task.Slot}}", "aaa", core, false),
            ("{{.Task.Slot}}", "aaa", core, false),
            ("interlock-cor{{.Service.Name}}", "aaa", core, true),
            ("core{{.Task.Slot}}", "aaa", "tasks.core1", true),
            ("{{\"interlock-core\"}}", "aaa", core, true),
            ("tasks.{{index .Service.Labels \"x\"}}-core", "aaa", core, true),
            ("web-{{index .Service.Labels \"x\"}}", "aaa", core, false),
        ] {
            assert_eq!(answers(name, "e", &network(on), host), expected, "{name} on {on} for {host}");
        }
    }
}
