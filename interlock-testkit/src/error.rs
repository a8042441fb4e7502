//! What the API answers when it refuses.

use std::fmt;

/// A refusal, with the status and the text that dockerd uses for it (docker-facts, section 2).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {message}")]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// The `message` member of the body.
    pub message: String,
}

/// The gRPC code that swarmkit answers with; dockerd derives the HTTP status from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// 400
    InvalidArgument,
    /// 400
    FailedPrecondition,
    /// 403
    PermissionDenied,
    /// 404
    NotFound,
    /// 409
    AlreadyExists,
    /// 501
    Unimplemented,
    /// 500
    ResourceExhausted,
    /// 500
    DeadlineExceeded,
    /// 500
    Unknown,
}

impl Code {
    fn status(self) -> u16 {
        match self {
            Code::InvalidArgument | Code::FailedPrecondition => 400,
            Code::PermissionDenied => 403,
            Code::NotFound => 404,
            Code::AlreadyExists => 409,
            Code::Unimplemented => 501,
            Code::ResourceExhausted | Code::DeadlineExceeded | Code::Unknown => 500,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl ApiError {
    /// A refusal by dockerd itself.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// A refusal by swarmkit, worded as dockerd passes it on.
    pub fn rpc(code: Code, desc: impl fmt::Display) -> Self {
        Self::new(code.status(), format!("rpc error: code = {code} desc = {desc}"))
    }

    /// 400 from swarmkit.
    pub(crate) fn invalid(desc: impl fmt::Display) -> Self {
        Self::rpc(Code::InvalidArgument, desc)
    }

    /// 404 from dockerd: `service x not found`.
    pub(crate) fn not_found(kind: &str, key: &str) -> Self {
        Self::new(404, format!("{kind} {key} not found"))
    }

    /// The optimistic lock: the version sent is not the object's. A **500**.
    pub fn out_of_sequence() -> Self {
        Self::rpc(Code::Unknown, "update out of sequence")
    }

    /// What every Swarm endpoint answers after hanging while there is no leader.
    pub fn deadline_exceeded() -> Self {
        Self::rpc(Code::DeadlineExceeded, "context deadline exceeded")
    }

    /// What every Swarm endpoint answers once the lack of a leader is known.
    pub fn no_leader() -> Self {
        Self::rpc(
            Code::Unknown,
            "The swarm does not have a leader. It's possible that too few managers are online. \
             Make sure more than half of the managers are online.",
        )
    }

    /// The leader stepped down while the write was under way: its outcome is unknown.
    pub fn lost_leader_status() -> Self {
        Self::rpc(Code::Unknown, "node lost leader status")
    }

    /// The engine is not in a Swarm.
    pub fn no_swarm() -> Self {
        Self::new(
            503,
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node \
             to swarm and try again.",
        )
    }

    /// The engine is a worker, or a manager that was just demoted.
    pub fn not_a_manager() -> Self {
        Self::new(
            503,
            "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run \
             this command on a manager node or promote the current node to a manager.",
        )
    }
}
