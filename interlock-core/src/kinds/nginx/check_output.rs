//! What nginx's checker said, fit to be sent to core.
//!
//! nginx quotes what it stumbles over, and what it stumbles over may be the content of a file that was included by mistake, a key
//! among them. A quote is passed on where it comes from the files of the rendering, which core knows, or is a plain path.

use std::path::Path;

use crate::kinds::File;

/// How many messages are passed on.
const MOST: usize = 5;
/// How many characters of a message are passed on.
const LONGEST: usize = 300;
/// How many characters of a quote are passed on.
const LONGEST_QUOTE: usize = 100;

/// The messages of a checker that read files in this folder, with their place first and relative to it. Never empty.
pub(crate) fn of_folder(output: &str, folder: &Path) -> String {
    joined(output, |text| {
        let (text, place) = match text.rsplit_once(" in ").filter(|(_, place)| is_place(place)) {
            Some((text, place)) => (text, Some(place)),
            None => (text, None),
        };
        let own = place.and_then(|place| Path::new(place).strip_prefix(folder).ok()?.to_str());
        let text = unquoted(text, |_| own.is_some());
        let text = text.replace(&format!("{}/", folder.display()), "");
        match own.or(place) {
            Some(place) => format!("{place}: {text}"),
            None => text,
        }
    })
}

/// The messages of a checker that read a copy of these files. `put_back` gives a message the paths that the files will have.
pub(crate) fn of_copy(output: &str, put_back: impl Fn(&str) -> String, files: &[File]) -> String {
    joined(output, |text| {
        let text = put_back(text);
        let place = text.rsplit_once(" in ").map(|(_, place)| place).filter(|place| is_place(place));
        let path = place.and_then(|place| place.rsplit_once(':')).map(|(path, _)| path);
        let is_own = path.is_some_and(|path| files.iter().any(|file| file.path == path));
        unquoted(&text, |quote| is_own || files.iter().any(|file| file.content.contains(quote)))
    })
}

/// Whether the machine or a limit had too little of something, which is no fault of the files. nginx says the system's error with its
/// number, the same on every Linux: no memory, no open files left, no space.
pub(crate) fn is_exhausted(output: &str) -> bool {
    ["(12: ", "(23: ", "(24: ", "(28: "].iter().any(|error| output.contains(&format!("failed {error}")))
}

fn joined(output: &str, told: impl Fn(&str) -> String) -> String {
    let mut messages: Vec<_> = output.lines().filter_map(message).collect();
    // What made it give up; the rest is about logs that an unprivileged user cannot open, and the like.
    if messages.iter().any(|(level, _)| *level == "emerg") {
        messages.retain(|(level, _)| *level == "emerg");
    }
    // An image may send the log to standard error as well: then each message stands there twice.
    let mut lines: Vec<_> = messages.into_iter().map(|(_, text)| cut(&told(text))).collect();
    lines.dedup();
    lines.truncate(MOST);
    if lines.is_empty() { "the checker gave no reason".to_owned() } else { lines.join("; ") }
}

/// The level and the text of a message: `nginx: [emerg] text`, or as the log has it, `2026/01/31 12:00:00 [emerg] 7#7: text`. All other
/// lines belong to a quote or to nobody.
pub(crate) fn message(line: &str) -> Option<(&str, &str)> {
    let (head, rest) = line.split_once('[')?;
    let (level, text) = rest.split_once("] ")?;
    let without_process = || {
        let (process, text) = text.split_once(": ")?;
        process.bytes().all(|b| b.is_ascii_digit() || b == b'#').then_some(text)
    };
    if head == "nginx: " {
        return Some((level, text));
    }
    let is_time = |b: u8| b.is_ascii_digit() || matches!(b, b'/' | b':' | b' ');
    let is_log = head.len() == "2026/01/31 12:00:00 ".len() && head.bytes().all(is_time);
    Some((level, without_process().filter(|_| is_log)?))
}

/// `/etc/nginx/nginx.conf:12`
fn is_place(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(path, line)| is_path(path) && line.bytes().all(|b| b.is_ascii_digit()))
}

fn is_path(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'-' | b'_' | b'*');
    text.starts_with('/') && text.len() <= 2 * LONGEST_QUOTE && text.bytes().all(plain)
}

/// A certificate or key may stand in a directive itself, as `data:`.
fn is_harmless(text: &str) -> bool {
    text.len() <= LONGEST_QUOTE && !text.contains("-----") && !text.contains("data:")
}

