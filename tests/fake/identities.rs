//! A tenant who may create secrets and label them as he likes, beside interlock's identities: nobody gets in by them, and nobody is cut off.

use std::time::Duration;

use crate::support::settings;
use crate::support::site::{Agent, HITLESS, Site, admitted, until};
use crate::support::world::{AUTHORITY, Mind, World, route, with_authority};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use interlock_core::grpc::tls;
use interlock_core::ownership;
use interlock_core::plan::Action;
use interlock_core::reconcile::Outcome;
use interlock_core::trust::{Authority, Identity, Statement};
use interlock_core::units::{Cluster, Role};
use interlock_testkit::Swarm;
use serde_json::{Value, json};

const PROXY: &str = "interlock-proxy";
const SETTINGS: &str = "EndpointOverride = \"core.test:8080\"\n[Extensions.default]\nHitlessServiceUpdate = true\nPublishMode = \"host\"\n";

/// The name of the default proxies' identity of this number.
fn numbered(number: u32) -> String {
    format!("{}proxy.{}.{number}", ownership::IDENTITY_PREFIX, Cluster::default().slug())
}

/// The labels of an identity that this authority issued under a name, with its content.
fn issued(authority: &Authority, name: &str) -> (Value, String) {
    let cluster = Cluster::default();
    let made = authority.issue(Role::Proxy, &cluster).unwrap();
    let said = Statement::Identity { name, role: Role::Proxy, cluster: &cluster, fingerprint: &made.fingerprint };
    let labels = json!({
        ownership::OWNER: ownership::OWNER_VALUE, ownership::ROLE: "proxy", ownership::CLUSTER: "",
        ownership::FINGERPRINT: made.fingerprint.to_string(),
        ownership::AUTHORITY: AUTHORITY.fingerprint().to_string(),
        ownership::SIGNATURE: authority.sign(&said).unwrap().to_string(),
    });
    (labels, made.pem.to_string())
}

fn plant(swarm: &mut Swarm, name: &str, labels: &Value, content: &str) {
    swarm.create_secret(json!({ "Name": name, "Labels": labels, "Data": STANDARD.encode(content) })).unwrap();
}

/// The labels of an existing secret.
fn labels_of(swarm: &Swarm, name: &str) -> Value {
    let secret = swarm.secrets().find(|secret| secret.name() == name).unwrap();
    secret.spec["Labels"].clone()
}

/// The identity that the proxies' tasks mount.
fn mounted(world: &World) -> String {
    let spec = world.swarm().service_json(PROXY)["Spec"].clone();
    let secrets = spec["TaskTemplate"]["ContainerSpec"]["Secrets"].as_array().cloned().unwrap_or_default();
    let identity = secrets.iter().find(|secret| secret["File"]["Name"] == "interlock-identity").unwrap();
    identity["SecretName"].as_str().unwrap().to_owned()
}

async fn deployed() -> (World, Mind) {
    let mut swarm = with_authority(Swarm::three_nodes()).overlay("demo").overlay("back").overlay("more");
    route(&mut swarm, "shop", "demo");
    swarm.settle();
    let world = World::new(swarm, settings(SETTINGS)).await;
    let mut mind = Mind::default();
    world.converge(&mut mind).await;
    (world, mind)
}

