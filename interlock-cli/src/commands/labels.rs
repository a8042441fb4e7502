//! `interlock labels`

use std::fmt::Write;
use std::process::ExitCode;

use interlock_core::labels::{PREFIX, TABLE};
use serde_json::json;

use crate::args::{Format, LabelsArgs};
use crate::failure::Failure;
use crate::show;

pub(crate) fn run(args: &LabelsArgs) -> Result<ExitCode, Failure> {
    show::out(&match args.format {
        Format::Text => text(),
        Format::Json => format!("{:#}\n", json()),
    });
    Ok(ExitCode::SUCCESS)
}

fn text() -> String {
    let mut text = String::new();
    for label in TABLE {
        let _ = writeln!(text, "{PREFIX}{}", label.key);
        for line in wrap(label.doc, 96) {
            let _ = writeln!(text, "    {line}");
        }
        let _ = writeln!(text, "    value:    {}", label.syntax);
        let _ = writeln!(text, "    example:  {}", label.example);
        let _ = writeln!(text, "    default:  {}", label.default);
        if label.guard.protects() {
            let _ = writeln!(text, "    protects: a service that asks for it is not published without it");
        }
        text.push('\n');
    }
    text += "A route name behind a label (com.docker.lb.hosts.admin) gives the service another route.\n";
    text
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let full = lines.last().is_some_and(|line| !line.is_empty() && line.len() + 1 + word.len() > width);
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

fn json() -> serde_json::Value {
    TABLE
        .iter()
        .map(|label| {
            json!({
                "key": format!("{PREFIX}{}", label.key), "doc": label.doc, "syntax": label.syntax, "example": label.example,
                "default": label.default, "inherited": label.inherited,
                "protects": label.guard.protects(),
            })
        })
        .collect()
}
