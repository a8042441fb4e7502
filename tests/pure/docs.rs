//! Documents that follow from tables. A document that is out of date is rewritten, and the test fails once: read the change and
//! commit it.

use std::fmt::Write;
use std::path::PathBuf;

use interlock_core::labels::{PREFIX, Passthrough, TABLE};
use interlock_core::settings::{Shape, Status, reference};

/// Above this line a person writes, below it a table does.
const MARK: &str = "<!-- What follows is made from the table in the code by `cargo test --test pure docs`. -->\n\n";

fn is_current(name: &str, wanted: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, list) = text.split_once(MARK).unwrap_or_else(|| panic!("docs/{name} lacks the line {MARK}"));
    if list != wanted {
        std::fs::write(&path, format!("{head}{MARK}{wanted}")).unwrap();
        panic!("docs/{name} was out of date and has been rewritten: read the change and commit it");
    }
}

#[test]
fn the_list_of_labels_is_current() {
    let mut text = String::new();
    for label in TABLE {
        let own = if label.inherited { "" } else { " *own*" };
        let protects = if label.guard.protects() { " *protects*" } else { "" };
        writeln!(text, "## `{PREFIX}{}`{own}{protects}\n\n{}\n", label.key, label.doc).unwrap();
        writeln!(text, "- Value: {}\n- Example: `{}`\n- Without it: {}\n", label.syntax, label.example, label.default)
            .unwrap();
    }
    text.truncate(text.trim_end().len() + 1);
    is_current("labels.md", &text);
}

/// The labels that `ssl_passthrough` rules out are those of the table.
#[test]
fn the_list_of_labels_says_what_passthrough_rules_out() {
    let page = std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/labels.md")).unwrap();
    let (_, rule) = page.split_once("- With `ssl_passthrough`").unwrap();
    let (rule, _) = rule.split_once("Core reports").unwrap();
    let mut said: Vec<_> = rule.split('`').skip(1).step_by(2).collect();
    let refused = TABLE.iter().filter(|label| label.passthrough == Passthrough::Refused);
    let mut refused: Vec<_> = refused.map(|label| label.key).collect();
    said.sort_unstable();
    refused.sort_unstable();
    assert_eq!(said, refused);
}

/// What the proxies answer stands there as they answer it, and each section that is linked is there.
#[test]
fn the_troubleshooting_page_says_what_proxies_say() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/troubleshooting.md")).unwrap();
    let sources = ["hosts.rs", "location.rs"].map(|file| root.join("interlock-core/src/kinds/nginx").join(file));
    let source = sources.map(|file| std::fs::read_to_string(file).unwrap()).concat();
    let bodies: Vec<_> =
        source.split("503 Service Unavailable: ").skip(1).filter_map(|it| it.split('"').next()).collect();
    assert_eq!(bodies.len(), 4);
    for body in bodies {
        assert!(page.contains(&format!("| `{body}` |")), "{body} is missing");
    }
    let titles: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let anchors: Vec<_> = titles.iter().map(|title| title.to_lowercase().replace(' ', "-")).collect();
    for link in page.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(anchors.iter().any(|anchor| anchor == link), "#{link} leads nowhere");
    }
}

#[test]
fn the_list_of_settings_is_current() {
    let mut text = String::new();
    let mut section = None;
    for key in reference() {
        if section != Some(key.section) {
            section = Some(key.section);
            let title =
                if key.section.is_empty() { "Top of the file".to_owned() } else { format!("`[{}]`", key.section) };
            let above = if text.is_empty() { "" } else { "\n" };
            writeln!(text, "{above}## {title}\n\n| key | value | default | meaning |\n|---|---|---|---|").unwrap();
        }
        let shape = match key.shape {
            Shape::Text => "string".to_owned(),
            Shape::Boolean => "boolean".to_owned(),
            Shape::Integer => "integer".to_owned(),
            Shape::Seconds => "seconds".to_owned(),
            Shape::IntegerOrText => "integer or string".to_owned(),
            Shape::List => "list of strings".to_owned(),
            Shape::Map => "table of strings".to_owned(),
            Shape::OneOf(words) => words.join(", "),
        };
        let default = if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
        let status = match key.status {
            Status::Works => String::new(),
            Status::Nothing(why) => format!(" *It {why}.*"),
        };
        writeln!(text, "| `{}` | {shape} | {default} | {}{status} |", key.name, key.doc).unwrap();
    }
    is_current("settings.md", &text);
}
