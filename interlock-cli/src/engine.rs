//! Which engine to talk to: as the Docker CLI finds it, and after that by the settings.

use std::path::Path;

use interlock_core::docker::{Endpoint, TlsFiles};
use interlock_core::settings::Settings;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::args::DockerArgs;
use crate::failure::Failure;

/// The engine of `--host` or `DOCKER_HOST`, else that of the Docker context, else `DockerURL` of the settings, else the local socket.
pub(crate) fn endpoint(args: &DockerArgs, settings: &Settings) -> Result<Endpoint, Failure> {
    let said = [(&args.host, "--host"), (&args.docker_host, "DOCKER_HOST")];
    let mut said = said.into_iter().filter_map(|(host, origin)| Some((host.as_ref()?, origin)));
    if let Some((host, origin)) = said.find(|(host, _)| !host.is_empty()) {
        let folder = args.cert_path.clone().unwrap_or_else(|| args.home.join(".docker"));
        let tls = args.tls_verify.as_ref().filter(|value| !value.is_empty()).map(|_| files(&folder, true));
        let tls = tls.filter(|_| !host.starts_with("unix:"));
        return Ok(Endpoint { url: host.clone(), tls, origin: Some(origin.to_owned()) });
    }
    if let Some(found) = of_context(args)? {
        return Ok(found);
    }
    let Some(url) = &settings.docker_url else { return Ok(Endpoint::default()) };
    let path = |text: &Option<String>| text.as_ref().map(Into::into);
    let files = TlsFiles {
        ca: path(&settings.tls_ca_cert),
        cert: path(&settings.tls_cert),
        key: path(&settings.tls_key),
        verify: !settings.allow_insecure,
    };
    let tls = files.ca.is_some() || files.cert.is_some() || url.starts_with("https://");
    let origin = Some("DockerURL of the settings".to_owned());
    Ok(Endpoint { url: url.clone(), tls: tls.then_some(files), origin })
}

fn files(folder: &Path, verify: bool) -> TlsFiles {
    let file = |name: &str| Some(folder.join(name));
    TlsFiles { ca: file("ca.pem"), cert: file("cert.pem"), key: file("key.pem"), verify }
}

/// The context that is named by `DOCKER_CONTEXT` or in use, but for the one that stands for the local socket. The Docker CLI keeps each in a
/// folder that is called by the hash of its name.
fn of_context(args: &DockerArgs) -> Result<Option<Endpoint>, Failure> {
    let docker = args.docker_config.clone().unwrap_or_else(|| args.home.join(".docker"));
    let used = || -> Option<String> {
        let text = std::fs::read_to_string(docker.join("config.json")).ok()?;
        Some(serde_json::from_str::<Value>(&text).ok()?["currentContext"].as_str()?.to_owned())
    };
    let named = args.docker_context.clone().filter(|name| !name.is_empty());
    let Some(name) = named.or_else(used).filter(|name| name != "default" && !name.is_empty()) else { return Ok(None) };
    let origin = format!("the Docker context {name}");
    let hash = hexadecimal(&Sha256::digest(&name));
    let meta = docker.join("contexts/meta").join(&hash).join("meta.json");
    let text = std::fs::read_to_string(&meta).map_err(|error| {
        Failure::input(&origin, format!("{}: {error}; `docker context ls` lists them", meta.display()))
    })?;
    let wrong = || Failure::input(&origin, format!("{} names no engine", meta.display()));
    let meta: Value = serde_json::from_str(&text).map_err(|_| wrong())?;
    let engine = &meta["Endpoints"]["docker"];
    let url = engine["Host"].as_str().ok_or_else(wrong)?.to_owned();
    let folder = docker.join("contexts/tls").join(&hash).join("docker");
    let verify = engine["SkipTLSVerify"] != Value::Bool(true);
    let tls = folder.is_dir().then(|| files(&folder, verify));
    Ok(Some(Endpoint { url, tls, origin: Some(origin) }))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
