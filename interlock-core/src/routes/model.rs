//! From what is on the Swarm to the routes that its services ask for.
//!
//! Reading never fails. A service that cannot be routed as its labels say is a [`Problem`]; its neighbours do not notice.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use jiff::Timestamp;

use crate::labels::{self, BackendMode, Finding, FindingKind, RouteLabels};
use crate::ownership::{self, core_name};
use crate::problem::{Effect, Problem, Severity, Subject, said, shown};
use crate::settings::Settings;
use crate::swarm::index::{Changes, Directory, SwarmIndex};
use crate::swarm::{Labels, Mode, STACK_LABEL, Service, ServiceSpec, Snapshot};
use crate::units::{Cluster, HostPattern, NetworkId, PathPrefix, Port, RouteName, SecretName, ServiceId};

mod attach;
mod budget;
mod needed;
mod pace;
mod reach;
mod reader;
mod refusal;
mod route_options;

pub(crate) use attach::doubts;
use budget::Budgets;
pub use budget::{Price, Prices, Pricing};
pub(crate) use needed::Needed;
use pace::Verdict;
pub use pace::{Pace, Paces};
pub use reach::Reach;
use reach::World;
pub(crate) use reader::Reader;
pub(crate) use refusal::Refusal;
pub(crate) use route_options::in_full;
pub use route_options::{Asks, Certificate, Health, Tls};

/// The routes that services ask for, sorted by service and route name, and what must be remembered of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Model {
    /// The routes.
    pub routes: Arc<Vec<Arc<Route>>>,
    /// The labels that each routed service is routed by.
    pub last_good: Arc<LastGood>,
    /// How the labels of services change.
    pub paces: Arc<Paces>,
    /// What the routes of each service cluster come to in its proxies' files, in bytes: at most so many.
    pub bytes: BTreeMap<Cluster, usize>,
    /// What the routes need.
    pub(crate) needed: Arc<Needed>,
}

/// What an earlier reading returned, and what others said of services. The default for a fresh process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// The labels that each service was routed by. Without them only what the previous specs that Swarm keeps cannot tell is forgotten.
    pub last_good: Option<&'a Arc<LastGood>>,
    /// Services that are left out.
    pub refused: Option<&'a Refused>,
    /// How labels have changed.
    pub paces: Option<&'a Arc<Paces>>,
}

/// The last labels by which a service could be routed.
pub type LastGood = BTreeMap<ServiceId, Arc<Labels>>;

/// Services that a proxy's own checker does not take.
pub type Refused = BTreeMap<ServiceId, CheckerRefusal>;

/// What a checker did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckerRefusal {
    /// The service cluster whose checker it was.
    pub cluster: Cluster,
    /// The labels that the service had. With others it is tried again.
    pub labels: Arc<Labels>,
    /// What the checker said.
    pub message: String,
    /// The labels that it is served by, if it was served before: they stay in force.
    pub served: Option<Arc<Labels>>,
}

/// What one service asks for under one route name. A service may have several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The service's name: letters, digits, `-` and `_` only.
    pub service: String,
    /// The route's name, empty for the one without a suffix.
    pub name: RouteName,
    /// The service's age and id: the lower one decides where two disagree.
    pub seniority: Seniority,
    /// The stack that the service is part of.
    pub stack: Option<String>,
    /// The service cluster whose proxies serve it.
    pub cluster: Cluster,
    /// The hosts, possibly none for a default backend.
    pub hosts: Vec<HostPattern>,
    /// Whether it gets requests for unknown hosts.
    pub default_backend: bool,
    /// The path under which it gets requests.
    pub path: PathPrefix,
    /// Whether that path is removed from requests.
    pub rewrite: bool,
    /// The port inside the service's containers.
    pub port: Port,
    /// How proxies reach its tasks.
    pub reach: Reach,
    /// What its targets are.
    pub backend: BackendMode,
    /// The tasks that serve, sorted, or the service's virtual IP.
    pub targets: Vec<SocketAddr>,
    /// What else it asks for.
    pub asks: Asks,
    /// The labels of its service that it was read from.
    pub labels: Arc<Labels>,
    /// What it comes to by itself.
    pub(crate) price: Price,
}

