//! What core checks of files that an extension of its own posted, before a proxy gets them.
//!
//! An extension may lay its files out as it likes, as long as they can be understood here: hosts in servers of their own or in the shared
//! map, lists in one file or in several. Read back, they have to send each host and path to exactly the addresses that the model
//! has for it, and nothing else. Besides, they hold only directives that a rendering of this version from the same settings can hold,
//! and the operator's raw options word for word. So an extension of an older version agrees with a newer core; core is
//! the one to be updated first.

use super::parse_back::{self, Directive};
use super::{File, MOST_FILES};
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
    let mut directives = parse_back::parse(files)?;
    let default = NginxOptions::default();
    let options = match &config.proxy.options {
        ProxyOptions::Nginx(options) => options,
        ProxyOptions::Other => &default,
    };
    take_out(&mut directives, &options.global_options, "GlobalOptions")?;
    take_out(http(&mut directives)?, &options.http_options, "HTTPOptions")?;
    allowed::check(config, &directives)?;
    let found = Served::in_files(http(&mut directives)?, config.proxy.port)?;
    found.difference(&Served::in_model(config)).map_or(Ok(()), Err)
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
    let mut blocks = directives.iter_mut().filter(|directive| directive.name() == "http");
    match (blocks.next().and_then(|directive| directive.block.as_mut()), blocks.next()) {
        (Some(http), None) => Ok(http),
        (None, _) => Err("there is no http block".to_owned()),
        (_, Some(_)) => Err("there are two http blocks".to_owned()),
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
