//! What no key can tell by itself: extensions that are in each other's way, and what this version does not do.

use std::collections::BTreeMap;

use super::findings::Findings;
use super::{Extension, Kind, PublishMode};
use crate::units::Cluster;

/// Checks the extensions together. Each comes with its place in the file.
pub(super) fn across(findings: &mut Findings<'_>, extensions: &[(usize, Extension)]) {
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
                claim(findings, &mut slugs, slug.clone(), &format!("object names with {slug}"), &path, *offset);
            }
            Ok(_) => {}
            Err(invalid) => findings.error(format!("{path}.ServiceCluster"), *offset, invalid.wrong),
        }
        let title = if extension.service_cluster.is_empty() { "(the default one)" } else { &extension.service_cluster };
        claim(
            findings,
            &mut clusters,
            extension.service_cluster.clone(),
            &format!("service cluster {title}"),
            &path,
            *offset,
        );
        for port in [extension.published_port, extension.published_ssl_port] {
            claim_port(findings, &mut ports, port, extension, *offset);
        }
        for name in [&extension.service_name, &extension.proxy_service_name] {
            claim(findings, &mut services, name.clone(), &format!("service name {name}"), &path, *offset);
        }
        if extension.target_port == extension.target_ssl_port {
            findings.error(
                format!("{path}.TargetSSLPort"),
                *offset,
                format!("is {}, as TargetPort is", extension.target_port),
            );
        }
        if extension.kind.name() != Kind::Nginx {
            findings.error(
                format!("{path}.Kind"),
                *offset,
                format!("is {}, which this version does not support; write nginx", extension.kind.name()),
            );
        }
    }
}

/// A port is published once. Two service clusters that both publish on their hosts can share one if their
/// constraints keep them on different nodes.
fn claim_port<'e>(
    findings: &mut Findings<'_>,
    claims: &mut Vec<(u16, &'e Extension, usize)>,
    port: u16,
    extension: &'e Extension,
    offset: usize,
) {
    let on_hosts = |one: &Extension| one.publish_mode == PublishMode::Host;
    let apart = |other: &Extension| on_hosts(other) && on_hosts(extension) && are_apart(other, extension);
    let clash =
        claims.iter().find(|(taken, other, _)| *taken == port && (other.name == extension.name || !apart(other)));
    if let Some((_, other, first)) = clash {
        let line = findings.line(*first);
        let path = format!("Extensions.{}", extension.name);
        let wrong = match other.name == extension.name {
            true => format!("claims published port {port} twice"),
            false if on_hosts(other) && on_hosts(extension) => format!(
                "claims published port {port}, as Extensions.{} in line {line} does, and a node could run proxies of \
                 both; choose another port, or keep them apart by ProxyConstraints: the same key with different values",
                other.name
            ),
            false => format!("claims published port {port}, as Extensions.{} in line {line} does", other.name),
        };
        findings.error(path, offset, wrong);
    }
    claims.push((port, extension, offset));
}

/// Whether constraints keep two service clusters on different nodes, whatever nodes there are: both have a constraint
/// for the same key, and one node cannot meet the two.
fn are_apart(one: &Extension, other: &Extension) -> bool {
    let constraints = |extension: &Extension| {
        let all = extension.proxy_constraints.iter().flatten();
        all.filter_map(|constraint| Constraint::read(constraint)).collect::<Vec<_>>()
    };
    let others = constraints(other);
    constraints(one).iter().any(|one| others.iter().any(|other| one.excludes(other)))
}

/// A constraint as far as two can exclude each other. Swarm does not care about upper and lower case in values.
struct Constraint {
    key: String,
    value: String,
    equal: bool,
}

impl Constraint {
    fn read(text: &str) -> Option<Self> {
        let (key, value, equal) = match (text.split_once("=="), text.split_once("!=")) {
            (Some((key, value)), _) => (key, value, true),
            (None, Some((key, value))) => (key, value, false),
            (None, None) => return None,
        };
        let [key, value] = [key, value].map(|part| part.trim().to_owned());
        // One address can lie in two networks.
        let is_ip = key.eq_ignore_ascii_case("node.ip");
        (!is_ip).then(|| Self { key, value: value.to_lowercase(), equal })
    }

    fn excludes(&self, other: &Self) -> bool {
        let differs = self.value != other.value;
        self.key == other.key
            && match (self.equal, other.equal) {
                (true, true) => differs,
                (true, false) | (false, true) => !differs,
                (false, false) => false,
            }
    }
}

fn claim<K: Ord>(
    findings: &mut Findings<'_>,
    claims: &mut BTreeMap<K, (String, usize)>,
    key: K,
    what: &str,
    path: &str,
    offset: usize,
) {
    if let Some((first, first_offset)) = claims.get(&key) {
        let line = findings.line(*first_offset);
        let both = if first == path {
            format!("claims {what} twice")
        } else {
            format!("claims {what}, as {first} in line {line} does")
        };
        findings.error(path, offset, both);
    } else {
        claims.insert(key, (path.to_owned(), offset));
    }
}
