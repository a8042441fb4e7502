//! What core's reader makes of a text, and what nginx itself makes of it.
//!
//! nginx has no command that shows how it splits a file into words. But inside `types { }` it takes any words, and warns of each that was
//! there before, with what it stood for: so after a text each of its words is said once more, and nginx shows what it had read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Command;

use interlock_core::kinds::nginx::rewrite::{quoted, rewrite};

/// What stands behind a text. nginx stops there, having read all of it.
const END: &str = "interlock_end";
/// What words are said to stand for the second time.
const PROBE: &str = "interlock/probe";
/// What stands before the number of the line that a message is about.
const PLACE: &str = " in interlock/file:";
/// What stands before each warning.
const WARNS: &str = "[warn] ";
/// A longer message nginx cuts off.
const LONGEST: usize = 400;
/// How many blocks of a text are looked at. Each takes an nginx of its own.
const MOST_BLOCKS: usize = 4;

/// A directive by core's reader.
struct Read {
    /// As it stands.
    text: String,
    words: Vec<String>,
    opens: bool,
}

/// Whatever core's reader takes for directives, nginx takes for the same words, and blocks begin where it says.
pub fn any_text(text: &str) {
    let known = [END, PROBE, PLACE, WARNS].iter().any(|marker| text.contains(marker));
    if known || text.contains('\0') || text.len() > LONGEST * 4 {
        return;
    }
    match directives(text) {
        Ok(read) => as_nginx(&read),
        // A closing brace leaves what the text stands in.
        Err(wrong) => assert!(text.contains('}') || !reaches_end(text), "nginx takes it, core says {wrong}: {text:?}"),
    }
}

/// The same of files that were rendered. What several say alike is looked at once.
pub fn rendered(files: impl IntoIterator<Item = String>) {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for text in files {
        match directives(&text) {
            Ok(read) => all.extend(read.into_iter().filter(|it| seen.insert(it.text.clone()))),
            Err(wrong) => panic!("{wrong}: {text}"),
        }
    }
    // `types` would include what it names.
    all.retain(|it| it.words.first().is_none_or(|name| name != "include"));
    assert!(!all.is_empty(), "nothing was rendered");
    all.chunks(64).for_each(as_nginx);
}

fn directives(text: &str) -> Result<Vec<Read>, String> {
    let mut all = Vec::new();
    rewrite(text, |place| {
        let words = place.words.iter().map(ToString::to_string).collect();
        all.push(Read { text: place.text.to_owned(), words, opens: place.opens });
        None
    })?;
    interlock_core::kinds::nginx::parse_back::parse_text(text).map(|_| all)
}

fn as_nginx(read: &[Read]) {
    let includes = |it: &Read| it.words.first().is_some_and(|name| name == "include");
    if read.iter().any(|it| includes(it) || it.words.iter().any(|word| word.len() > LONGEST)) {
        return;
    }
    let flat: String = read.iter().map(|it| format!("{};\n", it.text)).collect();
    let mut known = BTreeMap::new();
    let mut expected = String::new();
    let mut say = |words: &[String], expected: &mut String| {
        let [meaning, words @ ..] = words else { return };
        for word in words.iter().map(|word| word.to_ascii_lowercase()) {
            if let Some(before) = known.insert(word.clone(), meaning.clone()) {
                // Writing to a string cannot fail.
                let _ = writeln!(
                    expected,
                    "duplicate extension \"{word}\", content type: \"{meaning}\", previous content type: \"{before}\""
                );
            }
        }
    };
    let mut probes = String::new();
    read.iter().for_each(|it| say(&it.words, &mut expected));
    for word in read.iter().flat_map(|it| it.words.iter().skip(1)) {
        probes += &format!("{PROBE} {};\n", quoted(word));
        say(&[PROBE.to_owned(), word.clone()], &mut expected);
    }
    let said = nginx(&format!("types {{\n{flat}{probes}}}\n{END};"));
    let warnings: String = said.split_inclusive(WARNS).skip(1).map(|it| warning(it) + "\n").collect();
    let differs = warnings.lines().zip(expected.lines()).find(|(nginx, core)| nginx != core);
    assert!(warnings == expected, "{differs:?}, {said}\n{flat:?}");
    assert!(said.contains(&format!("unknown directive \"{END}\"")), "{said}\n{flat:?}");
    for it in read.iter().filter(|it| it.opens).take(MOST_BLOCKS) {
        let said = nginx(&format!("types {{\n{} {{", it.text.trim_end()));
        let starts = said.contains("unexpected \"{\"");
        // What ends with a variable goes on with its brace.
        assert!(starts || it.text.ends_with(['$', '{', '\\']), "no block begins: {said}\n{:?}", it.text);
        let said = nginx(&format!("types {{\n{}{{", it.text));
        assert!(said.contains("unexpected \"{\""), "no block begins: {said}\n{:?}", it.text);
    }
}

/// From behind the level of a message up to where it says its place.
fn warning(message: &str) -> String {
    let message = message.split_once(": ").map_or(message, |(_, message)| message);
    message.split_once(PLACE).map_or(message, |(message, _)| message).to_owned()
}

fn reaches_end(text: &str) -> bool {
    nginx(&format!("types {{\n{text}\n}}\n{END};")).contains(&format!("unknown directive \"{END}\""))
}

/// What nginx says of these lines of the http context.
fn nginx(lines: &str) -> String {
    let text = format!("events {{}}\nhttp {{\n{lines}\n}}\n");
    let file = tempfile::NamedTempFile::new().and_then(|mut file| file.write_all(text.as_bytes()).map(|()| file));
    let Ok(file) = file else { panic!("there is no place for a file: {file:?}") };
    let output =
        Command::new("nginx").args(["-t", "-e", "stderr", "-g", "pid /dev/null;", "-c"]).arg(file.path()).output();
    match output {
        Ok(output) => {
            let place = format!(" in {}:", file.path().display());
            String::from_utf8_lossy(&output.stderr).replace(&place, PLACE)
        }
        Err(error) => panic!("nginx is missing: {error}"),
    }
}
