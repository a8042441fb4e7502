//! A stateful fake Swarm.
//!
//! It keeps *state* and rejects what Swarm rejects: a stale version, a second object of one name, a config that is in use, a reference to what
//! does not exist. It has no expectations: a test looks at its state, or at the list of calls, afterwards. What it enforces was measured on a
//! real engine, text by text; the same laws run against both.
//!
//! ```
//! use interlock_testkit::Swarm;
//!
//! let mut swarm = Swarm::three_nodes().overlay("demo");
//! swarm.service("shop").label("com.docker.lb.hosts", "shop.example.com").network("demo").replicas(3).create();
//! swarm.settle();
//! assert_eq!(swarm.running("shop").len(), 3);
//!
//! // A proxy that refuses one of its configs: Swarm pauses the update, as it does by default.
//! swarm.config("good", "listen 80;");
//! let bad = swarm.config("bad", "lisssten 80;");
//! swarm.service("proxy").config("good", "/etc/nginx/nginx.conf").create();
//! swarm.settle();
//! swarm.script.refuse_configs_with("proxy", "lisssten");
//! swarm.edit_service("proxy", |spec| {
//!     let reference = &mut spec["TaskTemplate"]["ContainerSpec"]["Configs"][0];
//!     reference["ConfigID"] = bad.into();
//!     reference["ConfigName"] = "bad".into();
//! })?;
//! swarm.settle();
//! assert_eq!(swarm.service_json("proxy")["UpdateStatus"]["State"], "paused");
//! # Ok::<(), interlock_testkit::ApiError>(())
//! ```
//!
//! [`server::serve`] puts the same Swarm behind the Docker API on a unix socket. [`script::Script`] is how things go wrong. Time is virtual: it
//! moves with [`Swarm::tick`] and [`Swarm::settle`], or with [`server::Handle::with_clock`].
//!
//! Not imitated: plugins, volumes, resources, container and image endpoints, logs, `since` and `until` of events, load-balancer addresses of
//! nodes on overlays, raft beyond its index, and what the data path does.

mod builder;
mod engine;
mod error;
pub mod script;
pub mod server;
mod swarm;

pub use builder::ServiceBuilder;
pub use engine::{ApiVersion, Engine};
pub use error::{ApiError, Code};
pub use swarm::{
    Answer, Attachment, Blob, Call, Control, Event, Limits, Meta, Network, Node, Outcome, Service, Swarm, Task,
    TaskState, Timing, UpdateStatus,
};
