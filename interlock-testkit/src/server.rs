//! A [`Swarm`] behind the Docker HTTP API, on a unix socket.

mod body;

use crate::swarm::{Answer, Outcome, Swarm};
use body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

/// A running server. It ends, with all its connections, when this is dropped.
#[derive(Debug)]
pub struct Handle {
    socket: PathBuf,
    swarm: Arc<Mutex<Swarm>>,
    accepting: JoinHandle<()>,
    clock: Option<JoinHandle<()>>,
}

/// Serves the Swarm on `DIR/docker.sock`. The Swarm stays in the hands of the caller, who can edit it, let time pass in it and look at it at any
/// moment. Replaces a socket that is left there. Needs a tokio runtime.
pub fn serve(swarm: Arc<Mutex<Swarm>>, dir: &Path) -> io::Result<Handle> {
    let socket = dir.join("docker.sock");
    if socket.exists() {
        std::fs::remove_file(&socket)?;
    }
    let listener = UnixListener::bind(&socket)?;
    let accepting = tokio::spawn(accept(listener, swarm.clone()));
    Ok(Handle { socket, swarm, accepting, clock: None })
}

impl Handle {
    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The same as a value of `DOCKER_HOST`.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// The Swarm. Do not hold this across an await.
    pub fn swarm(&self) -> MutexGuard<'_, Swarm> {
        lock(&self.swarm)
    }

    /// Lets virtual time pass with real time, `speed` times as fast. Without this, only the caller moves it.
    #[must_use]
    pub fn with_clock(mut self, speed: f64) -> Self {
        let swarm = self.swarm.clone();
        if let Some(old) = self.clock.take() {
            old.abort();
        }
        self.clock = Some(tokio::spawn(async move {
            let mut last = Instant::now();
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                let passed = last.elapsed();
                last += passed;
                lock(&swarm).tick(passed.mul_f64(speed));
            }
        }));
        self
    }

    /// Stops listening and closes all connections, as an engine that dies; the socket file stays. [`serve`] with the same Swarm and
    /// directory starts it again.
    pub fn stop(self) {}
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.accepting.abort();
        if let Some(clock) = &self.clock {
            clock.abort();
        }
    }
}

