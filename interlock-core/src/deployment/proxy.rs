//! The proxy service of a service cluster.

use std::time::Duration;

use super::core_peers::{Control, Peer};
use super::{
    AGENT_FILE, AgentFile, ConfigData, ConfigFile, Content, MANIFEST_FILE, NetworkRef, NoContent, OwnService,
    RouteSecret, SECONDS_TO_START, fields, hardening, has_active_worker, room,
};
use crate::deployment::generations::Attachments;
use crate::kinds::{File, Manifest};
use crate::ownership;
use crate::proxy_config::ProxyConfig;
use crate::settings::{Extension, PublishMode};
use crate::swarm::{Config, Labels, SwarmIndex};
use crate::units::{Cluster, ProxyVersion};
use crate::units::{Role, hash};

/// The proxy service of one service cluster, attached to these networks and with this rendering. `None` while it cannot be: a
/// proxy that follows core needs an identity.
/// `renews`: whether tasks are to be replaced if they do not know where core is now.
pub fn proxy(
    snapshot: &SwarmIndex<'_>,
    control: &Control,
    (cluster, extension): (&Cluster, &Extension),
    attachments: &Attachments,
    rendered: Result<(&ProxyConfig, &[File]), NoContent>,
    version: Option<ProxyVersion>,
    renews: bool,
) -> Option<OwnService> {
    let hitless = extension.hitless_service_update;
    let peer = if hitless { Some(control.peer(cluster, Role::Proxy)?) } else { None };
    let content = rendered.map(|(config, files)| {
        let mut configs: Vec<_> = files.iter().map(|file| config_file(config, file)).collect();
        configs.extend(peer.map(|peer| agent_file(snapshot, (cluster, extension), attachments, peer, renews)));
        configs.extend(peer.map(|_| manifest(config, attachments, files)));
        Content {
            revision: Some(config.revision.clone()),
            networks: networks(snapshot, attachments, peer),
            configs,
            kept: Vec::new(),
            identity: peer.map(|peer| peer.identity.clone()),
            secrets: secrets(snapshot, attachments),
            hitless,
        }
    });
    let room = room(snapshot, extension);
    let mut fields = fields::proxy(cluster, extension, has_active_worker(snapshot), room.replicas());
    if hitless {
        // Of an image of somebody else's it is not known whether it starts without.
        fields.extend(hardening::no_new_privileges(snapshot, &extension.proxy_service_name));
    }
    let version = version.filter(|_| hitless).map(|version| (ownership::PROXY_VERSION.to_owned(), version.to_string()));
    Some(OwnService {
        name: extension.proxy_service_name.clone(),
        role: Role::Proxy,
        seconds_per_task: extension.proxy_stop_grace_period.as_secs()
            // After the last task Swarm waits twice.
            + 2 * extension.proxy_update_delay.as_secs()
            + SECONDS_TO_START,
        fields,
        labels: version.into_iter().collect(),
        content,
        again: false,
        most: room.most(),
    })
}

fn networks(snapshot: &SwarmIndex<'_>, attachments: &Attachments, peer: Option<&Peer>) -> Vec<NetworkRef> {
    let name = |id: &crate::units::NetworkId| {
        let known = snapshot.networks.iter().find(|network| network.id == *id);
        known.map_or_else(|| id.to_string(), |network| network.name.clone())
    };
    let apps = attachments.networks.iter().map(|id| NetworkRef { name: name(id), id: Some(id.clone()) });
    let mut networks: Vec<_> = apps.chain(peer.map(|peer| peer.network.clone())).collect();
    // By id, as ever: another order would count as a change.
    networks.sort_by(|a, b| (&a.id, &a.name).cmp(&(&b.id, &b.name)));
    networks
}

fn secrets(snapshot: &SwarmIndex<'_>, attachments: &Attachments) -> Vec<RouteSecret> {
    let known = snapshot.secrets.iter().filter(|secret| attachments.secrets.contains(&secret.id));
    let mut secrets: Vec<_> =
        known.map(|secret| RouteSecret { name: secret.name.clone(), id: secret.id.clone() }).collect();
    secrets.sort_by(|a, b| a.name.cmp(&b.name));
    secrets
}

fn config_file(config: &ProxyConfig, file: &File) -> ConfigFile {
    let mut made = named(&config.cluster, &file.part, &file.path, file.content.to_string());
    made.labels.insert(ownership::REVISION.to_owned(), config.revision.to_string());
    made
}

/// For how long a proxy that ends still takes new connections. Behind Swarm's routing mesh 2 s, until all nodes know that its task ends, and at
/// most half of what it may take to end: the rest is for requests that are open then.
fn linger(extension: &Extension) -> Duration {
    match extension.publish_mode {
        PublishMode::Ingress => Duration::from_secs(2).min(extension.proxy_stop_grace_period / 2),
        PublishMode::Host => Duration::ZERO,
    }
}

