//! What can be typed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use interlock_core::agent;
use interlock_core::ownership;
use interlock_core::settings::Kind;
use interlock_core::units::Fingerprint;

/// Label-driven Layer 7 routing for Docker Swarm.
///
/// Put com.docker.lb.hosts and com.docker.lb.port on a Swarm service, and requests for those hosts reach its tasks through
/// NGINX proxies that interlock deploys and keeps in step.
#[derive(Debug, Parser)]
#[command(name = "interlock", version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done or nothing to do; 1 failed; 2 wrong usage, settings or state file; 3 with --exit-code: changes are pending; 4 with --exit-code: something is not served, or cannot be deployed."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Log more: -v for debug, -vv for trace. RUST_LOG sets it in detail.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Log for debugging, like -v.
    #[arg(short = 'D', long = "debug", global = true)]
    pub(crate) debug: bool,
    /// The format of log lines [default: LogFormat of the settings, else text].
    #[arg(long, global = true, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    #[arg(long = "rust-log", env = "RUST_LOG", hide = true, global = true)]
    pub(crate) rust_log: Option<String>,
    #[command(flatten)]
    pub(crate) docker: DockerArgs,
}

/// The engine to talk to, found as the Docker CLI finds it.
#[derive(Debug, Args)]
pub(crate) struct DockerArgs {
    /// The Docker engine [env: DOCKER_HOST] [default: the engine of the Docker context, else DockerURL of the settings, else unix:///var/run/docker.sock].
    #[arg(long = "host", short = 'H', global = true, value_name = "URL")]
    pub(crate) host: Option<String>,
    #[arg(long = "docker-host", env = "DOCKER_HOST", hide = true, global = true)]
    pub(crate) docker_host: Option<String>,
    #[arg(long = "home", env = "HOME", hide = true, global = true, default_value = "/root")]
    pub(crate) home: PathBuf,
    #[arg(long = "docker-tls-verify", env = "DOCKER_TLS_VERIFY", hide = true, global = true)]
    pub(crate) tls_verify: Option<String>,
    #[arg(long = "docker-cert-path", env = "DOCKER_CERT_PATH", hide = true, global = true)]
    pub(crate) cert_path: Option<PathBuf>,
    #[arg(long = "docker-context", env = "DOCKER_CONTEXT", hide = true, global = true)]
    pub(crate) docker_context: Option<String>,
    #[arg(long = "docker-config", env = "DOCKER_CONFIG", hide = true, global = true)]
    pub(crate) docker_config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run core: keep the Swarm's proxies in step with the labels of its services.
    Reconcile(ReconcileArgs),
    /// The same as reconcile, under the name that Interlock's core has.
    #[command(hide = true)]
    Run(ReconcileArgs),
    /// Set up or update interlock on this Swarm: a network, an authority, the settings, and core as a service.
    Install(InstallArgs),
    /// Remove everything that interlock made on this Swarm, and nothing else.
    Uninstall(UninstallArgs),
    /// Write the state of the Swarm as a state file, without the contents of secrets.
    Snapshot(SnapshotArgs),
    /// Print the proxies' configuration files.
    Render(RenderArgs),
    /// Run the agent: supervise NGINX as PID 1 of a proxy task, and give it each configuration that core accepted.
    Proxy(ProxyArgs),
    /// Run an extension: render the model that core sends for one service cluster, and post the hash.
    Extension(ExtensionArgs),
    /// Check whether the core or the extension of this container works, for Docker's health check.
    Health(AliveArgs),
    /// Print a commented settings file with all defaults.
    Init(InitArgs),
    /// List the labels with their meaning, values and defaults.
    Labels(LabelsArgs),
    /// Print the JSON schema of settings or state files.
    Schema(SchemaArgs),
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ReconcileArgs {
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    /// Work until nothing is left to do, then exit.
    #[arg(long)]
    pub(crate) once: bool,
    /// Print the plan, with a diff of each generated file, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Exit with 4 if there are errors among the problems, else with 3 if there is something to do or to wait for. Only with --dry-run
    /// or --state.
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// Read the Swarm's state from a file instead of Docker; - is standard input. Implies --dry-run.
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// The format of the plan.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// With --once: use other settings than the core on the Swarm has. That core changes everything back.
    #[arg(long, requires = "once")]
    pub(crate) force: bool,
    /// With --once: deliver new configurations by replacing the proxies (classic delivery), also where a running core delivers them in place.
    #[arg(long, requires = "once")]
    pub(crate) classic: bool,
    /// The file with the authority that signs the identities of extensions and proxies: `interlock install` makes it, and Docker mounts
    /// it. A missing file counts as no authority.
    #[arg(long, value_name = "FILE", default_value = interlock_core::ownership::AUTHORITY_PATH)]
    pub(crate) authority: PathBuf,
    /// The program that validates the files that core renders, like nginx. Without it only extensions and proxies validate files.
    /// With --dry-run, --state and --once it also validates the files of extensions with an Image.
    #[arg(long, env = "INTERLOCK_CHECKER", value_name = "PROGRAM")]
    pub(crate) checker: Option<String>,
    /// The container that core runs in: it tells core which service is its own.
    #[arg(long, value_name = "NAME", env = "HOSTNAME", hide = true)]
    pub(crate) container: Option<String>,
    #[command(flatten)]
    pub(crate) alive: AliveArgs,
    /// How long --once may take, like 90s or 5m.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "5m")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    /// The image of core [default: the image of the deployed core, else interlock:VERSION].
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,
    /// The name of core's service.
    #[arg(long, value_name = "NAME", default_value = interlock_core::ownership::CORE_SERVICE)]
    pub(crate) name: String,
    /// Make only the authority and the networks, for a core that you deploy by hand.
    #[arg(long)]
    pub(crate) ca_only: bool,
    /// Use the authority that exists already. An earlier install printed its fingerprint.
    #[arg(long, value_name = "FINGERPRINT")]
    pub(crate) adopt_authority: Option<Fingerprint>,
    /// Print the plan, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The format of the plan.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Wait until core runs and all extensions and proxies serve. This is the default.
    #[arg(long)]
    pub(crate) wait: bool,
    /// Wait only until core runs.
    #[arg(long, conflicts_with = "wait")]
    pub(crate) no_wait: bool,
    /// How long install may take altogether, like 90s or 10m.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "5m")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct UninstallArgs {
    /// Keep the authority: a later install can then use the same certificates.
    #[arg(long)]
    pub(crate) keep_authority: bool,
    /// Do not ask. Needed if standard input is not a terminal.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print the plan, and remove nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The format of the plan.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// How long uninstall may take, like 90s or 5m.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "2m")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct SettingsArgs {
    /// The settings file (TOML). Without it: one NGINX service cluster with defaults. Exception: install, --once and --dry-run use
    /// the settings of the core on the Swarm, if there is one.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SnapshotArgs {
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RenderArgs {
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    /// Read the Swarm's state from a file instead of Docker; - is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// Only this service cluster; "default" is the one without a name.
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ProxyArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ProxyCommand>,
    /// The file that tells the agent where core is [default: /etc/interlock/agent.toml]. Without that file the proxy follows no core,
    /// and serves the mounted configuration (classic delivery).
    #[arg(long, env = "INTERLOCK_AGENT_FILE", value_name = "FILE")]
    pub(crate) agent_file: Option<PathBuf>,
    /// The file with the certificate and key by which core knows this proxy.
    #[arg(long, env = "INTERLOCK_IDENTITY", value_name = "FILE", default_value = ownership::IDENTITY_PATH)]
    pub(crate) identity: PathBuf,
    /// The mounted configuration that the proxy serves without an agent file.
    #[arg(long, env = "INTERLOCK_CONFIG", value_name = "FILE", default_value = agent::CONFIG)]
    pub(crate) config: PathBuf,
    /// The signed manifest of the mounted configuration, used with an agent file.
    #[arg(long, env = "INTERLOCK_MANIFEST", value_name = "FILE", default_value = interlock_core::deployment::MANIFEST_FILE)]
    pub(crate) manifest: PathBuf,
    /// A folder that outlives the container: the agent keeps copies of served configurations in it.
    #[arg(long, env = "INTERLOCK_STATE", value_name = "FOLDER", default_value = agent::STATE)]
    pub(crate) state: PathBuf,
    /// A folder in memory that only this container uses.
    #[arg(long, env = "INTERLOCK_RUN", value_name = "FOLDER", default_value = agent::RUN)]
    pub(crate) run: PathBuf,
    #[command(flatten)]
    pub(crate) health: HealthArgs,
    /// The command that runs the proxy [default: nginx -g "daemon off;"].
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) program: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProxyCommand {
    /// Check whether the proxy of this container answers, for Docker's health check.
    Health(HealthArgs),
}

#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// The address at which the proxy answers health checks. Rendered configurations have the default.
    #[arg(long, env = "INTERLOCK_HEALTH", value_name = "ADDRESS", default_value_t = agent::health::ADDRESS, hide = true)]
    pub(crate) health_address: SocketAddr,
}

#[derive(Debug, Args)]
pub(crate) struct ExtensionArgs {
    /// The kind of proxy.
    #[arg(value_enum)]
    pub(crate) kind: ExtensionKind,
    /// The address of core. If the name has several addresses, the extension tries one after the other.
    #[arg(long, value_name = "HOST:PORT", default_value = "tasks.interlock-core:8080")]
    pub(crate) core: String,
    /// The file with the fingerprint of core's authority [default: /etc/interlock/extension.toml]. Without that file the extension
    /// trusts the authority that signed its own identity.
    #[arg(long, env = "INTERLOCK_EXTENSION_FILE", value_name = "FILE")]
    pub(crate) extension_file: Option<PathBuf>,
    /// The file with the certificate and key by which core knows this extension and its service cluster.
    #[arg(long, env = "INTERLOCK_IDENTITY", value_name = "FILE", default_value = ownership::IDENTITY_PATH)]
    pub(crate) identity: PathBuf,
    /// The program that validates the rendered files.
    #[arg(long, env = "INTERLOCK_CHECKER", value_name = "PROGRAM", default_value = "nginx")]
    pub(crate) checker: String,
    #[command(flatten)]
    pub(crate) alive: AliveArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AliveArgs {
    /// A socket at which core and extensions answer `interlock health` while they work. Without it they do not answer.
    #[arg(long, env = "INTERLOCK_HEALTH_SOCKET", value_name = "FILE")]
    pub(crate) health_socket: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Write to this file instead of standard output. An existing file is not changed.
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct LabelsArgs {
    /// The format of the list.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// The kind of file.
    #[arg(value_enum, default_value_t = SchemaOf::Settings)]
    pub(crate) of: SchemaOf,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExtensionKind {
    /// NGINX.
    Nginx,
    /// HAProxy; not supported by this version.
    Haproxy,
    /// F5 BIG-IP; not supported by this version.
    F5,
}

impl From<ExtensionKind> for Kind {
    fn from(kind: ExtensionKind) -> Self {
        match kind {
            ExtensionKind::Nginx => Self::Nginx,
            ExtensionKind::Haproxy => Self::Haproxy,
            ExtensionKind::F5 => Self::F5,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    /// The settings file.
    Settings,
    /// State files, as `snapshot` writes them.
    State,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