fn told(outcome: &Outcome) -> String {
    outcome.problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// By its number, its labels, a signature of somebody else or a genuine one that was copied: none becomes the proxies' identity.
#[tokio::test]
async fn k2_a_planted_secret_never_becomes_an_identity() {
    let (world, mut mind) = deployed().await;
    assert_eq!(mounted(&world), numbered(1));
    let tenant = Authority::generate().unwrap();
    {
        let mut swarm = world.swarm();
        let (labels, content) = issued(&tenant, &numbered(9));
        plant(&mut swarm, &numbered(9), &labels, &content);
        let copied = labels_of(&swarm, &numbered(1));
        plant(&mut swarm, &numbered(8), &copied, &content);
        let (labels, _) = issued(&AUTHORITY, &numbered(77));
        plant(&mut swarm, &numbered(7), &labels, &content);
        // The names that come next are taken as well.
        (2..=6).for_each(|number| plant(&mut swarm, &numbered(number), &json!({}), "x"));
    }
    // The next roll gives the proxies another identity, a genuine one.
    route(&mut world.swarm(), "blog", "back");
    world.swarm().settle();
    world.converge(&mut mind).await;
    assert_eq!(mounted(&world), numbered(10));
    let (outcome, _) = world.decide(&mut mind).await.unwrap();
    assert!(outcome.plan.is_empty(), "what is not interlock's stays: {}", outcome.plan);
    let text = told(&outcome);
    assert!(text.contains("its authority did not sign") && text.contains(&numbered(7)), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

/// Removing an identity revokes it. One that only claims to be interlock's is not removed, and does not keep a genuine one.
#[tokio::test]
async fn k2_only_proven_identities_are_tidied_up() {
    let (world, mut mind) = deployed().await;
    let (labels, content) = issued(&Authority::generate().unwrap(), &numbered(5));
    plant(&mut world.swarm(), &numbered(5), &labels, &content);
    for (service, network) in [("blog", "back"), ("wiki", "more")] {
        // Rolls for new networks lie half a minute apart.
        world.swarm().tick(Duration::from_secs(31));
        route(&mut world.swarm(), service, network);
        world.swarm().settle();
        let (outcome, _) = world.decide(&mut mind).await.unwrap();
        let removes = |name: &str| {
            outcome
                .plan
                .steps
                .iter()
                .any(|step| matches!(&step.action, Action::RemoveSecret { name: it, .. } if it == name))
        };
        assert!(!removes(&numbered(5)), "{}", outcome.plan);
        world.converge(&mut mind).await;
    }
    let names: Vec<_> = world.swarm().secrets().map(|secret| secret.name().to_owned()).collect();
    assert!(names.contains(&numbered(5)) && !names.contains(&numbered(1)), "{names:?}");
}

/// Five labels copied onto a secret once cut off all proxies.
#[tokio::test]
async fn h1_copied_labels_cut_nobody_off() {
    let site = Site::new(HITLESS);
    let core = site.start();
    let mut agent = site.agent().await;
    agent.accepts("shop.example.com").await;
    let (genuine, generation) = (site.channel("proxy").await, site.generation().await);
    {
        let mut swarm = site.handle.swarm();
        let genuine = labels_of(&swarm, &numbered(1));
        for (number, (key, value)) in
            [(ownership::CLUSTER, "zzz"), (ownership::ROLE, "extension"), (ownership::ROLE, "proxy")]
                .into_iter()
                .enumerate()
        {
            let mut labels = genuine.clone();
            labels[key] = value.into();
            plant(&mut swarm, &format!("x{number}"), &labels, "-");
            plant(&mut swarm, &numbered(100 + number as u32), &labels, "-");
        }
    }
    for name in ["one", "two"] {
        route(&mut site.handle.swarm(), name, "demo");
        agent.hears(&format!("{name}.example.com"), true).await;
    }
    admitted(|| Agent::connect(genuine.clone(), &generation)).await.unwrap();
    core.stop().await;
}

/// A certificate that the authority did not issue, or that stands on no secret that it signed, gets nobody in.
#[tokio::test]
async fn k2_an_identity_without_a_signature_gets_nobody_in() {
    let site = Site::new(HITLESS);
    let core = site.start();
    let generation = site.generation().await;
    let knock = async |pem: &str| {
        let channel = tls::channel(&site.core, &Identity::from_pem(pem).unwrap()).unwrap();
        Agent::connect(channel, &generation).await.map(drop)
    };
    // The authority's own certificate, whose secret somebody labelled without its signature.
    let (mut labels, unsigned) = issued(&AUTHORITY, &numbered(50));
    labels.as_object_mut().unwrap().remove(ownership::SIGNATURE);
    plant(&mut site.handle.swarm(), &numbered(50), &labels, &unsigned);
    // The same with one that was signed for another name.
    let (labels, moved) = issued(&AUTHORITY, &numbered(99));
    plant(&mut site.handle.swarm(), &numbered(51), &labels, &moved);
    let (labels, signed) = issued(&AUTHORITY, &numbered(52));
    plant(&mut site.handle.swarm(), &numbered(52), &labels, &signed);
    // Once core has seen the last of them, it has seen them all.
    let channel = tls::channel(&site.core, &Identity::from_pem(&signed).unwrap()).unwrap();
    admitted(|| Agent::connect(channel.clone(), &generation)).await.unwrap();
    knock(&unsigned).await.unwrap_err();
    knock(&moved).await.unwrap_err();
    core.stop().await;
}

/// The proxies' file says whom to follow. It is a config object of the same plan, so that no secret can say otherwise.
#[tokio::test]
async fn k2_the_agents_file_names_the_authority() {
    let site = Site::new(&format!("{HITLESS}{}", crate::support::site::REMOTE));
    let core = site.start();
    let _renders = tokio::spawn(crate::support::site::extension(site.channel("extension").await, |_| ()));
    let file = |service: &str, end: &str| {
        let swarm = site.handle.swarm();
        swarm.find_service(service)?;
        let spec = swarm.service_json(service);
        let configs = spec["Spec"]["TaskTemplate"]["ContainerSpec"]["Configs"].as_array()?.clone();
        let name =
            configs.iter().filter_map(|config| config["ConfigName"].as_str()).find(|name| name.ends_with(end))?;
        String::from_utf8(swarm.config_bytes(name)?).ok()
    };
    let fingerprint = AUTHORITY.fingerprint().to_string();
    for (service, end) in [("interlock-extension", ".extension"), (PROXY, ".agent")] {
        let text = until("the file", || file(service, end)).await;
        assert!(text.contains(&fingerprint), "{text}");
    }
    let manifest = until("the manifest", || file(PROXY, ".manifest")).await;
    let signed = interlock_core::trust::SignedManifest::from_toml(&manifest).unwrap();
    assert!(signed.is_signed_by(AUTHORITY.certificate()), "{manifest}");
    core.stop().await;
}
