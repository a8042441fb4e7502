//! What no key can tell by itself: extensions that are in each other's way, and what this version does not do.

use std::collections::BTreeMap;

use super::read::Reader;
use super::{Extension, Kind};
use crate::names::Cluster;

/// Checks the extensions together. Each comes with its place in the file.
pub(super) fn across(reader: &mut Reader<'_>, extensions: &[(usize, Extension)]) {
    let mut clusters = BTreeMap::new();
    let mut ports = BTreeMap::new();
    let mut services = BTreeMap::new();
    let mut sorted: Vec<_> = extensions.iter().collect();
    sorted.sort_by_key(|(offset, _)| *offset);
    for (offset, extension) in sorted {
        let path = format!("Extensions.{}", extension.name);
        if let Err(invalid) = extension.service_cluster.parse::<Cluster>() {
            reader.error(format!("{path}.ServiceCluster"), *offset, invalid.wrong);
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
            claim(reader, &mut ports, port, &format!("published port {port}"), &path, *offset);
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
