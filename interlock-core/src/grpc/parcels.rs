//! What agents get: the files that core accepted, with their hash.
//!
//! Each stream compares hashes whenever anything is published, and there is a stream for each proxy. So files are hashed once, when they are
//! published, and nothing is copied but what is sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{convert, v1};
use crate::names::Cluster;
use crate::proxy_config::{Generation, Revision};
use crate::render::{self, File, Rendering, Renderings};

/// What agents get, by service cluster and generation.
pub type Parcels = BTreeMap<(Cluster, Generation), Parcel>;

/// Files and their hash. A copy shares them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    revision: Revision,
    hash: Arc<str>,
    files: Arc<[File]>,
}

impl Parcel {
    fn of(revision: Revision, files: Vec<File>) -> Self {
        Self { revision, hash: render::hash(&files).into(), files: files.into() }
    }

    /// The files, if they are those of this revision and have this hash.
    pub(super) fn files_of(&self, revision: &Revision, hash: &str) -> Option<&[File]> {
        (self.revision == *revision && *self.hash == *hash).then_some(&*self.files)
    }

    /// What an agent of this generation has to get next, if anything. `sent` is the hash of the files that it has.
    pub(super) fn next_revision(&self, generation: &Generation, sent: &mut String) -> Option<v1::Revision> {
        let Self { revision, hash, files } = self;
        if **hash == **sent {
            return None;
        }
        *sent = hash.to_string();
        let files = Some(convert::hashed_to_wire(hash, files));
        Some(v1::Revision { generation: generation.to_string(), revision: revision.to_string(), files })
    }
}

/// These renderings as parcels, without those that have no files. What stands in `before` with the same files is not hashed again.
pub fn packed(renderings: Renderings, before: &Parcels) -> Parcels {
    let parcels = renderings.into_iter().filter_map(|(key, Rendering { revision, result })| {
        let files = result.ok()?;
        let parcel = match before.get(&key) {
            Some(known) if *known.files == *files => Parcel { revision, ..known.clone() },
            _ => Parcel::of(revision, files),
        };
        Some((key, parcel))
    });
    parcels.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::RenderError;

    fn rendering(revision: u64, content: &str) -> Rendering {
        let file = File { path: "/etc/nginx/nginx.conf".into(), part: String::new(), content: content.into() };
        Rendering { revision: format!("{revision:016x}").parse().unwrap(), result: Ok(vec![file]) }
    }

    #[test]
    fn what_did_not_change_is_neither_hashed_nor_copied_again() {
        let key = |cluster: &str| (cluster.parse().unwrap(), "00000000000000aa".parse().unwrap());
        let first = Renderings::from([(key(""), rendering(1, "a")), (key("b"), rendering(2, "b"))]);
        let before = packed(first.clone(), &Parcels::new());
        let hash = |content: &str| render::hash(&rendering(1, content).result.unwrap());
        let files =
            |number: u64, content: &str| before[&key("")].files_of(&rendering(number, "").revision, &hash(content));
        assert_eq!(files(1, "a").map(|files| &*files[0].content), Some("a"));
        assert_eq!((files(1, "b"), files(2, "a")), (None, None));
        let failed = Rendering { result: Err(RenderError::Failed("no memory".into())), ..rendering(1, "") };
        let then = [(key(""), rendering(3, "a")), (key("b"), rendering(2, "c")), (key("c"), failed)];
        let after = packed(Renderings::from(then), &before);
        assert_eq!(after.keys().cloned().collect::<Vec<_>>(), [key(""), key("b")]);
        let shares =
            |one: &Parcel, other: &Parcel| Arc::ptr_eq(&one.files, &other.files) && Arc::ptr_eq(&one.hash, &other.hash);
        assert!(shares(&after[&key("")], &before[&key("")]) && after[&key("")].revision == rendering(3, "").revision);
        assert!(!shares(&after[&key("b")], &before[&key("b")]));
        assert_eq!(packed(first, &after), before);
    }

    #[test]
    fn files_that_were_sent_are_not_sent_again() {
        let parcel = Parcel::of(rendering(1, "").revision, rendering(1, "a").result.unwrap());
        let (generation, mut sent) = ("00000000000000aa".parse().unwrap(), "another".to_owned());
        let revision = parcel.next_revision(&generation, &mut sent).unwrap();
        assert_eq!(revision.files.unwrap(), convert::files_to_wire(&parcel.files));
        assert_eq!(parcel.next_revision(&generation, &mut sent), None);
    }
}
