//! Label-driven Layer 7 routing for Docker Swarm, as a library.
//!
//! ```text
//!  Swarm ──observe──▶ Snapshot ─┐
//!  settings file ───▶ Settings ─┼─▶ model::read ─▶ routes::resolve ─▶ proxy_config::build ─▶ render
//!                     Memory ───┘                                                             │
//!        ▲                                                                                    ▼
//!        └──────────── apply ◀── Plan ◀── plan::diff(Snapshot, Desired) ◀── deployment ◀──────┘
//! ```
//!
//! Everything between *observe* and *apply* is the pure function [`reconcile::reconcile`]. The modules below are in reading
//! order. Without default features the crate is that function and its types alone, and knows neither tokio nor Docker.

pub mod units;

pub mod swarm;

pub mod problem;

pub mod labels;

pub mod settings;

pub mod ownership;

pub mod routes;

pub mod proxy_config;

pub mod kinds;

pub mod peers;

pub mod deployment;

pub mod plan;

pub mod reconcile;

pub mod install;

#[cfg(any(feature = "docker", feature = "grpc"))]
pub mod trust;

#[cfg(feature = "docker")]
pub mod docker;

#[cfg(feature = "grpc")]
pub mod extension;

#[cfg(feature = "grpc")]
pub mod grpc;

#[cfg(feature = "grpc")]
pub mod agent;

#[cfg(all(feature = "docker", feature = "grpc"))]
pub mod runtime;
