//! `interlock proxy`: the first process of a proxy's container, and the container's health check.

use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use interlock_core::agent::{self, Delivery, Options, Seal, health};
use interlock_core::deployment::{AGENT_FILE, AgentFile};
use interlock_core::grpc::{MESSAGE_LIMIT, tls};
use interlock_core::settings::Settings;
use interlock_core::trust::Identity;
use tokio::sync::watch;

use crate::args::{Global, HealthArgs, ProxyArgs, ProxyCommand};
use crate::failure::Failure;
use crate::{inputs, logging};

pub(crate) fn run(global: &Global, args: ProxyArgs) -> Result<ExitCode, Failure> {
    if let Some(ProxyCommand::Health(args)) = &args.command {
        return is_healthy(args);
    }
    let _rest = logging::start_without_waiting(global, &Settings::default());
    let agent = agent_file(args.agent_file.as_deref())?;
    let options = Options {
        command: args.program,
        run: args.run,
        state: args.state,
        manifest: args.manifest,
        health: args.health.health_address,
        ..Options::default()
    };
    let tokio = inputs::runtime()?;
    let ended = tokio.block_on(async {
        let delivery = match agent {
            Some(agent) => {
                tracing::info!(cluster = agent.cluster.title(), "following core at {}", agent.core);
                let identity = identity(&agent, &args.identity)?;
                let (client, reached) = connect(&agent, &identity)?;
                let seal = agent.authority.as_ref().map(|_| Seal {
                    authority: identity.authority.clone(),
                    cluster: agent.cluster.clone(),
                    generation: agent.generation.clone(),
                });
                Delivery::Hitless { agent, client, reached, seal }
            }
            None => {
                tracing::info!("no agent file: serving {}", args.config.display());
                Delivery::Classic { config: args.config }
            }
        };
        agent::run(options, delivery, agent::orders()?).await?;
        Ok(ExitCode::SUCCESS)
    });
    // A write to a volume that hangs does not keep the container from ending.
    tokio.shutdown_timeout(Duration::from_millis(100));
    ended
}

fn is_healthy(args: &HealthArgs) -> Result<ExitCode, Failure> {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio.block_on(health::ask_for_docker(args.health_address))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads who this proxy is. A file that somebody named has to be there.
fn agent_file(named: Option<&Path>) -> Result<Option<AgentFile>, Failure> {
    let path = named.unwrap_or(Path::new(AGENT_FILE));
    let wrong = |wrong: &dyn ToString| Failure::input(path.display().to_string(), wrong.to_string());
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(AgentFile::from_toml(&text).map_err(|error| wrong(&error))?)),
        Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => Ok(None),
        Err(error) => Err(wrong(&error)),
    }
}

/// What the proxy shows to core. Its authority has to be the one that the agent's file names: a secret that somebody else made would have
/// the proxy follow him.
fn identity(agent: &AgentFile, file: &Path) -> Result<Identity, Failure> {
    let identity = inputs::identity(file)?;
    match &agent.authority {
        Some(authority) => inputs::of_authority(identity, authority, file),
        None => Ok(identity),
    }
}

/// The way to core, and whether core was ever reached. It connects when it is used.
fn connect(agent: &AgentFile, identity: &Identity) -> Result<(agent::Client, watch::Receiver<bool>), Failure> {
    let (channel, reached) = tls::channel_knowing(&agent.core, identity, &agent.addresses)
        .map_err(|error| Failure::input(AGENT_FILE, error))?;
    Ok((agent::Client::new(channel).max_decoding_message_size(MESSAGE_LIMIT), reached))
}
