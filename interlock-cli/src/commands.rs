//! One module a command.

pub(crate) mod completions;
mod dry_run;
pub(crate) mod extension;
pub(crate) mod init;
pub(crate) mod install;
pub(crate) mod labels;
pub(crate) mod proxy;
pub(crate) mod reconcile;
pub(crate) mod render;
pub(crate) mod schema;
pub(crate) mod snapshot;
