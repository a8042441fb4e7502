//! Core with peers: the running controller on a fake Swarm, and real gRPC clients with the certificates that it issued, as an extension and
//! as agents of proxies.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use interlock_core::docker::Endpoint;
use interlock_core::grpc::v1::extensions_client::ExtensionsClient;
use interlock_core::grpc::v1::follow_request::Event;
use interlock_core::grpc::v1::proxies_client::ProxiesClient;
use interlock_core::grpc::{convert, tls, v1};
use interlock_core::kinds::{self, Rendering};
use interlock_core::ownership;
use interlock_core::proxy_config::Generation;
use interlock_core::runtime::{self, Options};
use interlock_core::settings::Settings;
use interlock_core::trust::Identity;
use interlock_testkit::{Swarm, server};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::world::{AUTHORITY, route, with_authority};

pub const PROXY: &str = "interlock-proxy";
pub const HITLESS: &str = "HitlessServiceUpdate = true\nPublishMode = \"host\"\n";
pub const REMOTE: &str = "Image = \"interlock:1\"\n";
/// Virtual seconds a real one.
const SPEED: f64 = 30.0;

/// A Swarm that outlives its controllers.
pub struct Site {
    pub handle: server::Handle,
    _folder: tempfile::TempDir,
    settings: String,
    /// Core's address.
    pub core: String,
}

pub struct Core {
    stop: oneshot::Sender<()>,
    controller: JoinHandle<Result<(), runtime::Error>>,
}

impl Site {
    pub fn new(extension: &str) -> Self {
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

    pub fn start(&self) -> Core {
        self.start_with(|_| ())
    }

    /// A core with other options.
    pub fn start_with(&self, change: impl FnOnce(&mut Options)) -> Core {
        let (stop, stopped) = oneshot::channel();
        let endpoint = Endpoint::at(self.handle.url());
        let mut options = Options { authority: Some(AUTHORITY.clone()), ..Options::new(endpoint) };
        change(&mut options);
        let (settings, _) = Settings::parse(&self.settings).unwrap();
        let controller = tokio::spawn(runtime::run(settings, options, async {
            let _ = stopped.await;
        }));
        Core { stop, controller }
    }

    /// What a task that mounts the newest identity of this role reads.
    pub async fn identity(&self, role: &str) -> String {
        let prefix = format!("{}{role}.", ownership::IDENTITY_PREFIX);
        let find = || {
            let swarm = self.handle.swarm();
            let name =
                swarm.secrets().map(|secret| secret.name().to_owned()).filter(|name| name.starts_with(&prefix)).max();
            name.and_then(|name| swarm.secret_bytes(&name))
        };
        String::from_utf8(until("an identity", find).await).unwrap()
    }

    pub async fn channel(&self, role: &str) -> Channel {
        tls::channel(&self.core, &Identity::from_pem(&self.identity(role).await).unwrap()).unwrap()
    }

    /// The generation that the proxies' own file says.
    pub async fn generation(&self) -> String {
        self.generation_of(PROXY).await
    }

    /// The same of this proxy service.
    pub async fn generation_of(&self, service: &str) -> String {
        let find = || {
            let swarm = self.handle.swarm();
            swarm.find_service(service)?;
            let spec = swarm.service_json(service);
            let configs = spec["Spec"]["TaskTemplate"]["ContainerSpec"]["Configs"].as_array()?.clone();
            let agent = configs
                .iter()
                .filter_map(|config| config["ConfigName"].as_str())
                .find(|name| name.ends_with(".agent"))?;
            let text = String::from_utf8(swarm.config_bytes(agent)?).ok()?;
            Some(interlock_core::deployment::AgentFile::from_toml(&text).unwrap().generation.to_string())
        };
        until("the agent's file", find).await
    }

    /// The version of its proxies that core noted on their service.
    pub async fn noted_version(&self) -> String {
        let find = || {
            let labels = self.handle.swarm().service_json(PROXY)["Spec"]["Labels"].clone();
            labels.get(ownership::PROXY_VERSION)?.as_str().map(str::to_owned)
        };
        until("the version on the service", find).await
    }

    pub async fn agent(&self) -> Agent {
        let (channel, generation) = (self.channel("proxy").await, self.generation().await);
        admitted(|| Agent::connect(channel.clone(), &generation)).await.unwrap()
    }
}

/// Tries again as peers do: core may be starting, or not have seen the certificate's secret yet.
pub async fn admitted<T, F: Future<Output = Result<T, Status>>>(attempt: impl Fn() -> F) -> Result<T, Status> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        match attempt().await {
            Err(status) if matches!(status.code(), Code::Unknown | Code::Unavailable | Code::Cancelled) => {
                assert!(tokio::time::Instant::now() < deadline, "not admitted: {status}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            result => return result,
        }
    }
}

pub async fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
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
    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        self.controller.await.unwrap().unwrap();
    }

    /// As a power cut. Here the address is free when the runtime has noticed.
    pub async fn kill(self, address: &str) {
        self.controller.abort();
        let _ = self.controller.await;
        until("the address", || std::net::TcpListener::bind(address).ok()).await;
    }
}

