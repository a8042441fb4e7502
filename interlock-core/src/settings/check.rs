//! What no key can tell by itself: extensions that are in each other's way, and what this version does not do.

use std::collections::BTreeMap;

use super::read::Reader;
use super::{Extension, Kind, PublishMode};
use crate::names::Cluster;

/// Checks the extensions together. Each comes with its place in the file.
pub(super) fn across(reader: &mut Reader<'_>, extensions: &[(usize, Extension)]) {
    let mut clusters = BTreeMap::new();
    let mut slugs = BTreeMap::new();
    let mut ports = Vec::new();
    let mut services = BTreeMap::new();
    let mut sorted: Vec<_> = extensions.iter().collect();
    sorted.sort_by_key(|(offset, _)| *offset);
    for (offset, extension) in sorted {
        let path = format!("Extensions.{}", extension.name);
        match extension.service_cluster.parse::<Cluster>() {
            Ok(cluster) if !clusters.contains_key(&extension.service_cluster) => {
                // Long names alike in their beginning can come to the same.
                let slug = cluster.slug();
                claim(reader, &mut slugs, slug.clone(), &format!("object names with {slug}"), &path, *offset);
            }
            Ok(_) => {}
            Err(invalid) => reader.error(format!("{path}.ServiceCluster"), *offset, invalid.wrong),
        }
        let title = if extension.service_cluster.is_empty() { "(the default one)" } else { &extension.service_cluster };
        claim(
            reader,
            &mut clusters,
            extension.service_cluster.clone(),
            &format!("service cluster {title}"),
            &path,
            *offset,
        );
        for port in [extension.published_port, extension.published_ssl_port] {
            claim_port(reader, &mut ports, port, extension, *offset);
        }
        for name in [&extension.service_name, &extension.proxy_service_name] {
            claim(reader, &mut services, name.clone(), &format!("service name {name}"), &path, *offset);
        }
        if extension.target_port == extension.target_ssl_port {
            reader.error(
                format!("{path}.TargetSSLPort"),
                *offset,
                format!("is {}, as TargetPort is", extension.target_port),
            );
        }
        if extension.kind != Kind::Nginx {
            reader.error(
                format!("{path}.Kind"),
                *offset,
                format!("is {}, which this version does not support; write nginx", extension.kind),
            );
        }
    }
}

/// Two sets of proxies that both publish on their hosts can have the same port, on different nodes; otherwise a port is published
/// once.
fn claim_port<'e>(
    reader: &mut Reader<'_>,
    claims: &mut Vec<(u16, &'e Extension, usize)>,
    port: u16,
    extension: &'e Extension,
    offset: usize,
) {
    let both_on_hosts =
        |other: &Extension| other.publish_mode == PublishMode::Host && extension.publish_mode == PublishMode::Host;
    let clash = claims
        .iter()
        .find(|(taken, other, _)| *taken == port && (other.name == extension.name || !both_on_hosts(other)));
    if let Some((_, other, first)) = clash {
        let line = reader.line(*first);
        let path = format!("Extensions.{}", extension.name);
        let wrong = match other.name == extension.name {
            true => format!("claims published port {port} twice"),
            false => format!("claims published port {port}, as Extensions.{} in line {line} does", other.name),
        };
        reader.error(path, offset, wrong);
    }
    claims.push((port, extension, offset));
}

fn claim<K: Ord>(
    reader: &mut Reader<'_>,
    claims: &mut BTreeMap<K, (String, usize)>,
    key: K,
    what: &str,
    path: &str,
    offset: usize,
) {
    if let Some((first, first_offset)) = claims.get(&key) {
        let line = reader.line(*first_offset);
        let both = if first == path {
            format!("claims {what} twice")
        } else {
            format!("claims {what}, as {first} in line {line} does")
        };
        reader.error(path, offset, both);
    } else {
        claims.insert(key, (path.to_owned(), offset));
    }
}
