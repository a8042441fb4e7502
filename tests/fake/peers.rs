//! What a peer that was admitted and turned against core can do: waste its own service cluster's time, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use interlock_core::grpc::server::{Hub, Said};
use interlock_core::grpc::tls::{Admitted, Limits, channel, incoming};
use interlock_core::grpc::v1::extensions_client::ExtensionsClient;
use interlock_core::grpc::v1::follow_request::Event;
use interlock_core::grpc::v1::proxies_client::ProxiesClient;
use interlock_core::grpc::{self, convert, v1};
use interlock_core::grpc::{Published, parcels::packed};
use interlock_core::kinds::{File, RenderError, Rendering, Renderings};
use interlock_core::peers::{AgentReport, Failure};
use interlock_core::proxy_config::{self, Generation, ProxySettings, Revision};
use interlock_core::routes::Routes;
use interlock_core::settings::Settings;
use interlock_core::trust::{Authority, Identity};
use interlock_core::units::{Cluster, Role};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

const GENERATION: &str = "00000000000000aa";
const SOON: Duration = Duration::from_secs(20);

/// Core without a Swarm: what it shows is set here, what it hears is read here.
struct Core {
    address: String,
    authority: Authority,
    admitted: watch::Sender<Arc<Admitted>>,
    published: watch::Sender<Arc<Published>>,
    said: mpsc::Receiver<Said>,
}

impl Core {
    async fn start() -> Self {
        let authority = Authority::generate().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (admitted, to_admit) = watch::channel(Arc::default());
        let (published, to_publish) = watch::channel(Arc::new(published()));
        let (sender, said) = mpsc::channel(64);
        let connections = incoming(listener, &authority, to_admit, Limits::default()).unwrap();
        tokio::spawn(grpc::serve(connections, Hub::new(to_publish, sender)));
        Self { address, authority, admitted, published, said }
    }

    fn peer(&self, role: Role, cluster: &str) -> Channel {
        channel(&self.address, &self.identity_in(role, cluster)).unwrap()
    }

    fn identity(&self, role: Role) -> Identity {
        self.identity_in(role, "")
    }

    fn identity_in(&self, role: Role, cluster: &str) -> Identity {
        let cluster: Cluster = cluster.parse().unwrap();
        let identity = Identity::from_pem(&self.authority.issue(role, &cluster).unwrap().pem).unwrap();
        self.admitted.send_modify(|admitted| {
            Arc::make_mut(admitted).insert(identity.peer().fingerprint.clone(), (role, cluster));
        });
        identity
    }

    /// Shows this as what proxies of the default service cluster shall have.
    fn delivers(&self, number: u64) -> v1::Files {
        let rendering = rendering(number);
        let files = convert::files_to_wire(rendering.result.as_deref().unwrap());
        self.shows(&[((Cluster::default(), generation()), rendering)].into());
        files
    }

    fn shows(&self, deliveries: &Renderings) {
        let deliveries = packed(deliveries.clone(), &self.published.borrow().deliveries, Some(&self.authority));
        self.published.send_replace(Arc::new(Published { deliveries, ..published() }));
    }

    async fn hears(&mut self) -> Said {
        tokio::time::timeout(SOON, self.said.recv()).await.expect("core hears something").unwrap()
    }

    async fn report(&mut self) -> AgentReport {
        match self.hears().await {
            Said::Agent(_, Some(report)) => report,
            other => panic!("no report: {other:?}"),
        }
    }
}

/// Nothing but the secrets that a generation has.
fn published() -> Published {
    let names = ["shop.cert", "ca.pem"].map(|name| name.parse().unwrap());
    Published { secrets: [((Cluster::default(), generation()), names.into())].into(), ..Published::default() }
}

fn generation() -> Generation {
    GENERATION.parse().unwrap()
}

fn revision(number: u64) -> Revision {
    format!("{number:016x}").parse().unwrap()
}

/// One file with this number in it.
fn rendering(number: u64) -> Rendering {
    let file = File { path: "/etc/nginx/nginx.conf".into(), part: String::new(), content: number.to_string().into() };
    Rendering { revision: revision(number), result: Ok(vec![file]) }
}

/// One file of so many bytes.
fn large(number: u64, bytes: usize) -> Rendering {
    let mut rendering = rendering(number);
    rendering.result.as_mut().unwrap()[0].content = "x".repeat(bytes).into();
    rendering
}

