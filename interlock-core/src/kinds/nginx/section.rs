//! What is printed by a template of its own: lists that stand in the main file, or in files that it includes.

use std::cell::OnceCell;

use serde::ser::Error as _;
use serde::{Serialize, Serializer};

use super::print;
use crate::kinds::RenderError;

/// What a template of its own prints.
pub(super) trait Printed: Serialize {
    /// The name of the template.
    fn template(&self) -> &'static str;

    /// The template that includes a file, as deep as the lists of these are.
    const INCLUDE: &'static str;
}

/// A list that stands in the file, or in files that it includes.
///
/// For a template that it is given to, it is its text, printed item by item: what handlebars prints, it copies as a whole, and so it is better
/// for that to be small. A partial would copy the item's values as well.
pub(super) struct Section<T> {
    items: Vec<T>,
    includes: Vec<String>,
    /// One of each item. Printed once, as it is long.
    texts: OnceCell<Vec<String>>,
}

impl<T: Printed> Section<T> {
    pub(super) fn of(items: Vec<T>) -> Self {
        Self { items, includes: Vec::new(), texts: OnceCell::new() }
    }

    /// Of items that are printed already.
    pub(super) fn of_texts(texts: Vec<String>) -> Self {
        Self { items: Vec::new(), includes: Vec::new(), texts: OnceCell::from(texts) }
    }

    pub(super) fn items(&self) -> &[T] {
        &self.items
    }

    fn texts(&self) -> Result<&[String], RenderError> {
        if let Some(texts) = self.texts.get() {
            return Ok(texts);
        }
        let texts = self.items.iter().map(|item| print(item.template(), item)).collect::<Result<_, _>>()?;
        Ok(self.texts.get_or_init(|| texts))
    }

    /// How many bytes the list has.
    pub(super) fn size(&self) -> Result<usize, RenderError> {
        Ok(self.texts()?.iter().map(String::len).sum())
    }

    /// Takes the list out, for files of at most `most` bytes each, unless an item is larger. Includes of the files take its place: for each
    /// the path that `include` has for its number, from 1.
    pub(super) fn move_out(
        &mut self,
        most: usize,
        include: impl Fn(usize) -> String,
    ) -> Result<Vec<String>, RenderError> {
        self.texts()?;
        let mut files: Vec<String> = Vec::new();
        for text in self.texts.take().unwrap_or_default() {
            match files.last_mut().filter(|file| file.len() + text.len() <= most) {
                Some(file) => file.push_str(&text),
                None => files.push(text),
            }
        }
        let includes = (1..=files.len()).map(include).collect();
        *self = Self { includes, ..Self::of(Vec::new()) };
        Ok(files)
    }
}

impl<T: Printed> Serialize for Section<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::new();
        for include in &self.includes {
            text += &print(T::INCLUDE, include).map_err(S::Error::custom)?;
        }
        text.extend(self.texts().map_err(S::Error::custom)?.iter().map(String::as_str));
        // The line that it stands in ends by itself.
        serializer.serialize_str(text.strip_suffix('\n').unwrap_or(&text))
    }
}
