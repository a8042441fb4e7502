//! What core checks of files that an extension of its own posted, before a proxy gets them.
//!
//! An extension may lay its files out as it likes, as long as they can be understood here: hosts in servers of their own or in the shared
//! map, lists in one file or in several. Read back, each host and path has to do exactly what our own rendering of the model has it do:
//! the same addresses, under the same conditions. Besides, the files hold only directives that our own rendering holds, and the
//! operator's raw options word for word. So a route without options is agreed on by versions that write it differently; what
//! protects a route is never lost on the way.
//!
//! What an operator's own template makes may say anything: there the files have to be the very same.

use super::parse_back::{self, Directive};
use super::{File, MOST_FILES, nginx};
use crate::problem::shown;
use crate::proxy_config::ProxyConfig;
use crate::settings::{Kind, NginxOptions, ProxyOptions};

mod allowed;
mod served;

use served::Served;

/// Checks that files, each of at most `limit` bytes, do what a proxy config says.
///
/// What the proxy's own checker would say of them is not looked at: a value that is wrong but not dangerous gets through.
///
/// # Errors
///
/// The first difference, for people; what it quotes of the files is shortened and fit for a terminal. Always for another kind than
/// nginx, since this version cannot read the files of others.
pub fn agree(config: &ProxyConfig, files: &[File], limit: usize) -> Result<(), String> {
    if config.proxy.kind != Kind::Nginx {
        return Err(format!("files for a proxy of kind {} cannot be compared with the model", config.proxy.kind));
    }
    sizes(config, files, limit)?;
    if config.proxy.template.is_some() {
        let own = nginx::render(config, limit).map_err(|error| error.to_string())?;
        let differs = "the files are not what the operator's own template makes of the model";
        return if own == files { Ok(()) } else { Err(differs.to_owned()) };
    }
    let mut directives = parse_back::parse(files)?;
    let default = NginxOptions::default();
    let options = match &config.proxy.options {
        ProxyOptions::Nginx(options) => options,
        ProxyOptions::Other => &default,
    };
    take_out(&mut directives, &options.global_options, "GlobalOptions")?;
    take_out(http(&mut directives)?, &options.http_options, "HTTPOptions")?;
    if let Some(stream) = the_one(&mut directives, "stream")? {
        take_out(stream, &options.tcp_options, "TCPOptions")?;
    }
    let own = nginx::render(&without_raw_options(config), usize::MAX).map_err(|error| error.to_string())?;
    let mut own = parse_back::parse(&own)?;
    allowed::check(&own, &directives)?;
    let found = served(&mut directives)?;
    found.difference(&served(&mut own)?).map_or(Ok(()), Err)
}

fn served(directives: &mut [Directive<'_>]) -> Result<Served, String> {
    let stream = the_one(directives, "stream")?.cloned().unwrap_or_default();
    Served::in_files(http(directives)?, &stream)
}

fn without_raw_options(config: &ProxyConfig) -> ProxyConfig {
    let mut config = config.clone();
    if let ProxyOptions::Nginx(options) = &mut config.proxy.options {
        let NginxOptions { global_options, http_options, tcp_options, .. } = options.as_mut();
        [global_options, http_options, tcp_options].into_iter().for_each(Vec::clear);
    }
    config
}

fn sizes(config: &ProxyConfig, files: &[File], limit: usize) -> Result<(), String> {
    let first = files.first().ok_or("there is no file")?;
    if first.path != config.proxy.config_path {
        return Err(format!("the first file is {} instead of {}", shown(&first.path), config.proxy.config_path));
    }
    if files.len() > MOST_FILES {
        return Err(format!("{} files are more than {MOST_FILES}", files.len()));
    }
    for (i, File { path, part, content }) in files.iter().enumerate() {
        let path = shown(path);
        if content.len() > limit {
            return Err(format!("{path} has {} bytes, and {limit} is the most", content.len()));
        }
        // The part stands in the name of a config object.
        let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (i == 0) != part.is_empty() || part.len() > 16 || !part.bytes().all(inside) {
            return Err(format!("{path} is part {}, which is no name for it", shown(part)));
        }
        if files[..i].iter().any(|other| other.part == *part) {
            return Err(format!("{path} is part {}, as another file is", shown(part)));
        }
        if content.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            return Err(format!("{path} holds a control character"));
        }
    }
    Ok(())
}

/// What stands in the one `http` block.
fn http<'d, 'a>(directives: &'d mut [Directive<'a>]) -> Result<&'d mut Vec<Directive<'a>>, String> {
    the_one(directives, "http")?.ok_or_else(|| "there is no http block".to_owned())
}

/// What stands in the one block of this name, if there is one.
fn the_one<'d, 'a>(
    directives: &'d mut [Directive<'a>],
    name: &str,
) -> Result<Option<&'d mut Vec<Directive<'a>>>, String> {
    let mut blocks = directives.iter_mut().filter(|directive| directive.name() == name);
    match (blocks.next().and_then(|directive| directive.block.as_mut()), blocks.next()) {
        (_, Some(_)) => Err(format!("there are two {name} blocks")),
        (block, None) => Ok(block),
    }
}

/// Takes the operator's own lines out, which may say anything.
fn take_out(directives: &mut Vec<Directive<'_>>, lines: &[String], key: &str) -> Result<(), String> {
    let text = lines.join("\n");
    for line in parse_back::parse_text(&text).map_err(|error| format!("{key} cannot be read: {error}"))? {
        let Some(at) = directives.iter().position(|directive| *directive == line) else {
            return Err(format!("`{}` of {key} is missing", shown(&line.words.join(" "))));
        };
        directives.remove(at);
    }
    Ok(())
}