/// The agent's file. Core moves, and no task is replaced for that alone: what is mounted stays as long as nothing else in it differs, unless
/// `renews`.
fn agent_file(
    snapshot: &SwarmIndex<'_>,
    (cluster, extension): (&Cluster, &Extension),
    attachments: &Attachments,
    peer: &Peer,
    renews: bool,
) -> ConfigFile {
    let file = AgentFile {
        core: peer.core.clone(),
        addresses: peer.addresses.clone(),
        cluster: cluster.clone(),
        generation: attachments.generation(),
        kind: extension.kind.name(),
        boot: extension.proxy_config_path.clone(),
        authority: peer.authority.clone(),
        linger_ms: u64::try_from(linger(extension).as_millis()).unwrap_or(u64::MAX),
    };
    let essence = Some(file.essence());
    let made = named(cluster, "agent", AGENT_FILE, file.to_toml());
    let is_good = |mounted: &&Config| {
        let says_the_same = AgentFile::essence_of(&mounted.data) == essence;
        says_the_same && mounted.name != made.name && (!renews || file.addresses.is_empty())
    };
    let today = mounted_agent_file(snapshot, extension).filter(is_good).map(|mounted| mounted.name.clone());
    ConfigFile { essence, today, ..made }
}

fn mounted_agent_file<'s>(snapshot: &'s SwarmIndex<'s>, extension: &Extension) -> Option<&'s Config> {
    let service = snapshot.named(&extension.proxy_service_name)?;
    let mount = service.spec.configs.iter().find(|config| config.target == AGENT_FILE)?;
    snapshot.configs.iter().find(|config| config.id == mount.id)
}

/// What the mounted files are, for agents that serve only what core signed.
fn manifest(config: &ProxyConfig, attachments: &Attachments, files: &[File]) -> ConfigFile {
    let manifest = Manifest::of(&config.cluster, &attachments.generation(), &config.revision, files);
    let Manifest { cluster, generation, revision, hash, parts: _ } = &manifest;
    let text = format!("{cluster} {generation} {revision} {hash}");
    let mut made = named(cluster, "manifest", MANIFEST_FILE, text);
    made.labels.insert(ownership::REVISION.to_owned(), revision.to_string());
    ConfigFile { data: ConfigData::Manifest(manifest), ..made }
}

/// A config object that is named by its text.
pub(super) fn named(cluster: &Cluster, part: &str, target: &str, data: String) -> ConfigFile {
    let part = if part.is_empty() { String::new() } else { format!(".{part}") };
    let end = format!(".{}{part}", hash::hex16(data.as_bytes()));
    let slug = short_slug(cluster, LONGEST_NAME.saturating_sub(ownership::CONFIG_PREFIX.len() + end.len()));
    ConfigFile {
        name: format!("{}{slug}{end}", ownership::CONFIG_PREFIX),
        target: target.to_owned(),
        data: ConfigData::Text(data),
        labels: Labels::from([
            (ownership::OWNER.to_owned(), ownership::OWNER_VALUE.to_owned()),
            (ownership::CLUSTER.to_owned(), cluster.as_str().to_owned()),
        ]),
        essence: None,
        today: None,
    }
}

/// The most characters that Swarm takes in the name of a config object.
const LONGEST_NAME: usize = 64;

/// A service cluster's part of a name with so much room: as everywhere else, or where that is too long, some digits of its hash.
fn short_slug(cluster: &Cluster, room: usize) -> String {
    let slug = cluster.slug();
    if slug.len() <= room { slug } else { hash::hex16(slug.as_bytes())[..room.min(8)].to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_time_to_end_is_for_open_requests() {
        let linger = |publish_mode, seconds| {
            let proxy_stop_grace_period = Duration::from_secs(seconds);
            linger(&Extension { publish_mode, proxy_stop_grace_period, ..Extension::new("default") }).as_millis()
        };
        let behind_the_mesh = [0, 1, 3, 5, 600].map(|seconds| linger(PublishMode::Ingress, seconds));
        assert_eq!(behind_the_mesh, [0, 500, 1500, 2000, 2000]);
        assert_eq!(linger(PublishMode::Host, 5), 0, "no mesh sends connections");
    }

    #[test]
    fn b2_swarm_takes_the_names_of_all_files() {
        let name = |cluster: &str, part: &str| {
            let cluster: Cluster = cluster.parse().unwrap_or_default();
            named(&cluster, part, "/etc/x", String::new()).name
        };
        for part in [
            "",
            "agent",
            "manifest",
            "extension",
            "upstreams-01",
            "servers-32",
            "hosts-10",
            "names-10",
            "unavailable-01",
        ] {
            for cluster in ["", "us-east", "production-east-1"] {
                assert!(name(cluster, part).len() <= LONGEST_NAME, "{}", name(cluster, part));
                assert_ne!(name(cluster, part), name("production-east-2", part));
            }
        }
        assert_eq!(name("us-east", "").split('.').nth(4), Some("us-east-9c5e"));
    }
}
