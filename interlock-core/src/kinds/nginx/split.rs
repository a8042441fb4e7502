//! A configuration that is too large for one config object: long lists move into files that the main file includes.
//!
//! The files' names are fixed (`interlock.d/upstreams-01.conf`), so that a change of one list leaves the other files alone. They are
//! included by a path relative to the main file's folder, so that the files work in any folder that an agent puts them into.
//!
//! A file is filled until the next item would be too much. So as long as no item is larger than a quarter of a file, each but the last of a
//! list is full to three quarters: [`CAPACITY`] goes by that.

use super::section::{Printed, Section, splice};
use super::view::View;
use super::{MAIN, print};
use crate::kinds::{File, MOST_FILES, RenderError};

/// How many lists there are.
const LISTS: usize = 11;

/// How many files the lists are sure to fill to three quarters, whatever their items are: all but the main one and the last of each list.
pub(crate) const CAPACITY: usize = MOST_FILES - 1 - LISTS;

/// A list so short that the main file keeps it: all of them leave it a quarter for what is in no list.
const fn short(limit: usize) -> usize {
    limit / 16
}

/// Renders into files of at most `limit` bytes each. `size` is that of the file that was too large.
pub(super) fn render(mut view: View<'_>, path: &str, size: usize, limit: usize) -> Result<Vec<File>, RenderError> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut lists = Lists { folder, limit, files: Vec::new() };
    lists.move_out("blocks", &mut view.maps)?;
    lists.move_out("upstreams", &mut view.upstreams)?;
    lists.move_out("default", &mut view.default_locations)?;
    lists.move_out("servers", &mut view.servers)?;
    if let Some(unavailable) = &mut view.unavailable {
        lists.move_out("unavailable", &mut unavailable.names)?;
    }
    if let Some(plain) = &mut view.plain {
        lists.move_out("hosts", &mut plain.map)?;
        lists.move_out("names", &mut plain.names)?;
    }
    if let Some(tls) = &mut view.tls {
        lists.move_out("tls", &mut tls.servers)?;
    }
    if let Some(by_name) = view.stream.as_mut().and_then(|stream| stream.by_name.as_mut()) {
        lists.move_out("sockets", &mut by_name.sockets)?;
        lists.move_out("passed", &mut by_name.hosts)?;
        lists.move_out("streams", &mut by_name.upstreams)?;
    }
    let mut files = vec![File {
        path: path.to_owned(),
        part: String::new(),
        content: splice(&print(MAIN, &view)?, &view.lists())?.into(),
    }];
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
    fn move_out<T: Printed>(&mut self, name: &str, section: &mut Section<T>) -> Result<(), RenderError> {
        if section.size()? <= short(self.limit) {
            return Ok(());
        }
        let part = |number| format!("{name}-{number:02}");
        let include = |number| format!("interlock.d/{}.conf", part(number));
        for (number, content) in (1..).zip(section.move_out(self.limit, include)?) {
            let path = format!("{}/{}", self.folder, include(number));
            self.files.push(File { path, part: part(number), content: content.into() });
        }
        Ok(())
    }
}
