//! What `deploy/` does when images are built.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `nginx-floor` prints for an image with this `nginx -v` and this Debian package, and its exit code.
fn nginx_floor(version: &str, package: Option<&str>) -> (String, Option<String>, i32) {
    let name = format!("nginx-floor-{version}-{}", package.unwrap_or_default());
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(root.join("var/lib/dpkg")).unwrap();
    let nginx = root.join("nginx");
    fs::write(&nginx, format!("#!/bin/sh\necho 'nginx version: nginx/{version}' >&2\n")).unwrap();
    fs::set_permissions(&nginx, fs::Permissions::from_mode(0o755)).unwrap();
    if let Some(package) = package {
        let status = format!("Package: nginx-common\nVersion: 1\n\nPackage: nginx\nVersion: {package}\n");
        fs::write(root.join("var/lib/dpkg/status"), status).unwrap();
    }
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/nginx-floor");
    let path = format!("{}:/usr/bin:/bin", root.display());
    let output = Command::new(script).arg(&root).env("PATH", path).output().unwrap();
    let code = output.status.code().unwrap();
    assert!([0, 3].contains(&code), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines().map(str::to_owned);
    (lines.next().unwrap(), lines.next(), code)
}

// One test, because a script that was just written cannot be run while another thread starts a process.
#[test]
fn m7_an_nginx_without_security_fixes_is_found() {
    for (version, package) in [
        ("1.30.7", None),
        ("1.30.10", Some("1.30.10-1~trixie")),
        ("1.32.0", None),
        ("1.22.1", Some("1.22.1-9+deb12u11")),
        ("1.22.1", Some("1.22.1-9+deb12u20")),
        ("1.26.3", Some("1.26.3-3+deb13u11")),
    ] {
        assert_eq!(nginx_floor(version, package), (package.unwrap_or(version).to_owned(), None, 0));
    }
    for (version, package) in [
        ("1.30.6", None),
        ("1.9.9", None),
        ("1.30.6", Some("1.30.6-2")),
        ("1.22.1", None),
        ("1.22.1", Some("1.22.1-9+deb12u9")),
        ("1.22.1", Some("1.22.1-9")),
        ("1.26.3", Some("1.26.3-2+deb13u11")),
    ] {
        let named = package.unwrap_or(version).to_owned();
        let warning = format!("NGINX {named} lacks security fixes: use 1.30.7 or later");
        assert_eq!(nginx_floor(version, package), (named, Some(warning), 3));
    }
    // Which mainline releases have them is not known here.
    let (_, warning, code) = nginx_floor("1.31.3", None);
    assert!(warning.unwrap().ends_with("was not checked") && code == 0);
    m7_an_image_with_such_an_nginx_is_only_built_on_demand();
    m7_bases_are_pinned_by_digest_with_the_tag_beside();
}

/// The shell commands of a `RUN` of the Dockerfile.
fn run(dockerfile: &str, with: &str) -> String {
    let steps = dockerfile.replace("\\\n", "");
    let step = steps.lines().find(|line| line.starts_with("RUN ") && line.contains(with)).unwrap();
    step.trim_start_matches("RUN ").to_owned()
}

/// Runs the end of the step that looks at NGINX, with a checker that finds this.
fn m7_an_image_with_such_an_nginx_is_only_built_on_demand() {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nginx-floor-step");
    fs::create_dir_all(&root).unwrap();
    let dockerfile = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/Dockerfile")).unwrap();
    let step = run(&dockerfile, "libexec/interlock/nginx-floor");
    let step = step.split_once("lacks=0;").unwrap().1;
    let (checker, said) = (root.join("checker"), root.join("said"));
    let step = step
        .replace("/usr/local/libexec/interlock/nginx-floor", checker.to_str().unwrap())
        .replace("/usr/local/share/interlock/nginx", said.to_str().unwrap());
    for (code, allowed, expected) in [(0, "", 0), (3, "", 3), (3, "1", 0), (1, "", 1), (1, "1", 1)] {
        fs::write(&checker, format!("#!/bin/sh\necho 1.2.3\necho lacks fixes\nexit {code}\n")).unwrap();
        fs::set_permissions(&checker, fs::Permissions::from_mode(0o755)).unwrap();
        let mut shell = Command::new("sh");
        let output = shell.args(["-c", &format!("set -eu; lacks=0; {step}")]).env("ALLOW_OLD_NGINX", allowed).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(expected), "{code} {allowed:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("WARNING: lacks fixes"), "{output:?}");
        let advice = String::from_utf8_lossy(&output.stderr).contains("--build-arg ALLOW_OLD_NGINX=1");
        assert_eq!(advice, expected == 3, "{output:?}");
    }
    assert!(dockerfile.contains("\nARG ALLOW_OLD_NGINX=\n"));
}

/// Runs `scripts/pin-bases` on a copy of the Dockerfile with a registry that knows these digests.
fn m7_bases_are_pinned_by_digest_with_the_tag_beside() {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pin-bases");
    fs::create_dir_all(&root).unwrap();
    let (file, docker) = (root.join("Dockerfile"), root.join("docker"));
    let pin = |answer: &str| {
        fs::write(&docker, format!("#!/bin/sh\n{answer}\n")).unwrap();
        fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).unwrap();
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts/pin-bases");
        let path = format!("{}:/usr/bin:/bin", root.display());
        Command::new(script).arg(&file).env("PATH", path).output().unwrap()
    };
    let before = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/Dockerfile")).unwrap();
    fs::write(&file, &before).unwrap();
    for wrong in ["exit 1", "echo", "echo sha256:12", "echo latest"] {
        assert!(!pin(wrong).status.success(), "{wrong}");
        assert_eq!(fs::read_to_string(&file).unwrap(), before, "{wrong}: nothing is written");
    }
    for digit in ["a", "b"] {
        let digest = format!("sha256:{}", digit.repeat(64));
        // It is asked for the tag, not for the digest that stood there.
        let output = pin(&format!("case $* in *@*) exit 1;; esac; echo {digest}"));
        assert!(output.status.success(), "{output:?}");
        let after = fs::read_to_string(&file).unwrap();
        for arg in ["ARG RUST_BASE=rust:1-slim-bookworm", "ARG BASE=nginx:1.30"] {
            assert!(after.contains(&format!("\n{arg}@{digest}\n")), "{after}");
        }
        assert_eq!(after.lines().count(), before.lines().count());
    }
}

/// What is written for those who deploy by `docker stack deploy` is as strict as what `interlock install` does.
#[test]
fn m7_the_stack_file_keeps_the_authority_for_root_and_logs_within_bounds() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/stack.yml")).unwrap();
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.starts_with('#')).collect();
    let follows = |wanted: &[&str]| lines.windows(wanted.len()).any(|lines| lines == wanted);
    assert!(follows(&["- source: authority", "target: interlock-authority", "mode: 0400"]), "{text}");
    let limits = ["logging:", "driver: json-file", "options:", "max-size: \"10m\"", "max-file: \"5\""];
    assert!(follows(&limits), "{text}");
}
