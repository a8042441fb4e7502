//! Reading a rendered nginx configuration again, to see that no value in it changed its structure.
//!
//! The types of [`crate::names`] cannot hold what would; this is the second lock on the same door. A file is compared with one
//! rendered from the same config with every name in it replaced by a harmless one: directive names, nesting and argument counts
//! must be equal. The reader splits text into directives exactly as nginx's own `ngx_conf_read_token` does and knows nothing
//! of what they mean; the parsers that exist as crates know a fixed set of directives, and stop at others.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::File;
use crate::names::{HostPattern, PathPrefix};
use crate::proxy_config::{Forward, ProxyConfig, UpstreamName, VirtualHost};

/// A directive of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// Its name and arguments, quotes removed.
    pub words: Vec<String>,
    /// What stands in its braces, if it has some.
    pub block: Option<Vec<Directive>>,
}

impl Directive {
    /// Its name.
    pub fn name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Its arguments.
    pub fn args(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }
}

/// Reads the files of a rendering, each `include` of one of them replaced by its content.
pub fn parse(files: &[File]) -> Result<Vec<Directive>, String> {
    let Some(main) = files.first() else { return Err("there is no file".to_owned()) };
    let mut parsed = BTreeMap::new();
    for file in &files[1..] {
        parsed.insert(file.path.as_str(), parse_text(&file.content)?);
    }
    Ok(inline(parse_text(&main.content)?, &parsed))
}

fn inline(directives: Vec<Directive>, files: &BTreeMap<&str, Vec<Directive>>) -> Vec<Directive> {
    let mut inlined = Vec::with_capacity(directives.len());
    for mut directive in directives {
        match files.get(directive.args().first().map_or("", String::as_str)) {
            Some(included) if directive.name() == "include" => inlined.extend(included.iter().cloned()),
            _ => {
                directive.block = directive.block.map(|block| inline(block, files));
                inlined.push(directive);
            }
        }
    }
    inlined
}

enum Token {
    Word(String),
    Open,
    Close,
    End,
}

/// Reads the text of one file.
pub fn parse_text(text: &str) -> Result<Vec<Directive>, String> {
    let mut open: Vec<(Vec<String>, Vec<Directive>)> = Vec::new();
    let mut here = Vec::new();
    let mut words = Vec::new();
    for token in tokens(text)? {
        match token {
            Token::Word(word) => words.push(word),
            Token::End if words.is_empty() => return Err("unexpected `;`".to_owned()),
            Token::End => here.push(Directive { words: std::mem::take(&mut words), block: None }),
            Token::Open if words.is_empty() => return Err("unexpected `{`".to_owned()),
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

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_ascii_whitespace() => {}
            '#' => while chars.next_if(|&c| c != '\n').is_some() {},
            ';' => tokens.push(Token::End),
            '{' => tokens.push(Token::Open),
            '}' => tokens.push(Token::Close),
            '"' | '\'' => {
                let mut word = String::new();
                loop {
                    match chars.next() {
                        Some(end) if end == c => break,
                        Some('\\') => word.extend(chars.next()),
                        Some(inside) => word.push(inside),
                        None => return Err("the file ends inside a string".to_owned()),
                    }
                }
                if chars.peek().is_some_and(|&next| !next.is_ascii_whitespace() && !matches!(next, ';' | '{' | ')')) {
                    return Err("text follows a string without a blank".to_owned());
                }
                tokens.push(Token::Word(word));
            }
            first => {
                let mut word = String::new();
                let mut next = Some(first);
                while let Some(c) = next {
                    word.push(c);
                    match c {
                        '\\' => word.extend(chars.next()),
                        '$' => word.extend(chars.next_if_eq(&'{')),
                        _ => {}
                    }
                    next = chars.next_if(|&c| !c.is_ascii_whitespace() && c != ';' && c != '{');
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    Ok(tokens)
}

/// The first place where the structures of two files differ, or nothing.
pub fn difference(one: &[Directive], other: &[Directive], place: &str) -> Option<String> {
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
fn is_entry(directive: &Directive) -> bool {
    !matches!(directive.name(), "default" | "hostnames" | "include" | "volatile")
}

/// The config with every name that comes from a label replaced, one to one and in the same order, by a harmless one.
pub fn twin(config: &ProxyConfig) -> ProxyConfig {
    let upstreams: BTreeMap<&UpstreamName, UpstreamName> =
        config.upstreams.keys().enumerate().map(|(i, name)| (name, UpstreamName::harmless(i))).collect();
    let host = |(i, pattern): (usize, &HostPattern)| match pattern {
        HostPattern::Exact(_) => format!("h{i:09}.example"),
        HostPattern::Wildcard(_) => format!("*.h{i:09}.example"),
    };
    let virtual_host = |paths: &VirtualHost| {
        let forward = |forward: &Forward| Forward {
            rewrite: forward.rewrite,
            upstream: forward.upstream.as_ref().and_then(|name| upstreams.get(name)).cloned(),
        };
        let path = |(i, path): (usize, &PathPrefix)| {
            if path.is_root() { path.as_str().to_owned() } else { format!("/p{i:09}") }
        };
        paths
            .iter()
            .enumerate()
            .filter_map(|(i, (p, f))| Some((path((i, p)).parse().ok()?, forward(f))))
            .collect::<VirtualHost>()
    };
    let numbered = config.virtual_hosts.iter().enumerate();
    ProxyConfig {
        cluster: config.cluster.clone(),
        revision: config.revision.clone(),
        proxy: config.proxy.clone(),
        virtual_hosts: numbered
            .filter_map(|(i, (p, paths))| Some((host((i, p)).parse().ok()?, virtual_host(paths))))
            .collect(),
        default: config.default.as_ref().map(virtual_host),
        upstreams: config
            .upstreams
            .iter()
            .filter_map(|(name, targets)| Some((upstreams.get(name)?.clone(), harmless(targets))))
            .collect(),
    }
}

fn harmless(targets: &[SocketAddr]) -> Vec<SocketAddr> {
    targets.iter().map(|_| SocketAddr::from(([127, 0, 0, 1], 1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<String>> {
        parse_text(text).unwrap().into_iter().map(|directive| directive.words).collect()
    }

    #[test]
    fn directives_are_split_as_nginx_does() {
        assert_eq!(words("a b 'c d' \"e\\\"f\"; # g;\nh;"), [vec!["a", "b", "c d", "e\"f"], vec!["h"]]);
        assert_eq!(words("return 301 /x/${is_args}y;"), [vec!["return", "301", "/x/${is_args}y"]]);
        for broken in ["a", "a;}", "a {", "; a;", "{}", "a 'b", "a 'b'c;", "a b }"] {
            assert!(parse_text(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_difference_is_found_wherever_it_is() {
        let parse = |text| parse_text(text).unwrap();
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
