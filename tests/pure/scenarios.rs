//! Scenario in, snapshot out: what users see of each fixture. To add a case, add a file to `fixtures/` and run
//! `INSTA_UPDATE=always cargo test --test scenarios`, then read the new files in `snapshots/`.

use crate::support::Scenario;
use interlock_core::plan::{Action, Plan};
use interlock_core::reconcile::{Outcome, reconcile_embedded};
use interlock_core::settings::reference;
use serde_json::Value;

#[test]
fn each_fixture_gives_its_snapshots() {
    insta::glob!("../../fixtures", "*.yaml", |path| {
        let scenario = Scenario::load(path);
        let (outcome, renderings) = reconcile_embedded(&scenario.inputs());
        let Outcome { plan, problems, .. } = outcome;
        let mut nginx = String::new();
        for ((cluster, _), rendering) in &renderings {
            for file in rendering.result.as_ref().unwrap() {
                nginx += &format!("==> {}: {} <==\n{}", cluster.title(), file.path, file.content);
            }
        }
        insta::with_settings!({ snapshot_path => "../../snapshots", prepend_module_to_snapshot => false, omit_expression => true, snapshot_suffix => scenario.name.clone() }, {
            insta::assert_snapshot!("nginx", nginx);
            insta::assert_snapshot!("plan", plan.to_string());
            insta::assert_snapshot!("problems", problems.iter().map(|problem| format!("{problem}\n")).collect::<String>());
            if shows_services(&scenario.name) {
                insta::assert_snapshot!("services", services(&plan));
            }
        });
    });
}

/// Whether a fixture is that of a setting whose effect is on our own services, of which the other snapshots say little.
fn shows_services(fixture: &str) -> bool {
    let setting = fixture.strip_prefix("setting-");
    reference().iter().any(|key| Some(key.name) == setting && !key.section.ends_with(".Config"))
}

/// The services that a plan creates: one line for each value, under its place in the spec.
fn services(plan: &Plan) -> String {
    let mut text = String::new();
    for step in &plan.steps {
        if let Action::CreateService { name, spec } = &step.action {
            text += &format!("==> {name} <==\n");
            lines(&mut text, "", spec);
        }
        if let Action::CreateConfig { data, .. } = &step.action
            && !data.starts_with("# Written by interlock for service cluster")
        {
            text += &format!("==> {} <==\n{data}", step.action.object());
        }
    }
    text
}

fn lines(text: &mut String, place: &str, value: &Value) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            // What was applied is a hash of what stands here anyway.
            let fields = fields.iter().filter(|(key, _)| *key != "com.docker.interlock.applied");
            fields.for_each(|(key, value)| lines(text, &format!("{place}/{key}"), value));
        }
        _ => *text += &format!("{place} = {value}\n"),
    }
}
