//! `interlock render`

use std::process::ExitCode;

use interlock_core::reconcile::{Inputs, reconcile_embedded};
use interlock_core::units::Cluster;

use crate::args::{Global, RenderArgs};
use crate::failure::Failure;
use crate::{inputs, logging, show};

pub(crate) fn run(global: &Global, args: &RenderArgs) -> Result<ExitCode, Failure> {
    let config = args.settings.config.as_deref();
    let (snapshot, loaded) = match &args.state {
        Some(file) => inputs::state(file, config)?,
        None => {
            let loaded = inputs::settings(config)?;
            logging::start(global, &loaded.settings);
            let client = async {
                Ok::<_, Failure>(
                    inputs::connect(&global.docker, &loaded.settings).await?.observe(jiff::Timestamp::now()).await?,
                )
            };
            (inputs::runtime()?.block_on(client)?.snapshot, loaded)
        }
    };
    let (outcome, mut renderings) = reconcile_embedded(&Inputs::new(snapshot, loaded.settings));
    renderings.retain(|(cluster, generation), _| outcome.generations.get(cluster) == Some(generation));
    show::problems(&outcome.problems);
    let mut found = false;
    for ((cluster, _), rendering) in &renderings {
        if args.cluster.as_deref().is_some_and(|wanted| !names(wanted, cluster)) {
            continue;
        }
        found = true;
        let files = rendering.result.as_ref().map_err(Clone::clone)?;
        let several = files.len() > 1 || (renderings.len() > 1 && args.cluster.is_none());
        for file in files {
            if several {
                show::out(&format!("# ==> {}: {} <==\n", cluster.title(), file.path));
            }
            show::out(&file.content);
        }
    }
    match &args.cluster {
        Some(wanted) if !found => {
            let known: Vec<_> = renderings.keys().map(|(cluster, _)| cluster.title()).collect();
            Err(Failure::input(
                format!("--cluster {wanted}"),
                format!("is no service cluster of the settings, which have: {}", known.join(", ")),
            ))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn names(wanted: &str, cluster: &Cluster) -> bool {
    wanted == cluster.as_str() || (cluster.as_str().is_empty() && wanted == cluster.title())
}
