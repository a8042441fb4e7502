//! From the labels of a service to the proxies' files, beside a service that wants nothing special.

use std::sync::{Arc, LazyLock};

use interlock_core::kinds::{self, Renderings};
use interlock_core::labels::{self, FindingKind, TABLE};
use interlock_core::problem::{MOST_PROBLEMS, Subject};
use interlock_core::proxy_config::{self, ProxyConfig, ProxySettings, Upstream, VirtualHost};
use interlock_core::reconcile::{Inputs, reconcile_embedded};
use interlock_core::routes::Routes;
use interlock_core::routes::model;
use interlock_core::settings::Settings;
use interlock_core::swarm::state::State;
use interlock_core::swarm::{Labels, Secret};
use interlock_core::units::{Cluster, HostPattern};

/// More than a file without a route has.
const LIMIT: usize = 1_000_000;
/// A host of the neighbour, and where its task is.
const NEIGHBOUR: (&str, &str) = ("shop.example.com", "10.0.1.3");
/// Where the task of the other service is.
const OTHER: &str = "10.0.7.7";

static ALONE: LazyLock<Inputs> = LazyLock::new(|| {
    let text = include_str!("../../fixtures/one-host.yaml");
    let snapshot = State::parse(text).map(|state| state.snapshot);
    let Ok(mut snapshot) = snapshot else { panic!("the fixture is wrong: {snapshot:?}") };
    for label in TABLE.iter().filter(|label| label.syntax.contains("secret")) {
        let name = label.example.to_owned();
        snapshot.secrets.push(Secret {
            id: name.as_str().into(),
            name,
            labels: Labels::new(),
            created_at: None,
            identity: None,
        });
    }
    Inputs::new(snapshot, Settings::default())
});

/// What the neighbour gets alone: its host, and where requests for it go.
static SERVED_ALONE: LazyLock<Option<Served>> = LazyLock::new(|| {
    let (outcome, _) = reconcile_embedded(&ALONE);
    outcome.proxy_configs.values().next().and_then(|config| served(config))
});

type Served = (VirtualHost, Upstream);

fn served(config: &ProxyConfig) -> Option<Served> {
    let host = config.virtual_hosts.get(&NEIGHBOUR.0.parse::<HostPattern>().ok()?)?;
    let upstream = host.locations.values().next()?.upstream.as_ref()?;
    Some((VirtualHost::clone(host), Upstream::clone(config.upstreams.get(upstream)?)))
}

/// The neighbour alone.
pub fn alone() -> Inputs {
    ALONE.clone()
}

/// A younger service with these labels beside it.
pub fn beside_another(labels: &Labels) -> Inputs {
    let mut inputs = alone();
    let mut service = (*inputs.snapshot.services[0]).clone();
    service.id = "zz-other".into();
    service.spec.name = "other".to_owned();
    service.spec.labels = labels.clone();
    let mut task = (*inputs.snapshot.tasks[0]).clone();
    task.id = "other-1".into();
    task.service = service.id.clone();
    task.networks.iter_mut().for_each(|network| network.addresses = OTHER.parse().into_iter().collect());
    inputs.snapshot.services.push(service.into());
    inputs.snapshot.tasks.push(task.into());
    inputs
}

fn reaches(config: &ProxyConfig, address: &str) -> bool {
    let servers = config.upstreams.values().flat_map(|upstream| &upstream.servers);
    servers.into_iter().any(|server| server.address.ip().to_string() == address)
}

/// Whatever the labels of the other are: the files have the structure that their template gives them and say what the model says, the
/// neighbour is served as it is alone, and one bad label takes the other service out as a whole.
pub fn any_labels(labels: &Labels) {
    let inputs = beside_another(labels);
    let (outcome, renderings) = reconcile_embedded(&inputs);
    is_not_larger_than_estimated(&inputs, &renderings);
    let reading = labels::read(labels);
    let bad = reading.findings.iter().any(|finding| finding.kind != FindingKind::Inert);
    assert!(outcome.problems.len() <= 2 * (MOST_PROBLEMS + 1), "{labels:?}");
    let told = outcome.problems.iter().any(|problem| problem.subject == Subject::Service("other".to_owned()));
    assert!(told || reading.findings.is_empty(), "{labels:?}");
    for problem in &outcome.problems {
        let text = problem.to_string();
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
    for (key, config) in &outcome.proxy_configs {
        if let Err(error) = &renderings[key].result {
            panic!("{error}: {labels:?}");
        }
        assert!(reaches(config, NEIGHBOUR.1), "{labels:?}");
        assert!(!bad || !reaches(config, OTHER), "part of a service counts: {labels:?}");
        let mut hosts = reading.routes.values().flat_map(|route| route.hosts.iter().flatten());
        if !hosts.any(|host| host.to_string() == NEIGHBOUR.0) {
            assert!(SERVED_ALONE.is_some());
            assert_eq!(served(config), *SERVED_ALONE, "{labels:?}");
        }
    }
}

/// What files have besides routes: lines for TLS, gRPC and what is passed through are only there where somebody needs them.
const BESIDES: usize = 4096;

/// What is rendered is not larger than what the routes were estimated to come to before.
pub fn is_not_larger_than_estimated(inputs: &Inputs, renderings: &Renderings) {
    let Inputs { snapshot, settings, memory, .. } = inputs;
    let known =
        model::Known { last_good: Some(&memory.last_good), refused: Some(&memory.refused), paces: Some(&memory.paces) };
    let estimated = model::read(snapshot, settings, kinds::prices, known).0.bytes;
    for ((cluster, _), rendering) in renderings {
        let Ok(files) = &rendering.result else { continue };
        let size: usize = files.iter().map(|file| file.content.len()).sum();
        let most = estimated.get(cluster).unwrap_or(&0) + without_routes(settings, cluster) + BESIDES;
        assert!(size <= most, "{size} bytes, and {most} were the most for {}", cluster.title());
    }
}

/// How large the files of a service cluster are without a route.
fn without_routes(settings: &Settings, cluster: &Cluster) -> usize {
    static DEFAULT: LazyLock<usize> = LazyLock::new(|| rendered_empty(&Settings::default(), &Cluster::default()));
    if *settings == Settings::default() { *DEFAULT } else { rendered_empty(settings, cluster) }
}

fn rendered_empty(settings: &Settings, cluster: &Cluster) -> usize {
    let Some(extension) = settings.extension(cluster.as_str()) else { return 0 };
    let proxy = ProxySettings::of(extension, extension.proxy_version, None);
    let config = proxy_config::build(cluster, proxy, &Arc::<Routes>::default());
    let files = kinds::render(&config, LIMIT).result.unwrap_or_default();
    files.iter().map(|file| file.content.len()).sum()
}