impl Route {
    /// The network by which proxies reach its tasks.
    pub(crate) fn network(&self) -> Option<&NetworkId> {
        match &self.reach {
            Reach::Network(network) => Some(network),
            Reach::HostPort => None,
        }
    }

    /// The order of a model's routes: by the service's name and id, and by their own names.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        let services = (&self.service, &self.seniority.id).cmp(&(&other.service, &other.seniority.id));
        services.then_with(|| self.name.cmp(&other.name))
    }

    /// The key that a label of it stands under, or would.
    pub(crate) fn label(&self, key: &str) -> String {
        labels::written(&self.labels, &self.name, key)
    }
}

/// Who decides when services disagree: the oldest, and of the same age the one with the lower id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seniority {
    created_at: Timestamp,
    id: ServiceId,
}

impl Seniority {
    /// The service's id.
    pub fn id(&self) -> &ServiceId {
        &self.id
    }
}

/// Reads the services of a Swarm.
pub fn read(snapshot: &Snapshot, settings: &Settings, pricing: Pricing, known: Known<'_>) -> (Model, Vec<Problem>) {
    let directory = Directory::of(snapshot);
    let index = SwarmIndex::new(snapshot, &directory);
    let claims = core_name::claims(&index, settings);
    Reader::default().read((&index, &Changes::all(&directory)), settings, &claims, pricing, known)
}

/// Reads one service.
fn read_one(
    world: &World<'_>,
    budgets: &Budgets<'_>,
    service: &Service,
    known: &Remembered<'_>,
) -> (Read, Vec<Problem>, Option<Pace>) {
    if ownership::is_our_proxy(service) {
        return (None, Vec::new(), None);
    }
    let mut problems: Vec<_> = misplaced(&service.spec).into_iter().collect();
    if let Some(refusal) = known.refusal.filter(|refusal| *refusal.labels == service.spec.labels) {
        let read = still_served(world, budgets, service, refusal);
        problems.push(refused_by_checker(&service.spec.name, refusal, read.is_some()));
        return (read, problems, None);
    }
    let read = read_service(world, budgets, service, known.labels);
    let (read, told, pace) = paced(world, budgets, service, read, known.pace, known.now);
    problems.extend(told);
    (read, problems, pace)
}

/// What is known of a service from before.
struct Remembered<'a> {
    labels: Option<&'a Arc<Labels>>,
    refusal: Option<&'a CheckerRefusal>,
    pace: Option<&'a Pace>,
    now: Timestamp,
}

/// What was read of a service, or what it is routed by meanwhile if its labels change too often.
fn paced(
    world: &World<'_>,
    budgets: &Budgets<'_>,
    service: &Service,
    (read, said): (Read, Vec<Problem>),
    before: Option<&Pace>,
    now: Timestamp,
) -> (Read, Vec<Problem>, Option<Pace>) {
    let (pace, verdict) = Pace::look(before, service, read.as_ref().map(|(labels, _)| labels), now);
    let (held, until) = match verdict {
        Verdict::Follow => return (read, said, pace),
        Verdict::Hold(labels, until) => (earlier_routes(world, budgets, service, Some(&labels)), until),
        Verdict::Withhold(until) => (None, until),
    };
    let (pace, effect) = match &held {
        Some(_) => (pace, Effect::LastGood),
        None => (pace.map(Pace::withholding), Effect::LeftOut),
    };
    (held, vec![pace::refusal(until).problem(&service.spec.name, effect)], pace)
}

type Read = Option<(Arc<Labels>, Vec<Arc<Route>>)>;

