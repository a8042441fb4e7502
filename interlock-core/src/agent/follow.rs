//! Following core: what it wants goes into a cell that holds the newest alone, what became of it goes back on the same stream.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::Client;
use super::candidate::{Candidate, Origin};
use super::seal::Seal;
use crate::grpc::v1::follow_request::Event;
use crate::grpc::{MESSAGE_LIMIT, convert, v1};
use crate::kinds::nginx::server::Connections;
use crate::kinds::server::{FileSet, UnreachableTask};
use crate::proxy_config::Generation;
use crate::units::Backoff;

/// What the proxy runs, for core.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Running {
    /// Empty when it does not run yet.
    pub(super) revision: String,
    pub(super) hash: String,
}

/// What became of a revision.
#[derive(Debug)]
pub(super) enum Answer {
    Accepted { revision: String, hash: String },
    Refused { revision: String, hash: String, message: String, running: String },
}

/// What core is told about the agent itself.
#[derive(Debug, Clone)]
pub(super) struct Introduction {
    pub(super) agent: String,
    pub(super) generation: Generation,
    pub(super) proxy_version: String,
    pub(super) hostname: String,
    /// What is wrong with that version; empty if nothing is known.
    pub(super) version_warning: String,
    /// What its secrets are.
    pub(super) secrets: Vec<v1::Secret>,
}

/// The side of the follower.
pub(super) struct Follower {
    pub(super) client: Client,
    pub(super) introduction: Introduction,
    pub(super) running: watch::Receiver<Running>,
    pub(super) wanted: watch::Sender<Option<Arc<Candidate>>>,
    pub(super) answers: mpsc::UnboundedReceiver<Answer>,
    pub(super) connections: Connections,
    /// The shortest and the longest time between two attempts to reach core.
    pub(super) pause: (Duration, Duration),
    pub(super) seal: Option<Seal>,
}

impl Follower {
    /// Follows for ever: when the stream ends, it is tried again after a pause that grows and that chance makes differ.
    pub(super) async fn run(mut self) {
        let mut pauses = Backoff::new(self.pause.0, self.pause.1);
        let mut told = None;
        self.client = self.client.max_decoding_message_size(MESSAGE_LIMIT).max_encoding_message_size(MESSAGE_LIMIT);
        loop {
            let (reached, status) = self.follow(&mut told).await;
            let text = format!("{:?}: {}", status.code(), crate::problem::shown(status.message()));
            if reached {
                pauses.reset();
                tracing::warn!("the stream from core ended ({text}); the proxy keeps serving and tries core again");
                told = None;
            } else if told.as_ref() != Some(&text) {
                tracing::warn!("cannot reach core ({text}); the proxy keeps serving and tries core again");
                told = Some(text);
            }
            tokio::time::sleep(pauses.next()).await;
        }
    }

    /// Until the stream ends. Answers whether core was of use, and why it ended.
    async fn follow(&mut self, told: &mut Option<String>) -> (bool, tonic::Status) {
        let (requests, outgoing) = mpsc::unbounded_channel();
        // What became of revisions of an earlier stream: what runs is in the Hello, and what was refused core sends again.
        while self.answers.try_recv().is_ok() {}
        let hello = self.hello();
        let mut unreachable = hello.unreachable.clone();
        let mut look = interval(self.connections.look());
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The other side is in this function.
        let _ = requests.send(request(Event::Hello(hello)));
        let mut stream = match self.client.follow(UnboundedReceiverStream::new(outgoing)).await {
            Ok(response) => response.into_inner(),
            Err(status) => return (false, status),
        };
        tracing::info!("connected to core");
        *told = None;
        let since = Instant::now();
        let mut heard = false;
        // A core that ends each stream at once is no better than one that is away.
        let reached = |heard| heard || since.elapsed() > self.pause.1;
        loop {
            tokio::select! {
                response = stream.next() => match response {
                    Some(Ok(response)) => {
                        heard = true;
                        if let Some(refusal) = response.revision.and_then(|revision| self.take(revision)) {
                            let _ = requests.send(request(refusal));
                        }
                    }
                    Some(Err(status)) => return (reached(heard), status),
                    None => return (reached(heard), tonic::Status::ok("core closed the stream")),
                },
                Some(answer) = self.answers.recv() => {
                    let _ = requests.send(request(self.event(answer)));
                }
                _ = look.tick() => {
                    let now = reported(&self.connections);
                    if now != unreachable {
                        unreachable.clone_from(&now);
                        let _ = requests.send(request(Event::Reachability(v1::Reachability { unreachable: now })));
                    }
                }
            }
        }
    }

    fn hello(&self) -> v1::Hello {
        let Introduction { agent, generation, proxy_version, hostname, version_warning, secrets } =
            self.introduction.clone();
        let Running { revision, hash } = self.running.borrow().clone();
        let (generation, unreachable) = (generation.to_string(), reported(&self.connections));
        v1::Hello { agent, generation, proxy_version, hostname, revision, hash, version_warning, secrets, unreachable }
    }

    /// Makes a revision the one that is wanted, unless it is not what the contract says.
    fn take(&self, revision: v1::Revision) -> Option<Event> {
        let v1::Revision { generation, revision, files, signature } = revision;
        if generation != self.introduction.generation.as_str() {
            tracing::warn!("revision of another generation from core ignored");
            return None;
        }
        let files = files.unwrap_or_default();
        let hash = files.hash.clone();
        let read = || {
            let revision = convert::revision(&revision)?;
            let files = convert::files_from_wire(files)?;
            let candidate = Candidate {
                origin: Origin::Core,
                signature: signature.clone(),
                set: FileSet { revision: Some(revision), hash: hash.clone(), files: files.into() },
            };
            match self.seal.as_ref().and_then(|seal| seal.breaks(&candidate)) {
                Some(wrong) => Err(convert::Malformed { field: "signature", wrong: wrong.to_owned() }),
                None => Ok(candidate),
            }
        };
        match read() {
            Ok(candidate) => {
                tracing::debug!("core wants {candidate}");
                self.wanted.send_replace(Some(Arc::new(candidate)));
                None
            }
            Err(malformed) => {
                tracing::warn!("malformed revision from core ignored: {malformed}");
                let message = malformed.to_string();
                Some(Event::Refused(v1::Refused {
                    generation,
                    revision,
                    hash,
                    message,
                    running_revision: self.running.borrow().revision.clone(),
                }))
            }
        }
    }

    fn event(&self, answer: Answer) -> Event {
        let generation = self.introduction.generation.to_string();
        match answer {
            Answer::Accepted { revision, hash } => Event::Accepted(v1::Accepted { generation, revision, hash }),
            Answer::Refused { revision, hash, message, running } => {
                Event::Refused(v1::Refused { generation, revision, hash, message, running_revision: running })
            }
        }
    }
}

fn request(event: Event) -> v1::FollowRequest {
    v1::FollowRequest { event: Some(event) }
}

/// The tasks that do not accept connections now, for core.
fn reported(connections: &Connections) -> Vec<v1::UnreachableTask> {
    let task = |UnreachableTask { address, refuses, is_lasting }| v1::UnreachableTask {
        address: address.to_string(),
        refuses,
        is_lasting,
    };
    connections.unreachable().into_iter().map(task).collect()
}
