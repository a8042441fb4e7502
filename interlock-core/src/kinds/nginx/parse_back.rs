//! Reading a rendered nginx configuration again, to see that no value in it changed its structure.
//!
//! The types of [`crate::units`] cannot hold what would; this is the second lock on the same door. A file is compared with one
//! rendered from the same config with every name in it replaced by a harmless one: directive names, nesting and argument counts
//! must be equal. The reader splits text into directives exactly as nginx's own `ngx_conf_read_token` does and knows nothing
//! of what they mean; the parsers that exist as crates know a fixed set of directives, and stop at others.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::File;

/// A directive of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive<'a> {
    /// Its name and arguments, quotes removed.
    pub words: Vec<Cow<'a, str>>,
    /// What stands in its braces, if it has some.
    pub block: Option<Vec<Directive<'a>>>,
}

impl Directive<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        self.words.first().map_or("", |name| name)
    }
}

/// Reads the files of a rendering, each `include` of one of them replaced by its content. As nginx does, a path without a slash in
/// front is taken relative to the main file's folder.
///
/// # Errors
///
/// When a file cannot be split into directives, two have one path, or one is included nowhere.
pub fn parse(files: &[File]) -> Result<Vec<Directive<'_>>, String> {
    let Some(main) = files.first() else { return Err("there is no file".to_owned()) };
    let folder = main.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parsed = BTreeMap::new();
    for File { path, content, .. } in &files[1..] {
        let below = path.strip_prefix(folder).and_then(|path| path.strip_prefix('/')).unwrap_or(path);
        if parsed.insert(below, parse_text(content)?).is_some() {
            return Err(format!("two files have the path {}", crate::problem::shown(path)));
        }
    }
    let inlined = inline(parse_text(&main.content)?, folder, &mut parsed);
    match parsed.keys().next() {
        Some(unused) => Err(format!("{} is included nowhere", crate::problem::shown(unused))),
        None => Ok(inlined),
    }
}

/// Puts each file in the place of its `include`. A second one of the same file stays, as no rendering has that.
fn inline<'a>(
    directives: Vec<Directive<'a>>,
    folder: &str,
    files: &mut BTreeMap<&str, Vec<Directive<'a>>>,
) -> Vec<Directive<'a>> {
    let mut inlined = Vec::with_capacity(directives.len());
    for mut directive in directives {
        let included = match directive.words.as_slice() {
            [name, path] if name == "include" => {
                files.remove(path.strip_prefix(folder).and_then(|path| path.strip_prefix('/')).unwrap_or(path))
            }
            _ => None,
        };
        match included {
            Some(included) => inlined.extend(included),
            None => {
                directive.block = directive.block.map(|block| inline(block, folder, files));
                inlined.push(directive);
            }
        }
    }
    inlined
}

/// What a file is made of.
pub(super) enum Token<'a> {
    Word(Cow<'a, str>),
    Open,
    Close,
    End,
}

/// How deep blocks may be in each other. NGINX has no more than five levels; what goes through all of them calls itself for each.
const DEEPEST: usize = 32;

/// Reads the text of one file.
pub fn parse_text(mut text: &str) -> Result<Vec<Directive<'_>>, String> {
    let mut open: Vec<(Vec<Cow<'_, str>>, Vec<Directive<'_>>)> = Vec::new();
    let mut here = Vec::new();
    let mut words = Vec::new();
    while let Some((_, token)) = token(&mut text)? {
        match token {
            Token::Word(word) => words.push(word),
            Token::End if words.is_empty() => return Err("unexpected `;`".to_owned()),
            Token::End => here.push(Directive { words: std::mem::take(&mut words), block: None }),
            Token::Open if words.is_empty() => return Err("unexpected `{`".to_owned()),
            Token::Open if open.len() == DEEPEST => return Err(format!("blocks are more than {DEEPEST} deep")),
            Token::Open => open.push((std::mem::take(&mut words), std::mem::take(&mut here))),
            Token::Close if !words.is_empty() => return Err(format!("`}}` after {}", words.join(" "))),
            Token::Close => {
                let Some((words, outer)) = open.pop() else { return Err("unexpected `}`".to_owned()) };
                let block = std::mem::replace(&mut here, outer);
                here.push(Directive { words, block: Some(block) });
            }
        }
    }
    if words.is_empty() && open.is_empty() { Ok(here) } else { Err("the file ends inside a directive".to_owned()) }
}

/// Takes the next token off the text, with its length there.
pub(super) fn token<'a>(text: &mut &'a str) -> Result<Option<(usize, Token<'a>)>, String> {
    loop {
        *text = text.trim_start_matches(is_blank);
        let Some(first) = text.bytes().next() else { return Ok(None) };
        let (length, token) = match first {
            b'#' => {
                *text = text.find('\n').map_or("", |end| &text[end..]);
                continue;
            }
            b';' => (1, Token::End),
            b'{' => (1, Token::Open),
            b'}' => (1, Token::Close),
            b'"' | b'\'' => {
                let length = quoted_length(text)?;
                (length, Token::Word(unescaped(&text[1..length - 1])))
            }
            _ => {
                let length = word_length(text);
                (length, Token::Word(unescaped(&text[..length])))
            }
        };
        *text = &text[length..];
        return Ok(Some((length, token)));
    }
}

