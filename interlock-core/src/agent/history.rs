//! Copies of configurations that the proxy ran, on a volume of the node. They outlive the container, and core.
//!
//! ```text
//! /var/lib/interlock/copies/7d31f0a2b5c94e68/0000000012-0123456789abcdef-01234567.json
//! ```
//!
//! A copy is one file, named by its turn and its content and written beside its place first, so that several containers of a node may
//! share the volume: what is there is whole, and two that write the same write the same bytes. Turns count: a node's clock may be set back.
//! All that is not below `copies` is somebody else's. NGINX has its temporary files on the same volume.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::candidate::{Candidate, Origin};
use crate::kinds::server::FileSet;
use crate::kinds::{self, File};
use crate::proxy_config::Revision;

/// How many copies are kept of one generation.
const COPIES: usize = 3;
/// How many other generations keep their copies: during a roll two live on a node, and a rollback needs the one before.
const OTHER_GENERATIONS: usize = 3;
/// Where they are on the volume.
const FOLDER: &str = "copies";
/// What another container is writing now is left alone.
const HALF_WRITTEN: Duration = Duration::from_secs(600);

/// A copy, as JSON. Readers ignore what they do not know.
#[derive(Debug, Serialize, Deserialize)]
struct Copy {
    revision: Option<Revision>,
    hash: String,
    /// Core's signature; empty in copies of versions that signed nothing.
    #[serde(default)]
    signature: String,
    files: Vec<CopiedFile>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CopiedFile {
    path: String,
    part: String,
    content: String,
}

/// The copies of one generation.
#[derive(Debug, Clone)]
pub(super) struct Copies {
    /// Those of all generations.
    all: PathBuf,
    folder: PathBuf,
}

impl Copies {
    pub(super) fn new(state: &Path, generation: &str) -> Self {
        let all = state.join(FOLDER);
        Self { folder: all.join(generation), all }
    }

    /// Writes one and removes what is too many. What was kept before becomes the newest again.
    ///
    /// # Errors
    ///
    /// When it cannot be written; the others stay.
    pub(super) fn keep(&self, candidate: &Candidate) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let copy = Copy {
            revision: candidate.revision.clone(),
            hash: candidate.hash.clone(),
            signature: candidate.signature.clone(),
            files: candidate
                .files
                .iter()
                .map(|File { path, part, content }| CopiedFile {
                    path: path.clone(),
                    part: part.clone(),
                    content: content.to_string(),
                })
                .collect(),
        };
        let mut aside = tempfile::NamedTempFile::new_in(&self.folder)?;
        aside.write_all(&serde_json::to_vec(&copy)?)?;
        aside.as_file().sync_all()?;
        let turn = self.placed().first().map_or(1, |newest| newest.turn.saturating_add(1));
        let placed = Placed { turn, name: candidate.name() };
        aside.persist(self.folder.join(placed.file_name())).map_err(|error| error.error)?;
        fs::File::open(&self.folder)?.sync_all()?;
        self.tidy();
        Ok(())
    }

    /// The copies that are whole, the newest first.
    pub(super) fn newest_first(&self) -> Vec<Candidate> {
        let paths = self.placed().into_iter().map(|placed| self.folder.join(placed.file_name()));
        paths
            .filter_map(|path| {
                let warn = |error| tracing::warn!(path = %path.display(), "unreadable copy ignored: {error}");
                read(&path).map_err(warn).ok()
            })
            .collect()
    }

    /// The newest first.
    fn placed(&self) -> Vec<Placed> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut placed: Vec<_> = entries.filter_map(|entry| Placed::parse(entry.file_name().to_str()?)).collect();
        placed.sort_by(|a, b| b.cmp(a));
        placed
    }

    fn tidy(&self) {
        let mut kept = BTreeSet::new();
        let needless = self.placed().into_iter().filter(|placed| {
            let is_needed = kept.len() < COPIES && !kept.contains(&placed.name);
            kept.insert(placed.name.clone());
            !is_needed
        });
        let needless: Vec<_> = needless.map(|placed| self.folder.join(placed.file_name())).collect();
        let others = by_age(&self.folder).into_iter().filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.and_then(Placed::parse).is_none()
        });
        let abandoned = others.filter(|path| {
            let age = fs::metadata(path).and_then(|about| about.modified()).map(|written| written.elapsed());
            age.is_ok_and(|age| age.is_ok_and(|age| age > HALF_WRITTEN))
        });
        // Another container may have removed them already.
        for path in needless.into_iter().chain(abandoned) {
            let _ = fs::remove_file(path);
        }
        let others = by_age(&self.all).into_iter().filter(|path| path.is_dir() && *path != self.folder);
        for path in others.skip(OTHER_GENERATIONS) {
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// A copy's file name, taken apart.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Placed {
    turn: u64,
    name: String,
}