/// The routes that a service is served by, when a checker refuses what its labels ask for now. They only stay if they protect as much.
fn still_served(world: &World<'_>, budgets: &Budgets<'_>, service: &Service, refusal: &CheckerRefusal) -> Read {
    let served = refusal.served.as_ref()?;
    if !labels::protect_as_much(served, &refusal.labels) {
        return None;
    }
    let (routes, _) = routes(world, budgets, service, served, &labels::read(served).routes).ok()?;
    Some((Arc::clone(served), routes))
}

fn read_service(
    world: &World<'_>,
    budgets: &Budgets<'_>,
    service: &Service,
    remembered: Option<&Arc<Labels>>,
) -> (Read, Vec<Problem>) {
    let reading = labels::read(&service.spec.labels);
    let name = &service.spec.name;
    let bad = reading.findings.iter().any(|f| f.kind != FindingKind::Inert);
    if !bad && reading.routes.is_empty() {
        return (None, finding_problems(name, &reading, Effect::Ignored));
    }
    let labels = match remembered {
        Some(labels) if **labels == service.spec.labels => Arc::clone(labels),
        _ => Arc::new(service.spec.labels.clone()),
    };
    let outcome = if bad { Err(Vec::new()) } else { routes(world, budgets, service, &labels, &reading.routes) };
    let refused = match outcome {
        Ok((routes, inert)) => {
            let mut problems = finding_problems(name, &reading, Effect::Ignored);
            problems.extend(inert.into_iter().map(|told| told.warning(name)));
            return (Some((labels, routes)), problems);
        }
        Err(refused) => refused,
    };
    let earlier = earlier_routes(world, budgets, service, remembered);
    // A service that asks for protection which cannot be given is not published with older, weaker labels either.
    let earlier = earlier.filter(|(earlier, _)| labels::protect_as_much(earlier, &service.spec.labels));
    let effect = if earlier.is_some() { Effect::LastGood } else { Effect::LeftOut };
    let mut problems = finding_problems(name, &reading, effect);
    problems.extend(refused.into_iter().map(|refusal| refusal.problem(name, effect)));
    (earlier, problems)
}

/// The routes by the service's last good labels, with today's addresses.
fn earlier_routes(
    world: &World<'_>,
    budgets: &Budgets<'_>,
    service: &Service,
    remembered: Option<&Arc<Labels>>,
) -> Read {
    let before = remembered.cloned().or_else(|| service.previous.as_ref().map(|spec| Arc::new(spec.labels.clone())))?;
    let reading = labels::read(&before);
    if reading.routes.is_empty() || reading.findings.iter().any(|f| f.kind != FindingKind::Inert) {
        return None;
    }
    let (routes, _) = routes(world, budgets, service, &before, &reading.routes).ok()?;
    Some((before, routes))
}

/// Labels that somebody gave to the containers: in a stack file under `labels`, where `deploy.labels` is meant.
fn misplaced(spec: &ServiceSpec) -> Option<Problem> {
    let (first, more) = spec.misplaced.split_first()?;
    let more = match more.len() {
        0 => String::new(),
        more => format!(", and {more} more like it"),
    };
    Some(
        Problem::new(
            Severity::Warning,
            Subject::Service(spec.name.clone()),
            format!("is a label of its containers, not of the service{more}"),
            "move it from `labels` to `deploy.labels` in the stack file; with docker service, use --label".to_owned(),
            Effect::Ignored,
        )
        .about(Some(shown(first)), None),
    )
}

fn refused_by_checker(service: &str, refusal: &CheckerRefusal, is_served: bool) -> Problem {
    Problem::new(
        Severity::Error,
        Subject::Service(service.to_owned()),
        format!("NGINX rejects the configuration of its routes: {}", said(&refusal.message)),
        "change its labels: core then tries again",
        if is_served { Effect::LastGood } else { Effect::LeftOut },
    )
}

