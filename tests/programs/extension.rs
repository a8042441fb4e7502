//! The extension behind the contract, with the real nginx as its checker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::support::Scenario;
use crate::support::checker::{REFUSE, program};
use crate::support::core::Core;
use interlock_core::grpc::convert::{model_to_wire, posted_from_wire};
use interlock_core::grpc::{extensions, v1};
use interlock_core::kinds::{self, Checker, RenderError};
use interlock_core::proxy_config::{Generation, ProxyConfig};
use interlock_core::reconcile::reconcile_embedded;
use interlock_core::routes::model::Suspect;
use tokio::sync::mpsc::UnboundedReceiver;
use tonic::Status;

const LIMIT: usize = 500_000;

/// All models of the fixtures with what core itself would render.
fn models() -> BTreeMap<(String, Generation), (ProxyConfig, Vec<interlock_core::kinds::File>)> {
    let scenarios = Scenario::for_nginx().into_iter();
    let models = scenarios.flat_map(|scenario| {
        let (outcome, renderings) = reconcile_embedded(&scenario.inputs());
        outcome.proxy_configs.into_iter().map(move |(key, config)| {
            let files = renderings[&key].result.clone().unwrap();
            ((format!("{} {}", scenario.name, key.0.title()), key.1), (Arc::unwrap_or_clone(config), files))
        })
    });
    models.collect()
}

fn model(name: &str) -> (Generation, ProxyConfig) {
    let models = models();
    let found = models.into_iter().find(|((fixture, _), _)| fixture.starts_with(&format!("{name} "))).unwrap();
    (found.0.1, found.1.0)
}

/// The config under another name, as if something had changed.
fn revision(config: &ProxyConfig, number: u64) -> ProxyConfig {
    ProxyConfig { revision: format!("{number:016x}").parse().unwrap(), ..config.clone() }
}

fn event(generation: &Generation, config: &ProxyConfig) -> Option<v1::WatchResponse> {
    let model = model_to_wire(generation, config, LIMIT);
    Some(v1::WatchResponse { event: Some(v1::watch_response::Event::Model(model)) })
}

/// Starts an extension; it lives as long as the test's runtime.
fn extension(core: &Core, checker: Checker) {
    let channel = core.channel();
    tokio::spawn(async move { match extensions::follow(channel, Some(&checker)).await {} });
}

async fn next<T>(received: &mut UnboundedReceiver<T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), received.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn every_fixture_is_rendered_checked_and_posted() {
    let mut core = Core::start("127.0.0.1:0");
    extension(&core, Checker::find("nginx").await.unwrap());
    let watch = next(&mut core.watches).await;
    assert!(watch.agent.starts_with("interlock/") && watch.checker_version.starts_with("1."), "{watch:?}");
    for ((name, generation), (config, own)) in models() {
        core.tell.send_replace(event(&generation, &config));
        let posted = next(&mut core.posts).await;
        let posted = posted_from_wire(posted).unwrap();
        assert_eq!((&posted.generation, &posted.revision), (&generation, &config.revision), "{name}");
        assert_eq!(posted.result, Ok(kinds::hash(&own)), "{name}: not what core renders itself");
    }
}

/// Which is a message without an event for this version.
#[tokio::test]
async fn what_a_later_core_says_is_left_aside_and_its_stream_goes_on() {
    let mut core = Core::start("127.0.0.1:0");
    extension(&core, Checker::find("nginx").await.unwrap());
    core.tell.send_replace(Some(v1::WatchResponse { event: None }));
    next(&mut core.watches).await;
    let (generation, config) = model("one-host");
    core.tell.send_replace(event(&generation, &config));
    assert_eq!(next(&mut core.posts).await.revision, config.revision.as_str());
    assert!(core.watches.try_recv().is_err(), "on the same stream");
}

#[tokio::test]
async fn the_newest_model_of_each_generation_wins() {
    let folder = tempfile::tempdir().unwrap();
    let (gate, begun) = (folder.path().join("gate"), folder.path().join("begun"));
    let wait = format!(": >{}; while [ ! -e {} ]; do /bin/sleep 0.01; done", begun.display(), gate.display());
    let mut core = Core::start("127.0.0.1:0");
    extension(&core, program(folder.path(), &wait).await);
    let _ = next(&mut core.watches).await;
    let (generation, config) = model("one-host");
    let other: Generation = "00000000000000aa".parse().unwrap();
    core.tell.send_replace(event(&generation, &revision(&config, 1)));
    until(|| begun.exists()).await;
    for number in 2..=40 {
        core.tell.send_replace(event(&generation, &revision(&config, number)));
        tokio::task::yield_now().await;
    }
    core.tell.send_replace(event(&other, &revision(&config, 7)));
    std::fs::write(gate, "").unwrap();
    let mut posted = Vec::new();
    while !posted.contains(&(other.to_string(), 7)) {
        let post = next(&mut core.posts).await;
        posted.push((post.generation, u64::from_str_radix(&post.revision, 16).unwrap()));
    }
    assert_eq!(posted[0], (generation.to_string(), 1), "what was begun is finished: {posted:?}");
    assert!(posted.len() < 6, "{posted:?}");
    assert!(posted.is_sorted_by_key(|(_, number)| if *number == 7 { 100 } else { *number }), "{posted:?}");
}

async fn until(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap();
}

