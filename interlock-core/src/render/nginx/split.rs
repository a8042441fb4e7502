//! A configuration that is too large for one config object: long lists move into files that the main file includes.
//!
//! The files' names are fixed (`interlock.d/upstreams-01.conf`), so that a change of one list leaves the other files alone. They are
//! included by a path relative to the main file's folder, so that the files work in any folder that an agent puts them into.

use serde::Serialize;

use super::view::{Section, View};
use super::{MAIN, print};
use crate::render::{File, MOST_FILES, RenderError};

/// Renders into files of at most `limit` bytes. `size` is that of the file that was too large.
pub(super) fn render(mut view: View<'_>, path: &str, size: usize, limit: usize) -> Result<Vec<File>, RenderError> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut lists = Lists { folder, limit, files: Vec::new() };
    lists.move_out("upstreams", &mut view.upstreams)?;
    lists.move_out("servers", &mut view.servers)?;
    if let Some(unavailable) = &mut view.unavailable {
        lists.move_out("unavailable", &mut unavailable.names)?;
    }
    if let Some(plain) = &mut view.plain {
        lists.move_out("hosts", &mut plain.map)?;
        lists.move_out("names", &mut plain.names)?;
    }
    let mut files = vec![File { path: path.to_owned(), part: String::new(), content: print(MAIN, &view)? }];
    files.extend(lists.files);
    if files.len() > MOST_FILES || files.iter().any(|file| file.content.len() > limit) {
        return Err(RenderError::TooLarge { size, limit: limit * MOST_FILES, parts: MOST_FILES });
    }
    Ok(files)
}

struct Lists<'a> {
    folder: &'a str,
    limit: usize,
    files: Vec<File>,
}

impl Lists<'_> {
    /// Moves a list into files, unless it is so short that the main file may keep it.
    fn move_out<T: Serialize>(&mut self, name: &str, section: &mut Section<T>) -> Result<(), RenderError> {
        let size = section.text()?.len();
        if size <= self.limit / 8 {
            return Ok(());
        }
        // Items differ in length: a quarter of each file stays free for that.
        let files = size.div_ceil((self.limit / 4 * 3).max(1));
        let parts: Vec<_> = (1..=files).map(|number| format!("{name}-{number:02}")).collect();
        let includes: Vec<_> = parts.iter().map(|part| format!("interlock.d/{part}.conf")).collect();
        for ((include, part), chunk) in includes.iter().zip(parts).zip(section.split(includes.clone())) {
            let path = format!("{}/{include}", self.folder);
            self.files.push(File { path, part, content: chunk.text()?.to_owned() });
        }
        Ok(())
    }
}
