//! What a proxy's checker said, fit to be sent to core.
//!
//! nginx quotes what it stumbles over, and what it stumbles over may be the content of a file that was included by mistake, a key
//! among them. What it quotes is kept only where it comes from the revision's own files, which core knows, or is a plain path.

use std::path::Path;

/// How many messages are passed on.
const MOST: usize = 5;
/// How many characters of a message are passed on.
const LONGEST: usize = 300;
/// How many characters of a quote are passed on.
const LONGEST_QUOTE: usize = 100;

/// The messages in `said`, without what they quote from files other than those in `folder`. The folder itself is left out too, so
/// that paths are relative to it. Never empty.
pub(super) fn filtered(said: &str, folder: &Path) -> String {
    let mut messages: Vec<_> = said.lines().filter_map(message).collect();
    // What made it give up; the rest is about logs that an unprivileged user cannot open, and the like.
    if messages.iter().any(|(level, _)| *level == "emerg") {
        messages.retain(|(level, _)| *level == "emerg");
    }
    // An image may send the log to standard error as well: then each message stands there twice.
    let mut lines: Vec<_> = messages.into_iter().map(|(_, text)| line(text, folder)).collect();
    lines.dedup();
    lines.truncate(MOST);
    if lines.is_empty() { "the checker gave no reason".to_owned() } else { lines.join("; ") }
}

/// The level and the text of a message: `nginx: [emerg] text`, or as the log has it, `2026/01/31 12:00:00 [emerg] 7#7: text`. All other
/// lines belong to a quote or to nobody.
pub(super) fn message(line: &str) -> Option<(&str, &str)> {
    let (head, rest) = line.split_once('[')?;
    let (level, text) = rest.split_once("] ")?;
    if head == "nginx: " {
        return Some((level, text));
    }
    let is_time = |b: u8| b.is_ascii_digit() || matches!(b, b'/' | b':' | b' ');
    let (process, text) = text.split_once(": ")?;
    let is_process = process.bytes().all(|b| b.is_ascii_digit() || b == b'#');
    (head.len() == "2026/01/31 12:00:00 ".len() && head.bytes().all(is_time) && is_process).then_some((level, text))
}

fn line(text: &str, folder: &Path) -> String {
    let (text, place) = match text.rsplit_once(" in ").filter(|(_, place)| is_place(place)) {
        Some((text, place)) => (text, Some(place)),
        None => (text, None),
    };
    let inside = |place: &str| {
        let rest = Path::new(place).strip_prefix(folder).ok()?;
        rest.to_str().map(str::to_owned)
    };
    let own = place.and_then(inside);
    let text = unquoted(text, |quote| is_path(quote) || own.is_some() && is_harmless(quote));
    let text = text.replace(&format!("{}/", folder.display()), "");
    let text = match (own, place) {
        (Some(place), _) => format!("{place}: {text}"),
        (None, Some(place)) => format!("{place}: {text}"),
        (None, None) => text,
    };
    let shown = text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] });
    shown.take(LONGEST).collect()
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

/// The text with an ellipsis in place of what is quoted, unless that may be `kept`. As a quote may hold quotes, all from the first to
/// the last counts as one.
fn unquoted(text: &str, kept: impl Fn(&str) -> bool) -> String {
    let Some((head, rest)) = text.split_once('"') else { return text.to_owned() };
    // Without an end the quote goes on in the next line.
    let (quote, tail) = rest.rsplit_once('"').unwrap_or((rest, ""));
    if kept(quote) { text.to_owned() } else { format!("{head}\"…\"{tail}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: &str = "/run/interlock/revisions/0123456789abcdef-01234567";

    #[track_caller]
    fn check(said: &str, expected: &str) {
        assert_eq!(filtered(&said.replace("FOLDER", FOLDER), Path::new(FOLDER)), expected);
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
        assert_eq!(filtered(&format!("nginx: [emerg] {}", "x".repeat(9999)), Path::new(FOLDER)).len(), LONGEST);
    }
}