#[tokio::test]
async fn a_core_that_comes_back_gets_the_files_again_without_a_new_check() {
    let folder = tempfile::tempdir().unwrap();
    let checks = folder.path().join("checks");
    let checker = program(folder.path(), &format!("echo x >>{}", checks.display())).await;
    let (generation, config) = model("one-host");
    let mut core = Core::start("127.0.0.1:0");
    extension(&core, checker);
    core.tell.send_replace(event(&generation, &config));
    let first = next(&mut core.posts).await;
    let address = core.address.to_string();
    drop(core);
    let mut core = restarted(&address).await;
    core.tell.send_replace(event(&generation, &config));
    assert_eq!(next(&mut core.posts).await, first);
    assert_eq!(std::fs::read_to_string(&checks).unwrap(), "x\n");
    core.tell.send_replace(event(&generation, &revision(&config, 2)));
    assert_eq!(next(&mut core.posts).await.revision, "0000000000000002");
    assert_eq!(std::fs::read_to_string(&checks).unwrap(), "x\nx\n");
}

/// While a node seems to be gone and is not there are two cores, each with proxies that follow it.
#[tokio::test]
async fn all_cores_that_there_are_get_files() {
    let (generation, config) = model("one-host");
    let (mut one, mut two) = (Core::start("127.0.0.1:0"), Core::start("127.0.0.1:0"));
    let addresses = vec![one.address, two.address];
    tokio::spawn(async move {
        let connect =
            |address| tonic::transport::Endpoint::from_shared(format!("http://{address}")).map(|it| it.connect_lazy());
        let checker = Checker::find("nginx").await.unwrap();
        extensions::follow_all(|| std::future::ready(Ok(addresses.clone())), connect, Some(&checker)).await.map(drop)
    });
    for number in 1..=2 {
        for core in [&mut one, &mut two] {
            core.tell.send_replace(event(&generation, &revision(&config, number)));
            assert_eq!(next(&mut core.posts).await.revision, format!("{number:016x}"));
        }
    }
    // The other one goes on without it.
    drop(one);
    two.tell.send_replace(event(&generation, &revision(&config, 3)));
    assert_eq!(next(&mut two.posts).await.revision, "0000000000000003");
}

/// A core on the same port, once the old one has let go of it.
async fn restarted(address: &str) -> Core {
    let free = async {
        while std::net::TcpListener::bind(address).is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), free).await.unwrap();
    Core::start(address)
}

/// A checker that comes to no result is asked again, though core sends nothing new.
#[tokio::test]
async fn what_failed_for_a_reason_that_passes_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let failed = folder.path().join("failed");
    let once = format!("if [ ! -e {0} ]; then : >{0}; kill -KILL $$; fi", failed.display());
    let (generation, config) = model("one-host");
    let mut core = Core::start("127.0.0.1:0");
    extension(&core, program(folder.path(), &once).await);
    core.tell.send_replace(event(&generation, &config));
    let first = posted_from_wire(next(&mut core.posts).await).unwrap();
    assert!(matches!(first.result, Err(RenderError::Failed(_))), "{first:?}");
    let second = posted_from_wire(next(&mut core.posts).await).unwrap();
    assert_eq!((&second.generation, &second.revision), (&generation, &config.revision));
    assert!(second.result.is_ok(), "{second:?}");
}

#[tokio::test]
async fn a_refused_post_is_not_repeated_and_ends_nothing() {
    let (generation, config) = model("one-host");
    let mut core = Core::start_refusing("127.0.0.1:0", |post| match post.revision.as_str() {
        "0000000000000001" => Err(Status::failed_precondition("overtaken")),
        "0000000000000002" => Err(Status::invalid_argument("the files differ from the model")),
        _ => Ok(()),
    });
    extension(&core, Checker::find("nginx").await.unwrap());
    for number in 1..=3 {
        core.tell.send_replace(event(&generation, &revision(&config, number)));
        assert_eq!(next(&mut core.posts).await.revision, format!("{number:016x}"));
    }
    let _ = next(&mut core.watches).await;
    assert!(core.watches.try_recv().is_err() && core.posts.try_recv().is_err(), "one stream, one post each");
}

#[tokio::test]
async fn what_fails_is_said_with_the_routes_that_are_to_blame() {
    let folder = tempfile::tempdir().unwrap();
    let checker =
        program(folder.path(), &format!("if /bin/grep -q -r bank.example.com files; then {REFUSE}; fi")).await;
    let (generation, config) = model("several-hosts-and-wildcards");
    let mut core = Core::start("127.0.0.1:0");
    extension(&core, checker);
    core.tell.send_replace(event(&generation, &config));
    let rendering = posted_from_wire(next(&mut core.posts).await).unwrap();
    let Err(RenderError::Refused { suspects, .. }) = rendering.result else { panic!("{rendering:?}") };
    assert_eq!(suspects, [Suspect { host: Some("bank.example.com".parse().unwrap()), path: "/".parse().unwrap() }]);

    // What cannot be read is said, too.
    let Some(mut odd) = event(&generation, &revision(&config, 9)) else { return };
    if let Some(v1::watch_response::Event::Model(model)) = &mut odd.event {
        model.virtual_hosts[0].host = "a b; c".into();
    }
    core.tell.send_replace(Some(odd));
    let rendering = posted_from_wire(next(&mut core.posts).await).unwrap();
    assert!(matches!(&rendering.result, Err(RenderError::Failed(why)) if why.contains("cannot be read")));

    // And so is what has no renderer.
    let Some(mut haproxy) = event(&generation, &revision(&config, 10)) else { return };
    if let Some(v1::watch_response::Event::Model(v1::Model { proxy: Some(proxy), .. })) = &mut haproxy.event {
        proxy.kind = "haproxy".into();
        proxy.options_json = "\"haproxy\"".into();
    }
    core.tell.send_replace(Some(haproxy));
    let rendering = posted_from_wire(next(&mut core.posts).await).unwrap();
    assert!(matches!(rendering.result, Err(RenderError::Unsupported(_))));
}
