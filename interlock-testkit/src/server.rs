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
/// moment. Needs a tokio runtime.
pub fn serve(swarm: Arc<Mutex<Swarm>>, dir: &Path) -> io::Result<Handle> {
    let socket = dir.join("docker.sock");
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

    /// Stops listening and closes all connections, as an engine that dies; the socket file stays. [`serve`] can be called again for another
    /// directory.
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