/// What is told of a service's labels. `effect` is that of those that are wrong; others are ignored.
fn finding_problems(service: &str, reading: &labels::Reading, effect: Effect) -> Vec<Problem> {
    let problem = |kind: FindingKind, label: Option<(&str, &str)>, wrong: String, right: &str| {
        let is_inert = kind == FindingKind::Inert;
        let (label, value) = label.map(|(key, value)| (shown(key), shown(value))).unzip();
        Problem::new(
            if is_inert { Severity::Warning } else { Severity::Error },
            Subject::Service(service.to_owned()),
            wrong,
            right,
            if is_inert { Effect::Ignored } else { effect },
        )
        .about(label, value)
    };
    let listed = reading.findings.iter().map(|Finding { key, value, kind, invalid }| {
        problem(*kind, Some((key, value)), invalid.wrong.clone(), invalid.right)
    });
    let more = reading.more.iter().map(|(kind, count)| {
        let what = if *kind == FindingKind::Inert { "do nothing" } else { "are invalid" };
        problem(*kind, None, format!("{count} more of its labels {what}"), "correct the listed labels first")
    });
    listed.chain(more).collect()
}

/// The routes of a service, and labels that do nothing.
type Resolved = (Vec<Arc<Route>>, Vec<Refusal>);

/// Resolves all routes of a service, and says which labels do nothing; or says all that is in the way.
fn routes(
    world: &World<'_>,
    budgets: &Budgets<'_>,
    service: &Service,
    labels: &Arc<Labels>,
    read: &BTreeMap<RouteName, RouteLabels>,
) -> Result<Resolved, Vec<Refusal>> {
    let mut routes = Vec::new();
    let mut inert = Vec::new();
    let mut refusals: Vec<_> = refuse_service(&service.spec).into_iter().collect();
    for (name, of_route) in read {
        match route(world, service, labels, name, of_route) {
            Ok(mut route) => {
                route.price = budgets.price(&route);
                let told = route_options::without_effect(of_route, &route.asks).into_iter();
                let extension = world.settings.extension(route.cluster.as_str());
                let by_address = extension.map(|extension| route_options::by_address(world, extension, of_route));
                inert.extend(told.chain(by_address.into_iter().flatten()).map(|told| told.written(labels, name)));
                routes.push(Arc::new(route));
            }
            Err(refusal) => refusals.push(refusal.written(labels, name)),
        }
    }
    if refusals.is_empty() {
        refusals.extend(budgets.exceeded(&routes));
    }
    if refusals.is_empty() { Ok((routes, nowhere(inert, labels, read))) } else { Err(refusals) }
}

/// Of labels that do nothing for a route, those that do nothing at all: a label without a suffix may be meant for the other routes.
fn nowhere(inert: Vec<Refusal>, labels: &Labels, read: &BTreeMap<RouteName, RouteLabels>) -> Vec<Refusal> {
    let key = |told: &Refusal| told.label.as_ref().map(|(key, _)| key.clone().into_owned()).unwrap_or_default();
    let mut by_key: BTreeMap<String, (usize, Refusal)> = BTreeMap::new();
    for told in inert {
        by_key.entry(key(&told)).or_insert((0, told)).0 += 1;
    }
    let users = |written: &str| {
        let label = written.strip_prefix(labels::PREFIX).unwrap_or(written);
        // With a suffix it is one route's.
        let is_one = label.contains('.');
        let uses = |route: &&RouteName| labels::written(labels, route, label) == written;
        if is_one { 1 } else { read.keys().filter(uses).count() }
    };
    by_key
        .into_iter()
        .filter(|(key, (told, _))| labels::are_legacy(labels) || *told >= users(key))
        .map(|(_, (_, told))| told)
        .collect()
}

fn refuse_service(spec: &ServiceSpec) -> Option<Refusal> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if ownership::is_ours(&spec.labels) {
        let wrong = format!("it carries interlock's own label {}", ownership::OWNER);
        return Some(Refusal::new(wrong, "remove that label: a proxy cannot be a backend"));
    }
    if spec.mode == Mode::Job {
        return Some(Refusal::new(
            "it is a job, and proxies send no requests to jobs",
            "use a replicated or global service",
        ));
    }
    if spec.name.is_empty() || spec.name.len() > 63 || !spec.name.bytes().all(plain) {
        return Some(Refusal::new("it has a name that Docker does not allow", "use letters, digits, `-` and `_`"));
    }
    None
}

