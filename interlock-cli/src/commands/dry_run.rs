//! `interlock reconcile --dry-run` and `--state`: what would be done, with what proxies serve now beside what they would.

use std::collections::BTreeMap;
use std::process::ExitCode;

use interlock_core::docker::OwnSpecs;
use interlock_core::install;
use interlock_core::kinds::{Checker, Renderings};
use interlock_core::problem::Severity;
use interlock_core::reconcile::{Inputs, Outcome, reconcile_embedded};
use interlock_core::runtime::reconcile_checked;
use interlock_core::settings::Settings;
use interlock_core::swarm::Snapshot;
use interlock_core::units::Cluster;
use serde_json::json;

use crate::args::{Format, ReconcileArgs};
use crate::failure::Failure;
use crate::show;

/// Changes are pending.
const PENDING: u8 = 3;
/// There are problems of severity error.
const ERRORS: u8 = 4;

/// What is looked at.
pub(crate) struct Look {
    pub(crate) snapshot: Snapshot,
    pub(crate) settings: Settings,
    /// What is deployed in full, if an engine was asked.
    pub(crate) specs: OwnSpecs,
}

/// Prints what would be done. Nothing is.
pub(crate) async fn dry_run(look: Look, args: &ReconcileArgs) -> Result<ExitCode, Failure> {
    let Look { snapshot, settings, specs } = look;
    let mut inputs = Inputs::new(snapshot, settings);
    let checker = match &args.checker {
        Some(program) => Some(Checker::find(program).await?),
        None => None,
    };
    let (mut outcome, renderings) = reconcile_checked(&mut inputs, checker.as_ref()).await;
    specs.show_old_values(&mut outcome.plan);
    let core = Core::of(&inputs);
    if !matches!(core, Core::Unknown) {
        // It has delivered what its settings say, and nothing else.
        outcome.plan.delivered.clear();
    }
    let changes = changes(&inputs, &outcome, &renderings, &core);
    let is_delivered_by_nobody = changes.iter().any(|change| change.hitless && change.differs());
    match args.format {
        Format::Text => {
            show::problems(&outcome.problems);
            if !is_delivered_by_nobody || !outcome.plan.is_empty() {
                show::out(&show::plan(&outcome.plan));
            }
            if is_delivered_by_nobody {
                show::out(&core.what_to_do());
            }
            let diffs = changes.iter().map(|change| show::diff(&change.path, change.whose, &change.old, &change.new));
            show::out(&diffs.collect::<String>());
        }
        Format::Json => show::out(&format!("{:#}\n", as_json(&outcome))),
    }
    let is_pending = !outcome.plan.is_empty() || !outcome.plan.waiting.is_empty() || is_delivered_by_nobody;
    Ok(match args.exit_code {
        true if outcome.problems.iter().any(|problem| problem.severity == Severity::Error) => ExitCode::from(ERRORS),
        true if is_pending => ExitCode::from(PENDING),
        _ => ExitCode::SUCCESS,
    })
}

fn as_json(outcome: &Outcome) -> serde_json::Value {
    json!({ "plan": outcome.plan, "problems": outcome.problems })
}

/// The core that gives running proxies their files.
enum Core {
    /// There is none, or it has no task.
    None,
    /// It works with these settings, under this name.
    With(String, Box<Settings>),
    /// Its settings are not known.
    Unknown,
}

impl Core {
    fn of(inputs: &Inputs) -> Self {
        let Some(core) = install::deployed(&inputs.snapshot).filter(|core| core.works) else { return Self::None };
        match core.settings.and_then(|text| Settings::parse(text).ok()) {
            Some((settings, _)) => Self::With(core.name.to_owned(), Box::new(settings)),
            None => Self::Unknown,
        }
    }

    /// Why running proxies would not get what is shown, and what to do.
    fn what_to_do(&self) -> String {
        match self {
            Self::With(name, _) => format!(
                ". service {name} has other settings, and running proxies get its settings; install yours with `interlock install -c FILE`\n"
            ),
            Self::None => {
                ". no core runs to deliver this to running proxies: deploy one with `interlock install`\n".to_owned()
            }
            Self::Unknown => {
                ". running proxies get the settings of the running core, which are not known here\n".to_owned()
            }
        }
    }
}

/// One generated file, now and as it would be.
struct Change {
    path: String,
    /// Where the old one comes from.
    whose: &'static str,
    hitless: bool,
    old: String,
    new: String,
}

impl Change {
    fn differs(&self) -> bool {
        self.old != self.new
    }
}

/// What changes in each generated file. Running proxies that follow core serve what its settings say; the others what they mount.
fn changes(inputs: &Inputs, outcome: &Outcome, renderings: &Renderings, core: &Core) -> Vec<Change> {
    let served = match core {
        Core::With(_, own) if **own == inputs.settings => renderings.clone(),
        Core::With(_, own) => reconcile_embedded(&Inputs::new(inputs.snapshot.clone(), (**own).clone())).1,
        Core::None | Core::Unknown => Renderings::new(),
    };
    let by_core = files(&served, core.settings().unwrap_or(&inputs.settings));
    let mut changes = Vec::new();
    let new =
        renderings.iter().filter(|((cluster, generation), _)| outcome.generations.get(cluster) == Some(generation));
    for ((cluster, _), rendering) in new {
        let Some(extension) = inputs.settings.extension(cluster.as_str()) else { continue };
        let service = inputs.snapshot.services().find(|service| service.spec.name == extension.proxy_service_name);
        let mounted = |path: &str| {
            let mount = service?.spec.configs.iter().find(|mount| mount.target == path)?;
            let config = inputs.snapshot.configs.iter().find(|config| config.id == mount.id)?;
            Some(config.data.as_str())
        };
        for file in rendering.result.iter().flatten() {
            let served = by_core.get(&(cluster.clone(), file.path.clone())).copied().filter(|_| service.is_some());
            changes.push(Change {
                path: file.path.clone(),
                whose: if served.is_some() { "delivered by core" } else { "deployed" },
                hitless: served.is_some(),
                old: served.or_else(|| mounted(&file.path)).unwrap_or_default().to_owned(),
                new: file.content.to_string(),
            });
        }
    }
    changes
}

impl Core {
    fn settings(&self) -> Option<&Settings> {
        match self {
            Self::With(_, settings) => Some(settings),
            Self::None | Self::Unknown => None,
        }
    }
}

/// The files of the service clusters whose running proxies follow core, by service cluster and path.
fn files<'a>(renderings: &'a Renderings, settings: &Settings) -> BTreeMap<(Cluster, String), &'a str> {
    let follows = |cluster: &Cluster| settings.extension(cluster.as_str()).is_some_and(|it| it.hitless_service_update);
    let renderings = renderings.iter().filter(|((cluster, _), _)| follows(cluster));
    let files = renderings.flat_map(|((cluster, _), rendering)| {
        let files = rendering.result.iter().flatten();
        files.map(move |file| ((cluster.clone(), file.path.clone()), &*file.content))
    });
    files.collect()
}
