//! `interlock init`

use std::fs::OpenOptions;
use std::io::Write;
use std::process::ExitCode;

use interlock_core::settings;

use crate::args::InitArgs;
use crate::failure::Failure;
use crate::show;

pub(crate) fn run(args: &InitArgs) -> Result<ExitCode, Failure> {
    let Some(file) = &args.file else {
        show::out(&settings::template());
        return Ok(ExitCode::SUCCESS);
    };
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(file)
        .and_then(|mut f| f.write_all(settings::template().as_bytes()));
    written.map_err(|error| Failure::input(file.display().to_string(), error))?;
    show::note(&format!("wrote {0}; start with: interlock reconcile --config {0} --dry-run", file.display()));
    Ok(ExitCode::SUCCESS)
}
