//! From a [`ProxyConfig`] to the files that a proxy reads.
//!
//! Rendering is pure. A view struct has every decision made; the template loops and prints.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::proxy_config::{Generation, ProxyConfig, ProxySettings, Revision};
use crate::routes::model::{Price, Prices, Suspect};
use crate::settings::{Extension, ProxyKind};
use crate::units::Cluster;
use crate::units::hash;

pub mod nginx;
mod placeholders;
#[cfg(feature = "grpc")]
mod process;
#[cfg(feature = "grpc")]
pub(crate) mod reaper;
#[cfg(feature = "grpc")]
pub(crate) mod server;

#[cfg(feature = "grpc")]
pub use nginx::check::{CheckError, Checker, CheckerError};

/// How many files a rendering may have. Each is a config object, and each task loads all of them.
pub(crate) const MOST_FILES: usize = 32;

/// What extensions posted, by service cluster and generation.
pub type Renderings = BTreeMap<(Cluster, Generation), Rendering>;

/// What an extension made of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendering {
    /// The revision of the proxy config that it is made of.
    pub revision: Revision,
    /// The files, or why there are none.
    pub result: Result<Vec<File>, RenderError>,
}

/// A file for the proxies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its absolute path in the proxy's file system. The first file of a rendering is the one that the proxy is started with.
    pub path: String,
    /// A short name that differs among the files of a rendering; empty for the first.
    pub part: String,
    /// Its content. A copy of a file shares it.
    pub content: Arc<str>,
}

/// Why nothing was rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The files would be more or larger than Swarm can hold.
    #[error("the configuration has {size} bytes, and {limit} is the most that {parts} config objects can hold")]
    TooLarge {
        /// The size of all files together, in bytes.
        size: usize,
        /// How much would fit, in bytes.
        limit: usize,
        /// How many config objects may be used.
        parts: usize,
    },
    /// What was rendered does not have the structure that the template gives it: a value changed it.
    #[error("the rendered file has a structure that the template does not give it: {0}")]
    Structure(String),
    /// The template failed.
    #[error("the template failed: {0}")]
    Template(String),
    /// There is no config object of the name that is given as the template.
    #[error("its template {0} does not exist as a config object")]
    NoTemplate(String),
    /// The proxy's own checker refused it.
    #[error("NGINX rejects the configuration: {message}")]
    Refused {
        /// What the checker said.
        message: String,
        /// Routes without which it takes the rest; none when that was not found out, or when no route is to blame.
        suspects: Vec<Suspect>,
    },
    /// The proxy's own checker refuses it without any route.
    #[error("NGINX rejects the options: {0}")]
    RefusedSettings(String),
    /// What an extension says in its own words.
    #[error("{0}")]
    Failed(String),
    /// What an extension rendered is not what core renders.
    #[error("the extension's files are not those that core renders: {0}")]
    Differs(String),
    /// This version has no renderer for the kind.
    #[error("this version cannot render for a proxy of kind {0}")]
    Unsupported(String),
}

/// What files are that core gives to proxies: whose, of what, and by their hash which. Core signs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The service cluster.
    pub cluster: Cluster,
    /// The generation.
    pub generation: Generation,
    /// The revision of the proxy config that they are made of.
    pub revision: Revision,
    /// Their hash: see [`hash()`].
    pub hash: String,
    /// Their parts, in the order in which the hash has them.
    pub parts: Vec<String>,
}

impl Manifest {
    /// Of these files.
    pub fn of(cluster: &Cluster, generation: &Generation, revision: &Revision, files: &[File]) -> Self {
        Self {
            cluster: cluster.clone(),
            generation: generation.clone(),
            revision: revision.clone(),
            hash: hash(files),
            parts: files.iter().map(|file| file.part.clone()).collect(),
        }
    }
}

/// A name for the content of files: the SHA-256 of all of them as 64 hexadecimal digits. For each file its path, its part and its
/// content, each with its length in bytes as eight bytes, most significant first, in front.
pub fn hash(files: &[File]) -> String {
    let texts = files.iter().flat_map(|File { path, part, content }| [path.as_str(), part, content]);
    hash::hex64(texts.map(str::as_bytes))
}

/// What routes come to for proxies with these settings. Of kinds that this version does not know nothing is made, which costs nothing.
pub fn prices<'a>(extension: &Extension, overlays: &'a [IpNet]) -> Prices<'a> {
    let proxy = ProxySettings::of(extension, extension.proxy_version, None);
    match &proxy.kind {
        ProxyKind::Nginx(options) => nginx::prices(&proxy, options, overlays),
        ProxyKind::Haproxy | ProxyKind::F5 | ProxyKind::Template => {
            Prices { of_route: Box::new(|_| Price::default()), files: 0 }
        }
    }
}

/// Renders one proxy config into files of at most `limit` bytes each.
pub fn render(config: &ProxyConfig, limit: usize) -> Rendering {
    Renderer::default().render(config, limit, Timestamp::UNIX_EPOCH)
}

/// How long what is rendered may be proven by its parts alone.
const PROVEN_FOR: SignedDuration = SignedDuration::from_secs(60);

/// Renders the proxy configs of one service cluster, one after the other.
#[derive(Default)]
pub struct Renderer {
    texts: nginx::Texts,
    /// When the whole was proven.
    proven_at: Option<Timestamp>,
}

impl Renderer {
    /// Renders a config: as [`render`] does, whatever was rendered before. What did not change is not printed again, and for a minute not
    /// proven again.
    pub fn render(&mut self, config: &ProxyConfig, limit: usize, now: Timestamp) -> Rendering {
        let is_recent = |at: Timestamp| at <= now && now.duration_since(at) < PROVEN_FOR;
        let as_a_whole = !self.proven_at.is_some_and(is_recent);
        let result = match &config.proxy.kind {
            ProxyKind::Nginx(options) => nginx::render(config, options, limit, &mut self.texts, as_a_whole),
            kind @ (ProxyKind::Haproxy | ProxyKind::F5 | ProxyKind::Template) => {
                Err(RenderError::Unsupported(kind.name().to_string()))
            }
        };
        if result.is_err() {
            *self = Self::default();
        } else if as_a_whole {
            self.proven_at = Some(now);
        }
        Rendering { revision: config.revision.clone(), result }
    }
}

impl fmt::Debug for Renderer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renderer").field("proven_at", &self.proven_at).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy_config;

    #[test]
    fn the_whole_is_proven_first_and_each_minute() {
        let proxy = ProxySettings::of(&Extension::new(""), None, None);
        let config = proxy_config::build(&Cluster::default(), proxy, &Arc::default());
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut renderer = Renderer::default();
        for (now, proven_at) in [(100, 100), (159, 100), (160, 160), (200, 160), (150, 150)] {
            assert!(renderer.render(&config, 1_000_000, at(now)).result.is_ok());
            assert_eq!(renderer.proven_at, Some(at(proven_at)), "at {now}");
        }
        // Nothing of what failed is kept.
        assert!(renderer.render(&config, 10, at(151)).result.is_err());
        assert_eq!(renderer.proven_at, None);
    }
}
