//! Where configurations are laid out for nginx: a folder in memory, of this container alone.
//!
//! ```text
//! /run/interlock/current -> revisions/0123456789abcdef-01234567
//! /run/interlock/revisions/0123456789abcdef-01234567/nginx.conf
//! /run/interlock/revisions/0123456789abcdef-01234567/interlock.d/upstreams-01.conf
//! ```
//!
//! nginx always reads `current/nginx.conf`, and resolves what that includes against the folder that it stands in. So one rename swaps
//! all files at once.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::kinds::server::FileSet;

/// The main file's name, whatever it is called elsewhere: a running nginx reads the same path for ever.
pub(super) const MAIN: &str = "nginx.conf";

#[derive(Debug, Clone)]
pub(super) struct Folder {
    run: PathBuf,
}

impl Folder {
    pub(super) fn new(run: &Path) -> Self {
        Self { run: run.to_owned() }
    }

    fn revisions(&self) -> PathBuf {
        self.run.join("revisions")
    }

    fn link(&self) -> PathBuf {
        self.run.join("current")
    }

    /// What nginx is started with.
    pub(super) fn config(&self) -> PathBuf {
        self.link().join(MAIN)
    }

    /// Writes a configuration aside. Answers the folder.
    ///
    /// # Errors
    ///
    /// When that is impossible; nothing is left then.
    pub(super) fn place(&self, set: &FileSet) -> io::Result<PathBuf> {
        let folder = self.revisions().join(set.name());
        if folder.is_dir() {
            // Named by content, and renamed only when it was whole.
            return Ok(folder);
        }
        let aside = self.revisions().join(format!("{}.new", set.name()));
        let _ = fs::remove_dir_all(&aside);
        let written = write(set, &aside).and_then(|()| fs::rename(&aside, &folder));
        if written.is_err() {
            let _ = fs::remove_dir_all(&aside);
        }
        written.map(|()| folder)
    }

    /// What `current` points at.
    pub(super) fn current(&self) -> Option<PathBuf> {
        fs::read_link(self.link()).ok().map(|target| self.run.join(target))
    }

    /// Points `current` at a folder that was placed, in one step.
    pub(super) fn point(&self, folder: &Path) -> io::Result<()> {
        let target = folder.strip_prefix(&self.run).unwrap_or(folder);
        let aside = self.run.join("current.new");
        let _ = fs::remove_file(&aside);
        symlink(target, &aside)?;
        fs::rename(&aside, self.link())
    }

    /// Removes all configurations but the current one.
    pub(super) fn tidy(&self) {
        let current = self.current();
        for entry in fs::read_dir(self.revisions()).into_iter().flatten().flatten() {
            if current.as_ref() != Some(&entry.path()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

fn write(set: &FileSet, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let main = set.files.first().map(|file| Path::new(&file.path)).unwrap_or(Path::new("/"));
    let root = main.parent().unwrap_or(main);
    for file in set.files.iter() {
        let path = Path::new(&file.path);
        let below = if path == main { Path::new(MAIN) } else { path.strip_prefix(root).map_err(io::Error::other)? };
        let path = folder.join(below);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(path, &*file.content)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{self, File};

    fn set(content: &str) -> FileSet {
        let file = |path: &str| File { path: path.into(), part: String::new(), content: content.into() };
        let files = vec![file("/etc/nginx/other.conf"), file("/etc/nginx/interlock.d/a.conf")];
        FileSet { revision: None, hash: kinds::hash(&files), files: files.into() }
    }

    #[test]
    fn the_layout_is_kept_and_swapped_at_once() {
        let run = tempfile::tempdir().unwrap();
        let folder = Folder::new(run.path());
        assert_eq!(folder.current(), None);
        let first = folder.place(&set("1")).unwrap();
        folder.point(&first).unwrap();
        let second = folder.place(&set("2")).unwrap();
        let read = |name: &str| fs::read_to_string(run.path().join("current").join(name)).unwrap();
        assert_eq!((read("nginx.conf"), read("interlock.d/a.conf")), ("1".into(), "1".into()));
        folder.point(&second).unwrap();
        assert_eq!((read("nginx.conf"), read("interlock.d/a.conf")), ("2".into(), "2".into()));
        folder.tidy();
        assert!(!first.exists() && second.exists());
        assert_eq!(folder.place(&set("1")).unwrap(), first);
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing() {
        let run = tempfile::tempdir().unwrap();
        let folder = Folder::new(run.path());
        let mut wrong = set("1");
        let mut files = wrong.files.to_vec();
        files[1].path = "/elsewhere/a.conf".into();
        wrong.files = files.into();
        folder.place(&wrong).unwrap_err();
        assert_eq!(fs::read_dir(run.path().join("revisions")).unwrap().count(), 0);
    }
}
