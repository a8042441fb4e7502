//! Between the contract's types and those of the pure part. What comes from the wire is read into types that cannot be wrong, or
//! refused as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr;

use jiff::Timestamp;

use super::v1;
use crate::extension::Model;
pub use crate::kinds::server::MOST_UNREACHABLE;
use crate::kinds::{self, File, RenderError, Rendering};
use crate::peers::{Failure, SecretReport, Unreachable};
use crate::proxy_config::{Generation, ProxyConfig, ProxySettings, Revision, Template};
use crate::routes::model::Suspect;
use crate::settings::{Kind, ProxyKind};
use crate::units::{Cluster, HostPattern, SecretName};

mod routes;

/// A message that says what it must not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {wrong}")]
pub struct Malformed {
    /// Where in the message.
    pub field: &'static str,
    /// What is wrong.
    pub wrong: String,
}

fn malformed(field: &'static str, wrong: impl Display) -> Malformed {
    // What is quoted in it is a peer's.
    Malformed { field, wrong: crate::problem::said(&wrong.to_string()) }
}

fn text<T: FromStr<Err: Display>>(field: &'static str, text: &str) -> Result<T, Malformed> {
    text.parse().map_err(|wrong| malformed(field, format!("{} {wrong}", crate::problem::shown(text))))
}

/// A generation as a peer says it.
///
/// # Errors
///
/// When it is none.
pub fn generation(said: &str) -> Result<Generation, Malformed> {
    text("generation", said)
}

/// A revision as a peer says it.
///
/// # Errors
///
/// When it is none.
pub fn revision(said: &str) -> Result<Revision, Malformed> {
    text("revision", said)
}

/// For the wire.
pub fn model_to_wire(generation: &Generation, config: &ProxyConfig, file_limit: usize) -> v1::Model {
    let ProxyConfig { cluster, revision, proxy, virtual_hosts, default, upstreams } = config;
    v1::Model {
        service_cluster: cluster.to_string(),
        generation: generation.to_string(),
        revision: revision.to_string(),
        proxy: Some(proxy_to_wire(proxy)),
        virtual_hosts: virtual_hosts
            .iter()
            .map(|(host, serves)| routes::host_to_wire(host.to_string(), serves))
            .collect(),
        default_host: default.as_ref().map(|serves| routes::host_to_wire(String::new(), serves)),
        upstreams: upstreams.iter().map(|(name, upstream)| routes::upstream_to_wire((name, upstream))).collect(),
        file_limit: file_limit as u64,
    }
}

fn proxy_to_wire(proxy: &ProxySettings) -> v1::Proxy {
    let ProxySettings {
        kind,
        config_path,
        port,
        published_port,
        ssl_port,
        published_ssl_port,
        trusted_proxies,
        proxy_protocol,
        overlays,
        health_path,
        version,
        template,
    } = proxy;
    v1::Proxy {
        kind: kind.name().to_string(),
        config_path: config_path.clone(),
        port: (*port).into(),
        published_port: (*published_port).into(),
        // Strings, numbers and lists of them can always be written.
        options_json: serde_json::to_string(kind).unwrap_or_default(),
        version: version.map(|version| version.to_string()).unwrap_or_default(),
        ssl_port: (*ssl_port).into(),
        published_ssl_port: (*published_ssl_port).into(),
        trusted_proxies: trusted_proxies.iter().map(ToString::to_string).collect(),
        proxy_protocol: *proxy_protocol,
        overlays: overlays.iter().map(ToString::to_string).collect(),
        health_path: health_path.as_ref().map(ToString::to_string).unwrap_or_default(),
        template: template.as_ref().map(|Template { name, text }| v1::Template {
            name: name.clone(),
            text: text.as_deref().map(str::to_owned),
        }),
    }
}

/// From the wire.
///
/// # Errors
///
/// When a part of it is not what the contract says.
pub fn model_from_wire(model: &v1::Model) -> Result<Model, Malformed> {
    let proxy = model.proxy.as_ref().ok_or_else(|| malformed("proxy", "is missing"))?;
    let virtual_hosts = model.virtual_hosts.iter();
    let upstreams = model.upstreams.iter();
    let config = ProxyConfig {
        cluster: text::<Cluster>("service_cluster", &model.service_cluster)?,
        revision: revision(&model.revision)?,
        proxy: proxy_from_wire(proxy)?,
        virtual_hosts: virtual_hosts
            .map(|host| {
                Ok((text::<HostPattern>("virtual_hosts.host", &host.host)?, routes::host_from_wire(host)?.into()))
            })
            .collect::<Result<_, Malformed>>()?,
        default: model.default_host.as_ref().map(routes::host_from_wire).transpose()?.map(Into::into),
        upstreams: upstreams.map(routes::upstream_from_wire).collect::<Result<_, Malformed>>()?,
    };
    Ok(Model {
        config: config.into(),
        generation: generation(&model.generation)?,
        file_limit: usize::try_from(model.file_limit).unwrap_or(usize::MAX),
    })
}

