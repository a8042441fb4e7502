//! Core with peers: the running controller on a fake Swarm, and real gRPC clients with the certificates that it issued, as an extension and
//! as agents of proxies.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use interlock_core::docker::Endpoint;
use interlock_core::grpc::v1::extensions_client::ExtensionsClient;
use interlock_core::grpc::v1::follow_request::Event;
use interlock_core::grpc::v1::proxies_client::ProxiesClient;
use interlock_core::grpc::{convert, tls, v1};
use interlock_core::ownership;
use interlock_core::proxy_config::Generation;
use interlock_core::render::{self, Rendering};
use interlock_core::runtime::{self, Options};
use interlock_core::trust::Identity;
use interlock_testkit::{Swarm, server};
use serde_json::json;
use support::settings;
use support::world::{AUTHORITY, route, with_authority};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

const PROXY: &str = "interlock-proxy";
const HITLESS: &str = "HitlessServiceUpdate = true\nPublishMode = \"host\"\n";
const REMOTE: &str = "Image = \"interlock:1\"\n";
/// Virtual seconds a real one.
const SPEED: f64 = 30.0;

/// A Swarm that outlives its controllers.
struct Site {
    handle: server::Handle,
    _folder: tempfile::TempDir,
    settings: String,
    core: String,
}

struct Core {
    stop: oneshot::Sender<()>,
    controller: JoinHandle<Result<(), runtime::Error>>,
}

impl Site {
    fn new(extension: &str) -> Self {
        let mut swarm = with_authority(Swarm::three_nodes()).overlay("demo").overlay("back");
        route(&mut swarm, "shop", "demo");
        swarm.settle();
        let folder = tempfile::tempdir().unwrap();
        let handle = server::serve(Arc::new(Mutex::new(swarm)), folder.path()).unwrap().with_clock(SPEED);
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let core = free.local_addr().unwrap().to_string();
        let settings = format!("PollInterval = \"1s\"\nListenAddr = \"{core}\"\n[Extensions.default]\n{extension}");
        Self { handle, _folder: folder, settings, core }
    }

    fn start(&self) -> Core {
        let (stop, stopped) = oneshot::channel();
        let endpoint = Endpoint { url: self.handle.url(), tls: None };
        let options = Options { authority: Some(AUTHORITY.clone()), ..Options::new(endpoint) };
        let controller = tokio::spawn(runtime::run(settings(&self.settings), options, async {
            let _ = stopped.await;
        }));
        Core { stop, controller }
    }

    /// What a task that mounts the newest identity of this role reads.
    async fn identity(&self, role: &str) -> Identity {
        let prefix = format!("{}{role}.", ownership::IDENTITY_PREFIX);
        let find = || {
            let swarm = self.handle.swarm();
            let name =
                swarm.secrets().map(|secret| secret.name().to_owned()).filter(|name| name.starts_with(&prefix)).max();
            name.and_then(|name| swarm.secret_bytes(&name))
        };
        let pem = until("an identity", find).await;
        Identity::from_pem(&String::from_utf8(pem).unwrap()).unwrap()
    }

    async fn channel(&self, role: &str) -> Channel {
        tls::channel(&self.core, &self.identity(role).await).unwrap()
    }

    /// The generation that the proxies' own file says.
    async fn generation(&self) -> String {
        let find = || {
            let swarm = self.handle.swarm();
            swarm.find_service(PROXY)?;
            let spec = swarm.service_json(PROXY);
            let configs = spec["Spec"]["TaskTemplate"]["ContainerSpec"]["Configs"].as_array()?.clone();
            let agent = configs
                .iter()
                .filter_map(|config| config["ConfigName"].as_str())
                .find(|name| name.ends_with(".agent"))?;
            let text = String::from_utf8(swarm.config_bytes(agent)?).ok()?;
            Some(interlock_core::desired::AgentFile::from_toml(&text).unwrap().generation.to_string())
        };
        until("the agent's file", find).await
    }

    async fn agent(&self) -> Agent {
        let (channel, generation) = (self.channel("proxy").await, self.generation().await);
        admitted(|| Agent::connect(channel.clone(), &generation)).await.unwrap()
    }
}

/// Tries again as peers do: core may be starting, or not have seen the certificate's secret yet.
async fn admitted<T, F: Future<Output = Result<T, Status>>>(attempt: impl Fn() -> F) -> Result<T, Status> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        match attempt().await {
            Err(status) if matches!(status.code(), Code::Unknown | Code::Unavailable) => {
                assert!(tokio::time::Instant::now() < deadline, "not admitted: {status}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            result => return result,
        }
    }
}

async fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "not found: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Core {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.controller.await.unwrap().unwrap();
    }

    /// As a power cut. Here the address is free when the runtime has noticed.
    async fn kill(self, address: &str) {
        self.controller.abort();
        let _ = self.controller.await;
        until("the address", || std::net::TcpListener::bind(address).ok()).await;
    }
}

