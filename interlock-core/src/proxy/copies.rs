//! Copies of configurations that the proxy ran, on a volume of the node. They outlive the container, and core.
//!
//! A copy is one file, named by its content and written beside its place first, so that several containers of a node may share the
//! volume: what is there is whole, and two that write the same write the same bytes.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::candidate::{Candidate, Origin};
use crate::proxy_config::Revision;
use crate::render::{self, File};

/// How many copies are kept of one generation.
const COPIES: usize = 3;
/// How many other generations keep their copies: during a roll two live on a node, and a rollback needs the one before.
const OTHER_GENERATIONS: usize = 3;
/// What another container is writing now is left alone.
const HALF_WRITTEN: Duration = Duration::from_secs(600);

/// A copy, as JSON. Readers ignore what they do not know.
#[derive(Debug, Serialize, Deserialize)]
struct Copy {
    revision: Option<Revision>,
    hash: String,
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
    state: PathBuf,
    folder: PathBuf,
}

impl Copies {
    pub(super) fn new(state: &Path, generation: &str) -> Self {
        Self { state: state.to_owned(), folder: state.join(generation) }
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
            files: candidate
                .files
                .iter()
                .map(|File { path, part, content }| CopiedFile {
                    path: path.clone(),
                    part: part.clone(),
                    content: content.clone(),
                })
                .collect(),
        };
        let mut aside = tempfile::NamedTempFile::new_in(&self.folder)?;
        aside.write_all(&serde_json::to_vec(&copy)?)?;
        aside.as_file().sync_all()?;
        aside.persist(self.folder.join(format!("{}.json", candidate.name()))).map_err(|error| error.error)?;
        fs::File::open(&self.folder)?.sync_all()?;
        self.tidy();
        Ok(())
    }

    /// The copies that are whole, the newest first.
    pub(super) fn newest_first(&self) -> Vec<Candidate> {
        let paths = by_age(&self.folder).into_iter().filter(|path| is_copy(path));
        paths
            .filter_map(|path| {
                read(&path).map_err(|error| tracing::warn!("the copy {} is of no use: {error}", path.display())).ok()
            })
            .collect()
    }

    fn tidy(&self) {
        let (copies, others): (Vec<_>, Vec<_>) = by_age(&self.folder).into_iter().partition(|path| is_copy(path));
        let abandoned = others.into_iter().filter(|path| {
            let age = fs::metadata(path).and_then(|about| about.modified()).map(|written| written.elapsed());
            age.is_ok_and(|age| age.is_ok_and(|age| age > HALF_WRITTEN))
        });
        // Another container may have removed them already.
        for path in copies.into_iter().skip(COPIES).chain(abandoned) {
            let _ = fs::remove_file(path);
        }
        let others = by_age(&self.state).into_iter().filter(|path| path.is_dir() && *path != self.folder);
        for path in others.skip(OTHER_GENERATIONS) {
            let _ = fs::remove_dir_all(path);
        }
    }
}

fn is_copy(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
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
    let Copy { revision, hash, files } = serde_json::from_slice(&fs::read(path)?)?;
    let files: Vec<_> =
        files.into_iter().map(|CopiedFile { path, part, content }| File { path, part, content }).collect();
    if files.is_empty() || render::hash(&files) != hash {
        return Err(io::Error::other("its hash is not that of its files"));
    }
    Ok(Candidate { origin: Origin::Volume, revision, hash, files: files.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(content: &str) -> Candidate {
        let files = vec![File { path: "/etc/nginx/nginx.conf".into(), part: String::new(), content: content.into() }];
        Candidate { origin: Origin::Core, revision: None, hash: render::hash(&files), files: files.into() }
    }

    fn contents(copies: &Copies) -> Vec<String> {
        copies.newest_first().into_iter().map(|copy| copy.files[0].content.clone()).collect()
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
        let path = copies.folder.join(format!("{}.json", candidate("bad").name()));
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"bad\"", "\"worse\"")).unwrap();
        fs::write(copies.folder.join("torn.json"), &text[..9]).unwrap();
        assert_eq!(contents(&copies), ["good"]);
    }

    #[test]
    fn old_generations_go() {
        let state = tempfile::tempdir().unwrap();
        for generation in ["1", "2", "3", "4", "5", "6"] {
            Copies::new(state.path(), generation).keep(&candidate("x")).unwrap();
        }
        let mut left: Vec<_> = fs::read_dir(state.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["3", "4", "5", "6"]);
    }
}
