//! Core's own service, as `interlock install` makes it.

use std::collections::BTreeMap;

use super::{
    ConfigData, ConfigFile, Content, IdentitySecret, NetworkRef, OwnService, SECONDS_TO_START, core_peers, fields,
    hardening,
};
use crate::ownership;
use crate::settings::Settings;
use crate::swarm::{Labels, SwarmIndex};
use crate::units::{Role, hash};

/// All networks that core shares with others, by name, with the labels that they are created with.
pub fn core_networks(settings: &Settings) -> BTreeMap<String, Labels> {
    core_peers::core_networks(settings)
}

/// Core's own service, with these settings, which were read from this text.
pub fn core(snapshot: &SwarmIndex<'_>, name: &str, image: &str, settings: &Settings, text: &str) -> OwnService {
    let id =
        |name: &str| snapshot.networks.iter().find(|network| network.name == name).map(|network| network.id.clone());
    let networks = core_networks(settings).into_keys().map(|name| NetworkRef { id: id(&name), name });
    let authority = snapshot.secrets.iter().find(|secret| secret.name == ownership::AUTHORITY_SECRET);
    let settings = ConfigFile {
        name: format!("{}{}", ownership::SETTINGS_PREFIX, hash::hex16(text.as_bytes())),
        target: fields::SETTINGS_PATH.to_owned(),
        data: ConfigData::Text(text.to_owned()),
        labels: Labels::from([(ownership::OWNER.to_owned(), ownership::OWNER_VALUE.to_owned())]),
        essence: None,
        today: None,
    };
    OwnService {
        name: name.to_owned(),
        role: Role::Core,
        seconds_per_task: SECONDS_TO_START,
        fields: fields::core(image)
            .into_iter()
            .chain(hardening::no_new_privileges(snapshot, name))
            .chain(hardening::log(snapshot, name))
            .collect(),
        labels: Labels::new(),
        again: false,
        most: None,
        content: Ok(Content {
            revision: None,
            networks: networks.collect(),
            configs: vec![settings],
            kept: Vec::new(),
            identity: Some(IdentitySecret {
                name: ownership::AUTHORITY_SECRET.to_owned(),
                id: authority.map(|secret| secret.id.clone()),
                today: None,
            }),
            secrets: Vec::new(),
            hitless: false,
        }),
    }
}
