//! gRPC: tonic on both sides.

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use interlock_core::grpc::v1;
use interlock_core::grpc::v1::extensions_client::ExtensionsClient;
use interlock_core::grpc::v1::extensions_server::{Extensions, ExtensionsServer};
use interlock_core::grpc::v1::proxies_client::ProxiesClient;
use interlock_core::grpc::v1::proxies_server::{Proxies, ProxiesServer};
use interlock_core::grpc::v1::{FollowRequest, FollowResponse, follow_request, watch_response};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::clients::{HOST, PORT, Site, soon};
use crate::support::pki::Authority;

/// What an application says in one stream.
pub(crate) type Answers = mpsc::UnboundedSender<Result<v1::WatchResponse, Status>>;

/// An application that speaks gRPC by our own contract. What it says in streams, the test tells it.
#[derive(Clone)]
struct Application {
    watched: mpsc::UnboundedSender<Answers>,
}

#[tonic::async_trait]
impl Extensions for Application {
    type WatchStream = UnboundedReceiverStream<Result<v1::WatchResponse, Status>>;

    async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (answers, told) = mpsc::unbounded_channel();
        let _ = self.watched.send(answers);
        Ok(Response::new(told.into()))
    }

    /// Answers with the headers that came, or fails with the message that it is sent.
    async fn post(&self, request: Request<v1::PostRequest>) -> Result<Response<v1::PostResponse>, Status> {
        if let Some(v1::post_request::Result::Failure(failure)) = &request.get_ref().result {
            let mut status = Status::with_details(Code::DataLoss, &failure.message, vec![7; 5000].into());
            status.metadata_mut().insert("x-why", "asked".parse().unwrap());
            return Err(status);
        }
        let mut response = Response::new(v1::PostResponse {});
        response.metadata_mut().insert("x-accel-redirect", "/elsewhere".parse().unwrap());
        for name in ["x-real-ip", "x-forwarded-proto", "x-tenant"] {
            let value = request.metadata().get(name).cloned();
            response.metadata_mut().insert(name, value.unwrap_or_else(|| "none".parse().unwrap()));
        }
        Ok(response)
    }
}

#[tonic::async_trait]
impl Proxies for Application {
    type FollowStream = Pin<Box<dyn Stream<Item = Result<FollowResponse, Status>> + Send>>;

    /// Answers each message with its generation, as soon as it is there.
    async fn follow(&self, request: Request<Streaming<FollowRequest>>) -> Result<Response<Self::FollowStream>, Status> {
        let answer = |request: FollowRequest| {
            let Some(follow_request::Event::Hello(v1::Hello { generation, .. })) = request.event else {
                panic!("nobody says anything else: {request:?}")
            };
            FollowResponse { revision: Some(v1::Revision { generation, ..v1::Revision::default() }) }
        };
        Ok(Response::new(Box::pin(request.into_inner().map(move |request| request.map(answer)))))
    }
}

/// Starts it, without TLS or with it. Answers with the streams that it is asked for.
pub(crate) async fn application(address: &str, tls: Option<&Authority>) -> mpsc::UnboundedReceiver<Answers> {
    let (watched, streams) = mpsc::unbounded_channel();
    let application = Application { watched };
    let outside = TcpListener::bind((address, PORT)).await.unwrap();
    let Some(authority) = tls else {
        tokio::spawn(serve(application, outside));
        return streams;
    };
    let inside = TcpListener::bind((address, 0)).await.unwrap();
    let plain = inside.local_addr().unwrap();
    tokio::spawn(serve(application, inside));
    tokio::spawn(ends_tls(outside, authority.pair(HOST).acceptor(&["h2"]), plain));
    streams
}

async fn serve(application: Application, listener: TcpListener) {
    let extensions = ExtensionsServer::new(application.clone());
    let server = Server::builder().add_service(extensions).add_service(ProxiesServer::new(application));
    server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
}

/// Takes TLS off connections.
async fn ends_tls(listener: TcpListener, acceptor: tokio_rustls::TlsAcceptor, plain: SocketAddr) {
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let mut outside = acceptor.accept(stream).await?;
            let mut inside = tokio::net::TcpStream::connect(plain).await?;
            tokio::io::copy_bidirectional(&mut outside, &mut inside).await
        });
    }
}

