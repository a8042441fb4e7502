//! `interlock extension`

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use interlock_core::deployment::{EXTENSION_FILE, ExtensionFile};
use interlock_core::grpc::{self, tls};
use interlock_core::kinds::Checker;
use interlock_core::settings::{Kind, Settings};
use interlock_core::trust::Identity;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{ExtensionArgs, Global};
use crate::failure::Failure;
use crate::liveness::Liveness;
use crate::{inputs, logging};

/// What the extension shows to core, of the authority that its file names.
fn identity(args: &ExtensionArgs) -> Result<Identity, Failure> {
    let identity = inputs::identity(&args.identity)?;
    let path = args.extension_file.as_deref().unwrap_or(Path::new(EXTENSION_FILE));
    let wrong = |wrong: &dyn ToString| Failure::input(path.display().to_string(), wrong.to_string());
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let file = ExtensionFile::from_toml(&text).map_err(|error| wrong(&error))?;
            inputs::of_authority(identity, &file.authority, &args.identity)
        }
        // A core of an older version makes none.
        Err(error) if error.kind() == ErrorKind::NotFound && args.extension_file.is_none() => Ok(identity),
        Err(error) => Err(wrong(&error)),
    }
}

pub(crate) fn run(global: &Global, args: &ExtensionArgs) -> Result<ExitCode, Failure> {
    let kind = Kind::from(args.kind);
    if kind != Kind::Nginx {
        return Err(Failure::input(format!("extension {kind}"), "is not supported by this version"));
    }
    let _rest = logging::start_without_waiting(global, &Settings::default());
    let tokio = inputs::runtime()?;
    let ended = tokio.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let follow = async {
            let checker = Checker::find(&args.checker).await?;
            tracing::info!(version = %checker.version(), "files are checked by {}", args.checker);
            let identity = identity(args)?;
            let wrong = |error| Failure::input(format!("--core {}", args.core), error);
            // What is wrong with the name or the identity shows here, before anybody is connected to.
            drop(tls::channel(&args.core, &identity).map_err(wrong)?);
            let connect = |address: SocketAddr| tls::channel(&address.to_string(), &identity).map_err(wrong);
            let find = || tls::addresses(&args.core);
            match grpc::extensions::follow_all(find, connect, Some(&checker)).await? {}
        };
        let liveness = Liveness::at(&args.alive)?;
        // Nothing has to be finished: what is not posted is made again by whoever comes next.
        tokio::select! {
            failed = liveness.during(follow) => failed,
            _ = terminate.recv() => Ok(ExitCode::SUCCESS),
            _ = interrupt.recv() => Ok(ExitCode::SUCCESS),
        }
    });
    // A resolver that hangs does not keep the container from ending.
    tokio.shutdown_timeout(Duration::from_millis(100));
    ended
}
