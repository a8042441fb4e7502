//! What there is on the Swarm: made, read, and given signals.

use super::Site;
use crate::support::real::docker_at;

impl Site {
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

    /// Brings an image of the lab to every node under another name, which no registry has.
    pub(crate) fn preload(&self, image: &str, name: &str) {
        let from = format!("{}/{image}:lab", self.lab.registry);
        let file = self.folder.path().join("image.tar");
        let file = file.to_str().unwrap();
        let docker = |socket: &str, args: &[&str]| {
            let output = docker_at(socket, args);
            assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        docker(self.lab.host(), &["tag", &from, name]);
        docker(self.lab.host(), &["save", "--output", file, name]);
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

    /// What Swarm says of a service's update. For a moment after the request that is nothing yet.
    pub(crate) fn update_of(&self, name: &str) -> String {
        let state = "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}";
        self.docker(&["service", "inspect", name, "--format", state])
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
}

/// The containers of a service on the node of this engine: those that run, or those that these arguments say.
fn containers(socket: &str, service: &str, more: &[&str]) -> Vec<String> {
    let filter = format!("label=com.docker.swarm.service.name={service}");
    let found = docker_at(socket, &[&["ps", "--quiet", "--filter", &filter][..], more].concat());
    String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect()
}
