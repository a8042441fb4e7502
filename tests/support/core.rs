//! Core's side of the contract for extensions, on a loopback port: it says what a test tells it to say.

use std::net::SocketAddr;
use std::pin::Pin;

use futures::{Stream, StreamExt};
use interlock_core::grpc::v1;
use interlock_core::grpc::v1::extensions_server::{Extensions, ExtensionsServer};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{TcpListenerStream, WatchStream};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

/// A running core. It dies with the value, and its connections with it: it has threads of its own.
pub struct Core {
    pub address: SocketAddr,
    /// What is sent next to who watches.
    pub tell: watch::Sender<Option<v1::WatchResponse>>,
    /// What was said when a stream began.
    pub watches: mpsc::UnboundedReceiver<v1::WatchRequest>,
    /// What was posted.
    pub posts: mpsc::UnboundedReceiver<v1::PostRequest>,
    runtime: Option<Runtime>,
}

struct Answers {
    told: watch::Receiver<Option<v1::WatchResponse>>,
    watches: mpsc::UnboundedSender<v1::WatchRequest>,
    posts: mpsc::UnboundedSender<v1::PostRequest>,
    refusal: fn(&v1::PostRequest) -> Result<(), Status>,
}

#[tonic::async_trait]
impl Extensions for Answers {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let _ = self.watches.send(request.into_inner());
        let told = WatchStream::new(self.told.clone()).filter_map(|event| std::future::ready(event.map(Ok)));
        Ok(Response::new(Box::pin(told)))
    }

    async fn post(&self, request: Request<v1::PostRequest>) -> Result<Response<v1::PostResponse>, Status> {
        let request = request.into_inner();
        let answer = (self.refusal)(&request);
        let _ = self.posts.send(request);
        answer.map(|()| Response::new(v1::PostResponse {}))
    }
}

impl Core {
    pub fn start(address: &str) -> Self {
        Self::start_refusing(address, |_| Ok(()))
    }

    pub fn start_refusing(address: &str, refusal: fn(&v1::PostRequest) -> Result<(), Status>) -> Self {
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = watch::channel(None);
        let (watched, watches) = mpsc::unbounded_channel();
        let (posted, posts) = mpsc::unbounded_channel();
        let service = ExtensionsServer::new(Answers { told, watches: watched, posts: posted, refusal })
            .max_decoding_message_size(interlock_core::grpc::MESSAGE_LIMIT)
            .max_encoding_message_size(interlock_core::grpc::MESSAGE_LIMIT);
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move {
            let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        Self { address, tell, watches, posts, runtime: Some(runtime) }
    }

    pub fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect_lazy()
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
