//! The commands in the README and the docs, as a reader would paste them: each is one that the program takes, and those that need no Swarm
//! of several nodes are run. The others are run by `tests/swarm/docs.rs`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod site;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use site::Site;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The documents with commands in them.
fn documents() -> Vec<(String, String)> {
    let mut paths: Vec<_> =
        std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "deploy/stack.yml"].map(|name| root().join(name)));
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md" || extension == "yml"));
    paths.sort();
    paths.iter().map(|path| (path.display().to_string(), std::fs::read_to_string(path).unwrap())).collect()
}

/// What stands in a block of commands, a line each, with continued lines put together and comments left out.
fn block_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for block in text.split("```").skip(1).step_by(2).filter(|block| block.starts_with("sh\n")) {
        let block = block.replace("\\\n", " ");
        lines.extend(block.lines().skip(1).map(|line| line.split(" #").next().unwrap().trim().to_owned()));
    }
    lines.retain(|line| !line.is_empty() && !line.starts_with('#'));
    lines
}

/// What stands in backquotes or in a comment, where it is a command.
fn inline(text: &str) -> Vec<String> {
    let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).map(str::to_owned);
    let commented = text.lines().filter_map(|line| line.strip_prefix("#   ")).map(str::to_owned);
    quoted.chain(commented.map(|line| line.split(" #").next().unwrap().trim().to_owned())).collect()
}

/// The arguments of the program in a command line.
fn arguments(line: &str) -> Option<Vec<String>> {
    let line = line.strip_prefix("cargo run -- ").or_else(|| line.strip_prefix("interlock "))?;
    let line = line.split(" > ").next()?.split(" | ").next()?;
    let placeholder = |word: &str| match word {
        "FINGERPRINT" => "1".repeat(64),
        word => word.trim_matches('\'').to_owned(),
    };
    let words: Vec<_> = line.split_whitespace().map(placeholder).collect();
    // A command, not a sentence that begins with the name.
    let is_command = words.first().is_some_and(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
    is_command.then_some(words)
}

fn interlock(args: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_interlock"));
    command.args(args).stdin(Stdio::null()).current_dir(root()).env_remove("DOCKER_HOST");
    command
}

#[test]
fn each_command_in_the_documents_is_one_that_the_program_takes() {
    let mut seen = 0;
    for (name, text) in documents() {
        for line in block_lines(&text).into_iter().chain(inline(&text)) {
            let Some(args) = arguments(&line) else { continue };
            seen += 1;
            // What comes before it is read first, so that what is wrong is told.
            let output = interlock(&[&args[..], &["--help".to_owned()]].concat()).output().unwrap();
            assert!(output.status.success(), "{name}: {line}\n{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    assert!(seen > 30, "only {seen} commands were found");
}

#[test]
fn each_script_and_benchmark_in_the_documents_exists() {
    let manifests =
        ["Cargo.toml", "interlock-cli/Cargo.toml"].map(|it| std::fs::read_to_string(root().join(it)).unwrap());
    for (name, text) in documents() {
        for line in block_lines(&text).into_iter().chain(inline(&text)) {
            let mut words = line.split_whitespace();
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some(script), ..) if script.starts_with("scripts/") => {
                    assert!(root().join(script).exists(), "{name}: {line}");
                }
                (Some("cargo"), Some("bench"), Some("--bench"), Some(bench)) => {
                    let named = format!("name = \"{bench}\"");
                    assert!(manifests.iter().any(|manifest| manifest.contains(&named)), "{name}: {line}");
                }
                _ => {}
            }
        }
    }
}

/// The blocks of the README that install nothing, on a Swarm with one service.
#[tokio::test(flavor = "multi_thread")]
async fn the_readmes_commands_do_what_they_say() {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let lines = block_lines(&text);
    let has = |line: &str| assert!(lines.iter().any(|it| it == line), "the README does not have: {line}");

    has("cargo run -- reconcile --once --state fixtures/one-host.yaml");
    let args = ["reconcile", "--once", "--state", "fixtures/one-host.yaml"].map(str::to_owned);
    assert!(interlock(&args).output().unwrap().status.success());

    // What is said to work without installing anything.
    let site = Site::new("", |swarm| {
        swarm.create_network(serde_json::json!({ "Name": "demo", "Driver": "overlay" })).unwrap();
        let service = swarm.service("shop").network("demo").label("com.docker.lb.port", "8080");
        service.label("com.docker.lb.hosts", "shop.example.com").create();
    });
    has("interlock reconcile --dry-run");
    has("interlock reconcile --once");
    let (code, out, err) = site.run("reconcile --dry-run").await;
    assert!(code == 0 && err.is_empty() && out.contains("server_name shop.example.com"), "{out}{err}");
    let (code, out, err) = site.run("reconcile --once").await;
    assert!(code == 0 && out.contains("+ service interlock-proxy"), "{out}{err}");
}

/// Of the block that installs, all but the building of images; and a block that is pasted as a whole ends with something that runs.
#[tokio::test(flavor = "multi_thread")]
async fn the_readmes_way_to_install_works_with_the_file_that_it_makes() {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let installing = text.split("```").find(|block| block.contains("interlock install")).unwrap();
    assert!(!installing.contains("uninstall"), "a block that is pasted must not remove what it made");
    let site = Site::new("", |_| ());
    let file = site.folder.path().join("interlock.toml");
    let (code, _, err) = site.run(&format!("init {}", file.display())).await;
    assert_eq!(code, 0, "{err}");
    let (code, out, err) = site.install(&format!("install -c {} --timeout 60s", file.display())).await;
    assert_eq!(code, 0, "{out}{err}");
    let (code, out, err) = site.run("uninstall --yes").await;
    assert_eq!(code, 0, "{out}{err}");
}