/// What an agent says and hears, without a proxy.
struct Agent {
    say: mpsc::Sender<v1::FollowRequest>,
    hear: Streaming<v1::FollowResponse>,
}

impl Agent {
    async fn connect(channel: Channel, generation: &str) -> Result<Self, Status> {
        Self::connect_as(channel, generation, "1.30.7").await
    }

    /// As the agent of a proxy of this version.
    async fn connect_as(channel: Channel, generation: &str, version: &str) -> Result<Self, Status> {
        let (say, said) = mpsc::channel(8);
        let hello = v1::Hello {
            agent: "test/1".to_owned(),
            generation: generation.to_owned(),
            proxy_version: version.to_owned(),
            hostname: "proxy-1".to_owned(),
            ..v1::Hello::default()
        };
        say.send(v1::FollowRequest { event: Some(Event::Hello(hello)) }).await.unwrap();
        let hear = ProxiesClient::new(channel).follow(ReceiverStream::new(said)).await?.into_inner();
        Ok(Self { say, hear })
    }

    /// The next revision that has this text, or lacks it.
    async fn hears(&mut self, text: &str, there: bool) -> v1::Revision {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(60), self.hear.message()).await;
            let revision =
                next.unwrap_or_else(|_| panic!("nothing is heard about {text}")).unwrap().unwrap().revision.unwrap();
            let files = convert::files_from_wire(revision.files.clone().unwrap()).unwrap();
            if files.iter().any(|file| file.content.contains(text)) == there {
                return revision;
            }
        }
    }

    /// Takes the next revision that has this text.
    async fn accepts(&mut self, text: &str) {
        let v1::Revision { generation, revision, files } = self.hears(text, true).await;
        let hash = files.unwrap_or_default().hash;
        self.says(Event::Accepted(v1::Accepted { generation, revision, hash })).await;
    }

    async fn says(&self, event: Event) {
        self.say.send(v1::FollowRequest { event: Some(event) }).await.unwrap();
    }
}

/// What an extension hears and posts, step by step.
struct Extension {
    client: ExtensionsClient<Channel>,
    models: Streaming<v1::WatchResponse>,
}

impl Extension {
    async fn connect(channel: Channel) -> Result<Self, Status> {
        let client = ExtensionsClient::new(channel);
        let watching = || {
            let mut client = client.clone();
            let request = v1::WatchRequest { agent: "test/1".to_owned(), checker_version: String::new() };
            async move { client.watch(request).await }
        };
        let models = admitted(watching).await?.into_inner();
        Ok(Self { client, models })
    }

    /// What the next model looks like as files; `None` when core closed the stream.
    async fn renders(&mut self) -> Result<Option<(Generation, Rendering)>, Status> {
        while let Some(heard) = self.models.message().await? {
            let Some(v1::watch_response::Event::Model(model)) = heard.event else { continue };
            let model = convert::model_from_wire(&model).unwrap();
            return Ok(Some((model.generation, render::render(&model.config, model.file_limit))));
        }
        Ok(None)
    }

    async fn posts(&mut self, (generation, rendering): &(Generation, Rendering)) -> Result<(), Status> {
        match self.client.post(convert::rendering_to_wire(generation, rendering)).await {
            Err(status) if status.code() != Code::FailedPrecondition => Err(status),
            _ => Ok(()),
        }
    }
}

