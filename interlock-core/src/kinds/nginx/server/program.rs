//! nginx as a program: how it is checked, started and asked for its version.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::output::Output;
use crate::kinds::nginx::check_output::is_exhausted;
use crate::kinds::reaper::{Child, Children};
use crate::kinds::server::{FileSet, Unserved};
use crate::units::ProxyVersion;

/// Debian builds the module for TCP apart. A configuration never loads it itself, as other images have it built in.
const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
/// How much of what the checker says is read.
const LONGEST: u64 = 64 * 1024;

/// How nginx is started.
#[derive(Debug, Clone)]
pub(super) struct Program {
    program: String,
    arguments: Vec<String>,
    /// Directives outside of the file: `-g`, which nginx takes only once.
    directives: String,
    /// Whether configurations come and go: the module for TCP is loaded even when the first one has no use for it, as a reload
    /// cannot load it later.
    changing: bool,
    children: Children,
    /// Where it writes; `None`: where we do.
    output: Option<Arc<Output>>,
}

impl Program {
    /// Of a command like `nginx -g "daemon off;"`. What it says of a configuration file is replaced.
    pub(super) fn new(command: &[String], changing: bool, children: Children, output: Option<Arc<Output>>) -> Self {
        let mut words = command.iter().cloned();
        let program = words.next().unwrap_or_else(|| "nginx".to_owned());
        let mut arguments = Vec::new();
        let mut directives = String::new();
        while let Some(word) = words.next() {
            match word.as_str() {
                "-g" => directives = words.next().unwrap_or_default(),
                "-c" => drop(words.next()),
                _ => arguments.push(word),
            }
        }
        if !directives.split(';').any(|directive| directive.split_whitespace().next() == Some("daemon")) {
            directives.push_str(" daemon off;");
        }
        Self { program, arguments, directives: directives.trim().to_owned(), changing, children, output }
    }

    /// The module for TCP is loaded when the image has it apart and the configuration does not see to modules itself.
    fn directives(&self, set: &FileSet) -> String {
        let has = |what: &str| {
            set.files.iter().any(|file| file.content.lines().any(|line| line.trim_start().starts_with(what)))
        };
        let itself = has("load_module") || has("include /etc/nginx/modules-enabled/");
        if (self.changing || has("stream {")) && !itself && Path::new(STREAM_MODULE).exists() {
            format!("load_module {STREAM_MODULE}; {}", self.directives)
        } else {
            self.directives.clone()
        }
    }

    fn command(&self, set: &FileSet, config: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg("-c").arg(config).arg("-g").arg(self.directives(set));
        command.stdin(Stdio::null());
        command
    }

    /// Runs nginx's own checker on a configuration.
    ///
    /// # Errors
    ///
    /// When it refused: what it said, as it said it. When it came to no result, or took longer than `limit`: why.
    pub(super) async fn check(&self, set: &FileSet, config: &Path, limit: Duration) -> Result<(), Unserved> {
        let mut command = self.command(set, config);
        command.args(["-t", "-q"]).stdout(Stdio::null()).stderr(Stdio::piped());
        match tokio::time::timeout(limit, self.words(command)).await {
            Ok(Ok((status, _))) if status.success() => Ok(()),
            // It was ended by somebody, or there was too little of something.
            Ok(Ok((status, said))) if status.code().is_none() || is_exhausted(&said) => {
                Err(Unserved::Failed(if said.is_empty() {
                    format!("nginx: [emerg] the checker was ended: {status}")
                } else {
                    said
                }))
            }
            Ok(Ok((_, said))) => Err(Unserved::Refused(said)),
            Ok(Err(error)) => Err(Unserved::Failed(format!("nginx: [emerg] {} cannot be run: {error}", self.program))),
            Err(_) => Err(Unserved::Failed(format!(
                "nginx: [emerg] the checker took longer than {}",
                humantime::format_duration(limit)
            ))),
        }
    }

    /// The version, like `1.30.7`; empty when it cannot be found out.
    pub(super) async fn version(&self) -> String {
        let mut command = Command::new(&self.program);
        command.arg("-v").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let said = self.words(command).await.map(|(_, said)| said).unwrap_or_default();
        ProxyVersion::in_output(&said).map(|version| version.to_string()).unwrap_or_default()
    }

    /// How a command ended, and what it wrote to standard error.
    async fn words(&self, mut command: Command) -> io::Result<(ExitStatus, String)> {
        let mut child = self.children.spawn(&mut command)?;
        let mut said = Vec::new();
        if let Some(stderr) = child.take_stderr() {
            let mut stderr = stderr;
            (&mut stderr).take(LONGEST).read_to_end(&mut said).await?;
            // Read to the end, so that it is not held up.
            tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
        }
        let status = child.wait().await?;
        Ok((status, String::from_utf8_lossy(&said).into_owned()))
    }

    /// Starts nginx. Its process group is its own, so that signals from a terminal do not reach it past us, and its workers are found
    /// when it is gone.
    pub(super) fn start(&self, set: &FileSet, config: &Path) -> io::Result<Child> {
        let mut command = self.command(set, config);
        if let Some(output) = &self.output {
            let [out, err] = output.stdio()?;
            command.stdout(out).stderr(err);
        }
        self.children.spawn(command.process_group(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nginx_stays_in_the_foreground() {
        for (command, directives) in [
            (&["nginx"][..], "daemon off;"),
            (&["nginx", "-g", "daemon off;"], "daemon off;"),
            (&["nginx", "-c", "/x", "-g", "worker_processes 2;"], "worker_processes 2; daemon off;"),
        ] {
            let command: Vec<_> = command.iter().map(|word| (*word).to_owned()).collect();
            let program = Program::new(&command, false, Children::default(), None);
            assert_eq!((program.directives.as_str(), program.arguments.len()), (directives, 0));
        }
    }
}
