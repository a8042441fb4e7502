//! A decision for which this process renders everything and has it checked.

use crate::extension::render_and_check;
use crate::kinds::{Checker, Renderings};
use crate::reconcile::{Inputs, Outcome, reconcile_embedded};

/// How many times services that the checker refuses are left out, and the others tried.
const MOST: usize = 8;

/// As [`reconcile_embedded`], with all files checked, also those of extensions that run elsewhere. Services whose routes the checker refuses
/// are left out, and remembered in `inputs`. Without a checker the files are as good as they were rendered.
pub async fn reconcile_checked(inputs: &mut Inputs, checker: Option<&Checker>) -> (Outcome, Renderings) {
    let mut decided = reconcile_embedded(inputs);
    let Some(checker) = checker else { return decided };
    for _ in 0..MOST {
        let checked = check(inputs, &decided.0, checker).await;
        if checked == decided.1 {
            break;
        }
        inputs.renderings = checked;
        decided = reconcile_embedded(inputs);
        if decided.0.memory.refused == inputs.memory.refused {
            break;
        }
        inputs.memory.refused.clone_from(&decided.0.memory.refused);
        decided = reconcile_embedded(inputs);
    }
    decided
}

async fn check(inputs: &Inputs, outcome: &Outcome, checker: &Checker) -> Renderings {
    let limit = inputs.snapshot.engine.config_limit();
    let mut renderings = Renderings::new();
    for (key, config) in &outcome.proxy_configs {
        let known = inputs.renderings.get(key).filter(|rendering| rendering.revision == config.revision);
        let rendering = match known {
            Some(known) => known.clone(),
            None => render_and_check(config, limit, Some(checker)).await,
        };
        renderings.insert(key.clone(), rendering);
    }
    renderings
}
