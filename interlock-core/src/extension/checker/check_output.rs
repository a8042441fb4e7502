//! What is passed on of a checker's words.
//!
//! nginx quotes what it stumbles over, and where an operator's option includes a file of secrets that would be its content. So a
//! message about a file of the rendering is passed on, as that holds no secret; what another message quotes is left out, unless it
//! stands in the rendering.

use super::copy::Copy;
use crate::kinds::File;

/// How many characters of a message are passed on.
const LONGEST: usize = 300;

/// The reason for a refusal, for people.
pub(super) fn reason(said: &str, copy: &Copy, files: &[File]) -> String {
    let levels = ["[emerg] ", "[alert] ", "[crit] ", "[error] "];
    let message = said.lines().find_map(|line| levels.iter().find_map(|level| line.split_once(level)));
    let Some((_, message)) = message else { return "it ended with an error and gave no reason".to_owned() };
    let message = copy.put_back(without_process(message));
    let told = if is_about_ours(&message, files) { message } else { without_quotes(&message, files) };
    let mut told: String = told.chars().flat_map(printable).take(LONGEST + 1).collect();
    if let Some((end, _)) = told.char_indices().nth(LONGEST) {
        told.truncate(end);
        told.push('…');
    }
    told
}

/// Whether the machine or a limit had too little of something, which is no fault of the files. nginx says the system's error with its
/// number, the same on every Linux: no memory, no open files left, no space.
pub(crate) fn is_exhausted(said: &str) -> bool {
    ["(12: ", "(23: ", "(24: ", "(28: "].iter().any(|error| said.contains(&format!("failed {error}")))
}

/// Once nginx has opened its log, messages begin with ids: `7#7: `.
fn without_process(message: &str) -> &str {
    let ids = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'#');
    message.split_once(": ").filter(|(first, _)| ids(first)).map_or(message, |(_, rest)| rest)
}

/// `unknown directive "x" in /etc/nginx/nginx.conf:12`
fn is_about_ours(message: &str, files: &[File]) -> bool {
    let place = message.rsplit_once(" in ").and_then(|(_, place)| place.rsplit_once(':'));
    place.is_some_and(|(path, line)| {
        line.bytes().all(|b| b.is_ascii_digit()) && files.iter().any(|file| file.path == path)
    })
}

/// From the first to the last quote, as what is quoted may hold quotes.
fn without_quotes(message: &str, files: &[File]) -> String {
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => {
            let quoted = &message[first + 1..last];
            if files.iter().any(|file| file.content.contains(quoted)) {
                return message.to_owned();
            }
            format!("{}\"…\"{}", &message[..first], &message[last + 1..])
        }
        (Some(first), _) => format!("{}…", &message[..first]),
        _ => message.to_owned(),
    }
}

fn printable(c: char) -> impl Iterator<Item = char> {
    let plain = c == '…' || c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric();
    plain.then_some(c).into_iter().chain((!plain).then(|| c.escape_default()).into_iter().flatten())
}