fn hello() -> v1::Hello {
    v1::Hello { generation: GENERATION.to_owned(), hostname: "proxy-1".to_owned(), ..v1::Hello::default() }
}

struct Agent {
    say: mpsc::Sender<v1::FollowRequest>,
    hear: Streaming<v1::FollowResponse>,
}

impl Agent {
    async fn connect(channel: Channel, hello: v1::Hello) -> Result<Self, Status> {
        let (say, said) = mpsc::channel(8);
        say.send(v1::FollowRequest { event: Some(Event::Hello(hello)) }).await.unwrap();
        let hear = ProxiesClient::new(channel).follow(ReceiverStream::new(said)).await?.into_inner();
        Ok(Self { say, hear })
    }

    async fn says(&self, event: Event) {
        self.say.send(v1::FollowRequest { event: Some(event) }).await.unwrap();
    }

    async fn hears(&mut self) -> v1::Revision {
        let heard = tokio::time::timeout(SOON, self.hear.message()).await.expect("something is heard");
        heard.unwrap().unwrap().revision.unwrap()
    }
}

/// Whatever a proxy or an extension claims about itself, its certificate decides whose files and models it hears.
#[tokio::test]
async fn nobody_hears_of_another_service_cluster() {
    let core = Core::start().await;
    let [west, east]: [Cluster; 2] = ["west", "east"].map(|name| name.parse().unwrap());
    // The same generation: networks and secrets may well be the same.
    let mut shown = Published { file_limit: 1 << 20, ..published() };
    let settings = Settings::default();
    let mut deliveries = Renderings::new();
    let mut show = |number: u64, clusters: [&Cluster; 2]| {
        for (of, cluster) in clusters.into_iter().enumerate() {
            let key = (cluster.clone(), generation());
            deliveries.insert(key.clone(), rendering(number + of as u64));
            let proxy = ProxySettings::of(settings.extensions.values().next().unwrap(), None, None);
            let mut config = Arc::unwrap_or_clone(proxy_config::build(cluster, proxy, &Arc::<Routes>::default()));
            config.revision = revision(number + of as u64);
            shown.configs.insert(key, config.into());
        }
        shown.deliveries = packed(deliveries.clone(), &shown.deliveries, Some(&core.authority));
        core.published.send_replace(Arc::new(shown.clone()));
    };
    show(0x10, [&west, &east]);
    let mut proxy = Agent::connect(core.peer(Role::Proxy, "west"), hello()).await.unwrap();
    let mut extension = ExtensionsClient::new(core.peer(Role::Extension, "west"));
    let mut models = extension.watch(v1::WatchRequest::default()).await.unwrap().into_inner();
    for number in [0x10, 0x20, 0x30] {
        assert_eq!(proxy.hears().await.revision, revision(number).as_str());
        let heard = tokio::time::timeout(SOON, models.message()).await.expect("a model").unwrap().unwrap();
        let Some(v1::watch_response::Event::Model(model)) = heard.event else { panic!("no model: {heard:?}") };
        let model = convert::model_from_wire(&model).unwrap();
        assert_eq!((&model.config.cluster, &model.config.revision), (&west, &revision(number)));
        // Of a change of the other one alone there is nothing to hear: the next is of its own.
        show(number + 1, [&east, &east]);
        show(number + 0x10, [&west, &east]);
    }
}

#[tokio::test]
async fn what_an_agent_says_is_kept_in_short() {
    let mut core = Core::start().await;
    let channel = core.peer(Role::Proxy, "");
    let long = "x".repeat(100_000);
    let hello = v1::Hello { hostname: long.clone(), version_warning: long.clone(), ..hello() };
    let agent = Agent::connect(channel, hello).await.unwrap();
    let report = core.report().await;
    assert_eq!((report.hostname.len(), report.version_warning.len()), (300, 300));
    let refused = v1::Refused { revision: revision(1).to_string(), message: long, ..v1::Refused::default() };
    agent.says(Event::Refused(refused)).await;
    assert_eq!(core.report().await.refused.unwrap().1.len(), 300);
}

