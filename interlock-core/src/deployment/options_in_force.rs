//! Which options of the proxies are in force: usually the options of the settings. If the proxy's own checker refuses them, the previous options.
//!
//! Only the checker understands an operator's lines (`HTTPOptions` and others). Without this fallback a wrong line would keep every later
//! change of a route from the proxies, until somebody corrects the settings.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::kinds::{RenderError, Renderings};
use crate::ownership;
use crate::ownership::core_name;
use crate::problem::{Effect, Problem, Severity, Subject, said};
use crate::proxy_config::{ProxyConfigs, ProxySettings};
use crate::settings::{Extension, ProxyKind, Settings};
use crate::swarm::{Service, SwarmIndex};
use crate::units::Cluster;

/// Options that the checker refused without any route, with its message, by service cluster. At most two each: the current and the previous
/// options.
pub type RefusedOptions = BTreeMap<Cluster, Vec<(ProxyKind, String)>>;

/// Adds what the newest renderings refuse, and forgets options that neither the current nor the previous settings ask for.
pub(crate) fn refused(
    before: &RefusedOptions,
    settings: &Settings,
    snapshot: &SwarmIndex<'_>,
    configs: &ProxyConfigs,
    renderings: &Renderings,
) -> RefusedOptions {
    let mut refused = before.clone();
    for (key, config) in configs {
        let current = renderings.get(key).filter(|rendering| rendering.revision == config.revision);
        if let Some(Err(RenderError::RefusedSettings(message))) = current.map(|rendering| &rendering.result) {
            let known = refused.entry(key.0.clone()).or_default();
            if known.iter().all(|(options, _)| *options != config.proxy.kind) {
                known.push((config.proxy.kind.clone(), message.clone()));
            }
        }
    }
    let before = settings_of_before(snapshot);
    let asks = |settings: &Settings, cluster: &Cluster, options: &ProxyKind| {
        settings.extension(cluster.as_str()).is_some_and(|extension| rendered_with(extension) == *options)
    };
    for (cluster, known) in &mut refused {
        known.retain(|(options, _)| {
            asks(settings, cluster, options) || before.as_ref().is_some_and(|before| asks(before, cluster, options))
        });
    }
    refused.retain(|_, known| !known.is_empty());
    refused
}

/// Returns the extension with the options that are in force, and a problem if these are the previous ones.
pub(crate) fn in_force<'a>(
    extension: &'a Extension,
    cluster: &Cluster,
    snapshot: &SwarmIndex<'_>,
    refused: &RefusedOptions,
) -> (Cow<'a, Extension>, Option<Problem>) {
    let known = refused.get(cluster).map_or(&[][..], Vec::as_slice);
    let refusal = |extension: &Extension| {
        let options = rendered_with(extension);
        known.iter().find(|(refused, _)| *refused == options).map(|(_, message)| message)
    };
    // What was accepted once may protect, and is not given up: then the checker has changed, and proxies keep what they have.
    let was_accepted = verdict(snapshot, extension) == Some(Ok(()));
    let Some(message) = refusal(extension).filter(|_| !was_accepted) else { return (Cow::Borrowed(extension), None) };
    let before = settings_of_before(snapshot);
    let before = before.as_ref().and_then(|before| before.extension(cluster.as_str()));
    let before = before.filter(|before| before.kind.name() == extension.kind.name() && refusal(before).is_none());
    let Some(before) = before else { return (Cow::Borrowed(extension), None) };
    (Cow::Owned(Extension { kind: before.kind.clone(), ..extension.clone() }), Some(problem(cluster, message)))
}

fn problem(cluster: &Cluster, message: &str) -> Problem {
    Problem::new(
        Severity::Error,
        Subject::Cluster(cluster.clone()),
        format!("NGINX rejects the options: {}", said(message)),
        "correct GlobalOptions, HTTPOptions or another key of its Config, and run install again; until then core uses the previous options, if any",
        Effect::Kept,
    )
}

/// The options of these settings that were refused, by what is noted.
pub(crate) fn refusal(snapshot: &SwarmIndex<'_>, cluster: &Cluster, extension: &Extension) -> Option<Problem> {
    let message = verdict(snapshot, extension)?.err()?;
    Some(problem(cluster, &message))
}

/// What is noted on the extension's service about the options of the settings: see [`ownership::OPTIONS`]. `taken`: the options that the newest
/// accepted files were made with. What was noted before stays until something is known.
pub(crate) fn noted(
    snapshot: &SwarmIndex<'_>,
    (cluster, extension): (&Cluster, &Extension),
    refused: &RefusedOptions,
    taken: Option<&ProxyKind>,
) -> Option<String> {
    let options = rendered_with(extension);
    let refusal = refused.get(cluster).and_then(|known| known.iter().find(|(refused, _)| *refused == options));
    let hash = hash(&options);
    match refusal.filter(|_| verdict(snapshot, extension) != Some(Ok(()))) {
        Some((_, message)) => Some(format!("{hash} {}", said(message))),
        None if taken == Some(&options) => Some(hash),
        None => {
            let service = noted_on(snapshot, extension);
            service.and_then(|service| service.spec.labels.get(ownership::OPTIONS)).cloned()
        }
    }
}

/// Returns the service that carries the note: the extension's service, or the proxy service where core renders.
fn noted_on<'a>(snapshot: &'a SwarmIndex<'a>, extension: &Extension) -> Option<&'a Service> {
    let name = if extension.image.is_some() { &extension.service_name } else { &extension.proxy_service_name };
    snapshot.named(name)
}

/// What became of the options of the settings, by what is noted: `None` while nobody has looked at them.
pub(crate) fn verdict(snapshot: &SwarmIndex<'_>, extension: &Extension) -> Option<Result<(), String>> {
    let noted = noted_on(snapshot, extension)?.spec.labels.get(ownership::OPTIONS)?;
    let (looked_at, message) = noted.split_once(' ').map_or((noted.as_str(), None), |(hash, said)| (hash, Some(said)));
    (looked_at == hash(&rendered_with(extension))).then(|| message.map_or(Ok(()), |message| Err(message.to_owned())))
}

/// Of strings, numbers and lists of them, which can always be written.
fn hash(options: &ProxyKind) -> String {
    crate::units::hash::hex16(serde_json::to_string(options).unwrap_or_default().as_bytes())
}

/// Core's settings before somebody's last update of its service.
fn settings_of_before(snapshot: &SwarmIndex<'_>) -> Option<Settings> {
    let spec = core_name::any_core(snapshot)?.previous.as_ref()?;
    let mount = spec.configs.iter().find(|mount| mount.name.starts_with(ownership::SETTINGS_PREFIX))?;
    let config = snapshot.configs.iter().find(|config| config.id == mount.id && ownership::is_ours(&config.labels))?;
    Settings::parse(&config.data).ok().map(|(settings, _)| settings)
}

/// As they stand in a proxy config.
fn rendered_with(extension: &Extension) -> ProxyKind {
    ProxySettings::of(extension, None, None).kind
}
