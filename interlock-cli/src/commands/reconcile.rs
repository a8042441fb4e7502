//! `interlock reconcile`: the controller, one pass of it, or a look at what it would do.

use std::process::ExitCode;

use interlock_core::reconcile::{Inputs, Memory, Outcome, reconcile_embedded};
use interlock_core::render::Renderings;
use interlock_core::settings::Settings;
use interlock_core::snapshot::Snapshot;
use serde_json::json;

use crate::args::{Format, Global, ReconcileArgs};
use crate::failure::Failure;
use crate::{inputs, logging, show};

pub(crate) fn run(global: &Global, args: &ReconcileArgs) -> Result<ExitCode, Failure> {
    let config = args.settings.config.as_deref();
    if args.exit_code && !args.dry_run && args.state.is_none() {
        return Err(Failure::input("--exit-code", "only says something with --dry-run or --state"));
    }
    if let Some(file) = &args.state {
        let (snapshot, loaded) = inputs::state(file, config)?;
        logging::start(global, &loaded.settings);
        return Ok(dry_run(snapshot, loaded.settings, args));
    }
    let settings = inputs::settings(config)?.settings;
    logging::start(global, &settings);
    let runtime = inputs::runtime()?;
    if args.dry_run {
        let client = async {
            Ok::<_, Failure>(inputs::connect(&global.docker, &settings).await?.observe(jiff::Timestamp::now()).await?)
        };
        let snapshot = runtime.block_on(client)?.snapshot;
        return Ok(dry_run(snapshot, settings, args));
    }
    let _ = runtime;
    Ok(ExitCode::SUCCESS)
}

fn dry_run(snapshot: Snapshot, settings: Settings, args: &ReconcileArgs) -> ExitCode {
    let inputs = Inputs { snapshot, settings, renderings: Renderings::new(), memory: Memory::default() };
    let (outcome, renderings) = reconcile_embedded(&inputs);
    match args.format {
        Format::Text => {
            show::problems(&outcome.problems);
            show::out(&show::plan(&outcome.plan));
            show::out(&diffs(&inputs, &renderings));
        }
        Format::Json => show::out(&format!("{:#}\n", as_json(&outcome))),
    }
    if args.exit_code && !outcome.plan.is_empty() { ExitCode::from(3) } else { ExitCode::SUCCESS }
}

pub(crate) fn as_json(outcome: &Outcome) -> serde_json::Value {
    json!({ "plan": outcome.plan, "problems": outcome.problems })
}

/// What changes in each generated file, compared with what the proxy services mount now.
fn diffs(inputs: &Inputs, renderings: &Renderings) -> String {
    let mut text = String::new();
    for ((cluster, _), rendering) in renderings {
        let Some(extension) = inputs.settings.extension(cluster.as_str()) else { continue };
        let service = inputs.snapshot.services.iter().find(|service| service.spec.name == extension.proxy_service_name);
        let deployed = |path: &str| {
            let mount = service?.spec.configs.iter().find(|mount| mount.target == path)?;
            let config = inputs.snapshot.configs.iter().find(|config| config.id == mount.id)?;
            Some(config.data.as_str())
        };
        for file in rendering.result.iter().flatten() {
            text += &show::diff(&file.path, deployed(&file.path).unwrap_or_default(), &file.content);
        }
    }
    text
}
