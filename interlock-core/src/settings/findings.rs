//! What is wrong with a settings file, and what it says without effect.

use std::fmt;

use super::Notice;

/// All that is wrong with a settings file. Printed one problem a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SettingsError(pub Vec<SettingError>);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// Something wrong with a settings file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError {
    /// The key's path: `Extensions.default.ProxyReplicas`; empty when the file is no TOML.
    pub key: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong and what would be right.
    pub wrong: String,
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, line, column, wrong } = self;
        let colon = if key.is_empty() { "" } else { " " };
        write!(f, "line {line}, column {column}: {key}{colon}{wrong}")
    }
}

/// What has been said about a file so far.
pub(super) struct Findings<'t> {
    toml: &'t str,
    pub(super) errors: Vec<SettingError>,
    pub(super) notices: Vec<Notice>,
}

impl<'t> Findings<'t> {
    pub(super) const fn of(toml: &'t str) -> Self {
        Self { toml, errors: Vec::new(), notices: Vec::new() }
    }

    pub(super) fn at(&self, key: String, offset: usize, wrong: String) -> SettingError {
        let before = &self.toml[..offset.min(self.toml.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        SettingError { key, line, column, wrong }
    }

    pub(super) fn error(&mut self, key: impl Into<String>, offset: usize, wrong: impl Into<String>) {
        let error = self.at(key.into(), offset, wrong.into());
        self.errors.push(error);
    }

    /// The line of a place in the file.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.at(String::new(), offset, String::new()).line
    }

    pub(super) fn notice(&mut self, key: String, offset: usize, message: &str) {
        self.notices.push(Notice { key, line: self.line(offset), message: message.to_owned() });
    }
}
