//! `interlock snapshot`

use std::process::ExitCode;

use interlock_core::swarm::state::State;

use crate::args::{Global, SnapshotArgs};
use crate::failure::Failure;
use crate::{inputs, logging, show};

pub(crate) fn run(global: &Global, args: &SnapshotArgs) -> Result<ExitCode, Failure> {
    let loaded = inputs::settings(args.settings.config.as_deref())?;
    logging::start(global, &loaded.settings);
    let snapshot = inputs::runtime()?.block_on(async {
        let client = inputs::connect(&global.docker, &loaded.settings).await?;
        Ok::<_, Failure>(client.observe(jiff::Timestamp::now()).await?.snapshot)
    })?;
    show::out(&State { settings: loaded.text, snapshot }.to_yaml()?);
    Ok(ExitCode::SUCCESS)
}
