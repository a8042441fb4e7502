//! What is rendered, before the real nginx.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use std::process::Command;

use interlock_core::reconcile::reconcile_embedded;
use interlock_core::render::File;
use support::Scenario;

/// Writes the files into a folder, paths mapped, and runs `nginx -t` on them.
fn nginx_accepts(files: &[File]) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    for file in files {
        let path = format!("{root}{}", file.path);
        std::fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
        // What a test changes is where things are, not what is said.
        let content = file
            .content
            .replace("include /etc/nginx/", &format!("include {root}/etc/nginx/"))
            .replace("pid /var/run/proxy.pid;", &format!("pid {root}/proxy.pid;"))
            .replace("/dev/stdout", &format!("{root}/log"))
            .replace("listen 80", "listen 18080");
        std::fs::write(&path, content).unwrap();
    }
    let output = Command::new("nginx")
        .args(["-t", "-q", "-p", root, "-c", &format!("{root}{}", files[0].path)])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // A warning counts: nginx warns of names that it ignores.
    let said: Vec<_> = said.lines().filter(|line| !line.contains("could not open error log file")).collect();
    if output.status.success() && said.is_empty() { Ok(()) } else { Err(said.join("\n")) }
}

#[test]
fn nginx_accepts_every_fixture_without_a_warning() {
    for scenario in Scenario::all() {
        for rendering in reconcile_embedded(&scenario.inputs()).1.values() {
            let files = rendering.result.as_ref().unwrap();
            nginx_accepts(files).unwrap_or_else(|said| panic!("{}: {said}", scenario.name));
        }
    }
}

#[test]
fn nginx_refuses_what_is_wrong() {
    let wrong = File {
        path: "/etc/nginx/nginx.conf".into(),
        part: String::new(),
        content: "events {} http { upstream empty {} }".into(),
    };
    assert!(nginx_accepts(&[wrong]).is_err(), "this test could not fail");
}
