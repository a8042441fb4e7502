//! A lab with interlock's binary at work on it, and the requests of a user.

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

// Benchmarks include this file from elsewhere.
#[path = "site/answer.rs"]
mod answer;

pub(crate) use answer::Answer;

use crate::support::http;
use crate::support::real::{Lab, docker_at};

/// How long after the end of a fault all is as it should be: what the project promises.
pub(crate) const CONVERGES: Duration = Duration::from_secs(10);
/// The longest that anything else may take.
const PATIENCE: Duration = Duration::from_secs(150);

pub(crate) struct Site {
    lab: Lab,
    folder: tempfile::TempDir,
    controller: Mutex<Option<Child>>,
}

impl Site {
    /// A lab with nothing on it, and settings for it with these lines behind.
    pub(crate) async fn new(more: &str) -> Self {
        let lab = Lab::find();
        lab.clear().await;
        let folder = tempfile::tempdir().unwrap();
        let site = Self { lab, folder, controller: Mutex::default() };
        site.settings("nginx", more);
        site
    }

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
            .args(["--host", &self.lab.host, "stack", "deploy", "--compose-file", stack, "interlock"])
            .env("INTERLOCK_IMAGE", self.image("interlock"))
            .env("INTERLOCK_SETTINGS", self.folder.path().join("interlock.toml"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The name of a node, 0 being the manager.
    pub(crate) fn node(&self, number: usize) -> String {
        let names = self.docker(&["node", "ls", "--format", "{{.Hostname}}"]);
        let mut names: Vec<_> = names.lines().collect();
        names.sort_unstable();
        names[number].to_owned()
    }

    /// The number of a node on which a task of a service shall run.
    pub(crate) fn node_of(&self, service: &str) -> usize {
        let ps = ["service", "ps", "--filter", "desired-state=running", "--format", "{{.Node}}", service];
        let nodes = self.docker(&ps);
        let found = (0..self.lab.nodes.len()).find(|number| nodes.lines().any(|node| node == self.node(*number)));
        found.unwrap_or_else(|| panic!("{service} runs nowhere: {nodes}\n{}", self.look()))
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
        let output = command.args(["uninstall", "--yes", "--host", &self.lab.host]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Where the proxies of the workers answer.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.workers().iter().map(|node| format!("{node}:8080")).collect()
    }

    /// Brings an image of the lab to every node under another name, which no registry has.
    pub(crate) fn preload(&self, image: &str, name: &str) {
        let from = format!("{}/{image}:lab", self.lab.registry);
        let file = self.folder.path().join("image.tar");
        let file = file.to_str().unwrap();
        let docker = |socket: &str, args: &[&str]| {
            let output = docker_at(socket, args);
            assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        docker(&self.lab.host, &["tag", &from, name]);
        docker(&self.lab.host, &["save", "--output", file, name]);
        for socket in &self.lab.sockets[1..] {
            docker(socket, &["load", "--quiet", "--input", file]);
        }
    }

    /// Gives an image of the lab another tag. Returns its name.
    pub(crate) fn tag(&self, image: &str, tag: &str) -> String {
        let name = format!("{}/{image}:{tag}", self.lab.registry);
        self.docker(&["pull", "--quiet", &self.image(image)]);
        self.docker(&["tag", &self.image(image), &name]);
        self.docker(&["push", "--quiet", &name]);
        name
    }

    /// The ids of the proxies' tasks that shall run, sorted.
    pub(crate) fn proxy_tasks(&self) -> Vec<String> {
        self.tasks_of("interlock-proxy")
    }

    /// The ids of a service's tasks that shall run, sorted.
    pub(crate) fn tasks_of(&self, service: &str) -> Vec<String> {
        let ids =
            self.docker(&["service", "ps", "--quiet", "--no-trunc", "--filter", "desired-state=running", service]);
        let mut ids: Vec<_> = ids.lines().map(str::to_owned).collect();
        ids.sort();
        ids
    }

    /// Sends a signal to the containers of a service, wherever they run.
    pub(crate) fn signal(&self, service: &str, signal: &str) {
        self.signal_at(&self.lab.sockets, service, signal);
    }

    /// The same on this node alone, 0 being the manager.
    pub(crate) fn signal_on(&self, node: usize, service: &str, signal: &str) {
        self.signal_at(&self.lab.sockets[node..=node], service, signal);
    }

    fn signal_at(&self, sockets: &[String], service: &str, signal: &str) {
        for socket in sockets {
            for id in containers(socket, service, &[]) {
                docker_at(socket, &["kill", "--signal", signal, &id]);
            }
        }
    }

    /// What a service's tasks logged, by the engines that have it: Swarm's own way to ask for it may not come to an end.
    pub(crate) fn logs(&self, service: &str) -> String {
        let of_node = |socket: &String| {
            let of_task = |id: String| {
                let output = docker_at(socket, &["logs", &id]);
                String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
            };
            containers(socket, service, &["--all"]).into_iter().map(of_task).collect::<String>()
        };
        self.lab.sockets.iter().map(of_node).collect()
    }

    /// What a command prints in a service's container on this node, 0 being the manager.
    pub(crate) fn in_container(&self, node: usize, service: &str, command: &[&str]) -> String {
        let socket = &self.lab.sockets[node];
        let found = containers(socket, service, &[]);
        let [id] = &found[..] else { panic!("containers of {service} on node {node}: {found:?}") };
        let output = docker_at(socket, &[&["exec", id][..], command].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Kills nginx in the proxy of this node, 0 being the manager.
    pub(crate) fn kill_nginx(&self, node: usize) {
        self.in_container(node, "interlock-proxy", &["sh", "-c", "kill -9 $(cat /var/run/proxy.pid)"]);
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
        command.args(["--host", &self.lab.host]).stdin(Stdio::null());
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

    pub(crate) async fn end(self) {
        self.kill_controller();
        self.lab.clear().await;
    }

    /// A command of the lab, such as a fault.
    pub(crate) fn lab(&self, args: &[&str]) {
        self.lab.command(args);
    }

    pub(crate) fn docker(&self, args: &[&str]) -> String {
        self.lab.docker(args)
    }

    pub(crate) fn try_docker(&self, args: &[&str]) -> Result<String, String> {
        self.lab.try_docker(args)
    }

    pub(crate) async fn network(&self, name: &str) {
        self.lab.until_done(&["network", "create", "--driver", "overlay", name]).await;
    }

    /// Makes a config object or a secret of a text.
    pub(crate) fn store(&self, kind: &str, name: &str, content: &str) {
        self.store_with(&[kind, "create"], name, content);
    }

    /// The same by a command to which its name and file are added.
    pub(crate) fn store_with(&self, command: &[&str], name: &str, content: &str) {
        let file = self.folder.path().join(name);
        std::fs::write(&file, content).unwrap();
        self.docker(&[command, &[name, file.to_str().unwrap()]].concat());
    }

    pub(crate) fn service(&self, name: &str, networks: &[&str], replicas: u32, labels: &[&str]) {
        self.service_with(name, networks, replicas, labels, &[]);
    }

    pub(crate) fn service_with(&self, name: &str, networks: &[&str], replicas: u32, labels: &[&str], more: &[&str]) {
        let replicas = replicas.to_string();
        let labels: Vec<_> = labels.iter().map(|label| format!("com.docker.lb.{label}")).collect();
        let image = self.image("demo");
        let mut args = vec![
            "service",
            "create",
            "--detach",
            "--quiet",
            "--endpoint-mode",
            "dnsrr",
            "--name",
            name,
            "--replicas",
            &replicas,
        ];
        networks.iter().for_each(|network| args.extend(["--network", network]));
        labels.iter().for_each(|label| args.extend(["--label", label]));
        args.extend(more);
        args.push(&image);
        self.docker(&args);
    }

    /// A service of the demo app that is what these arguments say.
    pub(crate) fn app(&self, name: &str, more: &[&str]) {
        let image = self.image("demo");
        let create = ["service", "create", "--detach", "--quiet", "--name", name];
        self.docker(&[&create[..], more, &[&image]].concat());
    }

    /// A stack of one service whose label says its network's name without the stack's.
    pub(crate) fn stack(&self, name: &str, host: &str) {
        let file = self.folder.path().join("stack.yml");
        let text = format!(
            "version: '3.8'\nservices:\n  web:\n    image: {}/demo:lab\n    networks: [inside]\n    deploy:\n      endpoint_mode: dnsrr\n      labels:\n        com.docker.lb.hosts: {host}\n        com.docker.lb.port: '8080'\n        com.docker.lb.network: inside\nnetworks:\n  inside:\n    driver: overlay\n",
            self.lab.registry
        );
        std::fs::write(&file, text).unwrap();
        self.docker(&["stack", "deploy", "--compose-file", file.to_str().unwrap(), name]);
    }

    /// The name of one of the lab's images.
    pub(crate) fn image(&self, name: &str) -> String {
        format!("{}/{name}:lab", self.lab.registry)
    }

    /// The addresses of all nodes, the manager's first.
    pub(crate) fn nodes(&self) -> &[String] {
        &self.lab.nodes
    }

    /// The address that this process has for the nodes.
    pub(crate) fn client(&self) -> String {
        let stream = TcpStream::connect((self.workers()[0].as_str(), 8080)).unwrap();
        stream.local_addr().unwrap().ip().to_string()
    }

    /// The nodes that proxies run on.
    pub(crate) fn workers(&self) -> &[String] {
        &self.lab.nodes[1..]
    }

    pub(crate) fn raw(&self, node: &str, request: &str) -> String {
        http::exchange((node, 8080), request).unwrap()
    }

    pub(crate) fn get(&self, node: &str, host: &str, path: &str) -> Result<Answer, String> {
        self.get_at((node, 8080), host, path)
    }

    pub(crate) fn get_at(&self, address: (&str, u16), host: &str, path: &str) -> Result<Answer, String> {
        self.get_with(address, host, path, "")
    }

    /// The same with these header lines.
    pub(crate) fn get_with(&self, address: (&str, u16), host: &str, path: &str, more: &str) -> Result<Answer, String> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n");
        let text = http::exchange(address, &request).map_err(|error| error.to_string())?;
        Answer::parse(&text).ok_or(text)
    }

    /// Asks as a client does that tries the other node when one refuses the connection.
    pub(crate) fn try_ask(&self, host: &str, path: &str) -> Result<Answer, String> {
        let mut said = String::new();
        for node in self.workers() {
            match self.get(node, host, path) {
                Ok(answer) => return Ok(answer),
                Err(error) => said = error,
            }
        }
        Err(said)
    }

    pub(crate) fn ask(&self, host: &str, path: &str) -> Answer {
        self.try_ask(host, path)
            .unwrap_or_else(|error| panic!("no node answers for {host}{path}: {error}\n{}", self.look()))
    }

    /// Sends a text over a WebSocket and reads what comes back.
    pub(crate) fn websocket(&self, node: &str, request: &str, text: &str) -> String {
        let mut stream = TcpStream::connect((node, 8080)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        // A final text frame, masked with zeroes, which leaves the text as it is.
        let length = u8::try_from(text.len()).unwrap();
        let frame = [&[0x81, 0x80 | length, 0, 0, 0, 0][..], text.as_bytes()].concat();
        stream.write_all(&frame).unwrap();
        let mut answer = vec![0; 2 + text.len()];
        stream.read_exact(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[2..]).into_owned()
    }

    /// Waits until every proxy's answer is like this.
    pub(crate) async fn eventually(&self, host: &str, path: &str, right: impl Fn(&Answer) -> bool) {
        self.until(&format!("{host}{path} is answered as it should on both nodes"), |site| {
            site.workers().iter().all(|node| site.get(node, host, path).is_ok_and(|answer| right(&answer)))
        })
        .await;
    }

    /// Waits until so many instances of a service answer through each proxy.
    pub(crate) async fn all_serve(&self, name: &str, instances: usize) {
        let host = format!("{name}.local.test");
        self.until(&format!("{instances} instances of {name} answer"), |site| {
            site.workers().iter().all(|node| {
                let answers = (0..4 * instances).filter_map(|_| site.get(node, &host, "/ping").ok());
                let found: std::collections::BTreeSet<_> = answers.map(|answer| answer.json("instance")).collect();
                found.len() == instances
            })
        })
        .await;
    }

    /// Waits until the tasks that a service lost are gone, and so many instances answer.
    pub(crate) async fn only_answers(&self, name: &str, instances: usize) {
        self.run(name, instances).await;
        self.all_serve(name, instances).await;
    }

    /// Waits until exactly so many tasks of a service run.
    pub(crate) async fn run(&self, name: &str, instances: usize) {
        self.until(&format!("{instances} tasks of {name} run"), |site| {
            let states = site.docker(&["service", "ps", "--format", "{{.CurrentState}}", name]);
            states.lines().filter(|state| state.starts_with("Running")).count() == instances
        })
        .await;
    }

    /// Waits until a service's update is over.
    pub(crate) async fn updated(&self, name: &str) {
        self.until(&format!("{name} is updated"), |site| site.update_of(name).contains("completed")).await;
    }

    /// What Swarm says of a service's update. For a moment after the request that is nothing yet.
    pub(crate) fn update_of(&self, name: &str) -> String {
        let state = "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}";
        self.docker(&["service", "inspect", name, "--format", state])
    }

    /// Waits until no update of the proxies is under way: seen a few times, as Swarm may have one that it says nothing of yet.
    pub(crate) async fn at_rest(&self) {
        let seen = Cell::new(0);
        self.until("the proxies are at rest", |site| {
            let state = site.proxies("{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}");
            let replicas =
                site.docker(&["service", "ls", "--filter", "name=interlock-proxy", "--format", "{{.Replicas}}"]);
            let rests = state.is_some_and(|state| state != "updating") && replicas.trim() == "2/2";
            seen.set(if rests { seen.get() + 1 } else { 0 });
            seen.get() == 3
        })
        .await;
    }

    /// What `docker service inspect` says of the proxy service, if there is one.
    pub(crate) fn proxies(&self, format: &str) -> Option<String> {
        self.try_docker(&["service", "inspect", "interlock-proxy", "--format", format])
            .ok()
            .map(|said| said.trim().to_owned())
    }

    /// The name of the config object that the proxies mount.
    pub(crate) fn config_name(&self) -> String {
        self.proxies("{{(index .Spec.TaskTemplate.ContainerSpec.Configs 0).ConfigName}}").unwrap()
    }

    /// What it says.
    pub(crate) fn config(&self) -> String {
        self.docker(&["config", "inspect", "--pretty", &self.config_name()])
    }

    pub(crate) async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        self.within(PATIENCE, what, done).await;
    }

    pub(crate) async fn within(&self, limit: Duration, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + limit;
        while !done(self) {
            assert!(Instant::now() < deadline, "not so after {limit:?}: {what}\n{}", self.look());
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }

    /// Waits until every proxy serves a host, which has to be soon.
    pub(crate) async fn served_within(&self, limit: Duration, host: &str) {
        self.within(limit, &format!("{host} is served by both nodes"), |site| {
            site.workers().iter().all(|node| site.get(node, host, "/ping").is_ok_and(|answer| answer.status == 200))
        })
        .await;
    }

    /// What there is to see when something is wrong.
    pub(crate) fn look(&self) -> String {
        let ours = self.try_docker(&["service", "ls", "--quiet", "--filter", "name=interlock"]).unwrap_or_default();
        let tasks: Vec<_> = ["service", "ps", "--no-trunc"].into_iter().chain(ours.lines()).collect();
        let commands: [&[&str]; 3] = [&["service", "ls"], &tasks, &["config", "ls"]];
        let seen: Vec<_> = commands.iter().map(|args| self.try_docker(args).unwrap_or_else(|error| error)).collect();
        let log = self.log();
        let tail: Vec<_> = log.lines().rev().take(25).collect();
        format!("{}\n{}", seen.join("\n"), tail.into_iter().rev().collect::<Vec<_>>().join("\n"))
    }
}

/// The containers of a service on the node of this engine: those that run, or those that these arguments say.
fn containers(socket: &str, service: &str, more: &[&str]) -> Vec<String> {
    let filter = format!("label=com.docker.swarm.service.name={service}");
    let found = docker_at(socket, &[&["ps", "--quiet", "--filter", &filter][..], more].concat());
    String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect()
}

impl Drop for Site {
    fn drop(&mut self) {
        self.kill_controller();
    }
}