/// What an agent says and hears, without a proxy.
pub struct Agent {
    say: mpsc::Sender<v1::FollowRequest>,
    hear: Streaming<v1::FollowResponse>,
}

impl Agent {
    pub async fn connect(channel: Channel, generation: &str) -> Result<Self, Status> {
        Self::connect_as(channel, generation, "1.30.7").await
    }

    /// As the agent of a proxy of this version.
    pub async fn connect_as(channel: Channel, generation: &str, version: &str) -> Result<Self, Status> {
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
    pub async fn hears(&mut self, text: &str, there: bool) -> v1::Revision {
        self.hears_or_ends(text, there).await.unwrap_or_else(|| panic!("the stream ended without {text}"))
    }

    /// The same; `None` when the stream ends before that.
    pub async fn hears_or_ends(&mut self, text: &str, there: bool) -> Option<v1::Revision> {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(60), self.hear.message()).await;
            let next = next.unwrap_or_else(|_| panic!("nothing is heard about {text}"));
            let revision = next.ok().flatten()?.revision.unwrap();
            let files = convert::files_from_wire(revision.files.clone().unwrap()).unwrap();
            if files.iter().any(|file| file.content.contains(text)) == there {
                return Some(revision);
            }
        }
    }

    /// Takes the next revision that has this text.
    pub async fn accepts(&mut self, text: &str) {
        let v1::Revision { generation, revision, files, signature: _ } = self.hears(text, true).await;
        let hash = files.unwrap_or_default().hash;
        self.says(Event::Accepted(v1::Accepted { generation, revision, hash })).await;
    }

    pub async fn says(&self, event: Event) {
        self.say.send(v1::FollowRequest { event: Some(event) }).await.unwrap();
    }
}

/// What an extension hears and posts, step by step.
pub struct Extension {
    client: ExtensionsClient<Channel>,
    models: Streaming<v1::WatchResponse>,
}

impl Extension {
    pub async fn connect(channel: Channel) -> Result<Self, Status> {
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
    pub async fn renders(&mut self) -> Result<Option<(Generation, Rendering)>, Status> {
        while let Some(heard) = self.models.message().await? {
            let Some(v1::watch_response::Event::Model(model)) = heard.event else { continue };
            let model = convert::model_from_wire(&model).unwrap();
            return Ok(Some((model.generation, kinds::render(&model.config, model.file_limit))));
        }
        Ok(None)
    }

    /// The next one with this text.
    pub async fn renders_text(&mut self, text: &str) -> (Generation, Rendering) {
        loop {
            let rendered = self.renders().await.unwrap().unwrap();
            if rendered.1.result.as_ref().unwrap().iter().any(|file| file.content.contains(text)) {
                return rendered;
            }
        }
    }

    pub async fn posts(&mut self, (generation, rendering): &(Generation, Rendering)) -> Result<(), Status> {
        match self.sends(convert::rendering_to_wire(generation, rendering)).await {
            Err(status) if status.code() != Code::FailedPrecondition => Err(status),
            _ => Ok(()),
        }
    }

    /// Posts whatever this is.
    pub async fn sends(&mut self, posted: v1::PostRequest) -> Result<(), Status> {
        self.client.post(posted).await.map(drop)
    }
}

/// Renders what it hears as an extension does, and changes the files as `meddle` says.
pub async fn extension(
    channel: Channel,
    meddle: impl Fn(&mut Vec<kinds::File>) + Send + 'static,
) -> Result<(), Status> {
    let mut extension = Extension::connect(channel).await?;
    while let Some(mut rendered) = extension.renders().await? {
        meddle(rendered.1.result.as_mut().unwrap());
        extension.posts(&rendered).await?;
    }
    Ok(())
}
