//! interlock core

pub mod names;
pub mod snapshot;

pub mod ownership;
pub mod plan;

mod hash;

#[cfg(feature = "docker")]
pub mod docker;