fn proxy_from_wire(proxy: &v1::Proxy) -> Result<ProxySettings, Malformed> {
    let port = |field, port: u32| u16::try_from(port).map_err(|_| malformed(field, port));
    let networks = proxy.trusted_proxies.iter().map(|network| text("proxy.trusted_proxies", network));
    let overlays = proxy.overlays.iter().map(|network| text("proxy.overlays", network));
    if Kind::ALL.iter().all(|kind| kind.as_str() != proxy.kind) {
        return Err(malformed("proxy.kind", "is not known to this version"));
    }
    let kind = serde_json::from_str::<ProxyKind>(&proxy.options_json);
    let kind = kind.map_err(|error| malformed("proxy.options_json", error))?;
    if kind.name().as_str() != proxy.kind {
        return Err(malformed("proxy.options_json", "has options of another kind than proxy.kind"));
    }
    Ok(ProxySettings {
        kind,
        config_path: proxy.config_path.clone(),
        port: port("proxy.port", proxy.port)?,
        published_port: port("proxy.published_port", proxy.published_port)?,
        ssl_port: port("proxy.ssl_port", proxy.ssl_port)?,
        published_ssl_port: port("proxy.published_ssl_port", proxy.published_ssl_port)?,
        trusted_proxies: networks.collect::<Result<_, Malformed>>()?,
        proxy_protocol: proxy.proxy_protocol,
        overlays: overlays.collect::<Result<_, Malformed>>()?,
        health_path: match proxy.health_path.as_str() {
            "" => None,
            path => Some(text("proxy.health_path", path)?),
        },
        version: match proxy.version.as_str() {
            "" => None,
            version => Some(text("proxy.version", version)?),
        },
        template: proxy
            .template
            .as_ref()
            .map(|v1::Template { name, text }| Template { name: name.clone(), text: text.as_deref().map(Into::into) }),
    })
}

/// What a peer says for people, without what is beyond 300 characters: nobody would read it, and it is kept.
pub fn words(text: &str) -> String {
    text.chars().take(300).collect()
}

/// What a peer says is the hash of files. What is longer than a hash is none: it is kept as long as the stream lives.
pub fn hash(text: &str) -> String {
    if text.len() <= 64 { text.to_owned() } else { String::new() }
}

/// What secrets are. Only those that are `known` are kept, each once, and what is no hash is none.
pub fn secrets_from_wire(secrets: &[v1::Secret], known: &BTreeSet<SecretName>) -> BTreeMap<SecretName, SecretReport> {
    let hash = |text: &str| is_hash(text).then(|| text.to_owned());
    secrets
        .iter()
        .filter_map(|secret| {
            let name = secret.name.parse().ok().filter(|name| known.contains(name))?;
            let report = SecretReport {
                public_key: hash(&secret.public_key),
                not_after: Timestamp::from_second(secret.not_after).ok(),
                key_of: hash(&secret.key_of),
                has_key: secret.has_key,
                unusable: Some(words(&secret.unusable)).filter(|why| !why.is_empty()),
            };
            Some((name, report))
        })
        .collect()
}

/// The tasks that do not accept a proxy's connections. What is no address is none.
pub fn unreachable_from_wire(tasks: &[v1::UnreachableTask]) -> Unreachable {
    let read = |task: &v1::UnreachableTask| {
        let v1::UnreachableTask { address, refuses, is_lasting } = task;
        Some((address.parse().ok()?, Failure { refuses: *refuses, is_lasting: *is_lasting }))
    };
    tasks.iter().take(MOST_UNREACHABLE).filter_map(read).collect()
}

/// For the wire, with their hash.
pub fn files_to_wire(files: &[File]) -> v1::Files {
    hashed_to_wire(&kinds::hash(files), files)
}

/// For the wire, with the hash that they have.
pub(super) fn hashed_to_wire(hash: &str, files: &[File]) -> v1::Files {
    v1::Files {
        hash: hash.to_owned(),
        files: files
            .iter()
            .map(|File { path, part, content }| v1::File {
                path: path.clone(),
                part: part.clone(),
                content: content.to_string(),
            })
            .collect(),
    }
}

