//! Changing single directives of an nginx configuration, every other byte and the line numbers kept.

use std::borrow::Cow;

use super::parse_back::{Token, token};

/// A directive, where it stands.
#[derive(Debug)]
pub struct Place<'d, 'a> {
    /// The names of the blocks around it, the outermost first.
    pub blocks: &'d [String],
    /// Its name and arguments, quotes removed.
    pub words: &'d [Cow<'a, str>],
    /// The same as it stands, up to its semicolon or opening brace.
    pub text: &'a str,
    /// Whether braces follow.
    pub opens: bool,
}

/// Puts the text that `replace` returns in the place of a directive: from its name to its semicolon or opening brace, these
/// included.
///
/// # Errors
///
/// When the text is not made of directives.
pub fn rewrite<'a>(text: &'a str, mut replace: impl FnMut(&Place<'_, 'a>) -> Option<String>) -> Result<String, String> {
    let mut rewritten = String::with_capacity(text.len());
    let (mut copied, mut start) = (0, 0);
    let (mut blocks, mut words) = (Vec::new(), Vec::new());
    let mut rest = text;
    while let Some((length, token)) = token(&mut rest)? {
        let end = text.len() - rest.len();
        let opens = match token {
            Token::Word(word) => {
                if words.is_empty() {
                    start = end - length;
                }
                words.push(word);
                continue;
            }
            Token::Close => {
                blocks.pop().ok_or("unexpected `}`")?;
                continue;
            }
            Token::Open => true,
            Token::End => false,
        };
        let name = words.first().ok_or("a directive without a name")?.to_string();
        let place = Place { blocks: &blocks, words: &words, text: &text[start..end - length], opens };
        if let Some(replacement) = replace(&place) {
            rewritten.push_str(&text[copied..start]);
            rewritten.push_str(&replacement);
            let lines = |text: &str| text.matches('\n').count();
            let lost = lines(&text[start..end]).saturating_sub(lines(&replacement));
            rewritten.extend(std::iter::repeat_n('\n', lost));
            copied = end;
        }
        if opens {
            blocks.push(name);
        }
        words.clear();
    }
    rewritten.push_str(&text[copied..]);
    Ok(rewritten)
}

/// A word as it can stand in a file, whatever is in it.
pub fn quoted(word: &str) -> String {
    let mut quoted = String::with_capacity(word.len() + 2);
    quoted.push('"');
    for c in word.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::super::parse_back::parse_text;
    use super::*;

    #[test]
    fn only_what_is_replaced_changes() {
        let text = "# listen 1;\na 'b;';\nhttp {\n  server { listen\n 80; x y; } # end\n}\n";
        assert_eq!(rewrite(text, |_| None).unwrap(), text);
        let replaced = rewrite(text, |place| {
            assert_eq!(place.opens, ["http", "server"].contains(&&*place.words[0]));
            (place.words[0] == "listen" && place.blocks == ["http", "server"]).then(|| "listen x;".to_owned())
        });
        assert_eq!(replaced.unwrap(), "# listen 1;\na 'b;';\nhttp {\n  server { listen x;\n x y; } # end\n}\n");
        assert!(rewrite("a; }", |_| None).is_err());
        assert!(rewrite("; a;", |_| None).is_err());
    }

    #[test]
    fn a_quoted_word_is_read_as_it_was() {
        for word in ["", "a", "a b", "\"", "'", "\\", "\\n", "a\nb", "${x}", "a;b{c}#"] {
            let text = format!("x {};", quoted(word));
            assert_eq!(parse_text(&text).unwrap()[0].words[1], word);
        }
    }
}