/// How long the string at the beginning of the text is, with its quotes.
fn quoted_length(text: &str) -> Result<usize, String> {
    let mut chars = text.char_indices();
    let quote = chars.next().map(|(_, quote)| quote);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => _ = chars.next(),
            end if Some(end) == quote => {
                let next = text[at + 1..].chars().next();
                if next.is_some_and(|next| !is_blank(next) && !matches!(next, ';' | '{' | ')')) {
                    return Err("text follows a string without a blank".to_owned());
                }
                return Ok(at + 1);
            }
            _ => {}
        }
    }
    Err("the file ends inside a string".to_owned())
}

/// What a word stands for. In front of other characters than these nginx keeps the backslash.
fn unescaped(word: &str) -> Cow<'_, str> {
    if !word.contains('\\') {
        return word.into();
    }
    let mut unescaped = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find('\\') {
        unescaped.push_str(&rest[..at]);
        let meant = match rest[at + 1..].chars().next() {
            Some(quote @ ('"' | '\'' | '\\')) => Some(quote),
            Some('t') => Some('\t'),
            Some('r') => Some('\r'),
            Some('n') => Some('\n'),
            _ => None,
        };
        unescaped.push(meant.unwrap_or('\\'));
        rest = &rest[at + if meant.is_some() { 2 } else { 1 }..];
    }
    unescaped.push_str(rest);
    unescaped.into()
}

/// What nginx takes for a blank between words. A form feed is none.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// How long the word at the beginning of the text is.
///
/// A `$` keeps nginx from taking the next `{` for the beginning of a block, and so does that brace for the next one: `${{{` is one word.
fn word_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut in_variable) = (0, false);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' if in_variable => at += 1,
            b';' | b'{' => break,
            byte if is_blank(char::from(*byte)) => break,
            // What is escaped belongs to the word whatever it is.
            b'\\' => {
                in_variable = false;
                at += 2;
            }
            byte => {
                in_variable = *byte == b'$';
                at += 1;
            }
        }
    }
    at.min(bytes.len())
}

/// The first place where the structures of two files differ, or nothing.
pub fn difference(one: &[Directive<'_>], other: &[Directive<'_>], place: &str) -> Option<String> {
    if one.len() != other.len() {
        return Some(format!("{} directives instead of {} in {place}", one.len(), other.len()));
    }
    one.iter().zip(other).find_map(|(a, b)| {
        // In a map of hosts each entry begins with the host, so there the names differ.
        let same_name = a.name() == b.name() || (place.starts_with("map") && is_entry(a) && is_entry(b));
        if !same_name || a.words.len() != b.words.len() || a.block.is_some() != b.block.is_some() {
            return Some(format!("`{}` in {place}", crate::problem::shown(&a.words.join(" "))));
        }
        difference(a.block.as_deref()?, b.block.as_deref()?, a.name())
    })
}

/// Whether a directive inside a map is an entry, not a word that means something to the map itself.
fn is_entry(directive: &Directive<'_>) -> bool {
    !matches!(directive.name(), "default" | "hostnames" | "include" | "volatile")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<String>> {
        parse_text(text)
            .unwrap()
            .iter()
            .map(|directive| directive.words.iter().map(ToString::to_string).collect())
            .collect()
    }

    #[test]
    fn directives_are_split_as_nginx_does() {
        assert_eq!(words("a b 'c d' \"e\\\"f\"; # g;\nh;"), [vec!["a", "b", "c d", "e\"f"], vec!["h"]]);
        assert_eq!(words("return 301 /x/${is_args}y;"), [vec!["return", "301", "/x/${is_args}y"]]);
        assert_eq!(words(r#"a b\ c\;d "\e\n" 'f\\"';"#), [vec!["a", r"b\ c\;d", "\\e\n", "f\\\""]]);
        assert_eq!(words("a b\u{c}c;"), [vec!["a", "b\u{c}c"]]);
        assert_eq!(words("a ${{{b $c$ ${{\"d;"), [vec!["a", "${{{b", "$c$", "${{\"d"]]);
        for broken in ["a", "a;}", "a {", "; a;", "{}", "a 'b", "a 'b'c;", "a b }"] {
            assert!(parse_text(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn blocks_without_end_are_refused() {
        let deep = |levels: usize| format!("{}{}", "a{".repeat(levels), "}".repeat(levels));
        assert!(parse_text(&deep(32)).is_ok());
        assert!(parse_text(&deep(33)).is_err());
        // An extension may post this; reading it must not end core.
        assert!(parse_text(&deep(1_000_000)).is_err());
    }

    #[test]
    fn a_difference_is_found_wherever_it_is() {
        let parse = |text: &'static str| parse_text(text).unwrap();
        let good = parse("http { map $host $u { hostnames; a.b c; } server { server_name a.b; } }");
        for changed in [
            "http { map $host $u { hostnames; a.b c; } server { server_name a.b; return 200 x; } }",
            "http { map $host $u { hostnames; a.b c; } server { server_name a.b c; } }",
            "http { map $host $u { hostnames; a.b c d; } server { server_name a.b; } }",
            "http { map $host $u { hostnames; default c; } server { server_name a.b; } }",
            "http { map $host $u { hostnames; a.b c; } server { location / { } } }",
        ] {
            assert!(difference(&parse(changed), &good, "the file").is_some(), "{changed}");
        }
        let other = parse("http { map $host $u { hostnames; x.y z; } server { server_name x.y; } }");
        assert_eq!(difference(&other, &good, "the file"), None);
    }
}