fn route(
    world: &World<'_>,
    service: &Service,
    written: &Arc<Labels>,
    name: &RouteName,
    labels: &RouteLabels,
) -> Result<Route, Refusal> {
    let cluster = labels.service_cluster.clone().unwrap_or_default();
    let Some(extension) = world.settings.extension(cluster.as_str()) else {
        let known: Vec<_> =
            world.settings.extensions.keys().map(String::as_str).filter(|name| !name.is_empty()).collect();
        let right = match known.is_empty() {
            true => "remove the label, or add the cluster to the settings".to_owned(),
            false => format!("set com.docker.lb.service_cluster to one of: {}", known.join(", ")),
        };
        return Err(match &labels.service_cluster {
            Some(named) => Refusal::new("names a service cluster that the settings do not have", right)
                .about("service_cluster", named.as_str()),
            None => {
                Refusal::new("it has no service_cluster label, and the settings have no default service cluster", right)
            }
        });
    };
    let published = || service.spec.ports.first().filter(|_| labels::may_have_no_port(written));
    let Some(port) = labels.port.or_else(|| published()?.target.to_string().parse().ok()) else {
        let key = labels::written(written, name, "port");
        if written.contains_key(&key) {
            let right = "write internal_port=8080, the port that its containers listen on";
            return Err(Refusal::new("names no port", right).about("port", ""));
        }
        return Err(Refusal::new(
            format!("it has no {key}"),
            "set it to the port that its containers listen on, like 8080",
        ));
    };
    let reach = world.reach(service, labels.network.as_ref(), port)?;
    world.may_attach(extension, service, &reach)?;
    if let (Reach::Network(network), Some(fixed)) = (&reach, &extension.networks)
        && !world.is_one_of(network, fixed)
    {
        let wrong = format!("its network {} is not in Networks of its service cluster", world.network_name(network));
        return Err(Refusal::new(wrong, format!("attach the service to one of: {}", fixed.join(", "))));
    }
    if let Reach::Network(network) = &reach
        && let Some(unfit) = world.unfit(&cluster, extension, network, &service.id)
    {
        return Err(unfit.refusal(world.network_name(network), labels.network.as_ref()));
    }
    let backend = labels.backend_mode.unwrap_or_default();
    let targets = match backend {
        BackendMode::Vip => {
            let address = SocketAddr::new(vip(service, &reach, labels)?, port.get());
            // As long as tasks are wanted: that they are replaced, even all at once, changes nothing at the proxies.
            if service.spec.mode == Mode::Replicated(0) { Vec::new() } else { vec![address] }
        }
        BackendMode::Task => world.targets(service, &reach, port),
    };
    let asks = route_options::asks(world, service, extension, labels)?;
    Ok(Route {
        service: service.spec.name.clone(),
        name: name.clone(),
        seniority: Seniority { created_at: service.created_at, id: service.id.clone() },
        stack: service.spec.labels.get(STACK_LABEL).cloned(),
        cluster,
        hosts: labels.hosts.clone().unwrap_or_default(),
        default_backend: labels.default_backend == Some(true),
        path: labels.context_root.clone().unwrap_or_else(PathPrefix::root),
        rewrite: labels.context_root_rewrite == Some(true),
        port,
        reach,
        backend,
        targets,
        asks,
        labels: Arc::clone(written),
        price: Price::default(),
    })
}

