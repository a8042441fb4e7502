//! Scenario in, snapshot out: what users see of each fixture. To add a case, add a file to `fixtures/` and run
//! `INSTA_UPDATE=always cargo test --test scenarios`, then read the new files in `snapshots/`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use interlock_core::reconcile::{Outcome, reconcile_embedded};
use support::Scenario;

#[test]
fn each_fixture_gives_its_snapshots() {
    insta::glob!("../fixtures", "*.yaml", |path| {
        let scenario = Scenario::load(path);
        let (outcome, renderings) = reconcile_embedded(&scenario.inputs());
        let Outcome { plan, problems, .. } = outcome;
        let mut nginx = String::new();
        for ((cluster, _), rendering) in &renderings {
            for file in rendering.result.as_ref().unwrap() {
                nginx += &format!("==> {}: {} <==\n{}", cluster.title(), file.path, file.content);
            }
        }
        insta::with_settings!({ snapshot_path => "../snapshots", prepend_module_to_snapshot => false, omit_expression => true, snapshot_suffix => scenario.name.clone() }, {
            insta::assert_snapshot!("nginx", nginx);
            insta::assert_snapshot!("plan", plan.to_string());
            insta::assert_snapshot!("problems", problems.iter().map(|problem| format!("{problem}\n")).collect::<String>());
        });
    });
}
