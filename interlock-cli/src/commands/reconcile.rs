//! `interlock reconcile`: the controller, one pass of it, or a look at what it would do.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use interlock_core::docker::{Observation, OwnSpecs};
use interlock_core::install;
use interlock_core::kinds::Checker;
use interlock_core::peers::Delivery;
use interlock_core::plan::{self, Step};
use interlock_core::runtime::{self, Options, Progress, Report};
use interlock_core::settings::Settings;
use interlock_core::swarm::Snapshot;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::dry_run::{Look, dry_run};
use crate::args::{Format, Global, ReconcileArgs};
use crate::failure::Failure;
use crate::inputs::Loaded;
use crate::liveness::Liveness;
use crate::{engine, inputs, logging, show};

pub(crate) fn run(global: &Global, args: &ReconcileArgs) -> Result<ExitCode, Failure> {
    let config = args.settings.config.as_deref();
    if args.exit_code && !args.dry_run && args.state.is_none() {
        return Err(Failure::input("--exit-code", "only says something with --dry-run or --state"));
    }
    if let Some(file) = &args.state {
        let (snapshot, loaded) = inputs::state(file, config)?;
        logging::start(global, &loaded.settings);
        let look = Look { snapshot, settings: loaded.settings, specs: OwnSpecs::default() };
        return inputs::runtime()?.block_on(dry_run(look, args));
    }
    let settings = inputs::settings(config)?.settings;
    let _rest = match args.once || args.dry_run {
        true => {
            logging::start(global, &settings);
            None
        }
        false => Some(logging::start_without_waiting(global, &settings)),
    };
    let tokio = inputs::runtime()?;
    // Where core finds the engine need not be where it is from here.
    let endpoint = engine::endpoint(&global.docker, &settings)?;
    let settings = match args.once || args.dry_run {
        true => {
            beside_core(tokio.block_on(inputs::on_swarm(&global.docker, config))?, config, args.force || args.dry_run)?
        }
        false => settings,
    };
    if args.dry_run {
        let authority = inputs::authority(&args.authority)?.map(Arc::new);
        let observed = async {
            let client = inputs::connect(&global.docker, &settings).await?.with_authority(authority);
            Ok::<_, Failure>(client.observe(jiff::Timestamp::now()).await?)
        };
        let Observation { snapshot, specs, .. } = tokio.block_on(observed)?;
        return tokio.block_on(dry_run(Look { snapshot, settings, specs }, args));
    }
    let mut options = Options::new(endpoint);
    if args.classic {
        options.delivery = Delivery::ByNewTasks;
    }
    options.authority = inputs::authority(&args.authority)?.map(Arc::new);
    if let Some(program) = &args.checker {
        options.checker = Some(Arc::new(tokio.block_on(Checker::find(program))?));
    }
    if args.once {
        return tokio.block_on(once(settings, &options, args));
    }
    options.container.clone_from(&args.container);
    tokio.block_on(async {
        let liveness = Liveness::at(&args.alive)?;
        liveness.during(runtime::run(settings, options, shutdown()?)).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// The settings to work with once. Where a core is at work, others than its own would be changed back at once.
fn beside_core((loaded, snapshot): (Loaded, Snapshot), file: Option<&Path>, force: bool) -> Result<Settings, Failure> {
    let core = install::deployed(&snapshot).filter(|core| core.works);
    let core = core.and_then(|core| Some((core.name, Settings::parse(core.settings?).ok()?.0)));
    match (core, file) {
        (Some((name, own)), Some(file)) if own != loaded.settings && !force => {
            let wrong = format!(
                "differs from the settings of service {name}, which would change everything back; omit --config to use its settings, \
                 install yours with `interlock install --config`, or add --force"
            );
            Err(Failure::input(file.display().to_string(), wrong))
        }
        _ => Ok(loaded.settings),
    }
}

/// Ready at the first SIGTERM or SIGINT. The second one ends the process at once, as signals do that nobody handles.
fn shutdown() -> Result<impl Future<Output = ()>, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: the call in flight is finished first");
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::warn!("stopped by a second signal");
            #[expect(clippy::disallowed_methods, reason = "whoever signals twice wants no tidying up")]
            std::process::exit(130);
        });
    })
}

/// One run until nothing is left to do.
async fn once(settings: Settings, options: &Options, args: &ReconcileArgs) -> Result<ExitCode, Failure> {
    let mut teller = Teller::new(args.format);
    let run = runtime::run_once(settings, options, args.timeout, |progress| teller.tell(progress));
    let report = Liveness::where_free(&args.alive).during(run).await;
    teller.finish();
    let report = report?;
    match args.format {
        Format::Json => show::out(&format!(
            "{:#}\n",
            json!({ "done": teller.done, "problems": report.problems, "failed": failed(&report) })
        )),
        Format::Text if report.done == 0 && report.converged() => show::out("nothing to do\n"),
        Format::Text => {}
    }
    for (cluster, reason) in &report.failed {
        let whose =
            cluster.as_ref().map_or_else(|| "core".to_owned(), |name| format!("service cluster {}", name.title()));
        show::error(&format!("{whose}: {reason}"));
    }
    Ok(if report.converged() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn failed(report: &Report) -> BTreeMap<&str, &String> {
    report.failed.iter().map(|(cluster, reason)| (plan::title(cluster.as_ref()), reason)).collect()
}

/// How many lines about what is waited for stand in a log before they get rare.
const MOST_NOTES: usize = 20;
/// The least time between two of them then.
const BETWEEN_NOTES: Duration = Duration::from_secs(5);

/// Tells a person what `--once` does: steps on standard output as they are done, on a terminal also what it waits for.
pub(crate) struct Teller {
    text: bool,
    live: bool,
    waiting: bool,
    noted: Instant,
    notes: usize,
    pub(crate) done: Vec<Step>,
}

impl Teller {
    pub(crate) fn new(format: Format) -> Self {
        let (text, live) = (format == Format::Text, show::stderr_is_terminal());
        Self { text, live, waiting: false, noted: Instant::now(), notes: 0, done: Vec::new() }
    }

    pub(crate) fn tell(&mut self, progress: Progress) {
        self.finish();
        match progress {
            Progress::Problem(problem) if self.text => show::problems(&[problem]),
            Progress::Done(step) => {
                if self.text {
                    show::out(&show::step(&step));
                }
                self.done.push(step);
            }
            Progress::Failed(step, reason) => {
                show::warning(&format!("{} {}: {reason}", step.action.verb(), step.action.object()))
            }
            Progress::Waiting(what) if what.is_empty() => {}
            Progress::Waiting(what) if self.live => {
                self.waiting = true;
                show::progress(&format!("waiting: {}", what.join("; ")));
            }
            // In a log each change is a line, and where there are many, not each.
            Progress::Waiting(what)
                if self.text && (self.notes < MOST_NOTES || self.noted.elapsed() >= BETWEEN_NOTES) =>
            {
                (self.noted, self.notes) = (Instant::now(), self.notes + 1);
                show::note(&format!("waiting: {}", what.join("; ")));
            }
            Progress::Retrying(reason) => show::warning(&format!("{reason}; trying again")),
            _ => {}
        }
    }

    /// Takes the line that is being rewritten away.
    pub(crate) fn finish(&mut self) {
        if std::mem::take(&mut self.waiting) {
            show::progress("");
        }
    }
}
