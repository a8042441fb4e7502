//! The file by which a proxy's agent knows who it is: a config object, as it changes with the proxy's task template alone.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::proxy_config::Generation;
use crate::settings::Kind;
use crate::units::hash;
use crate::units::{Cluster, Fingerprint};

/// Where the agent reads it.
pub const PATH: &str = "/etc/interlock/agent.toml";
/// Where the agent reads the signed manifest of the configuration that Docker mounts.
pub const MANIFEST_FILE: &str = "/etc/interlock/manifest.toml";
/// Where an extension reads its own file.
pub const EXTENSION_FILE: &str = "/etc/interlock/extension.toml";

/// What an agent has to know before it talks to core. Without this file it supervises its proxy with the config that Docker mounts,
/// and follows nobody (classic delivery).
///
/// Keys are only ever added, and none becomes required. Readers ignore those that they do not know: an agent may be a version older than the
/// core that wrote its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentFile {
    /// Where core is: a name that may have several addresses, and a port, like `tasks.interlock-core:8080`.
    pub core: String,
    /// Where core was when this was written: tried as well, as somebody else may answer for the name. No task is replaced for other ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<SocketAddr>,
    /// The service cluster, for people.
    pub cluster: Cluster,
    /// What this task can serve.
    pub generation: Generation,
    /// The program that it supervises.
    pub kind: Kind,
    /// Where Docker mounts the boot copy of the configuration: the first file; the others stand below the same folder.
    pub boot: String,
    /// The authority that core is of. An agent follows no other, and serves nothing that this one did not sign. `None` in files of older
    /// cores, which sign nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<Fingerprint>,
    /// For how long the ports stay open after the order to finish, in milliseconds. Swarm's routing mesh learns late that a task ends, and sends it
    /// new connections meanwhile. 0 without the mesh, and in files of older cores.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub linger_ms: u64,
}

/// What an extension has to know before it talks to core, besides core's address. The rules for keys are those of [`AgentFile`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtensionFile {
    /// The authority that core is of. An extension follows no other.
    pub authority: Fingerprint,
}

impl ExtensionFile {
    /// As the text of the file.
    pub fn to_toml(&self) -> String {
        // A flat table of strings can always be written.
        toml::to_string(self).unwrap_or_default()
    }

    /// Reads the text of the file.
    ///
    /// # Errors
    ///
    /// When it is not such a file.
    pub fn from_toml(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}

impl AgentFile {
    /// As the text of the file.
    pub fn to_toml(&self) -> String {
        // A flat table of strings can always be written.
        toml::to_string(self).unwrap_or_default()
    }

    /// A name for all of it but core's addresses: files with the same one tell a task the same.
    pub(crate) fn essence(&self) -> String {
        hash::hex16(Self { addresses: Vec::new(), ..self.clone() }.to_toml().as_bytes())
    }

    /// The essence of a text, if it is such a file.
    pub(crate) fn essence_of(text: &str) -> Option<String> {
        Self::from_toml(text).ok().map(|file| file.essence())
    }

    /// Reads the text of the file.
    ///
    /// # Errors
    ///
    /// When it is not such a file.
    pub fn from_toml(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let file = AgentFile {
            core: "tasks.interlock-core:8080".to_owned(),
            addresses: vec![([10, 0, 5, 3], 8080).into()],
            cluster: "us-east".parse().unwrap(),
            generation: Generation::of(&BTreeSet::new(), &BTreeSet::new()),
            kind: Kind::Nginx,
            boot: "/etc/nginx/nginx.conf".to_owned(),
            authority: "0123456789abcdef".repeat(4).parse().ok(),
            linger_ms: 2000,
        };
        assert!(file.authority.is_some());
        let older = AgentFile { authority: None, linger_ms: 0, ..file.clone() };
        assert_eq!(AgentFile::from_toml(&older.to_toml()).unwrap(), older);
        assert_eq!(AgentFile::from_toml(&file.to_toml()).unwrap(), file);
        let later = format!("unheard_of = true\n{}[and]\nmore = 1\n", file.to_toml());
        assert_eq!(AgentFile::from_toml(&later).unwrap(), file, "what a later core writes besides");
        assert!(AgentFile::from_toml("unheard_of = true").is_err());
    }
}
