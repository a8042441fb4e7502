//! A copy of a rendering that can be checked without rights and without traces.
//!
//! What a check would do outside of its folder is changed: listeners become Unix sockets, files that would be written go into the
//! folder, logs to standard error or nowhere, secrets are stood in for. Everything else stays, line numbers included.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::Checker;
use crate::kinds::File;
use crate::kinds::nginx::rewrite::{Place, quoted, rewrite};

/// Blocks in which a word at the beginning is a value, not a directive.
const DATA: &[&str] = &["map", "geo", "types", "split_clients", "charset_map"];

/// Where Docker mounts secrets.
const SECRETS: &str = "/run/secrets/";

/// The path of a socket has at most 107 bytes.
const LONGEST_FOLDER: usize = 90;

/// The copy. It goes with the value.
#[derive(Debug)]
pub(super) struct Copy {
    folder: tempfile::TempDir,
    main: PathBuf,
    globals: String,
    /// The folder of the main file, where it will be.
    target: String,
    /// Listeners by the address that they had.
    sockets: BTreeMap<String, usize>,
}

impl Copy {
    /// # Errors
    ///
    /// When it cannot be written, or when the files are not made of directives.
    pub(super) fn of(checker: &Checker, files: &[File]) -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("interlock").tempdir().map_err(|error| error.to_string())?;
        let path = folder.path().to_str().ok_or("the folder for temporary files has no name in UTF-8")?.to_owned();
        if path.len() > LONGEST_FOLDER {
            return Err(format!("{path} is too long a path for sockets"));
        }
        let main = files.first().ok_or("there is no file")?;
        let target = main.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut mapping = Mapping { checker, files, folder: &path, target, sockets: BTreeMap::new(), streams: false };
        let written = files.iter().map(|file| mapping.write(file).map_err(|error| format!("{}: {error}", file.path)));
        written.collect::<Result<(), _>>()?;
        let stand_ins = [("certificate.pem", &checker.certificate), ("key.pem", &checker.key)];
        stand_ins
            .iter()
            .try_for_each(|(name, content)| std::fs::write(folder.path().join(name), content))
            .map_err(|error| error.to_string())?;
        let mut globals = format!("pid {};", quoted(&format!("{path}/pid")));
        if rustix::process::geteuid().is_root() {
            // Root without capabilities, as in core's container, could not give folders to another user.
            globals += " user root;";
        }
        if let Some(module) = checker.stream_module.as_ref().filter(|_| mapping.streams) {
            globals += &format!(" load_module {};", quoted(&module.display().to_string()));
        }
        let (main, target) = (mapping.place(&main.path).into(), target.to_owned());
        let sockets = mapping.sockets;
        Ok(Self { folder, main, globals, target, sockets })
    }

    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The file to start with.
    pub(super) fn main(&self) -> &Path {
        &self.main
    }

    /// Directives for the command line.
    pub(super) fn globals(&self) -> &str {
        &self.globals
    }

    /// A text with paths and addresses of the copy put back to what stands in the files.
    pub(super) fn put_back(&self, text: &str) -> String {
        let folder = self.folder.path().to_string_lossy();
        let mut text = text.replace(&format!("{folder}/files/"), &format!("{}/", self.target));
        for (address, number) in &self.sockets {
            text = text.replace(&format!("unix:{folder}/{number}.sock"), address);
        }
        text.replace(&*folder, "")
    }
}

struct Mapping<'c> {
    checker: &'c Checker,
    files: &'c [File],
    folder: &'c str,
    target: &'c str,
    sockets: BTreeMap<String, usize>,
    /// Whether something needs the module for `stream`.
    streams: bool,
}

