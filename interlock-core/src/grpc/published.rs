//! What core shows to its peers.

use std::collections::BTreeMap;

use super::parcels::Parcels;
use crate::deployment::generations::SecretNames;
use crate::extension::{Event, Model};
use crate::proxy_config::{Generation, ProxyConfigs, Revision};
use crate::units::Cluster;

/// What core shows to its peers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Published {
    /// What extensions render.
    pub configs: ProxyConfigs,
    /// What agents get.
    pub deliveries: Parcels,
    /// The secrets that the tasks of each generation have, by name. Empty until the Swarm was read: then it holds each generation that lives.
    pub secrets: SecretNames,
    /// How many bytes a file may have.
    pub file_limit: usize,
}

impl Published {
    /// What an extension of this service cluster has to hear next, if anything. `sent` are the revisions that it has.
    pub(crate) fn next_event(&self, cluster: &Cluster, sent: &mut BTreeMap<Generation, Revision>) -> Option<Event> {
        let mine = self.configs.iter().filter(|((of, _), _)| of == cluster);
        for ((_, generation), config) in mine {
            if sent.get(generation) != Some(&config.revision) {
                sent.insert(generation.clone(), config.revision.clone());
                let (config, generation) = (config.clone(), generation.clone());
                return Some(Event::Model(Box::new(Model { config, generation, file_limit: self.file_limit })));
            }
        }
        let lives = |generation: &Generation| self.configs.contains_key(&(cluster.clone(), generation.clone()));
        let withdrawn = sent.keys().find(|generation| !lives(generation))?.clone();
        sent.remove(&withdrawn);
        Some(Event::Withdrawn(withdrawn))
    }
}
