//! Programs in the place of nginx as a checker.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use interlock_core::kinds::Checker;

/// Makes a program that says its version as nginx does, and otherwise runs these lines of shell. It is started in the folder with the
/// copy of the files, `files/nginx.conf` the main one.
pub async fn program(folder: &Path, lines: &str) -> Checker {
    let path = folder.join("checker");
    let text = format!(
        "[ \"$1\" = -V ] && {{ echo 'nginx version: nginx/1.22.1 --with-stream=dynamic' >&2; exit 0; }}\n{lines}\n"
    );
    executable(&path, &text);
    Checker::find(path.to_str().unwrap()).await.unwrap()
}

/// Writes a script that can be run at once.
pub fn executable(path: &Path, lines: &str) {
    // Another process writes it. Otherwise one that this process starts meanwhile may hold it open, and then it cannot be run.
    let mut shell = Command::new("sh")
        .args(["-c", "cat >\"$0\" && chmod 755 \"$0\"", path.to_str().unwrap()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    write!(shell.stdin.take().unwrap(), "#!/bin/sh\n{lines}").unwrap();
    assert!(shell.wait().unwrap().success());
}

/// Refuses, as nginx does it.
pub const REFUSE: &str = r#"{ echo "nginx: [emerg] no good in $PWD/files/nginx.conf:7" >&2; exit 1; }"#;
