//! Rules about the repository itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files under version control, or about to be.
fn files() -> Vec<PathBuf> {
    let output =
        Command::new("git").args(["ls-files", "-co", "--exclude-standard"]).current_dir(root()).output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    let files: Vec<_> = list.lines().map(PathBuf::from).filter(|path| root().join(path).is_file()).collect();
    assert!(files.len() > 50, "git lists no files");
    files
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_default()
}

fn rust() -> Vec<PathBuf> {
    files().into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// rustc says nothing about a file that no `mod` names: its tests would never run.
#[test]
fn every_rust_file_is_part_of_a_crate() {
    let all = rust();
    for path in &all {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let folder = path.parent().unwrap();
        let starts_a_target = ["lib", "main", "build"].contains(&stem)
            || ["examples", "benches", "tests", "fuzz_targets"].iter().any(|name| folder.ends_with(name));
        if starts_a_target {
            continue;
        }
        let (name, parents) = if stem == "mod" {
            (folder.file_name().unwrap().to_str().unwrap(), siblings(folder.parent().unwrap()))
        } else {
            (stem, siblings(folder))
        };
        let named = parents
            .iter()
            .filter(|parent| all.contains(parent))
            .any(|parent| text(parent).contains(&format!("mod {name};")));
        // What several targets share is named by its path, or by targets beside its folder: `#[path = "../support/mod.rs"] mod support;`.
        let written = format!("{name}{}.rs\"]", if stem == "mod" { "/mod" } else { "" });
        let mut others = all.iter().map(|other| (other, text(other)));
        let named = named
            || others.any(|(other, text)| {
                let beside = other.parent() == folder.parent() && text.contains(&format!("mod {name};"));
                beside || text.contains(&written)
            });
        assert!(named, "no `mod {name};` names {}", path.display());
    }
}

/// The files that may declare the modules of a folder.
fn siblings(folder: &Path) -> Vec<PathBuf> {
    vec![folder.join("lib.rs"), folder.join("main.rs"), folder.join("mod.rs"), folder.with_extension("rs")]
}

#[test]
fn every_snapshot_belongs_to_a_fixture() {
    let fixtures: BTreeSet<_> = files()
        .iter()
        .filter(|path| path.starts_with("fixtures"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    for path in files().iter().filter(|path| path.starts_with("snapshots")) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let (kind, fixture) = name.split_once('@').unwrap_or_else(|| panic!("{name} is not kind@fixture"));
        assert!(["nginx", "plan", "problems", "services"].contains(&kind), "{name}");
        assert!(fixtures.contains(fixture), "{name} has no fixture");
    }
}

#[test]
fn names_stand_where_they_belong() {
    let only_in = |needle: &str, allowed: &[&str]| {
        let free = ["tests", "benches", "interlock-testkit"];
        for path in rust().iter().filter(|path| !free.iter().any(|place| path.starts_with(place))) {
            let is_allowed = allowed.iter().any(|place| path.starts_with(place))
                || path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs");
            let code = text(path);
            let code = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
            let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap();
            assert!(is_allowed || !code.contains(needle), "{} has {needle}", path.display());
        }
    };
    only_in("bollard::", &["interlock-core/src/docker", "interlock-core/src/docker.rs"]);
    only_in("std::env::", &["interlock-cli"]);
    only_in("ExitCode", &["interlock-cli"]);
    only_in(
        "tokio::",
        &[
            "interlock-core/src/docker",
            "interlock-core/src/docker.rs",
            "interlock-core/src/agent",
            "interlock-core/src/agent.rs",
            "interlock-core/src/extension",
            "interlock-core/src/extension.rs",
            "interlock-core/src/grpc",
            "interlock-core/src/kinds/nginx/check",
            "interlock-core/src/kinds/nginx/server",
            "interlock-core/src/kinds/nginx/server.rs",
            "interlock-core/src/kinds/reaper.rs",
            "interlock-core/src/kinds/nginx/check.rs",
            "interlock-core/src/kinds/process.rs",
            "interlock-core/src/runtime",
            "interlock-core/src/runtime.rs",
            "interlock-cli",
        ],
    );
    only_in("SystemTime", &[]);
    only_in(
        "Timestamp::now",
        &[
            "interlock-core/src/runtime.rs",
            "interlock-cli",
            "interlock-core/src/extension.rs",
            "interlock-core/src/grpc/core_renderings.rs",
        ],
    );
    only_in("Regex", &[]);
}

/// What is rendered has none of the directives that nginx's memory bugs and injections came by.
#[test]
fn templates_stay_with_harmless_directives() {
    for path in files().iter().filter(|path| path.starts_with("templates")) {
        for line in text(path).lines().filter(|line| !line.trim_start().starts_with('#')) {
            let word = line.split_whitespace().next().unwrap_or_default();
            // It refuses by a variable of a fixed map, and `return` is all that is in it: see ARCHITECTURE.md.
            let refuses = line.trim().starts_with("if ({{") && line.trim().ends_with("}}) {");
            let banned = [
                "rewrite",
                "if",
                "set",
                "resolver",
                "alias",
                "root",
                "load_module",
                "perl",
                "js_content",
                "ssi",
                "sub_filter",
            ];
            assert!(
                (!banned.contains(&word) || refuses) && !line.contains(" ~") && !line.contains("location ~"),
                "{}: {line}",
                path.display()
            );
        }
    }
}

/// Tests run side by side: two that start an application at one address fail by chance.
#[test]
fn each_test_has_addresses_of_its_own() {
    let mut owners = BTreeMap::<String, String>::new();
    for path in rust().iter().filter(|path| path.starts_with("tests")) {
        for function in text(path).replace("#[tokio::test", "#[test").split("#[test").skip(1) {
            let body = function.split("\n}\n").next().unwrap();
            let Some(name) = body.split("fn ").nth(1).and_then(|rest| rest.split('(').next()) else { continue };
            let starts = ["application(", "speaks_tls(", "TcpListener::bind(", "start("];
            if !starts.iter().any(|start| body.contains(start)) {
                continue;
            }
            for address in body.split("\"127.").skip(1).filter_map(|rest| rest.split(['"', ':']).next()) {
                let this = format!("{}: {name}", path.display());
                let owner = owners.entry(address.to_owned()).or_insert_with(|| this.clone());
                assert!(*owner == this || address.starts_with("0.0."), "127.{address} is in\n{owner}\n{this}");
            }
        }
    }
    assert!(owners.len() > 40, "{}", owners.len());
}

/// NGINX's `if` is only sound around a `return`.
#[test]
fn an_if_of_a_template_has_a_return_in_it_and_nothing_else() {
    let mut found = 0;
    for path in files().iter().filter(|path| path.starts_with("templates")) {
        let text = text(path);
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        for (at, _) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("if (")) {
            assert_eq!(lines[at + 1..at + 3], ["return 400;", "}"], "{}: line {}", path.display(), at + 1);
            found += 1;
        }
    }
    let places = "the servers of other hosts, of many hosts, of a host without and with TLS, two locations, and one inside of one";
    assert_eq!(found, 7, "{places}");
}

#[test]
fn decisions_are_not_made_in_templates() {
    for path in files().iter().filter(|path| path.starts_with("templates")) {
        let text = text(path);
        for helper in ["{{#unless", "{{else", "(eq ", "(ne ", "(and ", "(or ", "(gt ", "(lt ", "lookup "] {
            assert!(!text.contains(helper), "{} decides with {helper}", path.display());
        }
    }
}

/// The names of the directives that the templates have.
fn directives() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in files().iter().filter(|path| path.starts_with("templates")) {
        for line in text(path).lines().map(str::trim).filter(|line| line.ends_with([';', '{'])) {
            let name = line.split_whitespace().next().unwrap_or_default();
            for module in ["proxy", "grpc"] {
                let name = name.replace("{{module}}", module).replace("{{../module}}", module);
                // What stands in a map begins with a value.
                if name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit()) {
                    names.insert(name);
                }
            }
        }
    }
    names
}

