//! Label-driven Layer 7 routing for Docker Swarm, as a library.
//!
//! ```text
//!  Swarm ──observe──▶ Snapshot ─┐
//!  settings file ───▶ Settings ─┼─▶ model::read ─▶ routes::resolve ─▶ proxy_config::build ─▶ render
//!                     Memory ───┘                                                             │
//!        ▲                                                                                    ▼
//!        └──────────── apply ◀── Plan ◀── plan::diff(Snapshot, Desired) ◀── desired::proxy ◀──┘
//! ```
//!
//! Everything between *observe* and *apply* is the pure function [`reconcile::reconcile`]. The modules below are in reading
//! order. Without default features the crate is that function and its types alone, and knows neither tokio nor Docker.

pub mod names;
pub mod snapshot;

pub mod settings;

pub mod labels;
pub mod options;
pub mod problem;

pub mod model;

pub mod routes;

pub mod proxy_config;

pub mod generations;

pub mod options_in_force;

pub mod render;

pub mod reports;

pub mod desired;

pub mod ownership;
mod placement;
pub mod plan;
pub(crate) mod reachability;
pub(crate) mod shortages;

pub mod install;
pub mod reconcile;

pub mod state;

mod acting;
mod certificates;
mod core_name;
mod hash;
pub mod template;

#[cfg(feature = "docker")]
pub mod docker;
#[cfg(feature = "grpc")]
pub mod extension;
#[cfg(feature = "grpc")]
pub mod grpc;
#[cfg(feature = "grpc")]
pub mod proxy;
#[cfg(any(feature = "docker", feature = "grpc"))]
pub mod trust;

#[cfg(all(feature = "docker", feature = "grpc"))]
pub mod runtime;
