//! `interlock schema`

use std::process::ExitCode;

use interlock_core::settings;
use interlock_core::swarm::state::State;

use crate::args::{SchemaArgs, SchemaOf};
use crate::failure::Failure;
use crate::show;

pub(crate) fn run(args: &SchemaArgs) -> Result<ExitCode, Failure> {
    let schema = match args.of {
        SchemaOf::Settings => settings::json_schema(),
        SchemaOf::State => schemars::schema_for!(State).to_value(),
    };
    show::out(&format!("{schema:#}\n"));
    Ok(ExitCode::SUCCESS)
}
