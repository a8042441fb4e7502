//! What people see: results on standard output, all else on standard error, colour on terminals only (and never with NO_COLOR).

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

use anstyle::{AnsiColor, Style};
use interlock_core::plan::{Plan, Step};
use interlock_core::problem::{Problem, Severity};
use similar::{ChangeTag, TextDiff};

use crate::failure::Failure;

const RED: Style = AnsiColor::Red.on_default();
const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Writes to standard output. A reader that went away, as `head` does, is no error.
pub(crate) fn out(text: &str) {
    let _ = anstream::stdout().write_all(text.as_bytes());
}

fn err(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}

pub(crate) fn colour_on_stderr() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}

pub(crate) fn stderr_is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

pub(crate) fn failure(failure: &Failure) {
    for line in failure.lines() {
        error(&line);
    }
}

pub(crate) fn error(text: &str) {
    err(&format!("{RED}error:{RED:#} {text}\n"));
}

pub(crate) fn warning(text: &str) {
    err(&format!("{YELLOW}warning:{YELLOW:#} {text}\n"));
}

pub(crate) fn note(text: &str) {
    err(&format!("{DIM}{text}{DIM:#}\n"));
}

pub(crate) fn stdin_is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// Asks at the terminal, and takes anything but `y` and `yes` for a no.
pub(crate) fn confirmed(question: &str) -> bool {
    err(question);
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer).is_ok();
    read && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// Rewrites the last line of a terminal.
pub(crate) fn progress(text: &str) {
    err(&format!("\r\x1b[2K{text}"));
}

pub(crate) fn problems(problems: &[Problem]) {
    for problem in problems {
        match problem.severity {
            Severity::Error => error(&problem.to_string()),
            Severity::Warning => warning(&problem.to_string()),
        }
    }
}

pub(crate) fn plan(plan: &Plan) -> String {
    plan.to_string().lines().map(coloured).collect()
}

pub(crate) fn step(step: &Step) -> String {
    coloured(&step.to_string())
}

/// A line of a plan, coloured by its sign.
fn coloured(line: &str) -> String {
    let style = match line.as_bytes().first() {
        Some(b'+') => GREEN,
        Some(b'~') => YELLOW,
        Some(b'-') => RED,
        _ => DIM,
    };
    format!("{style}{line}{style:#}\n")
}

/// A unified diff of one generated file; empty when nothing changed.
pub(crate) fn diff(path: &str, whose: &str, old: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let mut text = format!("\n{BOLD}--- {path} ({whose}){BOLD:#}\n{BOLD}+++ {path} (planned){BOLD:#}\n");
    let diff = TextDiff::from_lines(old, new);
    for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
        let _ = writeln!(text, "{DIM}{}{DIM:#}", hunk.header().to_string().trim_end());
        for change in hunk.iter_changes() {
            let (sign, style) = match change.tag() {
                ChangeTag::Delete => ('-', RED),
                ChangeTag::Insert => ('+', GREEN),
                ChangeTag::Equal => (' ', Style::new()),
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{style}{sign}{}{style:#}", change.value().trim_end_matches('\n'));
        }
    }
    text
}
