//! Sizes that Swarm refuses (docker-facts, section 1).

use crate::error::{ApiError, Code};
use serde_json::Value;

/// Upper bounds; all are exclusive but the transaction's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a config: 1,024,000, and 512,000 before swarmkit of February 2022.
    pub config: usize,
    /// Bytes of a secret: 512,000.
    pub secret: usize,
    /// One raft transaction: 1.5 MiB. Spec and PreviousSpec are in it together. The real one counts protobuf, this one JSON.
    pub transaction: usize,
    /// One gRPC request: 4 MiB.
    pub request: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { config: 1000 * 1024, secret: 500 * 1024, transaction: 1536 * 1024, request: 4 * 1024 * 1024 }
    }
}

impl Limits {
    /// An engine from before configs grew.
    pub fn small_configs() -> Self {
        Self { config: 500 * 1024, ..Self::default() }
    }

    pub(super) fn check_request(&self, spec: &Value) -> Result<(), ApiError> {
        let size = json_size(spec);
        if size > self.request {
            let desc = format!("grpc: received message larger than max ({size} vs. {})", self.request);
            return Err(ApiError::rpc(Code::ResourceExhausted, desc));
        }
        Ok(())
    }

    pub(super) fn check_transaction(&self, parts: &[&Value]) -> Result<(), ApiError> {
        if parts.iter().map(|part| json_size(part)).sum::<usize>() > self.transaction {
            return Err(ApiError::rpc(Code::Unknown, "raft: raft message is too large and can't be sent"));
        }
        Ok(())
    }
}

fn json_size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 4,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(json_size).sum(),
        Value::Object(members) => members.iter().map(|(key, value)| key.len() + 2 + json_size(value)).sum(),
    }
}
