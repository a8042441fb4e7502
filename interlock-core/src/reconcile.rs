//! The whole of interlock's thinking: from what is, to what to do about it.
//!
//! Nothing here does I/O, reads a clock, draws randomness or logs. Equal inputs give equal outcomes, whatever the order of the
//! lists in them.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;

use crate::deployment::generations::{
    self, Added, Attachments, Generations, Idle, Rolls, SecretNames, Shown, servable,
};
use crate::deployment::options_in_force::{self, RefusedOptions};
use crate::deployment::shortages::Shortages;
use crate::deployment::{self, Control, Desired, NoContent, Objects};
use crate::kinds::{self, Renderer, Rendering, Renderings};
use crate::ownership;
use crate::ownership::acting::{self, Cores, Part};
use crate::ownership::core_name;
use crate::peers::certificates;
use crate::peers::reachability;
use crate::peers::{Delivery, Heard, Reports, VersionInUse, Versions, Waits};
use crate::plan::{self, Attempts, Plan, Waiting};
use crate::problem::{self, Problem};
use crate::proxy_config::template;
use crate::proxy_config::{Builder, Generation, ProxyConfig, ProxyConfigs, ProxySettings};
use crate::routes::model::{self, Known, LastGood, Model, Paces, Reader, Refused};
use crate::routes::{LiveRoutes, Routes, Table};
use crate::settings::{Extension, Settings};
use crate::swarm::index::{Changes, Directory};
use crate::swarm::{Network, Snapshot, SwarmIndex};
use crate::units::{Cluster, NetworkId, ProxyVersion, SecretName};

mod renderings;

use renderings::{accepted, current, refused, served};

/// Everything that decisions depend on.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// What is on the Swarm.
    pub snapshot: Snapshot,
    /// What the operator wants.
    pub settings: Settings,
    /// What extensions made of earlier proxy configs, checked.
    pub renderings: Renderings,
    /// What extensions and proxies say about themselves.
    pub reports: Reports,
    /// What an earlier outcome asked to be remembered; the default for a fresh process.
    pub memory: Memory,
    /// How new revisions get to running proxies that follow core.
    pub delivery: Delivery,
    /// Whether another core may act instead of this one: so it is for whoever goes on for ever.
    pub takes_turns: bool,
}

impl Inputs {
    /// What a fresh process knows: nothing but this.
    pub fn new(snapshot: Snapshot, settings: Settings) -> Self {
        let (renderings, reports, memory) = (Renderings::new(), Reports::default(), Memory::default());
        let delivery = Delivery::default();
        Self { snapshot, settings, renderings, reports, memory, delivery, takes_turns: false }
    }
}

/// What is remembered from one reconciliation to the next. Losing it is safe.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Memory {
    /// By which labels each service was routed last.
    pub last_good: Arc<LastGood>,
    /// How the labels of services have changed.
    pub paces: Arc<Paces>,
    /// What each service's last update was for.
    pub attempts: Attempts,
    /// Services that a proxy's checker does not take, until their labels change.
    pub refused: Refused,
    /// Networks and secrets of proxies that nobody else uses.
    pub idle: Idle,
    /// The last good rendering of each generation that lives.
    pub accepted: Renderings,
    /// By which labels services are routed in that rendering. An extension's word against them does not count.
    pub served: Served,
    /// The certificates that each generation serves.
    pub shown: Shown,
    /// Since when extensions and agents are waited for.
    pub waits: Waits,
    /// For which version of the proxy program files are made.
    pub versions: Versions,
    /// How the proxies' rolls went.
    pub rolls: Rolls,
    /// Options of the settings that a proxy's checker does not take.
    pub refused_options: RefusedOptions,
    /// What other cores did.
    pub cores: Cores,
    /// Which services lack tasks, and since when.
    pub shortages: Shortages,
    /// Which services are reported for tasks that do not accept connections.
    pub unreachable: reachability::Reported,
}

/// By which labels the services of each generation's last accepted rendering are routed.
pub type Served = BTreeMap<(Cluster, Generation), Arc<LastGood>>;

