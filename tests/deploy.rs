//! What `deploy/` does when images are built.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `nginx-floor` prints for an image with this `nginx -v` and this Debian package.
fn nginx_floor(version: &str, package: Option<&str>) -> (String, Option<String>) {
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
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines().map(str::to_owned);
    (lines.next().unwrap(), lines.next())
}

// One test, because a script that was just written cannot be run while another thread starts a process.
#[test]
fn an_nginx_without_security_fixes_is_warned_about() {
    for (version, package) in [
        ("1.30.7", None),
        ("1.30.10", Some("1.30.10-1~trixie")),
        ("1.32.0", None),
        ("1.22.1", Some("1.22.1-9+deb12u11")),
        ("1.22.1", Some("1.22.1-9+deb12u20")),
        ("1.26.3", Some("1.26.3-3+deb13u11")),
    ] {
        assert_eq!(nginx_floor(version, package), (package.unwrap_or(version).to_owned(), None));
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
        assert_eq!(nginx_floor(version, package), (named, Some(warning)));
    }
    // Which mainline releases have them is not known here.
    assert!(nginx_floor("1.31.3", None).1.unwrap().ends_with("was not checked"));
}
