//! The whole of interlock's thinking: from what is, to what to do about it.
//!
//! Nothing here does I/O, reads a clock, draws randomness or logs. Equal inputs give equal outcomes, whatever the order of the
//! lists in them.

use std::collections::BTreeMap;

use crate::desired::{self, Desired};
use crate::model::{self, LastGood};
use crate::plan::{self, Attempts, Plan};
use crate::problem::{Effect, Problem, Severity, Subject};
use crate::proxy_config::{self, Generation, ProxyConfig, ProxyConfigs};
use crate::render::{self, Rendering, Renderings};
use crate::routes::{self, Routes};
use crate::settings::Settings;
use crate::snapshot::Snapshot;

/// Everything that decisions depend on.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// What is on the Swarm.
    pub snapshot: Snapshot,
    /// What the operator wants.
    pub settings: Settings,
    /// What extensions made of earlier proxy configs.
    pub renderings: Renderings,
    /// What an earlier outcome asked to be remembered; the default for a fresh process.
    pub memory: Memory,
}

/// What is remembered from one reconciliation to the next. Losing it is safe.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Memory {
    /// By which labels each service was routed last.
    pub last_good: LastGood,
    /// What each service cluster's last update was for.
    pub attempts: Attempts,
}

/// What follows from the inputs.
#[must_use = "an outcome is a list of things to do and to tell"]
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What the proxies of each service cluster shall do, for extensions to render.
    pub proxy_configs: ProxyConfigs,
    /// What to do on the Swarm.
    pub plan: Plan,
    /// What is wrong, sorted.
    pub problems: Vec<Problem>,
    /// What to remember.
    pub memory: Memory,
}

/// Decides what to do. A proxy config that `inputs.renderings` has no current rendering for leaves what is deployed as it is.
pub fn reconcile(inputs: &Inputs) -> Outcome {
    finish(inputs, route(inputs), &inputs.renderings)
}

/// As [`reconcile`], with the proxy configs rendered in this process: what happens without extensions of their own. The second
/// value is what was rendered, for the next inputs: an unchanged revision is not rendered again.
pub fn reconcile_embedded(inputs: &Inputs) -> (Outcome, Renderings) {
    let routed = route(inputs);
    let limit = inputs.snapshot.engine.config_limit();
    let rendered: Renderings =
        routed.configs.iter().map(|(key, config)| (key.clone(), rendering(inputs, key, config, limit))).collect();
    (finish(inputs, routed, &rendered), rendered)
}

fn rendering(
    inputs: &Inputs,
    key: &(crate::names::Cluster, Generation),
    config: &ProxyConfig,
    limit: usize,
) -> Rendering {
    match inputs.renderings.get(key) {
        Some(rendering) if rendering.revision == config.revision => rendering.clone(),
        _ => render::render(config, limit),
    }
}

/// What is known before anything is rendered.
struct Routed {
    configs: ProxyConfigs,
    networks: BTreeMap<crate::names::Cluster, std::collections::BTreeSet<crate::names::NetworkId>>,
    last_good: LastGood,
    problems: Vec<Problem>,
}

fn route(inputs: &Inputs) -> Routed {
    let Inputs { snapshot, settings, renderings: _, memory } = inputs;
    let (model, mut problems) = model::read(snapshot, settings, &memory.last_good);
    let (routes, told) = routes::resolve(&model);
    problems.extend(told);
    let mut configs = ProxyConfigs::new();
    let mut networks = BTreeMap::new();
    let nothing = Routes::default();
    for (cluster, extension) in desired::clusters(settings) {
        let (needed, told) = desired::networks(snapshot, &model, &cluster, extension);
        problems.extend(told);
        let config = proxy_config::build(&cluster, extension, routes.get(&cluster).unwrap_or(&nothing));
        configs.insert((cluster.clone(), desired::generation(&needed)), config);
        networks.insert(cluster, needed);
    }
    Routed { configs, networks, last_good: model.last_good, problems }
}

fn finish(inputs: &Inputs, routed: Routed, renderings: &Renderings) -> Outcome {
    let Inputs { snapshot, settings, renderings: _, memory } = inputs;
    let Routed { configs, mut networks, last_good, mut problems } = routed;
    let mut wanted = Desired::new();
    for (key, config) in &configs {
        let (cluster, _) = key;
        let Some(extension) = settings.extension(cluster.as_str()) else { continue };
        let rendering = renderings.get(key);
        problems.extend(rendering.and_then(|rendering| refused(config, rendering)));
        let rendered = desired::usable(config, rendering).map(|files| (config, files));
        let needed = networks.remove(cluster).unwrap_or_default();
        wanted.insert(cluster.clone(), desired::proxy(snapshot, extension, needed, rendered));
    }
    let (plan, attempts, told) = plan::diff(snapshot, &wanted, &memory.attempts);
    problems.extend(told);
    problems.sort();
    problems.dedup();
    Outcome { proxy_configs: configs, plan, problems, memory: Memory { last_good, attempts } }
}

fn refused(config: &ProxyConfig, rendering: &Rendering) -> Option<Problem> {
    let error = rendering.result.as_ref().err().filter(|_| rendering.revision == config.revision)?;
    Some(Problem {
        severity: Severity::Error,
        subject: Subject::Cluster(config.cluster.clone()),
        label: None,
        value: None,
        wrong: error.to_string(),
        right: "spread the services over several service clusters, or report this if the configuration is small"
            .to_owned(),
        effect: Effect::Kept,
    })
}