async fn accept(listener: UnixListener, swarm: Arc<Mutex<Swarm>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                connections.spawn(serve_connection(stream, swarm.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve_connection(stream: UnixStream, swarm: Arc<Mutex<Swarm>>) {
    let service = hyper::service::service_fn(move |request| respond(request, swarm.clone()));
    // A client that goes away, or one that the script drops, ends the connection with an error: that is no news.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(request: Request<Incoming>, swarm: Arc<Mutex<Swarm>>) -> Result<Response<Body>, io::Error> {
    let method = request.method().as_str().to_owned();
    let path = request.uri().path_and_query().map(|p| p.as_str().to_owned()).unwrap_or_default();
    let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    let outcome = lock(&swarm).call(&method, &path, &body);
    match outcome {
        Outcome::Answered(answer) => response(answer),
        Outcome::AnsweredAfter(delay, answer) => {
            tokio::time::sleep(delay).await;
            response(answer)
        }
        Outcome::Events { from, kinds } => {
            let headers = Response::builder().header("Content-Type", "application/json");
            headers.body(Body::events(swarm, from, kinds)).map_err(io::Error::other)
        }
        Outcome::Dropped => Err(io::ErrorKind::ConnectionReset.into()),
        Outcome::Hung => std::future::pending().await,
    }
}

fn response(answer: Answer) -> Result<Response<Body>, io::Error> {
    let mut builder = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        builder = builder.header(name, value);
    }
    builder.body(Body::whole(Bytes::from(answer.body))).map_err(io::Error::other)
}

/// A test that panicked while it held the lock has failed already; the Swarm is still of use to its neighbours.
fn lock(swarm: &Mutex<Swarm>) -> MutexGuard<'_, Swarm> {
    swarm.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Fault, Rule};
    use http_body_util::Full;
    use hyper::client::conn::http1;
    use serde_json::Value;

    struct Client(http1::SendRequest<Full<Bytes>>);

    impl Client {
        async fn to(handle: &Handle) -> Self {
            let stream = UnixStream::connect(handle.socket()).await.unwrap();
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            Self(sender)
        }

        async fn send(&mut self, method: &str, path: &str, body: &str) -> hyper::Result<Response<Incoming>> {
            let request = Request::builder().method(method).uri(path).header("Host", "docker");
            self.0.send_request(request.body(Full::from(body.to_owned())).unwrap()).await
        }

        async fn json(&mut self, method: &str, path: &str, body: &str) -> (u16, Value) {
            let response = self.send(method, path, body).await.unwrap();
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            (status, serde_json::from_slice(&body).unwrap_or_default())
        }
    }

    fn served(swarm: Swarm) -> (Handle, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        (serve(Arc::new(Mutex::new(swarm)), dir.path()).unwrap(), dir)
    }

    #[tokio::test]
    async fn a_service_can_be_created_over_the_socket_and_edited_behind_its_back() {
        let (handle, _dir) = served(Swarm::three_nodes());
        let mut client = Client::to(&handle).await;
        let spec = r#"{"Name":"web","TaskTemplate":{"ContainerSpec":{"Image":"i"}}}"#;
        let (status, created) = client.json("POST", "/v1.41/services/create", spec).await;
        assert_eq!(status, 201);
        handle.swarm().scale("web", 2);
        handle.swarm().settle();
        let (_, service) = client.json("GET", "/services/web", "").await;
        assert_eq!((&service["ID"], &service["Spec"]["Mode"]["Replicated"]["Replicas"]), (&created["ID"], &2.into()));
        let (status, refusal) = client.json("POST", "/services/web/update?version=1", spec).await;
        assert_eq!(
            (status, &refusal["message"]),
            (500, &"rpc error: code = Unknown desc = update out of sequence".into())
        );
        assert_eq!(client.send("HEAD", "/_ping", "").await.unwrap().headers()["api-version"], "1.41");
    }

    #[tokio::test]
    async fn events_arrive_on_a_stream_of_their_kind() {
        let (handle, _dir) = served(Swarm::three_nodes());
        let path = "/events?filters=%7B%22type%22%3A%5B%22config%22%5D%7D";
        let mut events = Client::to(&handle).await.send("GET", path, "").await.unwrap().into_body();
        handle.swarm().secret("not-asked-for");
        handle.swarm().config("c", "x");
        let frame = events.frame().await.unwrap().unwrap().into_data().unwrap();
        let event: Value = serde_json::from_slice(&frame).unwrap();
        assert_eq!((&event["Action"], &event["Actor"]["Attributes"]["name"]), (&"create".into(), &"c".into()));
    }

    #[tokio::test]
    async fn a_dropped_call_is_an_error_and_a_hung_one_never_ends() {
        let (handle, _dir) = served(Swarm::new());
        handle.swarm().script.rule(Rule::any("/nodes", Fault::Drop));
        handle.swarm().script.rule(Rule::any("/tasks", Fault::Hang));
        assert!(Client::to(&handle).await.send("GET", "/nodes", "").await.is_err());
        let mut hung = Client::to(&handle).await;
        let limit = Duration::from_millis(50);
        assert!(tokio::time::timeout(limit, hung.send("GET", "/tasks", "")).await.is_err());
    }

    #[tokio::test]
    async fn a_clock_lets_tasks_start_by_themselves() {
        let (handle, _dir) = served(Swarm::three_nodes());
        let handle = handle.with_clock(100.0);
        handle.swarm().service("web").create();
        let started = async {
            while handle.swarm().running("web").is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), started).await.unwrap();
    }

    #[tokio::test]
    async fn a_dropped_server_closes_its_connections() {
        let (handle, _dir) = served(Swarm::new());
        let mut client = Client::to(&handle).await;
        assert_eq!(client.json("GET", "/_ping", "").await.0, 200);
        let socket = handle.socket().to_owned();
        handle.stop();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(client.send("GET", "/_ping", "").await.is_err());
        assert!(UnixStream::connect(socket).await.is_err());
    }
}