/// What follows from the inputs.
#[must_use = "an outcome is a list of things to do and to tell"]
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What the proxies of each service cluster shall do, for extensions to render.
    pub proxy_configs: ProxyConfigs,
    /// What a new proxy task of each service cluster could serve.
    pub generations: BTreeMap<Cluster, Generation>,
    /// The secrets that the tasks of each generation that lives have: of no others core hears what they are.
    pub secrets: SecretNames,
    /// What core sends to proxies that follow it: the newest good rendering of each generation.
    pub deliveries: Renderings,
    /// What to do on the Swarm.
    pub plan: Plan,
    /// What is wrong, sorted.
    pub problems: Vec<Problem>,
    /// The routes that proxies which run have files for now. A service cluster of which that is not known is left out.
    pub live: LiveRoutes,
    /// Whether another core acts: then there is nothing to do, and all that is wrong is that there are two.
    pub stands_by: bool,
    /// What to remember.
    pub memory: Memory,
    /// When time alone may change what there is to do.
    pub next: Option<Timestamp>,
}

/// What was made on the way to the last outcome, so that the next one costs what changed. It changes no outcome: any is fine for any inputs,
/// and losing it is safe.
#[derive(Debug, Default)]
pub struct Memo {
    directory: Directory,
    made: Made,
}

/// What was made of the services that the directory has.
#[derive(Debug, Default)]
struct Made {
    renderers: BTreeMap<(Cluster, Generation), Renderer>,
    reader: Reader,
    table: Table,
    /// For each generation that lives what it serves, which may be less than all.
    parts: BTreeMap<(Cluster, Generation), PartOfRoutes>,
}

/// What was made of what one generation serves.
#[derive(Debug, Clone, Default)]
struct PartOfRoutes {
    table: Table,
    builder: Builder,
}

/// Decides what to do. A proxy config that `inputs.renderings` has no current rendering for leaves what is deployed as it is.
pub fn reconcile(inputs: &Inputs) -> Outcome {
    reconcile_with(inputs, &mut Memo::default())
}

/// As [`reconcile`], at the cost of what changed since the memo was made.
pub fn reconcile_with(inputs: &Inputs, memo: &mut Memo) -> Outcome {
    let changes = memo.directory.renew(&inputs.snapshot);
    let (swarm, made) = (SwarmIndex::new(&inputs.snapshot, &memo.directory), &mut memo.made);
    let read = read(&swarm, inputs, made, &changes);
    let mut routed = route(&swarm, inputs, made, &read, &inputs.memory.refused_options);
    let refused = options_in_force::refused(
        &inputs.memory.refused_options,
        &inputs.settings,
        &swarm,
        &routed.configs,
        &inputs.renderings,
    );
    if refused != inputs.memory.refused_options {
        routed = route(&swarm, inputs, made, &read, &refused);
    }
    let (waits, told) = inputs.memory.waits.renewed(Heard {
        snapshot: &swarm,
        settings: &inputs.settings,
        configs: &routed.configs,
        renderings: &inputs.renderings,
        reports: &inputs.reports,
        delivery: inputs.delivery,
    });
    let mut outcome = finish(&swarm, inputs, routed, &inputs.renderings, &waits);
    outcome.memory.waits = waits;
    if !outcome.stands_by {
        outcome.problems.extend(told);
    }
    outcome.problems.sort();
    outcome
}

/// As [`reconcile`], with all proxy configs rendered in this process: for whoever has no extension, and does not wait for one. The second
/// value is what was rendered, for the next inputs: an unchanged revision is not rendered again.
pub fn reconcile_embedded(inputs: &Inputs) -> (Outcome, Renderings) {
    reconcile_embedded_with(inputs, &mut Memo::default())
}

/// As [`reconcile_embedded`], at the cost of what changed since the memo was made.
pub fn reconcile_embedded_with(inputs: &Inputs, memo: &mut Memo) -> (Outcome, Renderings) {
    let changes = memo.directory.renew(&inputs.snapshot);
    let (swarm, made) = (SwarmIndex::new(&inputs.snapshot, &memo.directory), &mut memo.made);
    let read = read(&swarm, inputs, made, &changes);
    let routed = route(&swarm, inputs, made, &read, &inputs.memory.refused_options);
    let limit = inputs.snapshot.engine.config_limit();
    let mut rendered = Renderings::new();
    for (key, config) in &routed.configs {
        let rendering = match current(&inputs.renderings, key, config) {
            Some(rendering) => rendering.clone(),
            None => made.renderers.entry(key.clone()).or_default().render(config, limit, swarm.observed_at),
        };
        rendered.insert(key.clone(), rendering);
    }
    made.renderers.retain(|key, _| routed.configs.contains_key(key));
    (finish(&swarm, inputs, routed, &rendered, &Waits::default()), rendered)
}

