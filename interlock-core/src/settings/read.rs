//! Walking through the file with the tables of keys, and gathering all that is wrong.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::check;
use super::findings::{Findings, SettingsError};
use super::keys::{self, Key, Status};
use super::{Extension, Notice, ProxyKind, Settings, nginx};

pub(super) fn read(toml: &str) -> Result<(Settings, Vec<Notice>), SettingsError> {
    let mut findings = Findings::of(toml);
    let table = match DeTable::parse(toml) {
        Ok(table) => table,
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            return Err(SettingsError(vec![findings.at(String::new(), at, error.message().to_owned())]));
        }
    };
    let settings = findings.settings(table.get_ref());
    let Findings { mut errors, notices, .. } = findings;
    errors.sort_by_key(|error| (error.line, error.column));
    if errors.is_empty() { Ok((settings, notices)) } else { Err(SettingsError(errors)) }
}

impl Findings<'_> {
    fn settings(&mut self, table: &DeTable<'_>) -> Settings {
        let mut settings = Settings::without_extensions();
        self.section(table, "", keys::GLOBAL, &["Extensions"], &mut settings);
        let mut read = Vec::new();
        match subtable(table, "Extensions") {
            None => self.error("Extensions", 0, "is missing; write a table like [Extensions.default]"),
            Some((offset, DeValue::Table(extensions))) => {
                if extensions.is_empty() {
                    self.error("Extensions", offset, "is empty; write a table like [Extensions.default]");
                }
                for (name, value) in extensions {
                    read.extend(self.extension(name.get_ref(), name.span().start, value.get_ref()));
                }
            }
            Some((offset, DeValue::Array(_))) => {
                self.error(
                    "Extensions",
                    offset,
                    "is a list, as in Interlock 1; write [Extensions.default] instead of [[Extensions]]",
                );
            }
            Some((offset, _)) => self.error("Extensions", offset, "is no table; write [Extensions.default]"),
        }
        check::across(self, &read);
        let format = settings.log_format;
        let extensions = read.into_iter().map(|(_, extension)| Extension { log_format: format, ..extension });
        settings.extensions = extensions.map(|extension| (extension.service_cluster.clone(), extension)).collect();
        settings
    }

    fn extension(&mut self, name: &str, offset: usize, value: &DeValue<'_>) -> Option<(usize, Extension)> {
        let path = format!("Extensions.{name}");
        let Some(table) = value.as_table() else {
            self.error(path, offset, format!("is no table; write [Extensions.{name}]"));
            return None;
        };
        let mut extension = Extension::new(name);
        self.section(table, &format!("{path}."), keys::EXTENSION, &["Config"], &mut extension);
        match (subtable(table, "Config"), &mut extension.kind) {
            (Some((_, DeValue::Table(config))), ProxyKind::Nginx(options)) => {
                self.section(config, &format!("{path}.Config."), nginx::KEYS, &[], options.as_mut());
            }
            (Some((_, DeValue::Table(_))), ProxyKind::Haproxy | ProxyKind::F5 | ProxyKind::Template) | (None, _) => {}
            (Some((offset, _)), _) => self.error(format!("{path}.Config"), offset, "is no table"),
        }
        extension.name_services();
        Some((offset, extension))
    }

    /// Reads the keys of one table. `nested` are keys that are read elsewhere.
    fn section<T>(&mut self, table: &DeTable<'_>, path: &str, keys: &[Key<T>], nested: &[&str], target: &mut T) {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(written, _)| written.span().start);
        for (written, value) in entries {
            let name = written.get_ref().as_ref();
            let offset = written.span().start;
            let full = format!("{path}{name}");
            if let Some(first) = seen.insert(name.to_ascii_lowercase(), offset) {
                let line = self.line(first);
                self.error(
                    full,
                    offset,
                    format!("is there twice, first in line {line}; keys are matched without regard to case"),
                );
                continue;
            }
            if nested.iter().any(|nested| nested.eq_ignore_ascii_case(name)) {
                continue;
            }
            let Some(key) = keys.iter().find(|key| key.name.eq_ignore_ascii_case(name)) else {
                self.error(full, offset, unknown(name, keys, nested));
                continue;
            };
            // Files that MKE wrote have empty strings for what is not set.
            if value.get_ref().as_str() == Some("") {
                continue;
            }
            match (key.set)(target, value.get_ref()) {
                Err(wrong) => self.error(full, value.span().start, wrong),
                Ok(()) => {
                    if let Status::Nothing(why) = key.status {
                        self.notice(full, offset, why);
                    }
                }
            }
        }
    }
}

fn subtable<'t, 'i>(table: &'t DeTable<'i>, name: &str) -> Option<(usize, &'t DeValue<'i>)> {
    let found = table.iter().find(|(key, _)| key.get_ref().eq_ignore_ascii_case(name));
    found.map(|(key, value): (&Spanned<_>, &Spanned<DeValue<'i>>)| (key.span().start, value.get_ref()))
}

fn unknown<T>(name: &str, keys: &[Key<T>], nested: &[&str]) -> String {
    let known = keys.iter().map(|key| key.name).chain(nested.iter().copied());
    let distance = |known: &str| strsim::damerau_levenshtein(&known.to_lowercase(), &name.to_lowercase());
    match known.map(|known| (distance(known), known)).min() {
        Some((distance, near)) if distance <= 2.max(near.len() / 3) => format!("is no known key; did you mean {near}?"),
        _ => "is no known key; `interlock init` prints all of them".to_owned(),
    }
}