/// The service's virtual IP on the network by which proxies reach it.
fn vip(service: &Service, reach: &Reach, labels: &RouteLabels) -> Result<IpAddr, Refusal> {
    let refusal = |wrong: &str, right: &str| Refusal::new(wrong, right).about("backend_mode", "vip");
    if labels.sticky_session_cookie.is_some() || labels.ip_hash == Some(true) {
        let wrong = "lets Swarm choose the task, so sessions cannot stick to one";
        return Err(refusal(wrong, "remove sticky_session_cookie or ip_hash, or set backend_mode=task"));
    }
    let Reach::Network(network) = reach else {
        return Err(refusal("needs an overlay network", "attach the service to one, or set backend_mode=task"));
    };
    let of_network = service.virtual_ips.iter().find(|vip| vip.network == *network);
    of_network.map(|vip| vip.address).ok_or_else(|| {
        let right = "create the service with --endpoint-mode vip, or set backend_mode=task";
        refusal("needs a virtual IP, which the service does not have on its network", right)
    })
}

/// A route that a checker does not take.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Suspect {
    /// Its host; `None` for the default one.
    pub host: Option<HostPattern>,
    /// Its path.
    pub path: PathPrefix,
}

impl Model {
    /// By which labels the services of a service cluster are routed.
    pub(crate) fn labels(&self, cluster: &Cluster) -> Arc<LastGood> {
        self.needed.by(cluster).map(|needed| Arc::clone(&needed.labels)).unwrap_or_default()
    }

    /// Whether a route names a secret.
    pub(crate) fn names_secrets(&self) -> bool {
        self.needed.name_secrets()
    }

    /// Whether a service has routes.
    pub(crate) fn is_routed(&self, service: &Service) -> bool {
        let key = |route: &'_ Arc<Route>| (&route.service, &route.seniority.id).cmp(&(&service.spec.name, &service.id));
        self.routes.binary_search_by(key).is_ok()
    }

    /// How many services have routes in a service cluster.
    pub fn services(&self, cluster: &Cluster) -> usize {
        let routes = self.routes.iter().filter(|route| route.cluster == *cluster);
        routes.map(|route| &route.seniority.id).collect::<BTreeSet<_>>().len()
    }

    /// The services that have a part in a route.
    pub fn behind<'a>(&'a self, cluster: &'a Cluster, suspect: &'a Suspect) -> impl Iterator<Item = &'a ServiceId> {
        let of_host = |route: &Route| match &suspect.host {
            Some(host) => route.hosts.contains(host),
            None => route.default_backend,
        };
        let routes = self.routes.iter().filter(|route| route.cluster == *cluster && route.path == suspect.path);
        routes.filter(move |route| of_host(route)).map(|route| &route.seniority.id)
    }

    /// The routes of a service cluster with a running task.
    pub(crate) fn served<'a, 'c>(&'a self, cluster: &'c Cluster) -> impl Iterator<Item = &'a Route> + use<'a, 'c> {
        self.routes.iter().map(Arc::as_ref).filter(move |route| route.cluster == *cluster && !route.targets.is_empty())
    }

    /// The secrets that the proxies of a service cluster need.
    pub fn secrets(&self, cluster: &Cluster) -> BTreeSet<&SecretName> {
        // As with networks: proxies get them together with the first task that they serve.
        self.needed.by(cluster).into_iter().flat_map(|needed| needed.secrets.keys()).collect()
    }

    /// The secrets that routes of a service cluster name, whether they have a running task or not: a service whose tasks are
    /// away for a moment gets them back with its next one.
    pub(crate) fn named_secrets(&self, cluster: &Cluster) -> BTreeSet<&SecretName> {
        self.needed.by(cluster).into_iter().flat_map(|needed| needed.named.keys()).collect()
    }

    /// The networks by which the proxies of a service cluster reach its tasks. A service without a running one needs none yet:
    /// attaching a network replaces all proxies, so it is done together with the first route that uses it.
    pub fn networks(&self, cluster: &Cluster) -> BTreeSet<NetworkId> {
        self.needed.by(cluster).into_iter().flat_map(|needed| needed.networks.keys()).cloned().collect()
    }
}
