//! What extensions made of proxy configs, and what follows for the services in them.

use std::collections::BTreeSet;

use super::{Inputs, Served};
use crate::kinds::{RenderError, Rendering, Renderings};
use crate::ownership;
use crate::problem::{Effect, Problem, Severity, Subject};
use crate::proxy_config::{Generation, ProxyConfig, ProxyConfigs};
use crate::routes::model::{self, Model, Refused};
use crate::swarm::SwarmIndex;
use crate::units::{Cluster, ServiceId};

/// What was made of exactly this proxy config.
pub(super) fn current<'a>(
    renderings: &'a Renderings,
    key: &(Cluster, Generation),
    config: &ProxyConfig,
) -> Option<&'a Rendering> {
    renderings.get(key).filter(|rendering| rendering.revision == config.revision)
}

/// The last good rendering of each generation that lives.
pub(super) fn accepted(configs: &ProxyConfigs, renderings: &Renderings, before: &Renderings) -> Renderings {
    let newest = |key: &(Cluster, Generation), config: &ProxyConfig| {
        let current = current(renderings, key, config);
        current.filter(|rendering| rendering.result.is_ok()).or_else(|| before.get(key)).cloned()
    };
    configs.iter().filter_map(|(key, config)| Some((key.clone(), newest(key, config)?))).collect()
}

/// By which labels services are routed in the last accepted rendering of each generation that lives. A process that has just begun
/// knows them where the proxies have today's revision already.
pub(super) fn served(
    snapshot: &SwarmIndex<'_>,
    inputs: &Inputs,
    configs: &ProxyConfigs,
    renderings: &Renderings,
    model: &Model,
) -> Served {
    let Inputs { settings, reports, memory, .. } = inputs;
    let deployed = |cluster: &Cluster, config: &ProxyConfig| {
        let extension = settings.extension(cluster.as_str());
        let service = extension.and_then(|extension| snapshot.named(&extension.proxy_service_name));
        let mounted = service.and_then(|service| service.spec.labels.get(ownership::REVISION));
        mounted.is_some_and(|revision| revision == config.revision.as_str())
    };
    let of = |key: &(Cluster, Generation), config: &ProxyConfig| {
        let is_accepted = current(renderings, key, config).is_some_and(|rendering| rendering.result.is_ok());
        let runs = || reports.run(&key.0, &key.1, &config.revision) || deployed(&key.0, config);
        match memory.served.get(key) {
            Some(known) if !is_accepted => Some(known.clone()),
            None if !is_accepted && !runs() => None,
            _ => Some(model.labels(&key.0)),
        }
    };
    configs.iter().filter_map(|(key, config)| Some((key.clone(), of(key, config)?))).collect()
}

/// How many services an extension can have withheld, unless a tenth of all are more. Beyond that it is the extension that is to blame: it
/// must not be able to take all new routes away by refusing them.
const MOST_REFUSED: usize = 3;

/// Whom to withhold from now on, and what to report of renderings that failed. What an extension says of labels that serve counts for
/// nothing: they were accepted once, so it is the extension or the settings that changed.
pub(super) fn refused(
    configs: &ProxyConfigs,
    renderings: &Renderings,
    model: &Model,
    snapshot: &SwarmIndex<'_>,
    before: &Refused,
    served: &Served,
) -> (Refused, Vec<Problem>) {
    let labels = |id: &ServiceId| snapshot.service(id).map(|service| &service.spec.labels);
    let mut refused = before.clone();
    refused.retain(|id, refusal| labels(id) == Some(&*refusal.labels));
    let mut problems = Vec::new();
    for (key, config) in configs {
        let rendering = current(renderings, key, config);
        let Some(error) = rendering.and_then(|rendering| rendering.result.as_ref().err()) else { continue };
        let mut found = false;
        if let RenderError::Refused { message, suspects } = error {
            let routed = model.labels(&key.0);
            let of_cluster = || served.iter().filter(|((cluster, _), _)| *cluster == key.0);
            let serves = |id: &ServiceId| {
                of_cluster().any(|(_, known)| known.contains_key(id) && known.get(id) == routed.get(id))
            };
            let blamed: BTreeSet<_> = suspects.iter().flat_map(|suspect| model.behind(&key.0, suspect)).collect();
            let blamed: Vec<_> = blamed.into_iter().filter(|id| !serves(id)).collect();
            let most = MOST_REFUSED.max(model.services(&key.0) / 10);
            // One service cluster's refusals are no reason to disbelieve another's.
            let before = refused.values().filter(|refusal| refusal.cluster == key.0).count();
            if before + blamed.len() <= most {
                for id in blamed {
                    let Some(labels) = labels(id) else { continue };
                    found = true;
                    let refusal = model::CheckerRefusal {
                        cluster: key.0.clone(),
                        labels: labels.clone().into(),
                        message: message.clone(),
                        served: of_cluster().find_map(|(_, known)| known.get(id)).cloned(),
                    };
                    refused.insert(id.clone(), refusal);
                }
            }
        }
        if !found {
            problems.push(not_rendered(config, error));
        }
    }
    (refused, problems)
}

fn not_rendered(config: &ProxyConfig, error: &RenderError) -> Problem {
    let right = match error {
        RenderError::Refused { .. } | RenderError::RefusedSettings(_) => {
            "see GlobalOptions, HTTPOptions and the other options of its settings"
        }
        RenderError::Differs(_) => "run the extension from the image of core's own version",
        RenderError::Template(_) if config.proxy.template.is_some() => "correct the template: core then tries again",
        RenderError::NoTemplate(_) => "create it with `docker config create`, or remove Template from the settings",
        _ => "spread the services over several service clusters, or report this if the configuration is small",
    };
    Problem::new(Severity::Error, Subject::Cluster(config.cluster.clone()), error.to_string(), right, Effect::Kept)
}