#[tokio::test]
async fn which_tasks_a_proxy_cannot_reach_is_bounded_and_the_newest_report_counts() {
    let mut core = Core::start().await;
    let task = |address: String| v1::UnreachableTask { address, refuses: true, ..v1::UnreachableTask::default() };
    let many: Vec<_> = (1..=5000).map(|port| task(format!("10.0.1.5:{port}"))).collect();
    let hello = v1::Hello { unreachable: many, ..hello() };
    let agent = Agent::connect(core.peer(Role::Proxy, ""), hello).await.unwrap();
    assert_eq!(core.report().await.unreachable.len(), convert::MOST_UNREACHABLE);
    let unreachable = ["10.0.1.6:80", "shop:80", "10.0.1.7", ""].map(|address| task(address.to_owned())).into();
    agent.says(Event::Reachability(v1::Reachability { unreachable })).await;
    let report = core.report().await;
    let expected = Failure { refuses: true, is_lasting: false };
    assert_eq!(report.unreachable, [("10.0.1.6:80".parse().unwrap(), expected)].into());
    agent.says(Event::Reachability(v1::Reachability::default())).await;
    assert!(core.report().await.unreachable.is_empty());
}

/// What an agent says of a secret of this name.
fn secret(name: &str) -> v1::Secret {
    v1::Secret { name: name.to_owned(), public_key: "aa".repeat(32), key_of: "aa".repeat(32), ..v1::Secret::default() }
}

#[tokio::test]
async fn m2_core_keeps_nothing_of_secrets_that_a_task_does_not_have() {
    let mut core = Core::start().await;
    let invented = (0..4000).map(|number| secret(&format!("invented-{number}")));
    let secrets = invented.chain([secret("ca.pem"), secret("ca.pem")]).collect();
    let mut open = vec![Agent::connect(core.peer(Role::Proxy, ""), v1::Hello { secrets, ..hello() }).await.unwrap()];
    let report = core.report().await;
    assert_eq!(report.secrets.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["ca.pem"]);
    let other = v1::Hello { generation: "00000000000000bb".to_owned(), secrets: vec![secret("ca.pem")], ..hello() };
    open.push(Agent::connect(core.peer(Role::Proxy, ""), other).await.unwrap());
    assert_eq!(core.report().await.secrets.len(), 0, "no task is known to have this generation");
}

/// Those that say the same share it, so that a thousand proxies cost what one does.
#[tokio::test]
async fn m2_what_proxies_say_of_their_secrets_is_kept_once() {
    let mut core = Core::start().await;
    let channel = core.peer(Role::Proxy, "");
    let hello = v1::Hello { secrets: vec![secret("ca.pem"), secret("shop.cert")], ..hello() };
    let (_one, first) = (Agent::connect(channel.clone(), hello.clone()).await.unwrap(), core.report().await);
    let (_two, second) = (Agent::connect(channel, hello).await.unwrap(), core.report().await);
    assert_eq!(first.secrets.len(), 2);
    assert!(Arc::ptr_eq(&first.secrets, &second.secrets));
}

/// A generation that becomes known later: what its tasks said of their secrets before was not kept, so they have to say it again.
#[tokio::test]
async fn m2_tasks_of_a_generation_that_becomes_known_introduce_themselves_again() {
    let mut core = Core::start().await;
    let unknown = "00000000000000bb";
    let hello = v1::Hello { generation: unknown.to_owned(), secrets: vec![secret("ca.pem")], ..hello() };
    let channel = core.peer(Role::Proxy, "");
    let mut early = Agent::connect(channel.clone(), hello.clone()).await.unwrap();
    assert_eq!(core.report().await.secrets.len(), 0);
    core.published.send_modify(|now| {
        let key = (Cluster::default(), unknown.parse().unwrap());
        Arc::make_mut(now).secrets.insert(key, ["ca.pem".parse().unwrap()].into());
    });
    let ended = tokio::time::timeout(SOON, early.hear.message()).await.expect("the stream ends");
    assert!(ended.unwrap().is_none());
    assert!(matches!(core.hears().await, Said::Agent(_, None)));
    let _again = Agent::connect(channel, hello).await.unwrap();
    assert_eq!(core.report().await.secrets.len(), 1);
}

/// However many connections it has: a task has one agent.
#[tokio::test]
async fn m2_one_task_has_few_streams() {
    let mut core = Core::start().await;
    let (proxy, extension) = (core.identity(Role::Proxy), core.identity(Role::Extension));
    let mut open = Vec::new();
    let mut refused = 0;
    for _ in 0..Limits::default().connections_of_one {
        let channel = channel(&core.address, &proxy).unwrap();
        for _ in 0..2 {
            match Agent::connect(channel.clone(), hello()).await {
                Ok(agent) => {
                    core.report().await;
                    open.push(agent);
                }
                Err(status) => {
                    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                    refused += 1;
                }
            }
        }
    }
    assert_eq!((open.len(), refused), (4, 12));
    let mut other = ExtensionsClient::new(channel(&core.address, &extension).unwrap());
    other.watch(v1::WatchRequest::default()).await.unwrap();
    drop(open.pop());
    assert!(matches!(core.hears().await, Said::Agent(_, None)));
    Agent::connect(channel(&core.address, &proxy).unwrap(), hello()).await.unwrap();
}

