//! A configuration that the proxy could run, and where it comes from.

use std::fmt::{self, Display};
use std::io;
use std::ops::Deref;
use std::path::Path;

use crate::kinds::server::FileSet;
use crate::kinds::{self, File};
use crate::trust::SignedManifest;

/// A configuration that the proxy could run.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) origin: Origin,
    /// Core's signature as hexadecimal digits; empty where there is none.
    pub(super) signature: String,
    pub(super) set: FileSet,
}

impl Deref for Candidate {
    type Target = FileSet;

    fn deref(&self) -> &FileSet {
        &self.set
    }
}

/// Where a configuration comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Core,
    Volume,
    Boot,
}

impl Candidate {
    /// What Docker mounts: the file, those in `interlock.d` next to it, and if it was signed, the manifest.
    pub(super) fn boot(path: &Path, manifest: Option<&Path>) -> io::Result<Self> {
        let read = |path: &Path, part: String| {
            let content = std::fs::read_to_string(path)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
            Ok::<_, io::Error>(File { path: path.display().to_string(), part, content: content.into() })
        };
        let mut files = vec![read(path, String::new())?];
        let folder = path.with_file_name("interlock.d");
        if folder.is_dir() {
            let mut paths =
                std::fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
            paths.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
            paths.sort();
            for path in &paths {
                let part = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                files.push(read(path, part)?);
            }
        }
        let signed = match manifest {
            Some(path) if path.exists() => {
                let text = std::fs::read_to_string(path)?;
                let wrong = |error| io::Error::other(format!("{}: {error}", path.display()));
                Some(SignedManifest::from_toml(&text).map_err(wrong)?)
            }
            _ => None,
        };
        let (mut revision, mut signature) = (None, String::new());
        if let Some(signed) = signed {
            // The hash has them in core's order.
            let place = |file: &File| signed.manifest.parts.iter().position(|part| *part == file.part);
            files.sort_by_key(|file| place(file).unwrap_or(usize::MAX));
            revision = Some(signed.manifest.revision.clone());
            signed.signature().clone_into(&mut signature);
        }
        let hash = kinds::hash(&files);
        Ok(Self { origin: Origin::Boot, signature, set: FileSet { revision, hash, files: files.into() } })
    }
}

/// For people.
impl Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match self.origin {
            Origin::Core => "core",
            Origin::Volume => "the volume",
            Origin::Boot => "the config that Docker mounts",
        };
        match &self.revision {
            Some(revision) => write!(f, "revision {revision} from {origin}"),
            None => f.write_str(origin),
        }
    }
}
