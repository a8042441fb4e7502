//! What agents get: the files that core accepted, with their hash.
//!
//! Each stream compares hashes whenever anything is published, and there is a stream for each proxy. So files are hashed once, when they are
//! published, and nothing is copied but what is sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{convert, v1};
use crate::kinds::{self, File, Manifest, Rendering, Renderings};
use crate::proxy_config::{Generation, Revision};
use crate::trust::{Authority, Statement};
use crate::units::Cluster;

type Key = (Cluster, Generation);

/// What agents get, by service cluster and generation.
pub type Parcels = BTreeMap<Key, Parcel>;

/// Files and their hash. A copy shares them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    revision: Revision,
    hash: Arc<str>,
    files: Arc<[File]>,
    signature: Arc<str>,
}

impl Parcel {
    /// What stands in `known` with the same files is not hashed again.
    fn of(
        key: &Key,
        revision: Revision,
        files: Vec<File>,
        known: Option<&Self>,
        authority: Option<&Authority>,
    ) -> Self {
        let (hash, files) = match known.filter(|known| *known.files == *files) {
            Some(known) => (known.hash.clone(), known.files.clone()),
            None => (kinds::hash(&files).into(), files.into()),
        };
        let (cluster, generation) = key.clone();
        let manifest = Manifest { cluster, generation, revision, hash: hash.to_string(), parts: Vec::new() };
        // Without randomness there is no signature, and agents keep what they have.
        let signature = authority.and_then(|authority| authority.sign(&Statement::Files(&manifest)).ok());
        let signature = signature.map(|signature| signature.to_string()).unwrap_or_default();
        Self { revision: manifest.revision, hash, files, signature: signature.into() }
    }

    /// The files, if they are those of this revision and have this hash.
    pub(super) fn files_of(&self, revision: &Revision, hash: &str) -> Option<&[File]> {
        (self.revision == *revision && *self.hash == *hash).then_some(&*self.files)
    }

    /// What an agent of this generation has to get next, if anything. `sent` is the hash of the files that it has.
    pub(super) fn next_revision(&self, generation: &Generation, sent: &mut String) -> Option<v1::Revision> {
        let Self { revision, hash, files, signature } = self;
        if **hash == **sent {
            return None;
        }
        *sent = hash.to_string();
        let files = Some(convert::hashed_to_wire(hash, files));
        let (generation, revision) = (generation.to_string(), revision.to_string());
        Some(v1::Revision { generation, revision, files, signature: signature.to_string() })
    }
}

/// These renderings as parcels that the authority signed, without those that have no files. What stands in `before` is neither hashed nor
/// signed again. Without an authority nobody can connect, and nothing is signed.
pub fn packed(renderings: Renderings, before: &Parcels, authority: Option<&Authority>) -> Parcels {
    let parcels = renderings.into_iter().filter_map(|(key, Rendering { revision, result })| {
        let files = result.ok()?;
        let known = before.get(&key);
        let parcel = match known.filter(|known| known.revision == revision && *known.files == *files) {
            Some(same) => same.clone(),
            None => Parcel::of(&key, revision, files, known, authority),
        };
        Some((key, parcel))
    });
    parcels.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::RenderError;

    fn rendering(revision: u64, content: &str) -> Rendering {
        let file = File { path: "/etc/nginx/nginx.conf".into(), part: String::new(), content: content.into() };
        Rendering { revision: format!("{revision:016x}").parse().unwrap(), result: Ok(vec![file]) }
    }

    #[test]
    fn what_did_not_change_is_neither_hashed_nor_copied_again() {
        let authority = Authority::generate().unwrap();
        let key = |cluster: &str| (cluster.parse().unwrap(), "00000000000000aa".parse().unwrap());
        let first = Renderings::from([(key(""), rendering(1, "a")), (key("b"), rendering(2, "b"))]);
        let before = packed(first.clone(), &Parcels::new(), Some(&authority));
        let hash = |content: &str| kinds::hash(&rendering(1, content).result.unwrap());
        let files =
            |number: u64, content: &str| before[&key("")].files_of(&rendering(number, "").revision, &hash(content));
        assert_eq!(files(1, "a").map(|files| &*files[0].content), Some("a"));
        assert_eq!((files(1, "b"), files(2, "a")), (None, None));
        let failed = Rendering { result: Err(RenderError::Failed("no memory".into())), ..rendering(1, "") };
        let then = [(key(""), rendering(3, "a")), (key("b"), rendering(2, "c")), (key("c"), failed)];
        let after = packed(Renderings::from(then), &before, Some(&authority));
        assert_eq!(after.keys().cloned().collect::<Vec<_>>(), [key(""), key("b")]);
        let shares =
            |one: &Parcel, other: &Parcel| Arc::ptr_eq(&one.files, &other.files) && Arc::ptr_eq(&one.hash, &other.hash);
        assert!(shares(&after[&key("")], &before[&key("")]) && after[&key("")].revision == rendering(3, "").revision);
        assert!(!shares(&after[&key("b")], &before[&key("b")]));
        assert_ne!(after[&key("")].signature, before[&key("")].signature, "it is of another revision");
        assert_eq!(packed(first, &before, Some(&authority)), before, "what is signed already is not signed again");
    }

    #[test]
    fn files_that_were_sent_are_not_sent_again() {
        let generation: Generation = "00000000000000aa".parse().unwrap();
        let key = (Cluster::default(), generation.clone());
        let parcel = Parcel::of(&key, rendering(1, "").revision, rendering(1, "a").result.unwrap(), None, None);
        let mut sent = "another".to_owned();
        let revision = parcel.next_revision(&generation, &mut sent).unwrap();
        assert_eq!(revision.files.unwrap(), convert::files_to_wire(&parcel.files));
        assert_eq!(parcel.next_revision(&generation, &mut sent), None);
    }
}
