//! A Swarm as a pure state machine: no I/O, no clock, no randomness of its own.
//!
//! It keeps *state* and rejects what Swarm rejects; it has no expectations. Time is virtual and moves only with [`Swarm::tick`] and
//! [`Swarm::settle`]. Ids are drawn from a counter, so equal calls give equal Swarms.

mod blobs;
mod clock;
mod dispatch;
mod endpoints;
mod events;
mod inspect;
mod limits;
mod list;
mod names;
mod network;
mod nodes;
mod normal;
mod objects;
mod orchestrate;
mod pool;
mod schedule;
mod services;
mod spec;
mod state;
mod tasks;
mod update;
mod validate;

use clock::Timer;
pub use clock::Timing;
pub use dispatch::{Answer, Outcome};
pub use events::Event;
pub use inspect::Call;
pub use limits::Limits;
pub use objects::{Attachment, Blob, Meta, Network, Node, Service, Task, UpdateStatus};
pub(crate) use spec::text;
pub use state::TaskState;

use crate::engine::Engine;
use crate::error::ApiError;
use crate::script::Script;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Whether the Swarm behind the socket can be talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Control {
    /// A manager with a leader.
    #[default]
    Manager,
    /// Not in a Swarm at all: 503.
    NoSwarm,
    /// A worker, or a manager that was demoted: 503.
    Worker,
    /// No leader, just now: `context deadline exceeded`, 500. Reads fail too; `/_ping` does not.
    Hanging,
    /// No leader, known by now: `The swarm does not have a leader`, 500.
    Leaderless,
}

/// The fake. See the crate's documentation for an example.
pub struct Swarm {
    /// What it says it is.
    pub engine: Engine,
    /// What it refuses for its size.
    pub limits: Limits,
    /// How fast it is.
    pub timing: Timing,
    /// Whether it answers.
    pub control: Control,
    /// What goes wrong, and when.
    pub script: Script,
    /// Dead tasks kept per slot.
    pub task_history: usize,
    /// Whether every write by a client is followed by [`Swarm::settle`].
    pub auto_settle: bool,
    index: u64,
    drawn: u64,
    now: Duration,
    nodes: BTreeMap<String, Node>,
    networks: BTreeMap<String, Network>,
    services: BTreeMap<String, Service>,
    tasks: BTreeMap<String, Task>,
    configs: BTreeMap<String, Blob>,
    secrets: BTreeMap<String, Blob>,
    names: BTreeMap<(Kind, String), String>,
    timers: BTreeSet<(Duration, Timer)>,
    dirty: BTreeSet<String>,
    gated: BTreeSet<String>,
    pending: BTreeSet<String>,
    without_address: BTreeSet<String>,
    updating: BTreeSet<String>,
    by_node: BTreeMap<String, BTreeSet<String>>,
    next_subnet: u32,
    events: events::Log,
    calls: Vec<Call>,
}

/// The kinds of named objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Service,
    Network,
    Config,
    Secret,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Service => "service",
            Kind::Network => "network",
            Kind::Config => "config",
            Kind::Secret => "secret",
        }
    }
}

impl Swarm {
    /// One manager that is the leader, and the networks that every Swarm has.
    pub fn new() -> Self {
        let mut swarm = Self {
            engine: Engine::v20_10(),
            limits: Limits::default(),
            timing: Timing::default(),
            control: Control::Manager,
            script: Script::default(),
            task_history: 5,
            auto_settle: false,
            index: 8,
            drawn: 0,
            now: Duration::ZERO,
            nodes: BTreeMap::new(),
            networks: BTreeMap::new(),
            services: BTreeMap::new(),
            tasks: BTreeMap::new(),
            configs: BTreeMap::new(),
            secrets: BTreeMap::new(),
            names: BTreeMap::new(),
            timers: BTreeSet::new(),
            dirty: BTreeSet::new(),
            gated: BTreeSet::new(),
            pending: BTreeSet::new(),
            without_address: BTreeSet::new(),
            updating: BTreeSet::new(),
            by_node: BTreeMap::new(),
            next_subnet: 0,
            events: events::Log::default(),
            calls: Vec::new(),
        };
        swarm.add_predefined_networks();
        swarm.add_node("node1", "manager");
        swarm
    }

    /// One manager and two workers: `node1`, `node2`, `node3` at 10.99.0.1 to .3.
    pub fn three_nodes() -> Self {
        let mut swarm = Self::new();
        swarm.add_node("node2", "worker");
        swarm.add_node("node3", "worker");
        swarm
    }

    /// The raft index: every write to any object advances it.
    pub fn index(&self) -> u64 {
        self.index
    }

    fn new_meta(&mut self) -> Meta {
        self.index += 1;
        let now = self.timestamp();
        Meta { id: self.draw_id(), version: self.index, created: now, updated: now }
    }

    /// A write to an object: the next raft index becomes its version.
    fn touch(index: &mut u64, now: Timestamp, meta: &mut Meta) {
        *index += 1;
        meta.version = *index;
        meta.updated = now;
    }

    /// Looks like Swarm's: 25 characters of `[0-9a-z]`, in no order.
    fn draw_id(&mut self) -> String {
        self.drawn += 1;
        let mut id = String::with_capacity(25);
        for half in 0..2 {
            let mut bits = mix(self.drawn * 2 + half);
            for _ in 0..if half == 0 { 12 } else { 13 } {
                id.push(char::from(b"0123456789abcdefghijklmnopqrstuvwxyz"[(bits % 36) as usize]));
                bits = mix(bits);
            }
        }
        id
    }

    /// The id behind an id, a name or the unique beginning of an id, in this order, as dockerd looks things up.
    fn resolve<T>(&self, kind: Kind, map: &BTreeMap<String, T>, key: &str) -> Result<String, ApiError> {
        if map.contains_key(key) {
            return Ok(key.to_owned());
        }
        if let Some(id) = self.names.get(&(kind, key.to_owned())) {
            return Ok(id.clone());
        }
        if key.is_empty() {
            return Err(ApiError::not_found(kind.as_str(), key));
        }
        let mut matching = map.range(key.to_owned()..).take_while(|(id, _)| id.starts_with(key));
        match (matching.next(), matching.next()) {
            (Some((id, _)), None) => Ok(id.clone()),
            (Some(_), Some(_)) => {
                Err(ApiError::new(400, format!("{} {key} is ambiguous (2 matches found)", kind.as_str())))
            }
            (None, _) => Err(ApiError::not_found(kind.as_str(), key)),
        }
    }
}

impl Default for Swarm {
    fn default() -> Self {
        Self::new()
    }
}

/// SplitMix64: the fake's only source of what looks random.
pub(crate) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
