//! The `interlock` command: arguments in, exit code out. Everything it knows is in `interlock-core`.

mod args;
mod commands;
mod engine;
mod failure;
mod inputs;
mod liveness;
mod logging;
mod show;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use failure::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(failure) => {
            show::failure(&failure);
            failure.code()
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let Cli { global, command } = cli;
    match command {
        Command::Reconcile(args) | Command::Run(args) => commands::reconcile::run(&global, &args),
        Command::Snapshot(args) => commands::snapshot::run(&global, &args),
        Command::Render(args) => commands::render::run(&global, &args),
        Command::Install(args) => commands::install::install(&global, &args),
        Command::Uninstall(args) => commands::install::uninstall(&global, &args),
        Command::Proxy(args) => commands::proxy::run(&global, args),
        Command::Extension(args) => commands::extension::run(&global, &args),
        Command::Health(args) => liveness::ask(&args),
        Command::Init(args) => commands::init::run(&args),
        Command::Labels(args) => commands::labels::run(&args),
        Command::Schema(args) => commands::schema::run(&args),
        Command::Completions(args) => commands::completions::run(&args),
    }
}