/// What is known before anything is rendered.
struct Routed {
    configs: ProxyConfigs,
    generations: BTreeMap<Cluster, Generations>,
    /// Those with routes of which no agent has said that proxies can start with them. Tasks that run do serve them.
    unconfirmed: BTreeSet<(Cluster, Generation)>,
    /// The services behind each route, by service cluster: whom to leave out when a checker does not take it.
    model: Model,
    shown: Shown,
    secrets: SecretNames,
    versions: Versions,
    /// Networks where somebody goes by core's name.
    claimed: BTreeSet<NetworkId>,
    /// The routes of each generation that runs.
    live: BTreeMap<(Cluster, Generation), Arc<Routes>>,
    refused_options: RefusedOptions,
    problems: Vec<Problem>,
}

/// What services ask for, put together.
struct ReadRoutes {
    model: Model,
    routes: BTreeMap<Cluster, Arc<Routes>>,
    /// Networks where somebody goes by core's name.
    claimed: BTreeSet<NetworkId>,
    problems: Vec<Problem>,
}

fn read(snapshot: &SwarmIndex<'_>, inputs: &Inputs, made: &mut Made, changes: &Changes) -> ReadRoutes {
    let Inputs { settings, memory, .. } = inputs;
    let known =
        Known { last_good: Some(&memory.last_good), refused: Some(&memory.refused), paces: Some(&memory.paces) };
    let claims = core_name::claims(snapshot, settings);
    let (model, mut problems) = made.reader.read((snapshot, changes), settings, &claims, kinds::prices, known);
    made.table.renew(&model.routes, settings.host_policy);
    problems.extend(made.table.problems());
    problems.extend(model::doubts(snapshot, settings));
    let claimed = claims.into_keys().cloned().collect();
    ReadRoutes { model, routes: made.table.clusters(), claimed, problems }
}

