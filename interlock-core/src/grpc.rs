//! The contract between core, extensions and the agents of proxies: `proto/interlock/v1/interlock.proto`.
//!
//! This module alone knows the contract's own types; what enters and leaves it are those of the pure part.

pub mod convert;
pub mod extensions;
pub mod tls;

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

/// The most bytes that a message may have: 16 MiB.
pub const MESSAGE_LIMIT: usize = 16 << 20;