/// A channel of a client to the proxy.
async fn channel(site: &Site) -> Channel {
    let tls = site.tls(&["h2"]).await;
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut tls = Some(hyper_util::rt::TokioIo::new(tls));
    let endpoint = Endpoint::from_shared(format!("https://{HOST}")).unwrap();
    let connect = move |_| std::future::ready(tls.take().ok_or_else(|| std::io::Error::other("it was closed")));
    endpoint.connect_with_connector(tower::service_fn(connect)).await.unwrap()
}

pub(crate) fn fails(message: &str) -> v1::PostRequest {
    let failure = v1::Failure { message: message.to_owned(), ..v1::Failure::default() };
    v1::PostRequest { result: Some(v1::post_request::Result::Failure(failure)), ..v1::PostRequest::default() }
}

fn said(message: &str) -> Result<v1::WatchResponse, Status> {
    let event = watch_response::Event::WithdrawnGeneration(message.to_owned());
    Ok(v1::WatchResponse { event: Some(event) })
}

async fn heard(stream: &mut Streaming<v1::WatchResponse>) -> String {
    match soon(stream.message()).await.unwrap().unwrap().event {
        Some(watch_response::Event::WithdrawnGeneration(message)) => message,
        other => panic!("{other:?}"),
    }
}

/// Begins a stream whose first message was heard: over TLS NGINX holds the head of an HTTP/2 answer back until there is some of its body, and
/// clients learn of a stream by its head.
async fn watch(
    channel: &Channel,
    streams: &mut mpsc::UnboundedReceiver<Answers>,
    request: v1::WatchRequest,
) -> (Streaming<v1::WatchResponse>, Answers) {
    let mut client = ExtensionsClient::new(channel.clone());
    let (stream, answers) = tokio::join!(soon(client.watch(request)), async {
        let answers = soon(streams.recv()).await.unwrap();
        answers.send(said("hello")).unwrap();
        answers
    });
    let mut stream = stream.unwrap().into_inner();
    assert_eq!(heard(&mut stream).await, "hello");
    (stream, answers)
}

/// Messages both ways in one call.
struct Conversation {
    say: mpsc::UnboundedSender<FollowRequest>,
    answers: Streaming<FollowResponse>,
}

impl Conversation {
    async fn begin(channel: Channel) -> Self {
        let (say, told) = mpsc::unbounded_channel();
        say.send(hello(0)).unwrap();
        let mut client = ProxiesClient::new(channel);
        let answers = soon(client.follow(UnboundedReceiverStream::new(told))).await.unwrap().into_inner();
        let mut conversation = Self { say, answers };
        conversation.hear(0).await;
        conversation
    }

    async fn say(&mut self, number: usize) {
        self.say.send(hello(number)).unwrap();
        self.hear(number).await;
    }

    async fn hear(&mut self, number: usize) {
        let answer = soon(self.answers.message()).await.unwrap().unwrap();
        assert_eq!(answer.revision.unwrap().generation, number.to_string());
    }
}

fn hello(number: usize) -> FollowRequest {
    let hello = v1::Hello { generation: number.to_string(), ..v1::Hello::default() };
    FollowRequest { event: Some(follow_request::Event::Hello(hello)) }
}

const GRPC: &[(&str, &str)] = &[("backend_protocol", "grpc")];
const GRPCS: &[(&str, &str)] = &[("backend_protocol", "grpcs")];