/// The text with an ellipsis in place of what is quoted, unless that is a path or `is_own` and harmless. As a quote may hold quotes, all from
/// the first to the last counts as one.
fn unquoted(text: &str, is_own: impl Fn(&str) -> bool) -> String {
    let Some((head, rest)) = text.split_once('"') else { return text.to_owned() };
    // Without an end the quote goes on in the next line.
    let (quote, tail) = rest.rsplit_once('"').unwrap_or((rest, ""));
    let kept = is_path(quote) || (is_harmless(quote) && is_own(quote));
    if kept { text.to_owned() } else { format!("{head}\"…\"{tail}") }
}

/// So much of a message, without control characters.
fn cut(text: &str) -> String {
    let plain = |c: char| c == '…' || c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric();
    let mut cut: String = text
        .chars()
        .flat_map(|c| if plain(c) { vec![c] } else { c.escape_default().collect() })
        .take(LONGEST + 1)
        .collect();
    if cut.chars().count() > LONGEST {
        cut = cut.chars().take(LONGEST - 1).chain(['…']).collect();
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: &str = "/run/interlock/revisions/0123456789abcdef-01234567";

    #[track_caller]
    fn check(said: &str, expected: &str) {
        assert_eq!(of_folder(&said.replace("FOLDER", FOLDER), Path::new(FOLDER)), expected);
    }

    #[test]
    fn a_wrong_directive_is_named_with_its_place() {
        check(
            "nginx: [emerg] unknown directive \"foo\" in FOLDER/nginx.conf:12\nnginx: configuration file FOLDER/nginx.conf test failed\n",
            "nginx.conf:12: unknown directive \"foo\"",
        );
        check(
            "nginx: [emerg] host not found in upstream \"shop:80\" in FOLDER/interlock.d/upstreams-01.conf:3",
            "interlock.d/upstreams-01.conf:3: host not found in upstream \"shop:80\"",
        );
        check(
            "nginx: [emerg] unexpected end of file, expecting \"}\" in FOLDER/nginx.conf:3",
            "nginx.conf:3: unexpected end of file, expecting \"}\"",
        );
    }

    #[test]
    fn what_is_quoted_from_other_files_is_left_out() {
        check(
            "nginx: [emerg] unknown directive \"MIIEvQIBADANBgkq\" in /run/secrets/key:2",
            "/run/secrets/key:2: unknown directive \"…\"",
        );
        check(
            "nginx: [emerg] unknown directive \"a\"b\" in /run/secrets/key:2",
            "/run/secrets/key:2: unknown directive \"…\"",
        );
        check("nginx: [emerg] unknown directive \"first\nsecond\" in /run/secrets/key:2", "unknown directive \"…\"");
        check("nginx: [emerg] unknown \"hunter2\" variable", "unknown \"…\" variable");
        check(
            "nginx: [emerg] cannot load certificate \"data:-----BEGIN\": PEM_read_bio_X509_AUX() failed in FOLDER/nginx.conf:7",
            "nginx.conf:7: cannot load certificate \"…\": PEM_read_bio_X509_AUX() failed",
        );
    }

    #[test]
    fn a_path_and_a_reason_are_kept() {
        check(
            "nginx: [emerg] cannot load certificate key \"/run/secrets/x\": PEM_read_bio_PrivateKey() failed (SSL: error:1E08010C:DECODER routines::unsupported)",
            "cannot load certificate key \"/run/secrets/x\": PEM_read_bio_PrivateKey() failed (SSL: error:1E08010C:DECODER routines::unsupported)",
        );
        check(
            "nginx: [emerg] open() \"FOLDER/mime.types\" failed (2: No such file or directory) in FOLDER/nginx.conf:2",
            "nginx.conf:2: open() \"mime.types\" failed (2: No such file or directory)",
        );
        check(
            "nginx: [emerg] bind() to 0.0.0.0:80 failed (13: Permission denied)",
            "bind() to 0.0.0.0:80 failed (13: Permission denied)",
        );
    }

    #[test]
    fn what_made_it_give_up_counts_most() {
        check("nginx: [alert] could not open\nnginx: [emerg] high\nnonsense", "high");
        check(
            "2026/01/31 12:00:00 [emerg] 7#7: high\nnginx: [emerg] high\nnginx: configuration file x test failed",
            "high",
        );
        check("nginx: [warn] low", "low");
        check("", "the checker gave no reason");
    }

    #[test]
    fn messages_are_few_short_and_on_one_line() {
        let many: String = (0..9).map(|n| format!("nginx: [emerg] x\u{1b}{n}\n")).collect();
        check(&many, "x\\u{1b}0; x\\u{1b}1; x\\u{1b}2; x\\u{1b}3; x\\u{1b}4");
        assert_eq!(
            of_folder(&format!("nginx: [emerg] {}", "x".repeat(9999)), Path::new(FOLDER)).chars().count(),
            LONGEST
        );
    }
}
