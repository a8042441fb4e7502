//! interlock's program at work on the lab: its settings, and each way to run it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Site;

impl Site {
    /// Writes the settings file: proxies of this image, and these lines behind. `REGISTRY` in them is the lab's.
    pub(crate) fn settings(&self, image: &str, more: &str) {
        self.whole_settings(&self.settings_text(image, more));
    }

    /// Settings with proxies of this image, and these lines behind.
    pub(crate) fn settings_text(&self, image: &str, more: &str) -> String {
        format!(
            "[Extensions.default]\nProxyImage = \"REGISTRY/{image}:lab\"\nPublishMode = \"host\"\nProxyStopGracePeriod = \"2s\"\n{more}"
        )
        .replace("REGISTRY", &self.lab.registry)
    }

    /// Gives a core that was made by hand other settings, by another config object.
    pub(crate) fn swap_settings(&self, name: &str, text: &str) {
        self.make_config(name, text);
        let mounted = self.docker(&[
            "service",
            "inspect",
            "my-interlock",
            "--format",
            "{{range .Spec.TaskTemplate.ContainerSpec.Configs}}{{.ConfigName}}{{end}}",
        ]);
        let add = format!("source={name},target=/config.toml");
        self.docker(&[
            "service",
            "update",
            "--detach",
            "--quiet",
            "--config-rm",
            mounted.trim(),
            "--config-add",
            &add,
            "my-interlock",
        ]);
    }

    /// Makes a config object of a text.
    pub(crate) fn make_config(&self, name: &str, text: &str) {
        let file = self.folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        self.docker(&["config", "create", name, file.to_str().unwrap()]);
    }

    /// Writes the settings file as it is, but for `REGISTRY`.
    pub(crate) fn whole_settings(&self, text: &str) {
        let text = text.replace("REGISTRY", &self.lab.registry);
        std::fs::write(self.folder.path().join("interlock.toml"), text).unwrap();
    }

    /// `interlock install`. Its exit code and what it complained about.
    pub(crate) fn try_install(&self) -> (Option<i32>, String) {
        self.try_install_from(&self.image("interlock"))
    }

    /// The same with core's image of this name.
    pub(crate) fn try_install_from(&self, image: &str) -> (Option<i32>, String) {
        let output = self.command("install").args(["--image", image]).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// `interlock install --ca-only`, and core made by hand, as Interlock's documentation has it.
    pub(crate) async fn core_by_hand(&self) {
        let output = self.command("install").arg("--ca-only").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let file = self.folder.path().join("interlock.toml");
        self.docker(&["config", "create", "service.interlock.conf", file.to_str().unwrap()]);
        let image = self.image("interlock");
        self.docker(&[
            "service",
            "create",
            "--detach",
            "--quiet",
            "--name",
            "my-interlock",
            "--constraint",
            "node.role==manager",
            "--network",
            "interlock",
            "--mount",
            "type=bind,source=/var/run/docker.sock,destination=/var/run/docker.sock",
            "--config",
            "source=service.interlock.conf,target=/config.toml",
            "--secret",
            "source=com.docker.interlock.authority,target=interlock-authority",
            "--update-failure-action",
            "rollback",
            &image,
            "run",
            "-c",
            "/config.toml",
        ]);
    }

    /// Core as `deploy/stack.yml` has it.
    pub(crate) fn core_as_stack(&self) {
        let output = self.command("install").arg("--ca-only").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let stack = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/stack.yml");
        let output = Command::new("docker")
            .args(["--host", self.lab.host(), "stack", "deploy", "--compose-file", stack, "interlock"])
            .env("INTERLOCK_IMAGE", self.image("interlock"))
            .env("INTERLOCK_SETTINGS", self.folder.path().join("interlock.toml"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// `interlock install`, which has to succeed, and waits for core alone. Returns what it printed.
    pub(crate) fn install(&self) -> String {
        self.install_from(&self.image("interlock"))
    }

    /// The same with core's image of this name.
    pub(crate) fn install_from(&self, image: &str) -> String {
        self.install_with(&["--image", image, "--no-wait"])
    }

    /// The same, and waits until extensions and proxies serve.
    pub(crate) fn install_and_wait(&self) -> String {
        self.install_with(&["--image", &self.image("interlock")])
    }

    fn install_with(&self, args: &[&str]) -> String {
        let output = self.command("install").args(args).output().unwrap();
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), self.look());
        String::from_utf8(output.stdout).unwrap()
    }

    /// `interlock uninstall`, which has to succeed.
    pub(crate) fn uninstall(&self) {
        let mut command = self.binary();
        let output = command.args(["uninstall", "--yes", "--host", self.lab.host()]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn binary(&self) -> Command {
        // Cargo builds binaries of other packages only when asked; scripts/test asks.
        let here = std::env::current_exe().unwrap();
        let binary = here.ancestors().map(|folder| folder.join("interlock")).find(|path| path.is_file());
        Command::new(binary.expect("cargo build -p interlock-cli comes first"))
    }

    /// A command of interlock, with the settings file and the lab's manager.
    fn command(&self, name: &str) -> Command {
        let mut command = self.binary();
        command.args([name, "--config"]).arg(self.folder.path().join("interlock.toml"));
        command.args(["--host", self.lab.host()]).stdin(Stdio::null());
        command
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Starts the controller.
    pub(crate) fn controller(&self) {
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let child = self.command("reconcile").stderr(log).stdout(Stdio::null()).spawn().unwrap();
        *self.controller.lock().unwrap() = Some(child);
    }

    /// Ends the controller as a power cut would.
    pub(crate) fn kill_controller(&self) {
        if let Some(mut child) = self.controller.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// One run, which has to succeed. Returns what it printed.
    pub(crate) fn once(&self) -> String {
        let output = self.command("reconcile").arg("--once").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// What somebody types in the folder with the settings, where `interlock` and `docker` are at hand. It has to succeed. Returns what it printed.
    pub(crate) fn paste(&self, line: &str) -> String {
        let program = self.binary();
        let folder = Path::new(program.get_program()).parent().unwrap().display().to_string();
        let output = Command::new("timeout")
            .args(["400", "sh", "-ec", &format!("PATH={folder}:$PATH\n{line}")])
            .current_dir(self.folder.path())
            .env("DOCKER_HOST", self.lab.host())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let [said, wrong] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        assert!(output.status.success(), "{line}\n{said}{wrong}\n{}", self.look());
        said
    }

    /// Writes a file there.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }
}
