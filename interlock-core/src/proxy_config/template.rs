//! Templates of operators' own: which config object a service cluster's files are made with instead of the built-in template.
//!
//! The settings name one (`Template`), or somebody mounts one in the extension's service at [`PATH`], as Interlock's documentation has it.
//! Core reads both; the mounted one counts while it is there, since it is the later word.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::ownership;
use crate::proxy_config::Template;
use crate::settings::{Extension, Settings};
use crate::swarm::{ConfigMount, Service, SwarmIndex};

/// Where somebody mounts a template in an extension's service.
pub const PATH: &str = "/etc/docker/extension-template.conf";

/// The config objects that the settings name.
pub fn named(settings: &Settings) -> BTreeSet<String> {
    settings.extensions.values().filter_map(|extension| extension.template.clone()).collect()
}

/// The config objects that are mounted as templates in what is labelled as our extensions.
pub fn mounted<'a>(services: impl IntoIterator<Item = &'a Service>) -> BTreeSet<String> {
    let extension = |service: &&Service| {
        let labels = &service.spec.labels;
        ownership::is_ours(labels) && labels.get(ownership::TYPE).is_some_and(|kind| kind == ownership::TYPE_EXTENSION)
    };
    let ours = services.into_iter().filter(extension);
    ours.filter_map(mount).map(|mount| mount.name.clone()).collect()
}

/// What somebody mounted as a template in this service.
pub(crate) fn mount(service: &Service) -> Option<&ConfigMount> {
    service.spec.configs.iter().find(|config| config.target == PATH)
}

/// The template of a service cluster; `None` for the built-in one.
pub(crate) fn of(snapshot: &SwarmIndex<'_>, extension: &Extension) -> Option<Template> {
    let text = |name: &str| {
        let config = snapshot.configs.iter().find(|config| config.name == name)?;
        Some(Arc::from(config.data.as_str()))
    };
    // Where core renders there is no extension's service, and one of that name is somebody else's.
    let named = snapshot.named(&extension.service_name).filter(|_| extension.image.is_some());
    let is_ours = |service: &&Service| ownership::is_ours_of_type(snapshot, service, ownership::TYPE_EXTENSION);
    let mounted = named.filter(is_ours).and_then(mount).map(|mount| &mount.name);
    let name = mounted.or(extension.template.as_ref())?;
    Some(Template { name: name.clone(), text: text(name) })
}
