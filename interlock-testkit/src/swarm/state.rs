//! The states of a task, in Swarm's order.

use serde::{Serialize, Serializer};

/// States are a Lamport order: a task's status never goes back (docker-facts, section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskState {
    /// Created, without addresses.
    New,
    /// Has its addresses, waits for a node.
    Pending,
    /// Has a node.
    Assigned,
    /// The node took it.
    Accepted,
    /// The image is being pulled.
    Preparing,
    /// Could be started.
    Ready,
    /// Started, but not healthy yet.
    Starting,
    /// Started, and healthy if there is a health check.
    Running,
    /// Ended with exit code 0.
    Complete,
    /// Stopped because it was asked to.
    Shutdown,
    /// Ended with another exit code, or became unhealthy.
    Failed,
    /// Could not be started.
    Rejected,
    /// As a desired state: to be deleted.
    Remove,
    /// Its node has been away for 24 hours.
    Orphaned,
}

impl TaskState {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Pending => "pending",
            Self::Assigned => "assigned",
            Self::Accepted => "accepted",
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Shutdown => "shutdown",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Remove => "remove",
            Self::Orphaned => "orphaned",
        }
    }

    /// Reads the API's spelling; a filter may use any case.
    pub fn parse(text: &str) -> Option<Self> {
        use TaskState::*;
        [
            New, Pending, Assigned, Accepted, Preparing, Ready, Starting, Running, Complete, Shutdown, Failed,
            Rejected, Remove, Orphaned,
        ]
        .into_iter()
        .find(|state| state.as_str().eq_ignore_ascii_case(text))
    }
}

impl Serialize for TaskState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