impl Mapping<'_> {
    fn place(&self, path: &str) -> String {
        format!("{}/files/{}", self.folder, self.below(path).unwrap_or(path))
    }

    /// The path inside the main file's folder.
    fn below<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(self.target)?.strip_prefix('/')
    }

    fn write(&mut self, file: &File) -> io::Result<()> {
        let place = PathBuf::from(self.place(&file.path));
        let text = rewrite(&file.content, |place| self.replacement(place)).map_err(io::Error::other)?;
        std::fs::create_dir_all(place.parent().unwrap_or(&place))?;
        std::fs::write(place, text)
    }

    /// What stands in the copy instead of a directive, if that differs.
    fn replacement(&mut self, Place { blocks, words, opens, text: _ }: &Place<'_, '_>) -> Option<String> {
        if blocks.last().is_some_and(|block| DATA.contains(&block.as_str())) {
            return None;
        }
        let words: Vec<_> = words.iter().map(|word| &**word).collect();
        match words[..] {
            ["http"] if *opens => Some(self.http()),
            ["stream"] if *opens => {
                self.streams = true;
                None
            }
            // The proxies' image has users of its own.
            ["user" | "pid", ..] if blocks.is_empty() => Some(String::new()),
            ["listen", address, ref options @ ..] => Some(self.listen(address, options)),
            ["error_log", _, ref level @ ..] => Some(directive("error_log", "stderr", level)),
            ["access_log", path, ref rest @ ..] if path != "off" => Some(directive("access_log", "/dev/null", rest)),
            ["include", path] => self.include(path),
            [name, ..] if name.ends_with("_temp_path") => Some(String::new()),
            [name, path, ref rest @ ..] if name.ends_with("_cache_path") => {
                let path = format!("{}/cache{}", self.folder, path.replace('/', "_"));
                Some(directive(name, &path, rest))
            }
            [name, path] if path.starts_with(SECRETS) => Some(self.secret(name)),
            _ => None,
        }
    }

    fn http(&self) -> String {
        let folders = self.checker.temp_paths.iter();
        let folders = folders.map(|kind| {
            format!(" {}", directive(&format!("{kind}_temp_path"), &format!("{}/{kind}", self.folder), &[]))
        });
        // Without any, nginx opens the one that it was built with.
        format!("http {{ {}{}", directive("access_log", "/dev/null", &[]), folders.collect::<String>())
    }

    /// One address is one socket, so that two default servers of one are still refused.
    fn listen(&mut self, address: &str, options: &[&str]) -> String {
        let next = self.sockets.len();
        let address = address.strip_prefix("0.0.0.0:").or_else(|| address.strip_prefix("*:")).unwrap_or(address);
        let number = *self.sockets.entry(address.to_owned()).or_insert(next);
        let socket = format!("unix:{}/{number}.sock", self.folder);
        let kept: Vec<_> =
            options.iter().copied().filter(|word| ["default_server", "ssl", "proxy_protocol"].contains(word)).collect();
        directive("listen", &socket, &kept)
    }

    /// Files of the rendering are in the copy; others are where the proxy would look for them.
    fn include(&self, path: &str) -> Option<String> {
        let of_ours = |path: &str| self.files.iter().any(|file| self.below(&file.path) == Some(path));
        match self.below(path) {
            Some(below) if of_ours(below) => Some(directive("include", below, &[])),
            None if !path.starts_with('/') && !of_ours(path) => {
                Some(directive("include", &format!("{}/{path}", self.target), &[]))
            }
            _ => None,
        }
    }

    fn secret(&self, name: &str) -> String {
        let stand_in = |file: &str| directive(name, &format!("{}/{file}", self.folder), &[]);
        if name.ends_with("certificate_key") {
            stand_in("key.pem")
        } else if name.ends_with("certificate") {
            stand_in("certificate.pem")
        } else {
            // Nothing that could stand in for it; without it the rest can be checked.
            String::new()
        }
    }
}

fn directive(name: &str, first: &str, rest: &[&str]) -> String {
    let rest: String = rest.iter().map(|word| format!(" {}", quoted(word))).collect();
    format!("{name} {}{rest};", quoted(first))
}