fn route(
    snapshot: &SwarmIndex<'_>,
    inputs: &Inputs,
    made: &mut Made,
    read: &ReadRoutes,
    refused_options: &RefusedOptions,
) -> Routed {
    let Inputs { snapshot: _, settings, renderings: _, reports, memory, delivery: _, takes_turns: _ } = inputs;
    let ReadRoutes { model, routes, claimed, problems } = read;
    let mut problems = problems.clone();
    let mut configs = ProxyConfigs::new();
    let mut generations = BTreeMap::new();
    let mut shown = Shown::new();
    let mut secrets = SecretNames::new();
    let mut unconfirmed = BTreeSet::new();
    let mut versions = Versions::new();
    let mut live = BTreeMap::new();
    let nothing = Arc::<Routes>::default();
    let mut parts = std::mem::take(&mut made.parts);
    for (cluster, extension) in settings.clusters() {
        let (networks, told) = deployment::networks(snapshot, model, &cluster, extension);
        problems.extend(told);
        let needed = Attachments { networks, secrets: deployment::secrets(snapshot, model, &cluster) };
        let in_use = version_in_use(snapshot, inputs, &cluster, extension);
        versions.extend(in_use.map(|in_use| (cluster.clone(), in_use)));
        let version = version(reports, &cluster, extension, in_use);
        let (in_force, told) = options_in_force::in_force(extension, &cluster, snapshot, refused_options);
        problems.extend(told);
        let proxy = ProxySettings::of(&in_force, version, template::of(snapshot, extension));
        let needs = generations::Needs::of(snapshot, model, &cluster);
        let planned = memory.attempts.get(&extension.proxy_service_name).and_then(|attempt| attempt.planned.as_ref());
        let planned = planned.map(|planned| Added { what: planned.added.clone(), before: planned.before });
        let (idle, roll) = (&memory.idle, memory.rolls.get(&cluster));
        let named = deployment::named_secrets(snapshot, model, &cluster);
        let (unwanted, needs_of, planned) = (claimed, &needs, planned.as_ref());
        let known = generations::Known { unwanted, needs: needs_of, named: &named, idle, roll, planned };
        let found = generations::decide(snapshot, &cluster, extension, needed, known);
        problems.extend(found.admitted.problems(snapshot, &needs, &extension.proxy_service_name));
        let whole = routes.get(&cluster).unwrap_or(&nothing);
        for attachments in found.live.iter().chain(&found.running) {
            let key = (cluster.clone(), attachments.generation());
            secrets.entry(key).or_insert_with(|| attachments.secret_names(snapshot));
        }
        for attachments in &found.live {
            let key = (cluster.clone(), attachments.generation());
            // A file of authorities that is none keeps nginx from starting. Who follows core tells beforehand. Where nobody says anything
            // yet, since core has just started, tasks that run go on with what they have: one that cannot refuses and stays as it is.
            let is_unconfirmed = Cell::new(false);
            let assumed = || {
                let runs = found.running.contains(attachments);
                is_unconfirmed.set(is_unconfirmed.get() || runs);
                runs
            };
            let knows = |name: &SecretName| {
                let said = || reports.has_certificates(&cluster, &key.1, name);
                !extension.hitless_service_update || said().unwrap_or_else(assumed)
            };
            let part = servable(snapshot, model, &cluster, attachments, memory.shown.get(&key), knows);
            if is_unconfirmed.get() {
                unconfirmed.insert(key.clone());
            }
            let proxy = ProxySettings { overlays: overlays(snapshot, attachments), ..proxy.clone() };
            let PartOfRoutes { mut table, mut builder } = parts.remove(&key).unwrap_or_default();
            let resolved = match &part {
                Cow::Borrowed(_) => None,
                Cow::Owned(part) => {
                    table.renew(&part.routes, settings.host_policy);
                    Some(table.clusters())
                }
            };
            let of_part = resolved.as_ref().map_or(whole, |routes| routes.get(&cluster).unwrap_or(&nothing));
            let config = builder.build(&cluster, proxy, of_part);
            made.parts.insert(key.clone(), PartOfRoutes { table, builder });
            if found.running.contains(attachments) || !extension.hitless_service_update {
                live.insert(key.clone(), Arc::clone(of_part));
            }
            let certificates = generations::shown(&part, &cluster);
            if !certificates.is_empty() {
                shown.insert(key.clone(), certificates);
            }
            configs.insert(key, config);
        }
        generations.insert(cluster.clone(), found);
    }
    let (refused_options, model, claimed) = (refused_options.clone(), model.clone(), claimed.clone());
    Routed {
        configs,
        generations,
        unconfirmed,
        model,
        shown,
        secrets,
        versions,
        claimed,
        live,
        refused_options,
        problems,
    }
}

/// The subnets of the networks of applications that proxies with these attachments have, sorted.
fn overlays(snapshot: &SwarmIndex<'_>, attachments: &Attachments) -> Vec<IpNet> {
    let has = |network: &&Network| attachments.networks.contains(&network.id);
    let subnets: BTreeSet<_> = snapshot.networks.iter().filter(has).flat_map(|network| &network.subnets).collect();
    subnets.into_iter().copied().collect()
}

/// For which version of the proxy program files are made: what the settings say, else what is in use, and never one that the checker does
/// not know.
fn version(
    reports: &Reports,
    cluster: &Cluster,
    extension: &Extension,
    in_use: Option<VersionInUse>,
) -> Option<ProxyVersion> {
    if let Some(version) = extension.proxy_version {
        return Some(version);
    }
    let running = in_use?.version;
    Some(reports.checker_version(cluster).map_or(running, |checker| checker.min(running)))
}

fn version_in_use(
    snapshot: &SwarmIndex<'_>,
    inputs: &Inputs,
    cluster: &Cluster,
    extension: &Extension,
) -> Option<VersionInUse> {
    let Inputs { reports, memory, .. } = inputs;
    let before = memory.versions.get(cluster).copied();
    let remembered = remembered_version(snapshot, extension);
    let service = snapshot.named(&extension.proxy_service_name);
    let update = service.and_then(|service| service.update.as_ref());
    let rolling = update.is_some_and(|update| update.state.in_progress());
    VersionInUse::renewed(before, remembered, reports, cluster, rolling, snapshot.observed_at)
}