#[tokio::test]
async fn an_agent_has_no_need_for_large_messages() {
    let core = Core::start().await;
    let channel = core.peer(Role::Proxy, "");
    let hello = v1::Hello { hostname: "x".repeat(grpc::PEER_LIMIT), ..hello() };
    let refused = Agent::connect(channel, hello).await.err().unwrap();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
}

#[test]
fn a_failure_names_no_more_routes_than_can_be_looked_for() {
    let suspect = |number: u32| v1::Suspect { host: format!("h{number}.example.com"), path: "/".to_owned() };
    let failure = v1::Failure {
        kind: v1::failure::Kind::RefusedByChecker.into(),
        message: "no".to_owned(),
        suspects: (0..1000).map(suspect).collect(),
    };
    let posted = v1::PostRequest {
        generation: GENERATION.to_owned(),
        revision: revision(1).to_string(),
        result: Some(v1::post_request::Result::Failure(failure)),
    };
    let posted = convert::posted_from_wire(posted).unwrap();
    let Err(RenderError::Refused { suspects, .. }) = posted.result else { panic!("{posted:?}") };
    assert_eq!(suspects.len(), 64);
}

/// A message is in memory before it is looked at: many at once would be too much, and others must not wait for one that never ends.
#[tokio::test]
async fn posts_of_a_service_cluster_are_read_one_after_the_other() {
    let core = Core::start().await;
    let first = core.peer(Role::Extension, "a");
    let hangs = tokio::spawn(async move {
        let mut client = tonic::client::Grpc::new(first);
        client.ready().await.unwrap();
        let path = tonic::codegen::http::uri::PathAndQuery::from_static("/interlock.v1.Extensions/Post");
        let never = futures::stream::pending::<v1::PostRequest>();
        let codec = tonic_prost::ProstCodec::<v1::PostRequest, v1::PostResponse>::default();
        client.client_streaming(tonic::Request::new(never), path, codec).await.map(drop)
    });
    let post = |channel: Channel| async move {
        ExtensionsClient::new(channel).post(v1::PostRequest::default()).await.unwrap_err().code()
    };
    let second = core.peer(Role::Extension, "a");
    // Until the first is there, the second may be answered.
    let held = async { while tokio::time::timeout(Duration::from_millis(500), post(second.clone())).await.is_ok() {} };
    tokio::time::timeout(SOON, held).await.expect("the second waits for the first");
    assert_eq!(post(core.peer(Role::Extension, "b")).await, Code::InvalidArgument, "nobody else waits");
    hangs.abort();
    let answered = tokio::time::timeout(SOON, post(second)).await;
    assert_eq!(answered.expect("the second is answered when the first is gone"), Code::InvalidArgument);
}

/// Nothing is published meanwhile: nobody would notice otherwise.
#[tokio::test]
async fn a_peer_that_goes_is_forgotten_at_once() {
    let mut core = Core::start().await;
    let channel = core.peer(Role::Extension, "");
    let request = v1::WatchRequest { agent: "test/1".to_owned(), checker_version: "1.30.7".to_owned() };
    let watching = ExtensionsClient::new(channel).watch(request).await.unwrap();
    assert!(matches!(core.hears().await, Said::Checker(_, Some(_))));
    drop(watching);
    assert!(matches!(core.hears().await, Said::Checker(_, None)));
    let agent = Agent::connect(core.peer(Role::Proxy, ""), hello()).await.unwrap();
    core.report().await;
    drop(agent);
    assert!(matches!(core.hears().await, Said::Agent(_, None)));
}

/// The proxy runs one revision and is busy taking the next when its stream breaks; meanwhile core goes back.
#[tokio::test]
async fn a_proxy_that_took_what_core_gave_up_is_told_again() {
    let mut core = Core::start().await;
    let wanted = core.delivers(1);
    let hello = v1::Hello { revision: revision(1).to_string(), hash: wanted.hash.clone(), ..hello() };
    let mut agent = Agent::connect(core.peer(Role::Proxy, ""), hello).await.unwrap();
    core.report().await;
    let accepted = v1::Accepted {
        generation: GENERATION.to_owned(),
        revision: revision(2).to_string(),
        hash: "another".to_owned(),
    };
    agent.says(Event::Accepted(accepted)).await;
    assert_eq!(agent.hears().await.files.unwrap().hash, wanted.hash);
}

