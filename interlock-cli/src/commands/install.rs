//! `interlock install` and `interlock uninstall`

use std::process::ExitCode;

use interlock_core::install::{self, Core};
use interlock_core::plan::Plan;
use interlock_core::problem::Problem;
use interlock_core::runtime::{self, Installed, Options};
use interlock_core::snapshot::Snapshot;
use interlock_core::{ownership, settings};
use serde_json::json;

use super::reconcile::Teller;
use crate::args::{Format, Global, InstallArgs, UninstallArgs};
use crate::failure::Failure;
use crate::{engine, inputs, logging, show};

pub(crate) fn install(global: &Global, args: &InstallArgs) -> Result<ExitCode, Failure> {
    let loaded = match &args.settings.config {
        Some(file) => inputs::settings(Some(file))?,
        None => inputs::parse_settings("the default settings", settings::template())?,
    };
    logging::start(global, &loaded.settings);
    let core =
        Core { name: args.name.clone(), image: args.image.clone(), settings: loaded.settings, text: loaded.text };
    let tokio = inputs::runtime()?;
    let options = Options::new(engine::endpoint(&global.docker, &core.settings)?);
    let adopts = args.adopt_authority.as_ref();
    if args.dry_run {
        let snapshot = tokio.block_on(observe(global, &core.settings))?;
        let (plan, problem) = match args.ca_only {
            true => install::authority(&snapshot, &core.settings, adopts),
            false => install::install(&snapshot, &core, adopts),
        };
        return planned(&plan, problem, args.format);
    }
    let mut teller = Teller::new(args.format);
    let worked = tokio.block_on(async {
        match args.ca_only {
            true => runtime::authority(&core.settings, adopts, &options, args.timeout, |told| teller.tell(told)).await,
            false => runtime::install(&core, adopts, &options, args.timeout, |told| teller.tell(told)).await,
        }
    });
    done(teller, worked, args.format)?;
    if args.ca_only && args.format == Format::Text {
        show::out(&format!(
            "give them to core: --secret source={},target=interlock-authority --network {}{}\n",
            ownership::AUTHORITY_SECRET,
            ownership::CONTROL_NETWORK,
            interlock_core::desired::core_networks(&core.settings)
                .keys()
                .filter(|name| *name != ownership::CONTROL_NETWORK)
                .map(|name| format!(" --network {name}"))
                .collect::<String>()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn uninstall(global: &Global, args: &UninstallArgs) -> Result<ExitCode, Failure> {
    let settings = interlock_core::settings::Settings::default();
    logging::start(global, &settings);
    let tokio = inputs::runtime()?;
    if args.dry_run {
        let snapshot = tokio.block_on(observe(global, &settings))?;
        let (plan, problem) = install::uninstall(&snapshot, args.keep_authority);
        return planned(&plan, problem, args.format);
    }
    let options = Options::new(engine::endpoint(&global.docker, &settings)?);
    let mut teller = Teller::new(args.format);
    let work = runtime::uninstall(args.keep_authority, &options, args.timeout, |told| teller.tell(told));
    let worked = tokio.block_on(work);
    done(teller, worked.map(|steps| Installed { steps, authority: None }), args.format)?;
    Ok(ExitCode::SUCCESS)
}

async fn observe(global: &Global, settings: &interlock_core::settings::Settings) -> Result<Snapshot, Failure> {
    Ok(inputs::connect(&global.docker, settings).await?.observe(jiff::Timestamp::now()).await?.snapshot)
}

fn planned(plan: &Plan, problem: Option<Problem>, format: Format) -> Result<ExitCode, Failure> {
    if let Some(problem) = problem {
        return Err(Failure::Work(problem.to_string().into()));
    }
    match format {
        Format::Text => show::out(&show::plan(plan)),
        Format::Json => show::out(&format!("{:#}\n", json!({ "plan": plan }))),
    }
    Ok(ExitCode::SUCCESS)
}

fn done(mut teller: Teller, worked: Result<Installed, runtime::Error>, format: Format) -> Result<(), Failure> {
    teller.finish();
    let Installed { steps, authority } = worked?;
    match format {
        Format::Json => {
            let mut told = json!({ "done": teller.done });
            if let Some(authority) = &authority {
                told["authority"] = json!(authority);
            }
            show::out(&format!("{told:#}\n"));
        }
        Format::Text if steps == 0 => show::out("nothing to do\n"),
        Format::Text => {}
    }
    if let Some(authority) = authority.filter(|_| format == Format::Text) {
        show::out(&format!("the authority's fingerprint is {authority}: keep it, to know the authority again\n"));
    }
    Ok(())
}