/// Both protocols in turn: a client, and the streams that its calls open in the application.
async fn both(net: u8, run: impl AsyncFn(Channel, mpsc::UnboundedReceiver<Answers>)) {
    for (host, labels) in [(1, GRPC), (2, GRPCS)] {
        let address = format!("127.30.{net}.{host}");
        let authority = (labels == GRPCS).then(Authority::new);
        let streams = application(&address, authority.as_ref()).await;
        let site = Site::start(&[&address], labels, "");
        run(channel(&site).await, streams).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_answered_and_why_it_fails_arrives_whole() {
    both(1, async |channel, _| {
        let mut client = ExtensionsClient::new(channel);
        let mut request = Request::new(v1::PostRequest::default());
        request.metadata_mut().insert("x-tenant", "blue".parse().unwrap());
        let answer = soon(client.post(request)).await.unwrap();
        let told = |name| answer.metadata().get(name).unwrap().to_str().unwrap();
        assert_eq!([told("x-real-ip"), told("x-forwarded-proto"), told("x-tenant")], ["127.0.0.1", "https", "blue"]);
        // Letters that HTTP headers cannot carry, and details that take some kilobytes.
        let status = soon(client.post(fails("Größe: 100 %\nzu viel"))).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::DataLoss, "Größe: 100 %\nzu viel"));
        assert_eq!((status.details().len(), status.metadata().get("x-why").unwrap().as_bytes()), (5000, &b"asked"[..]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_of_a_stream_arrives_before_the_next_is_sent_and_the_status_in_trailers() {
    both(2, async |channel, mut streams| {
        let (mut stream, answers) = watch(&channel, &mut streams, v1::WatchRequest::default()).await;
        for number in 0..20 {
            answers.send(said(&format!("message {number}"))).unwrap();
            assert_eq!(heard(&mut stream).await, format!("message {number}"));
        }
        answers.send(Err(Status::resource_exhausted("enough is said"))).unwrap();
        let status = soon(stream.message()).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "enough is said"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_both_ways() {
    both(3, async |channel, _| {
        let mut conversation = Conversation::begin(channel).await;
        for number in 0..20 {
            conversation.say(number).await;
        }
        drop(conversation.say);
        assert_eq!(soon(conversation.answers.message()).await.unwrap(), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_its_client_gives_up_ends_at_the_application() {
    both(4, async |channel, mut streams| {
        let (stream, answers) = watch(&channel, &mut streams, v1::WatchRequest::default()).await;
        assert!(!answers.is_closed());
        drop(stream);
        soon(answers.closed()).await;
        // The same connection goes on.
        let (mut stream, answers) = watch(&channel, &mut streams, v1::WatchRequest::default()).await;
        answers.send(said("still there")).unwrap();
        assert_eq!(heard(&mut stream).await, "still there");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_reaches_the_application() {
    both(5, async |channel, mut streams| {
        let mut late = Request::new(v1::WatchRequest::default());
        late.set_timeout(Duration::from_secs(1));
        let mut client = ExtensionsClient::new(channel);
        // The application never answers. It ends its side by itself, as it was told how long there is.
        let status = soon(client.watch(late)).await.unwrap_err();
        assert!(matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded), "{status}");
        soon(soon(streams.recv()).await.unwrap().closed()).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_whose_client_only_listens_for_a_while_goes_on() {
    application("127.30.6.1", None).await;
    let site = Site::start(&["127.30.6.1"], GRPC, "[Extensions.default.Config]\nClientBodyTimeout = \"1s\"\n");
    let mut conversation = Conversation::begin(channel(&site).await).await;
    // Longer than a body may pause. Silence is what this is about.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    conversation.say(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_cannot_answer_is_unavailable() {
    // No task; one where nothing listens.
    for (tasks, labels) in [(&[][..], GRPC), (&["127.30.7.1"], GRPC), (&["127.30.7.1"], GRPCS)] {
        let site = Site::start(tasks, labels, "");
        let mut client = ExtensionsClient::new(channel(&site).await);
        let status = soon(client.post(v1::PostRequest::default())).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{tasks:?} {labels:?}: {status}");
        let status = soon(client.watch(v1::WatchRequest::default())).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{tasks:?} {labels:?}: {status}");
        // Other libraries look at the status first, or want the type.
        let answer = site.nginx.get(HOST, "/x");
        let has = |line: &str| answer.to_lowercase().contains(line);
        assert!(has("content-type: application/grpc\r\n") && has("grpc-status: 14\r\n"), "{answer}");
        assert!(["502", "503"].contains(&crate::support::routes::status(&answer)), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_proxy_refuses_is_told_in_grpcs_own_words() {
    application("127.30.8.1", None).await;
    for (label, code) in [
        (("allow", "10.0.0.0/8"), Code::PermissionDenied),
        (("max_body_size", "1k"), Code::ResourceExhausted),
        (("rate_limit", "1"), Code::Unavailable),
    ] {
        let site = Site::start(&["127.30.8.1"], &[GRPC, &[label]].concat(), "");
        let mut client = ExtensionsClient::new(channel(&site).await);
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(soon(client.post(fails(&"x".repeat(2000)))).await.unwrap_err().code());
        }
        assert!(answers.contains(&code) && answers.iter().all(|it| [code, Code::DataLoss].contains(it)), "{answers:?}");
    }
}