/// What the proxies' agents reported to an earlier core.
fn remembered_version(snapshot: &SwarmIndex<'_>, extension: &Extension) -> Option<ProxyVersion> {
    if !extension.hitless_service_update {
        return None;
    }
    let service = snapshot.named(&extension.proxy_service_name)?;
    service.spec.labels.get(ownership::PROXY_VERSION)?.parse().ok()
}

fn finish(
    snapshot: &SwarmIndex<'_>,
    inputs: &Inputs,
    routed: Routed,
    renderings: &Renderings,
    waits: &Waits,
) -> Outcome {
    let Inputs { snapshot: _, settings, renderings: _, reports, memory, delivery, takes_turns } = inputs;
    let Routed {
        configs,
        generations,
        unconfirmed,
        model,
        shown,
        secrets,
        versions,
        claimed,
        live,
        refused_options,
        mut problems,
    } = routed;
    let (control, told) = deployment::control(snapshot, settings);
    problems.extend(told);
    problems.extend(deployment::lack_of_nodes(snapshot, settings));
    problems.extend(reports.problems());
    problems.extend(certificates::problems(&model, reports, snapshot.observed_at));
    let (unreachable, told) = memory.unreachable.renewed(snapshot, &model, reports);
    problems.extend(told);
    let (shortages, told) = memory.shortages.renewed(snapshot, settings, &model);
    problems.extend(told);
    let accepted = accepted(&configs, renderings, &memory.accepted);
    let mut clusters = BTreeMap::new();
    let (mut idle, mut rolls, mut resting) = (Idle::new(), Rolls::new(), Vec::new());
    let next = generations.values().filter_map(|found| found.next).min();
    let wanted_generations =
        generations.iter().map(|(cluster, found)| (cluster.clone(), found.wanted.generation())).collect();
    for (cluster, extension) in settings.clusters() {
        let Some(found) = generations.get(&cluster) else { continue };
        idle.extend(found.idle.clone());
        rolls.extend(found.roll.clone().map(|roll| (cluster.clone(), roll)));
        resting.extend(found.admitted.waiting(snapshot).map(|reason| Waiting { cluster: cluster.clone(), reason }));
        let key = (cluster.clone(), found.wanted.generation());
        let rendered = configs.get(&key).and_then(|config| Some((config, current(renderings, &key, config)?)));
        let rendered = match rendered {
            // What proxies start with has to be signed.
            _ if extension.hitless_service_update && snapshot.authority.is_none() => Err(NoContent::Missing),
            // New tasks shall not start with it.
            _ if unconfirmed.contains(&key) && waits.expect_agents(&cluster, snapshot.observed_at) => {
                Err(NoContent::OnTheWay)
            }
            _ if unconfirmed.contains(&key) => Err(NoContent::Missing),
            Some((config, Rendering { result: Ok(files), .. })) => Ok((&**config, &**files)),
            None if waits.expect_files(&cluster, snapshot.observed_at) => Err(NoContent::OnTheWay),
            _ => Err(NoContent::Missing),
        };
        let taken = rendered.as_ref().ok().map(|(config, _)| &config.proxy.kind);
        let options = options_in_force::noted(snapshot, (&cluster, extension), &refused_options, taken);
        let version = versions.get(&cluster).map(|in_use| in_use.version);
        // Somebody answers for core's name, and no proxy finds core any more: new ones are told where it is.
        let is_misled = found.running.iter().any(|running| !running.networks.is_disjoint(&claimed))
            && waits.misses_agents(&cluster, snapshot.observed_at);
        let mut proxy =
            deployment::proxy(snapshot, &control, (&cluster, extension), &found.wanted, rendered, version, is_misled);
        proxy.iter_mut().for_each(|proxy| proxy.again = found.admitted.again);
        if let Some(Ok(content)) = proxy.as_mut().map(|proxy| &mut proxy.content) {
            content.hitless &= *delivery == Delivery::ByCore;
        }
        let mut objects = objects(snapshot, &control, &cluster, extension, proxy);
        if let Some(service) = objects.extension.as_mut().or(objects.proxy.as_mut()) {
            service.labels.extend(options.map(|options| (ownership::OPTIONS.to_owned(), options)));
        }
        clusters.insert(cluster.clone(), objects);
    }
    let newest = deployment::Newest::of(snapshot);
    let wanted = Desired { networks: control.networks, clusters, newest };
    let attempts = plan::looked_at(&memory.attempts, snapshot.observed_at, settings.poll_interval);
    let before = attempts;
    let (mut plan, mut attempts, told) = plan::diff(snapshot, &wanted, &before);
    problems.extend(told);
    // Of one that waits for something else already, that is told.
    resting.retain(|rest| plan.waiting.iter().all(|waiting| waiting.cluster != rest.cluster));
    plan.waiting.extend(resting);
    let (part, cores) = match takes_turns {
        true => acting::part(snapshot, &memory.cores),
        false => (Part::Acts, Cores::default()),
    };
    let served = served(snapshot, inputs, &configs, renderings, &model);
    let (refused, told) = refused(&configs, renderings, &model, snapshot, &memory.refused, &served);
    problems.extend(told);
    let stands_by = part != Part::Acts;
    if stands_by {
        // Nothing of the plan is attempted. Peers follow the other core, so what this one misses is nobody's concern.
        (plan, attempts) = (Plan::default(), before);
        problems = part.problem(snapshot).into_iter().collect();
    }
    let hitless = |cluster: &Cluster| settings.extension(cluster.as_str()).is_some_and(|e| e.hitless_service_update);
    let deliveries = accepted.iter().filter(|((cluster, _), _)| hitless(cluster));
    let is_accepted = |key: &(Cluster, Generation)| {
        let revision = accepted.get(key).map(|rendering| &rendering.revision);
        let is_current = |config: &ProxyConfig| {
            revision == Some(&config.revision) && (hitless(&key.0) || is_mounted(snapshot, settings, &key.0, config))
        };
        configs.get(key).is_some_and(|config| is_current(config))
    };
    Outcome {
        live: live_of_clusters(live, is_accepted),
        deliveries: deliveries.map(|(key, rendering)| (key.clone(), rendering.clone())).collect(),
        proxy_configs: configs,
        generations: wanted_generations,
        secrets,
        plan,
        problems: problem::limited(problems),
        stands_by,
        next,
        memory: Memory {
            last_good: model.last_good,
            paces: model.paces,
            attempts,
            refused,
            idle,
            accepted,
            served,
            shown,
            waits: Waits::default(),
            versions,
            rolls,
            refused_options,
            cores,
            shortages,
            unreachable,
        },
    }
}

