//! `interlock install` and `interlock uninstall`

use std::process::ExitCode;
use std::time::{Duration, Instant};

use interlock_core::install::{self, Core};
use interlock_core::plan::Plan;
use interlock_core::problem::Problem;
use interlock_core::runtime::{self, Installed, Options};
use interlock_core::swarm::Snapshot;
use interlock_core::{ownership, settings};
use serde_json::json;
use tokio::runtime::Runtime;

use super::reconcile::Teller;
use crate::args::{Format, Global, InstallArgs, UninstallArgs};
use crate::failure::Failure;
use crate::{engine, inputs, logging, show};

/// The image of a core that is new.
const DEFAULT_IMAGE: &str = concat!("interlock:", env!("CARGO_PKG_VERSION"));

pub(crate) fn install(global: &Global, args: &InstallArgs) -> Result<ExitCode, Failure> {
    let file = args.settings.config.as_deref();
    let given = inputs::settings(file)?.settings;
    logging::start(global, &given);
    let tokio = inputs::runtime()?;
    if args.ca_only {
        return authority(global, args, &tokio);
    }
    let (loaded, snapshot) = tokio.block_on(inputs::on_swarm(&global.docker, file))?;
    let deployed = install::deployed(&snapshot);
    let loaded = match file.is_none() && deployed.is_none() {
        true => inputs::parse_settings("the default settings", settings::template())?,
        false => loaded,
    };
    let kept = deployed.and_then(|core| core.image).map(str::to_owned);
    let image = args.image.clone().or(kept).unwrap_or_else(|| DEFAULT_IMAGE.to_owned());
    let core = Core { name: args.name.clone(), image, settings: loaded.settings, text: loaded.text };
    // Where core finds the engine need not be where it is from here.
    let options = Options::new(engine::endpoint(&global.docker, &given)?);
    let adopts = args.adopt_authority.as_ref();
    if args.dry_run {
        let (plan, problem) = install::install(&snapshot, &core, adopts);
        return planned(&plan, problem, args.format);
    }
    let mut teller = Teller::new(args.format);
    let start = Instant::now();
    let work = runtime::install(&core, adopts, &options, args.timeout, |told| teller.tell(told));
    let installed = tokio.block_on(work);
    let left = Duration::from_secs(args.timeout.saturating_sub(start.elapsed()).as_secs());
    let serves = match &installed {
        Ok(_) if !args.no_wait => {
            tokio.block_on(runtime::serving(&core.settings, &options, left, |told| teller.tell(told)))
        }
        _ => Ok(()),
    };
    done(teller, installed, args.format)?;
    serves?;
    Ok(ExitCode::SUCCESS)
}

/// What a core that is deployed by hand needs.
fn authority(global: &Global, args: &InstallArgs, tokio: &Runtime) -> Result<ExitCode, Failure> {
    let settings = inputs::settings(args.settings.config.as_deref())?.settings;
    let adopts = args.adopt_authority.as_ref();
    if args.dry_run {
        let snapshot = tokio.block_on(observe(global, &settings))?;
        let (plan, problem) = install::authority(&snapshot, &settings, adopts);
        return planned(&plan, problem, args.format);
    }
    let options = Options::new(engine::endpoint(&global.docker, &settings)?);
    let mut teller = Teller::new(args.format);
    let work = runtime::authority(&settings, adopts, &options, args.timeout, |told| teller.tell(told));
    let worked = tokio.block_on(work);
    done(teller, worked, args.format)?;
    if args.format == Format::Text {
        show::out(&format!(
            "give them to core: --secret source={},target=interlock-authority --network {}{}\n",
            ownership::AUTHORITY_SECRET,
            ownership::CONTROL_NETWORK,
            interlock_core::deployment::core_networks(&settings)
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
    let endpoint = engine::endpoint(&global.docker, &settings)?;
    if !args.yes {
        if !show::stdin_is_terminal() {
            return Err(Failure::input(
                "uninstall",
                "add --yes: there is no terminal to ask at; --dry-run shows what it removes",
            ));
        }
        let snapshot = tokio.block_on(observe(global, &settings))?;
        let (plan, problem) = install::uninstall(&snapshot, args.keep_authority);
        planned(&plan, problem, Format::Text)?;
        if !plan.is_empty() && !show::confirmed("Remove all of this? Routes end at once. [y/N] ") {
            return Err(Failure::Work("nothing was removed".into()));
        }
    }
    let options = Options::new(endpoint);
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
