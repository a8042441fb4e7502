//! Files and connections that commands start from.

use std::io::Read;
use std::path::Path;

use interlock_core::docker::Client;
use interlock_core::install;
use interlock_core::settings::Settings;
use interlock_core::swarm::Snapshot;
use interlock_core::swarm::state::State;
use interlock_core::trust::{Authority, Fingerprint, Identity};

use crate::args::DockerArgs;
use crate::engine::endpoint;
use crate::failure::Failure;
use crate::show;

/// Settings with the text that they were read from.
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    pub(crate) text: String,
}

/// Reads the settings file, or takes the defaults.
pub(crate) fn settings(file: Option<&Path>) -> Result<Loaded, Failure> {
    let Some(file) = file else { return Ok(Loaded { settings: Settings::default(), text: String::new() }) };
    let text = std::fs::read_to_string(file).map_err(|error| Failure::input(file.display().to_string(), error))?;
    parse_settings(&file.display().to_string(), text)
}

pub(crate) fn parse_settings(what: &str, text: String) -> Result<Loaded, Failure> {
    match Settings::parse(&text) {
        Ok((settings, notices)) => {
            for notice in notices {
                show::warning(&format!("{what}: line {}: {}: {}", notice.line, notice.key, notice.message));
            }
            Ok(Loaded { settings, text })
        }
        Err(error) => {
            Err(Failure::Input { what: what.to_owned(), wrong: error.to_string().lines().map(str::to_owned).collect() })
        }
    }
}

/// The settings to work on a Swarm with: those of the file, else those of the core that is there, else the defaults. Says what is there, too.
pub(crate) async fn on_swarm(args: &DockerArgs, file: Option<&Path>) -> Result<(Loaded, Snapshot), Failure> {
    let given = settings(file)?;
    let client = connect(args, &given.settings).await?;
    let snapshot = client.observe(jiff::Timestamp::now()).await?.snapshot;
    let Some(core) = install::deployed(&snapshot).filter(|_| file.is_none()) else { return Ok((given, snapshot)) };
    let whose = format!("the settings of service {}", core.name);
    let Some(text) = core.settings else {
        return Err(Failure::input(
            whose,
            "cannot be read, as interlock did not install it; name its file by --config",
        ));
    };
    Ok((parse_settings(&whose, text.to_owned())?, snapshot))
}

/// Reads a state file. Its settings count unless a settings file is given.
pub(crate) fn state(file: &Path, config: Option<&Path>) -> Result<(Snapshot, Loaded), Failure> {
    let name = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map(|_| ())
    } else {
        std::fs::read_to_string(file).map(|content| text = content)
    };
    read.map_err(|error| Failure::input(&name, error))?;
    let State { settings: own, snapshot } = State::parse(&text).map_err(|error| Failure::input(&name, error))?;
    let loaded = match config {
        None if !own.is_empty() => parse_settings(&format!("settings in {name}"), own)?,
        config => settings(config)?,
    };
    Ok((snapshot, loaded))
}

/// Reads the authority. There is none where the file does not exist.
pub(crate) fn authority(file: &Path) -> Result<Option<Authority>, Failure> {
    let name = || file.display().to_string();
    match std::fs::read_to_string(file) {
        Ok(pem) => Authority::from_pem(&pem).map(Some).map_err(|error| Failure::input(name(), error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::input(name(), error)),
    }
}

/// Reads what we show to core.
pub(crate) fn identity(file: &Path) -> Result<Identity, Failure> {
    let wrong = |error: &dyn ToString| Failure::input(file.display().to_string(), error.to_string());
    let pem = std::fs::read_to_string(file).map_err(|error| wrong(&error))?;
    Identity::from_pem(&pem).map_err(|error| wrong(&error))
}

/// The same, if its authority is the one that its holder was made for.
pub(crate) fn of_authority(identity: Identity, authority: &Fingerprint, file: &Path) -> Result<Identity, Failure> {
    identity.of_authority(authority).map_err(|error| Failure::input(file.display().to_string(), error))
}

/// Connects to a manager.
pub(crate) async fn connect(args: &DockerArgs, settings: &Settings) -> Result<Client, Failure> {
    Ok(Client::connect(&endpoint(args, settings)?).await?.for_settings(settings))
}

/// A runtime for the commands that talk to Docker.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    // The allocator gives each thread that reads or thinks a heap of its own, and memory that one of them freed stays there.
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).max_blocking_threads(2).enable_all().build()?)
}