/// What is under way to a proxy is not sent twice.
#[tokio::test]
async fn a_proxy_that_is_behind_is_not_told_again() {
    let mut core = Core::start().await;
    core.delivers(1);
    let mut agent = Agent::connect(core.peer(Role::Proxy, ""), hello()).await.unwrap();
    core.report().await;
    let first = agent.hears().await;
    core.delivers(2);
    assert_eq!(agent.hears().await.revision, revision(2).as_str());
    let v1::Revision { generation, revision: name, files, signature: _ } = first;
    agent.says(Event::Accepted(v1::Accepted { generation, revision: name, hash: files.unwrap().hash })).await;
    core.report().await;
    core.delivers(3);
    assert_eq!(agent.hears().await.revision, revision(3).as_str());
}

/// What an agent of a later version may say: one event more, and one field more in what is known.
#[derive(Clone, PartialEq, prost::Message)]
struct Later {
    #[prost(message, optional, tag = "1")]
    hello: Option<LaterHello>,
    #[prost(message, optional, tag = "2")]
    accepted: Option<v1::Accepted>,
    #[prost(string, optional, tag = "900")]
    unheard_of: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LaterHello {
    #[prost(string, tag = "2")]
    generation: String,
    #[prost(string, tag = "900")]
    unheard_of: String,
}

#[tokio::test]
async fn what_a_later_agent_says_is_left_aside_and_its_stream_goes_on() {
    let mut core = Core::start().await;
    let unheard_of = "something".to_owned();
    let hello = LaterHello { generation: GENERATION.to_owned(), unheard_of: unheard_of.clone() };
    let accepted = v1::Accepted { revision: revision(7).to_string(), ..v1::Accepted::default() };
    let said = [
        Later { hello: Some(hello), ..Later::default() },
        Later { unheard_of: Some(unheard_of), ..Later::default() },
        Later { accepted: Some(accepted), ..Later::default() },
    ];
    let mut client = tonic::client::Grpc::new(core.peer(Role::Proxy, ""));
    client.ready().await.unwrap();
    let path = tonic::codegen::http::uri::PathAndQuery::from_static("/interlock.v1.Proxies/Follow");
    let goes_on = futures::stream::iter(said).chain(futures::stream::pending());
    let codec = tonic_prost::ProstCodec::<Later, v1::FollowResponse>::default();
    let mut heard = client.streaming(tonic::Request::new(goes_on), path, codec).await.unwrap().into_inner();
    assert_eq!(core.report().await.running, None);
    assert_eq!(core.report().await.running, Some(revision(7)), "what it said after that is heard");
    core.delivers(8);
    let next = tokio::time::timeout(SOON, heard.message()).await.expect("something is heard").unwrap();
    assert_eq!(next.unwrap().revision.unwrap().revision, revision(8).as_str());
}

fn busy() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// All runs in one thread here, so that its processor time is what it costs.
#[tokio::test]
async fn a_change_of_another_service_cluster_costs_proxies_nothing() {
    let mut core = Core::start().await;
    let mut shown = Renderings::from([((Cluster::default(), generation()), large(1, 1 << 20))]);
    core.shows(&shown);
    let proxy = core.peer(Role::Proxy, "");
    let began = busy();
    let hash = convert::files_to_wire(shown.values().next().unwrap().result.as_deref().unwrap()).hash;
    let once = busy() - began;
    let mut agents = Vec::new();
    for _ in 0..4 {
        let hello = v1::Hello { hash: hash.clone(), ..hello() };
        agents.push(Agent::connect(proxy.clone(), hello).await.unwrap());
        core.report().await;
    }
    let began = busy();
    for number in 0..20 {
        shown.insert(("other".parse().unwrap(), generation()), rendering(number));
        core.shows(&shown);
        // Each agent's stream looks at it.
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
    }
    let (cost, changes) = (busy() - began, 20 * agents.len() as u32);
    assert!(
        cost < 20 * once,
        "{cost:?} for {changes} streams that have nothing to hear, {once:?} for a look at all files"
    );
}