/// From the wire.
///
/// # Errors
///
/// When there is none, when they do not have the hash that stands with them, or when a path is none that could be told apart or that
/// leaves the first file's folder.
pub fn files_from_wire(files: v1::Files) -> Result<Vec<File>, Malformed> {
    let v1::Files { hash, files } = files;
    let files: Vec<_> = files
        .into_iter()
        .map(|v1::File { path, part, content }| File { path, part, content: content.into() })
        .collect();
    let Some(main) = files.first() else { return Err(malformed("files", "are none")) };
    let folder = main.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
    let below = |path: &str| {
        let below = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
        below
            .is_some_and(|rest| rest.bytes().all(plain) && rest.split('/').all(|name| !matches!(name, "" | "." | "..")))
    };
    if let Some(File { path, .. }) = files.iter().find(|file| !below(&file.path)) {
        return Err(malformed("files.path", format!("{} is not a place for it", crate::problem::shown(path))));
    }
    if kinds::hash(&files) != hash {
        return Err(malformed("files.hash", "is not that of the files"));
    }
    Ok(files)
}

/// What an extension says about one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The generation of the model.
    pub generation: Generation,
    /// The revision of the model.
    pub revision: Revision,
    /// The hash of the files that were rendered and checked, or why there are none.
    pub result: Result<String, RenderError>,
}

/// For the wire. Core has the files by itself, so their hash is enough.
pub fn rendering_to_wire(generation: &Generation, rendering: &Rendering) -> v1::PostRequest {
    use v1::post_request::Result as Sent;
    let result = match &rendering.result {
        Ok(files) => Sent::FilesHash(kinds::hash(files)),
        Err(error) => Sent::Failure(failure_to_wire(error)),
    };
    v1::PostRequest {
        generation: generation.to_string(),
        revision: rendering.revision.to_string(),
        result: Some(result),
    }
}

fn failure_to_wire(error: &RenderError) -> v1::Failure {
    use v1::failure::Kind;
    let (kind, message, suspects) = match error {
        RenderError::Refused { message, suspects } => (Kind::RefusedByChecker, message.clone(), suspects.as_slice()),
        RenderError::RefusedSettings(what) => (Kind::RefusedSettings, what.clone(), [].as_slice()),
        RenderError::TooLarge { .. } => (Kind::TooLarge, error.to_string(), [].as_slice()),
        RenderError::Structure(what) => (Kind::Structure, what.clone(), [].as_slice()),
        RenderError::Template(what) => (Kind::Template, what.clone(), [].as_slice()),
        RenderError::NoTemplate(name) => (Kind::NoTemplate, name.clone(), [].as_slice()),
        RenderError::Unsupported(what) => (Kind::Unsupported, what.clone(), [].as_slice()),
        RenderError::Differs(_) | RenderError::Failed(_) => (Kind::Unspecified, error.to_string(), [].as_slice()),
    };
    let suspect = |Suspect { host, path }: &Suspect| v1::Suspect {
        host: host.as_ref().map(ToString::to_string).unwrap_or_default(),
        path: path.to_string(),
    };
    v1::Failure { kind: kind.into(), message, suspects: suspects.iter().map(suspect).collect() }
}

/// From the wire.
///
/// # Errors
///
/// When a part of it is not what the contract says.
pub fn posted_from_wire(posted: v1::PostRequest) -> Result<Posted, Malformed> {
    use v1::post_request::Result as Sent;
    let v1::PostRequest { generation: of, revision: name, result } = posted;
    let result = match result {
        Some(Sent::FilesHash(hash) | Sent::Files(v1::Files { hash, files: _ })) => Ok(files_hash(hash)?),
        Some(Sent::Failure(failure)) => Err(failure_from_wire(&failure)?),
        None => return Err(malformed("result", "is missing")),
    };
    Ok(Posted { generation: generation(&of)?, revision: revision(&name)?, result })
}

fn files_hash(hash: String) -> Result<String, Malformed> {
    if is_hash(&hash) { Ok(hash) } else { Err(malformed("files_hash", "is no hash: 64 hexadecimal digits")) }
}

/// Whether this is a SHA-256 as 64 hexadecimal digits.
fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// How many suspects are read. Our own extension looks no further, and core looks for the services behind each in every decision.
const MOST_SUSPECTS: usize = 64;

fn failure_from_wire(failure: &v1::Failure) -> Result<RenderError, Malformed> {
    use v1::failure::Kind;
    let message = crate::problem::said(&failure.message);
    let suspects = failure.suspects.iter().take(MOST_SUSPECTS).map(|v1::Suspect { host, path }| {
        let host = match host.as_str() {
            "" => None,
            host => Some(text("suspects.host", host)?),
        };
        Ok(Suspect { host, path: text("suspects.path", path)? })
    });
    let suspects = suspects.collect::<Result<_, Malformed>>()?;
    Ok(match failure.kind() {
        Kind::RefusedByChecker => RenderError::Refused { message, suspects },
        Kind::RefusedSettings => RenderError::RefusedSettings(message),
        Kind::Structure => RenderError::Structure(message),
        Kind::Template => RenderError::Template(message),
        Kind::NoTemplate => RenderError::NoTemplate(message),
        Kind::Unsupported => RenderError::Unsupported(message),
        Kind::TooLarge | Kind::Unspecified => RenderError::Failed(message),
    })
}
