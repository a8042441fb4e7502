//! The extensions' side of the contract: watch the models of a service cluster, post what is made of them.

use std::convert::Infallible;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::StreamExt;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::convert::{self, Malformed};
use super::v1::extensions_client::ExtensionsClient;
use super::v1::watch_response::Event as Sent;
use super::{MESSAGE_LIMIT, v1};
use crate::extension::{Checker, Event, Kept, serve};
use crate::proxy_config::Generation;
use crate::render::Rendering;

/// The pauses between attempts to reach core double from this to [`LONGEST_PAUSE`], each with up to as much again by chance.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
/// See [`SHORTEST_PAUSE`].
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Follows core over a channel and posts files, for as long as the future lives. When the connection ends, a new one is tried until
/// one comes about. It is for the channel to notice that core is silent, by HTTP/2 pings.
pub async fn follow(channel: Channel, checker: Option<&Checker>) -> Infallible {
    let client = ExtensionsClient::new(channel)
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT);
    let pauses = ExponentialBuilder::new()
        .with_min_delay(SHORTEST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .without_max_times()
        .with_jitter();
    let mut kept = Kept::default();
    let mut next = pauses.build();
    loop {
        let mut heard = false;
        match session(client.clone(), checker, &mut kept, &mut heard).await {
            Ok(()) => tracing::info!("core ended the connection"),
            Err(status) => tracing::warn!(code = ?status.code(), "no connection to core: {}", status.message()),
        }
        if heard {
            next = pauses.build();
        }
        tokio::time::sleep(next.next().unwrap_or(LONGEST_PAUSE)).await;
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
    event.inspect_err(|wrong| tracing::error!(revision, "core sent what it must not: {wrong}")).ok()
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
        Err(error) => tracing::error!(%generation, %revision, "there are no files: {error}"),
    }
    let Err(status) = client.post(convert::rendering_to_wire(&generation, &rendering)).await else { return Ok(()) };
    match status.code() {
        // The stream has or will have a newer model.
        Code::FailedPrecondition => tracing::debug!(%generation, %revision, "overtaken"),
        // The same would be refused again; the next model may not be.
        Code::InvalidArgument | Code::OutOfRange | Code::ResourceExhausted => {
            tracing::error!(%generation, %revision, "core refuses the files: {}", status.message());
        }
        _ => return Err(status),
    }
    Ok(())
}