/// Renders what it hears as an extension does, and changes the files as `meddle` says.
async fn extension(channel: Channel, meddle: impl Fn(&mut Vec<render::File>) + Send + 'static) -> Result<(), Status> {
    let mut extension = Extension::connect(channel).await?;
    while let Some(mut rendered) = extension.renders().await? {
        meddle(rendered.1.result.as_mut().unwrap());
        extension.posts(&rendered).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_agent_gets_what_changes_and_nothing_is_written_for_it() {
    let site = Site::new(HITLESS);
    let core = site.start();
    let mut agent = site.agent().await;
    agent.accepts("shop.example.com").await;
    // The version that agents report is noted once, and used.
    agent.hears("keepalive_min_timeout", true).await;
    until("the version on the service", || {
        let labels = site.handle.swarm().service_json(PROXY)["Spec"]["Labels"].clone();
        labels.get(ownership::PROXY_VERSION).filter(|version| *version == &json!("1.30.7")).cloned()
    })
    .await;
    let writes = site.handle.swarm().writes();
    for name in ["one", "two", "three"] {
        route(&mut site.handle.swarm(), name, "demo");
        agent.hears(&format!("{name}.example.com"), true).await;
    }
    site.handle.swarm().remove_service("two").unwrap();
    agent.hears("two.example.com", false).await;
    assert_eq!(site.handle.swarm().writes(), writes);
    core.stop().await;
}

/// A proxy counts from its first word on, and no longer than it is connected.
#[tokio::test]
async fn what_the_oldest_proxy_lacks_is_left_out_while_it_is_there() {
    let site = Site::new(HITLESS);
    let core = site.start();
    let (mut agent, generation) = (site.agent().await, site.generation().await);
    agent.hears("keepalive_min_timeout", true).await;
    let channel = site.channel("proxy").await;
    let old = admitted(|| Agent::connect_as(channel.clone(), &generation, "1.22.1")).await.unwrap();
    agent.hears("keepalive_min_timeout", false).await;
    drop((old, channel));
    agent.hears("keepalive_min_timeout", true).await;
    core.stop().await;
}

#[tokio::test]
async fn an_extension_of_its_own_renders_and_proxies_start_with_it() {
    let site = Site::new(&format!("{HITLESS}{REMOTE}"));
    let core = site.start();
    let renders = tokio::spawn(extension(site.channel("extension").await, |_| ()));
    let mut agent = site.agent().await;
    agent.hears("shop.example.com", true).await;
    route(&mut site.handle.swarm(), "blog", "demo");
    agent.hears("blog.example.com", true).await;
    // Without the extension what runs stays, and the next one goes on.
    renders.abort();
    let _ = renders.await;
    route(&mut site.handle.swarm(), "late", "demo");
    let _renders = tokio::spawn(extension(site.channel("extension").await, |_| ()));
    agent.hears("late.example.com", true).await;
    core.stop().await;
}

#[tokio::test]
async fn files_that_differ_from_the_model_are_refused() {
    let site = Site::new(&format!("{HITLESS}{REMOTE}"));
    let core = site.start();
    let drop_shop = |files: &mut Vec<render::File>| {
        files[0].content = files[0].content.replace("shop.example.com", "x.example.com")
    };
    let refused = extension(site.channel("extension").await, drop_shop).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    let load_module = |files: &mut Vec<render::File>| files[0].content.insert_str(0, "load_module x.so;\n");
    let refused = extension(site.channel("extension").await, load_module).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(site.handle.swarm().find_service(PROXY).is_none(), "nothing was made of it");
    let _honest = tokio::spawn(extension(site.channel("extension").await, |_| ()));
    site.agent().await.hears("shop.example.com", true).await;
    core.stop().await;
}

#[tokio::test]
async fn a_certificate_decides_what_a_peer_may_do() {
    let site = Site::new(&format!("{HITLESS}{REMOTE}"));
    let core = site.start();
    let _honest = tokio::spawn(extension(site.channel("extension").await, |_| ()));
    let as_extension = extension(site.channel("proxy").await, |_| ()).await.unwrap_err();
    assert_eq!(as_extension.code(), Code::PermissionDenied, "{as_extension}");
    let generation = site.generation().await;
    let channel = site.channel("extension").await;
    let as_proxy = admitted(|| Agent::connect(channel.clone(), &generation)).await.err().unwrap();
    assert_eq!(as_proxy.code(), Code::PermissionDenied, "{as_proxy}");
    core.stop().await;
}

/// Core dies after each step of a delivery. The next one ends it, and writes nothing for it.
#[tokio::test]
async fn core_may_die_at_every_step_of_a_delivery() {
    let site = Site::new(&format!("{HITLESS}{REMOTE}"));
    let mut core = site.start();
    let renders = tokio::spawn(extension(site.channel("extension").await, |_| ()));
    let mut agent = site.agent().await;
    agent.accepts("shop.example.com").await;
    until("the version on the service", || {
        site.handle.swarm().service_json(PROXY)["Spec"]["Labels"].get(ownership::PROXY_VERSION).cloned()
    })
    .await;
    renders.abort();
    let writes = site.handle.swarm().writes();
    for step in ["changed", "modelled", "posted", "heard", "accepted"] {
        let host = format!("{step}.example.com");
        let mut extension = Extension::connect(site.channel("extension").await).await.unwrap();
        let mut agent = site.agent().await;
        route(&mut site.handle.swarm(), step, "demo");
        let steps = async {
            if step == "changed" {
                return;
            }
            let rendered = loop {
                let rendered = extension.renders().await.unwrap().unwrap();
                if rendered.1.result.as_ref().unwrap().iter().any(|file| file.content.contains(&host)) {
                    break rendered;
                }
            };
            if step == "modelled" {
                return;
            }
            extension.posts(&rendered).await.unwrap();
            match step {
                "heard" => drop(agent.hears(&host, true).await),
                "accepted" => agent.accepts(&host).await,
                _ => {}
            }
        };
        steps.await;
        core.kill(&site.core).await;
        core = site.start();
        let renders = tokio::spawn(self::extension(site.channel("extension").await, |_| ()));
        site.agent().await.accepts(&host).await;
        renders.abort();
        assert_eq!(site.handle.swarm().writes(), writes, "{step}");
    }
    core.stop().await;
}