impl Placed {
    fn parse(file_name: &str) -> Option<Self> {
        let (turn, name) = file_name.strip_suffix(".json")?.split_once('-')?;
        Some(Self { turn: turn.parse().ok()?, name: name.to_owned() })
    }

    fn file_name(&self) -> String {
        format!("{:010}-{}.json", self.turn, self.name)
    }
}

/// What a folder holds, the newest first.
fn by_age(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut entries: Vec<_> =
        entries.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect();
    entries.sort();
    entries.into_iter().rev().map(|(_, path)| path).collect()
}

fn read(path: &Path) -> io::Result<Candidate> {
    let Copy { revision, hash, signature, files } = serde_json::from_slice(&fs::read(path)?)?;
    let files: Vec<_> = files
        .into_iter()
        .map(|CopiedFile { path, part, content }| File { path, part, content: content.into() })
        .collect();
    if files.is_empty() || kinds::hash(&files) != hash {
        return Err(io::Error::other("its hash is not that of its files"));
    }
    Ok(Candidate { origin: Origin::Volume, signature, set: FileSet { revision, hash, files: files.into() } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(content: &str) -> Candidate {
        let files = vec![File { path: "/etc/nginx/nginx.conf".into(), part: String::new(), content: content.into() }];
        let hash = kinds::hash(&files);
        Candidate {
            origin: Origin::Core,
            signature: "00".to_owned(),
            set: FileSet { revision: None, hash, files: files.into() },
        }
    }

    fn contents(copies: &Copies) -> Vec<String> {
        copies.newest_first().into_iter().map(|copy| copy.files[0].content.to_string()).collect()
    }

    #[test]
    fn the_newest_few_are_kept() {
        let state = tempfile::tempdir().unwrap();
        let copies = Copies::new(state.path(), "a");
        assert_eq!(contents(&copies), [""; 0]);
        for content in ["1", "2", "3", "4", "2"] {
            copies.keep(&candidate(content)).unwrap();
        }
        assert_eq!(contents(&copies), ["2", "4", "3"]);
        assert_eq!(contents(&Copies::new(state.path(), "b")), [""; 0]);
    }

    #[test]
    fn a_damaged_copy_is_passed_over() {
        let state = tempfile::tempdir().unwrap();
        let copies = Copies::new(state.path(), "a");
        copies.keep(&candidate("good")).unwrap();
        copies.keep(&candidate("bad")).unwrap();
        let path = copies.folder.join(Placed { turn: 2, name: candidate("bad").name() }.file_name());
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"bad\"", "\"worse\"")).unwrap();
        fs::write(copies.folder.join("0000000003-torn.json"), &text[..9]).unwrap();
        assert_eq!(contents(&copies), ["good"]);
    }

    #[test]
    fn old_generations_go() {
        let state = tempfile::tempdir().unwrap();
        for generation in ["1", "2", "3", "4", "5", "6"] {
            Copies::new(state.path(), generation).keep(&candidate("x")).unwrap();
        }
        assert_eq!(names(&state.path().join(FOLDER)), ["3", "4", "5", "6"]);
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// NGINX makes these when it starts, and has the bodies of requests in them.
    #[test]
    fn what_is_not_a_copy_is_left_alone() {
        let state = tempfile::tempdir().unwrap();
        let nginx = ["body", "fastcgi", "proxy", "scgi", "uwsgi"];
        nginx.iter().for_each(|name| fs::create_dir(state.path().join(name)).unwrap());
        for generation in ["1", "2", "3", "4", "5", "6"] {
            Copies::new(state.path(), generation).keep(&candidate("x")).unwrap();
        }
        assert_eq!(names(state.path()), ["body", "copies", "fastcgi", "proxy", "scgi", "uwsgi"]);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_copy_older() {
        let state = tempfile::tempdir().unwrap();
        let copies = Copies::new(state.path(), "a");
        let later = std::time::SystemTime::now() + Duration::from_secs(3600);
        for content in ["1", "2", "3"] {
            copies.keep(&candidate(content)).unwrap();
            for name in names(&copies.folder) {
                fs::File::open(copies.folder.join(name)).unwrap().set_modified(later).unwrap();
            }
        }
        copies.keep(&candidate("4")).unwrap();
        assert_eq!(contents(&copies), ["4", "3", "2"]);
    }
}
