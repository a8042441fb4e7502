//! What is printed by a template of its own: lists that stand in the main file, or in files that it includes.

use std::cell::OnceCell;
use std::sync::Arc;

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
    texts: OnceCell<Vec<Arc<str>>>,
    /// What stands in its place in what a template prints.
    mark: Option<&'static str>,
}

/// What marks begin and end with. NGINX takes no such character, and no value has one.
const MARK: char = '\u{1}';

/// Puts the texts of lists in the place of their marks. None is left, and none stood there twice.
///
/// # Errors
///
/// When that is not so.
pub(super) fn splice(frame: &str, lists: &[(&'static str, &[Arc<str>])]) -> Result<String, RenderError> {
    let wrong = || RenderError::Structure("a list is missing in what the template makes".to_owned());
    let size: usize = lists.iter().flat_map(|(_, texts)| *texts).map(|text| text.len()).sum();
    let mut spliced = String::with_capacity(frame.len() + size);
    let mut left: Vec<_> = lists.iter().filter(|(_, texts)| !texts.is_empty()).collect();
    for (place, part) in frame.split(MARK).enumerate() {
        if place % 2 == 0 {
            spliced.push_str(part);
            continue;
        }
        let list = left.iter().position(|(mark, _)| *mark == part).ok_or_else(wrong)?;
        let (_, texts) = left.remove(list);
        texts.iter().for_each(|text| spliced.push_str(text));
        // The line that it stands in ends by itself.
        if spliced.ends_with('\n') {
            spliced.pop();
        }
    }
    if left.is_empty() { Ok(spliced) } else { Err(wrong()) }
}

impl<T: Printed> Section<T> {
    pub(super) fn of(items: Vec<T>) -> Self {
        Self { items, includes: Vec::new(), texts: OnceCell::new(), mark: None }
    }

    /// Of items that are printed already. A mark stands in their place until they are spliced in.
    pub(super) fn of_texts(mark: &'static str, texts: Vec<Arc<str>>) -> Self {
        Self { items: Vec::new(), includes: Vec::new(), texts: OnceCell::from(texts), mark: Some(mark) }
    }

    /// What is to be spliced in.
    pub(super) fn list(&self) -> Option<(&'static str, &[Arc<str>])> {
        Some((self.mark?, self.texts.get()?))
    }

    pub(super) fn items(&self) -> &[T] {
        &self.items
    }

    fn texts(&self) -> Result<&[Arc<str>], RenderError> {
        if let Some(texts) = self.texts.get() {
            return Ok(texts);
        }
        let print = |item: &T| Ok(print(item.template(), item)?.into());
        let texts = self.items.iter().map(print).collect::<Result<_, RenderError>>()?;
        Ok(self.texts.get_or_init(|| texts))
    }

    /// How many bytes the list has.
    pub(super) fn size(&self) -> Result<usize, RenderError> {
        Ok(self.texts()?.iter().map(|text| text.len()).sum())
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
                None => files.push(text.to_string()),
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
        let texts = self.texts().map_err(S::Error::custom)?;
        if let Some(mark) = self.mark.filter(|_| !texts.is_empty()) {
            return serializer.serialize_str(&format!("{MARK}{mark}{MARK}"));
        }
        text.extend(texts.iter().map(|text| &**text));
        // The line that it stands in ends by itself.
        serializer.serialize_str(text.strip_suffix('\n').unwrap_or(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_list_stands_where_its_mark_was_and_nowhere_else() {
        let texts: Vec<Arc<str>> = vec!["x;\n".into(), "y;\n".into()];
        let frame = "a {\n\u{1}one\u{1}\n}\n";
        assert_eq!(splice(frame, &[("one", &texts), ("two", &[])]).as_deref(), Ok("a {\nx;\ny;\n}\n"));
        let twice = frame.repeat(2);
        for (frame, lists) in [
            (frame, vec![]),
            (frame, vec![("one", &texts[..]), ("two", &texts[..])]),
            (frame, vec![("two", &texts[..])]),
            (&*twice, vec![("one", &texts[..])]),
        ] {
            assert!(matches!(splice(frame, &lists), Err(RenderError::Structure(_))), "{lists:?}");
        }
    }
}
