//! The extension service of a service cluster.

use super::core_peers::Control;
use super::{Content, EXTENSION_FILE, ExtensionFile, OwnService, SECONDS_TO_START, fields, hardening, proxy};
use crate::proxy_config::template;
use crate::settings::Extension;
use crate::swarm::SwarmIndex;
use crate::units::{Cluster, Role};

/// The extension service of one service cluster. `None` where core renders, and while there is nothing to identify one by. A template that
/// somebody mounted in it stays.
pub fn extension(
    snapshot: &SwarmIndex<'_>,
    control: &Control,
    cluster: &Cluster,
    extension: &Extension,
) -> Option<OwnService> {
    extension.image.as_ref()?;
    let peer = control.peer(cluster, Role::Extension)?;
    let file = peer.authority.clone().map(|authority| ExtensionFile { authority }.to_toml());
    let file = file.map(|text| proxy::named(cluster, "extension", EXTENSION_FILE, text));
    let existing = snapshot.named(&extension.service_name);
    Some(OwnService {
        name: extension.service_name.clone(),
        role: Role::Extension,
        seconds_per_task: SECONDS_TO_START,
        fields: fields::extension(extension, &peer.core)
            .into_iter()
            .chain(hardening::no_new_privileges(snapshot, &extension.service_name))
            .collect(),
        labels: crate::swarm::Labels::new(),
        again: false,
        most: None,
        content: Ok(Content {
            revision: None,
            networks: vec![peer.network.clone()],
            configs: file.into_iter().collect(),
            kept: existing.and_then(template::mount).cloned().into_iter().collect(),
            identity: Some(peer.identity.clone()),
            secrets: Vec::new(),
            hitless: false,
        }),
    })
}
