//! Files of a proxy, read again.

use interlock_core::kinds::File;
use interlock_core::kinds::nginx::parse_back::{self, Directive};
use interlock_core::kinds::nginx::rewrite::{quoted, rewrite};

/// Reads any text as a configuration. What is read is the same when it is printed and read again.
pub fn any_text(text: &str) {
    let kept = rewrite(text, |_| None);
    let Ok(directives) = parse_back::parse_text(text) else { return };
    assert_eq!(kept.as_deref(), Ok(text));
    let mut printed = String::new();
    print(&mut printed, &directives);
    let again = parse_back::parse_text(&printed);
    assert_eq!(again.as_ref(), Ok(&directives), "{printed}");
    assert_eq!(parse_back::difference(&directives, &directives, "the file"), None);
    let file = |path: &str| File { path: path.to_owned(), part: String::new(), content: text.into() };
    assert_eq!(parse_back::parse(&[file("/etc/nginx/nginx.conf")]).as_ref(), Ok(&directives));
    let _ = parse_back::parse(&[file("/etc/nginx/nginx.conf"), file("/etc/nginx/a.conf")]);
    // Every directive is found where it stands.
    let mut count = 0;
    let all = rewrite(text, |place| {
        count += 1;
        Some(
            place.words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
                + if place.opens { " {" } else { ";" },
        )
    });
    assert_eq!(all.map(|all| parse_back::parse_text(&all).is_ok_and(|again| again == directives)), Ok(true));
    assert_eq!(count, number(&directives));
}

fn print(text: &mut String, directives: &[Directive<'_>]) {
    for Directive { words, block } in directives {
        *text += &words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        match block {
            None => *text += ";\n",
            Some(block) => {
                *text += " {\n";
                print(text, block);
                *text += "}\n";
            }
        }
    }
}

fn number(directives: &[Directive<'_>]) -> usize {
    directives.iter().map(|it| 1 + it.block.as_deref().map_or(0, number)).sum()
}
