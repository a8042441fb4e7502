//! Calls that take turns: core reads what the extensions of a service cluster send one after the other, however many connections they
//! have. A message may be large, and is in memory before anybody sees it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response};
use tokio::sync::Semaphore;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use super::tls::Caller;
use crate::units::Cluster;

/// How long a call may take once it is its turn, until its answer begins.
const LONGEST: Duration = Duration::from_secs(30);

/// A service whose calls take turns, by service cluster.
#[derive(Debug, Clone)]
pub(super) struct InTurns<S> {
    inner: S,
    turns: Arc<Mutex<BTreeMap<Cluster, Arc<Semaphore>>>>,
}

impl<S> InTurns<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, turns: Arc::default() }
    }

    /// There are as many as service clusters whose certificates are admitted.
    fn turns(&self, cluster: &Cluster) -> Arc<Semaphore> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.entry(cluster.clone()).or_insert_with(|| Arc::new(Semaphore::new(1))).clone()
    }
}

impl<S: NamedService> NamedService for InTurns<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for InTurns<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(caller) = request.extensions().get::<Caller>() else {
            return Box::pin(async { Ok(Status::unauthenticated("no certificate").into_http()) });
        };
        let turns = self.turns(&caller.peer().cluster);
        // The one that is ready goes.
        let other = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, other);
        Box::pin(async move {
            let Ok(_turn) = turns.acquire().await else {
                return Ok(Status::unavailable("core is stopping").into_http());
            };
            match tokio::time::timeout(LONGEST, inner.call(request)).await {
                Ok(answer) => answer,
                Err(_) => Ok(Status::deadline_exceeded("the message did not come").into_http()),
            }
        })
    }
}