/// The texts between quotes, as they stand in the code.
fn texts_between_quotes(code: &str) -> Vec<String> {
    let code = code.replace("'\"'", "''").replace("\\\"", "'");
    code.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whoever reads the templates sees nginx.conf: code that renders has values, and no text of a directive. What is made of one is told by a word behind its
/// name, or by a semicolon.
#[test]
fn directives_stand_in_templates() {
    let names = directives();
    assert!(names.len() > 90 && names.contains("proxy_set_header") && names.contains("listen"), "{names:?}");
    let is_directive = |text: &str| {
        let name = text.split([' ', ';']).next().unwrap_or_default();
        names.contains(name) && text.len() > name.len()
    };
    assert!(is_directive("listen 80") && is_directive("gzip on;") && !is_directive("server") && !is_directive("a b"));
    let folder = Path::new("interlock-core/src/kinds/nginx");
    // NGINX's checker and the agent's server read and write files of their own.
    let elsewhere = |path: &Path| {
        let name = path.strip_prefix(folder).ok().and_then(Path::to_str).unwrap_or("server");
        ["check", "server.rs", "server/"].iter().any(|start| name.starts_with(start))
    };
    let paths: Vec<_> = rust().into_iter().filter(|path| path.starts_with(folder) && !elsewhere(path)).collect();
    assert!(paths.len() > 10, "{paths:?}");
    for path in paths {
        let code = text(&path);
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        let code: Vec<_> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for text in texts_between_quotes(&code.join("\n")) {
            assert!(!is_directive(text.trim_start()), "{}: {text:?} belongs in a template", path.display());
        }
    }
}
