//! The extensions' side of the contract: watch the models of a service cluster, post what is made of them.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::convert::{self, Malformed};
use super::tls::some_of;
use super::v1::extensions_client::ExtensionsClient;
use super::v1::watch_response::Event as Sent;
use super::{MESSAGE_LIMIT, v1};
use crate::extension::{Event, Kept, serve};
use crate::kinds::{Checker, Rendering};
use crate::proxy_config::Generation;
use crate::units::Backoff;

/// The pauses between attempts to reach core double from this to [`LONGEST_PAUSE`], each with up to as much again by chance.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
/// See [`SHORTEST_PAUSE`].
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// How often it is looked where cores are.
const LOOK: Duration = Duration::from_secs(1);
/// How many of the addresses that are named are looked at each time. There is one core, and for a while there may be two.
const MOST_CORES: usize = 8;
/// How many are followed at once, those included that are only tried.
const MOST_FOLLOWED: usize = 32;

/// Follows all cores that there are: there are two when a node seems to be gone and is not, and the proxies of each need files. `find` says
/// where they are. One that it does not name any more is followed until the connection ends.
///
/// # Errors
///
/// The first of `connect`, which makes a channel and does not connect yet.
pub async fn follow_all<E, F: Future<Output = io::Result<Vec<SocketAddr>>>>(
    find: impl Fn() -> F,
    connect: impl Fn(SocketAddr) -> Result<Channel, E>,
    checker: Option<&Checker>,
) -> Result<Infallible, E> {
    let named = Mutex::new(BTreeSet::new());
    let is_named = |address: &SocketAddr| named.lock().unwrap_or_else(PoisonError::into_inner).contains(address);
    let mut followed = BTreeSet::new();
    let mut cores = FuturesUnordered::new();
    let mut unknown = None;
    for looks in 0_usize.. {
        let mut finding = std::pin::pin!(find());
        // Names may take seconds to be looked up.
        let found = loop {
            tokio::select! {
                found = &mut finding => break found,
                Some(gone) = cores.next() => drop(followed.remove(&gone)),
            }
        };
        match found {
            Ok(addresses) => {
                unknown = None;
                *named.lock().unwrap_or_else(PoisonError::into_inner) =
                    some_of(addresses, looks, MOST_CORES).into_iter().collect();
            }
            Err(error) => {
                let error = error.to_string();
                if unknown.as_ref() != Some(&error) {
                    tracing::warn!("cannot find core: {error}");
                }
                unknown = Some(error);
            }
        }
        let newest = named.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for address in newest {
            if followed.len() < MOST_FOLLOWED && followed.insert(address) {
                let channel = connect(address)?;
                let is_named = &is_named;
                cores.push(async move {
                    follow_while(channel, checker, || is_named(&address)).await;
                    address
                });
            }
        }
        let again = tokio::time::sleep(if followed.is_empty() { SHORTEST_PAUSE } else { LOOK });
        tokio::pin!(again);
        loop {
            tokio::select! {
                () = &mut again => break,
                Some(gone) = cores.next() => drop(followed.remove(&gone)),
            }
        }
    }
    std::future::pending().await
}

/// Follows core over a channel and posts files, for as long as the future lives. When the connection ends, a new one is tried until
/// one comes about. It is for the channel to notice that core is silent, by HTTP/2 pings.
pub async fn follow(channel: Channel, checker: Option<&Checker>) -> Infallible {
    follow_while(channel, checker, || true).await;
    std::future::pending().await
}

/// Follows core until a connection ends and no other shall be tried.
async fn follow_while(channel: Channel, checker: Option<&Checker>, goes_on: impl Fn() -> bool) {
    let client = ExtensionsClient::new(channel)
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT);
    let mut pauses = Backoff::new(SHORTEST_PAUSE, LONGEST_PAUSE);
    let mut kept = Kept::default();
    while goes_on() {
        let mut heard = false;
        match session(client.clone(), checker, &mut kept, &mut heard).await {
            Ok(()) => tracing::info!("core ended the connection"),
            Err(status) => tracing::warn!(code = ?status.code(), "no connection to core: {}", status.message()),
        }
        if heard {
            pauses.reset();
        }
        tokio::time::sleep(pauses.next()).await;
    }
}

/// One stream of models, from its beginning to its end.
async fn session(
    mut client: ExtensionsClient<Channel>,
    checker: Option<&Checker>,
    kept: &mut Kept,
    heard: &mut bool,
) -> Result<(), Status> {
    let request = v1::WatchRequest {
        agent: format!("interlock/{}", env!("CARGO_PKG_VERSION")),
        checker_version: checker.map(|checker| checker.version().to_string()).unwrap_or_default(),
    };
    let responses = client.watch(request).await?.into_inner();
    tracing::info!("following core");
    let events = responses
        .inspect(|response| *heard |= response.is_ok())
        .filter_map(|response| std::future::ready(response.map(event).transpose()));
    serve(events, checker, kept, |generation, rendering| post(client.clone(), generation, rendering)).await
}

/// What core sent. Nothing is made of what this version does not know.
fn event(response: v1::WatchResponse) -> Option<Event> {
    let (event, revision) = match response.event? {
        Sent::Model(model) => match convert::model_from_wire(&model) {
            Ok(model) => (Ok(Event::Model(Box::new(model))), String::new()),
            Err(wrong) => (unreadable(&model, &wrong), model.revision),
        },
        Sent::WithdrawnGeneration(generation) => (convert::generation(&generation).map(Event::Withdrawn), generation),
    };
    event.inspect_err(|wrong| tracing::error!(revision, "malformed message from core ignored: {wrong}")).ok()
}

fn unreadable(model: &v1::Model, wrong: &Malformed) -> Result<Event, Malformed> {
    let generation = convert::generation(&model.generation)?;
    Ok(Event::Unreadable(generation, convert::revision(&model.revision)?, wrong.to_string()))
}

async fn post(
    mut client: ExtensionsClient<Channel>,
    generation: Generation,
    rendering: Rendering,
) -> Result<(), Status> {
    let revision = &rendering.revision;
    match &rendering.result {
        Ok(files) => tracing::info!(%generation, %revision, files = files.len(), "rendered"),
        Err(error) => tracing::error!(%generation, %revision, "rendering failed: {error}"),
    }
    let Err(status) = client.post(convert::rendering_to_wire(&generation, &rendering)).await else { return Ok(()) };
    match status.code() {
        // The stream has or will have a newer model.
        Code::FailedPrecondition => tracing::debug!(%generation, %revision, "rendering outdated"),
        // The same would be refused again; the next model may not be.
        Code::InvalidArgument | Code::OutOfRange | Code::ResourceExhausted => {
            tracing::error!(%generation, %revision, "core rejected the files: {}", status.message());
        }
        _ => return Err(status),
    }
    Ok(())
}
