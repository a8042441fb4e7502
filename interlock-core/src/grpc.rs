//! The contract between core, extensions and the agents of proxies: `proto/interlock/v1/interlock.proto`.
//!
//! This module alone knows the contract's own types; what enters and leaves it are those of the pure part.

use std::time::Duration;

pub mod convert;
mod core_renderings;
pub mod extensions;
mod one_call_per_cluster;
pub mod parcels;
mod published;
pub mod server;
pub mod tls;

use one_call_per_cluster::InTurns;
pub use published::Published;

/// What is generated from the contract.
#[expect(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated; the contract has the comments"
)]
pub mod v1 {
    tonic::include_proto!("interlock.v1");
}

/// The most bytes that a message of core may have: 40 MiB, so that all files that Swarm can hold fit into one.
pub const MESSAGE_LIMIT: usize = 40 << 20;
/// The most bytes that a message of a peer may have: 1 MiB. A longer one is refused by the length in front of it, unread. The longest
/// is a Hello with what some thousand secrets are; an extension posts a hash.
pub const PEER_LIMIT: usize = 1 << 20;
/// How many streams a connection may have. A peer needs two, and has to see that it is healthy.
const STREAMS: u32 = 4;

/// Serves the contract, until the listener ends.
///
/// # Errors
///
/// When the server cannot go on. A connection that fails is its own matter.
pub async fn serve(
    incoming: impl futures::Stream<Item = std::io::Result<tls::Connection>>,
    hub: server::Hub,
) -> Result<(), tonic::transport::Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<v1::extensions_server::ExtensionsServer<server::Hub>>().await;
    health.set_serving::<v1::proxies_server::ProxiesServer<server::Hub>>().await;
    let extensions = v1::extensions_server::ExtensionsServer::new(hub.clone());
    let proxies = v1::proxies_server::ProxiesServer::new(hub);
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(5)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .max_concurrent_streams(STREAMS)
        .add_service(health_service)
        .add_service(InTurns::new(
            extensions.max_decoding_message_size(PEER_LIMIT).max_encoding_message_size(MESSAGE_LIMIT),
        ))
        .add_service(proxies.max_decoding_message_size(PEER_LIMIT).max_encoding_message_size(MESSAGE_LIMIT))
        .serve_with_incoming(incoming)
        .await
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::kinds::{File, MOST_FILES};
    use crate::swarm::Engine;

    #[test]
    fn the_largest_configuration_fits_into_a_message() {
        let content = "x".repeat(Engine::DEFAULT_CONFIG_LIMIT);
        let file = |number: usize| File {
            path: format!("/etc/nginx/interlock.d/unavailable-{number:02}.conf"),
            part: format!("unavailable-{number:02}"),
            content: content.as_str().into(),
        };
        let files: Vec<_> = (0..MOST_FILES).map(file).collect();
        assert!(convert::files_to_wire(&files).encoded_len() + 1024 < MESSAGE_LIMIT);
    }
}
