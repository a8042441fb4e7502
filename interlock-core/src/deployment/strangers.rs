//! Services of others on the networks between core and its peers.
//!
//! They cannot do much there: whoever has no certificate that core admits is refused. But they have no business there either, and reach
//! core's and the proxies' ports.

use std::collections::BTreeMap;

use crate::ownership;
use crate::ownership::core_name;
use crate::problem::{Effect, Problem, Severity, Subject, shown};
use crate::swarm::{Labels, Service, SwarmIndex};

/// A problem for each service that is not ours and attached to one of these networks.
pub(super) fn problems(snapshot: &SwarmIndex<'_>, networks: &BTreeMap<String, Labels>) -> Vec<Problem> {
    let known = snapshot.networks.iter().filter(|network| networks.contains_key(&network.name));
    let names: BTreeMap<_, _> = known.map(|network| (&network.id, network.name.as_str())).collect();
    let core = core_name::any_core(snapshot).map(|core| &core.id);
    let attached = names.keys().flat_map(|network| snapshot.on_network(network));
    let attached: BTreeMap<_, _> = attached.map(|service| ((&service.spec.name, &service.id), service)).collect();
    let strangers = attached.into_values().filter(|service| Some(&service.id) != core && !is_ours(snapshot, service));
    let on_ours = strangers.filter_map(|service| {
        let network = service.spec.networks.iter().find_map(|id| names.get(id))?;
        Some(problem(&service.spec.name, network))
    });
    on_ours.collect()
}

fn is_ours(snapshot: &SwarmIndex<'_>, service: &Service) -> bool {
    let kinds = [ownership::TYPE_CORE, ownership::TYPE_EXTENSION, ownership::TYPE_PROXY];
    ownership::has_authority(snapshot, service)
        || kinds.iter().any(|kind| ownership::is_ours_of_type(snapshot, service, kind))
}

fn problem(service: &str, network: &str) -> Problem {
    Problem::new(
        Severity::Warning,
        Subject::Service(service.to_owned()),
        format!("it is on network {network}, which only core, extensions and proxies may use"),
        format!("run `docker service update --network-rm {network} {}`", shown(service)),
        Effect::Kept,
    )
}