/// Whether the tasks of a service cluster's proxies have all been started with this.
fn is_mounted(snapshot: &SwarmIndex<'_>, settings: &Settings, cluster: &Cluster, config: &ProxyConfig) -> bool {
    let extension = settings.extension(cluster.as_str());
    let service = extension.and_then(|extension| snapshot.named(&extension.proxy_service_name));
    service.is_some_and(|service| {
        let is_updated = service.update.as_ref().is_some_and(|update| update.state.in_progress());
        let mounted = service.spec.labels.get(ownership::REVISION);
        !is_updated && mounted.is_some_and(|revision| revision == config.revision.as_str())
    })
}

/// The routes of all generations of a service cluster that run, where all of them have files for theirs.
fn live_of_clusters(
    live: BTreeMap<(Cluster, Generation), Arc<Routes>>,
    is_accepted: impl Fn(&(Cluster, Generation)) -> bool,
) -> LiveRoutes {
    let behind: BTreeSet<_> = live.keys().filter(|key| !is_accepted(key)).map(|(cluster, _)| cluster.clone()).collect();
    let mut of_clusters = LiveRoutes::new();
    for ((cluster, _), routes) in live.into_iter().filter(|((cluster, _), _)| !behind.contains(cluster)) {
        of_clusters.entry(cluster).or_default().push(routes);
    }
    of_clusters
}

fn objects(
    snapshot: &SwarmIndex<'_>,
    control: &Control,
    cluster: &Cluster,
    extension: &Extension,
    proxy: Option<deployment::OwnService>,
) -> Objects {
    let names = extension.image.is_some().then(|| extension.service_name.clone());
    Objects {
        names: names.into_iter().chain([extension.proxy_service_name.clone()]).collect(),
        extension: deployment::extension(snapshot, control, cluster, extension),
        proxy,
    }
}
