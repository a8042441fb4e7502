//! What NGINX and other programs make of what interlock gives them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "../support/mod.rs"]
mod support;

mod agent;
mod checker;
mod clients;
mod extension;
mod nginx;
mod options;
mod reader;
mod refused_settings;
mod settings;
mod template;
mod threats;
mod tls;
mod tls_names;
mod volume;
mod wire;
