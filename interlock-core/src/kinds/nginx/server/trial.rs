//! Which certificates NGINX can use.
//!
//! NGINX reads a certificate when a client asks for its host, and a bad one then ends that handshake without a word to its owner. So the agent
//! has NGINX's checker read all of them once, and reports what the checker said. Another reader of PEM would not do: it may take
//! what OpenSSL refuses, such as two parts that share a line.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::program::Program;
use crate::kinds::nginx::check_output;
use crate::kinds::server::{FileSet, Unserved};
use crate::kinds::{self, File};

/// The checker stops at the first bad file. So many are found at most.
const MOST_BAD: usize = 32;

/// What a secret is tried as.
#[derive(Debug, Clone, Copy)]
enum Use<'a> {
    /// A certificate and the name of the secret that has its key.
    Pair(&'a str),
    /// Authorities, or a certificate whose key is nowhere.
    Authorities,
}

/// What is known of a secret that may be a certificate.
#[derive(Debug, Clone)]
pub(crate) struct Secret<'a> {
    pub(crate) name: &'a str,
    /// A name for the public key of its certificate; empty without one.
    pub(crate) public_key: &'a str,
    /// A name for the public key that its key belongs to; empty without one.
    pub(crate) key_of: &'a str,
}

/// The secrets that NGINX cannot use, with the reasons. Those that the time does not suffice for are taken to be good.
///
/// `run`: a folder of the agent's own. `folder`: that of the secrets.
pub(super) async fn judge(
    program: &Program,
    run: &Path,
    folder: &Path,
    secrets: &[Secret<'_>],
    limit: Duration,
) -> BTreeMap<String, String> {
    let deadline = Instant::now() + limit;
    let mut bad = BTreeMap::new();
    while bad.len() < MOST_BAD {
        let tried: Vec<_> = uses(folder, secrets).filter(|(name, to)| !is_bad(&bad, name, *to)).collect();
        if tried.is_empty() {
            break;
        }
        let said = timeout_at(deadline, check(program, run, folder, &tried)).await;
        let Ok(Some((name, why))) = said.map(|said| said.and_then(|said| named(&said, folder))) else { break };
        if bad.insert(name, why).is_some() {
            break;
        }
    }
    bad
}

fn is_bad(bad: &BTreeMap<String, String>, name: &str, to: Use<'_>) -> bool {
    bad.contains_key(name) || matches!(to, Use::Pair(key) if bad.contains_key(key))
}

/// What each secret with a certificate can be tried as. Which secrets belong together is seen by their public keys.
fn uses<'a>(folder: &Path, secrets: &'a [Secret<'a>]) -> impl Iterator<Item = (&'a str, Use<'a>)> {
    let mut keys: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for secret in secrets.iter().filter(|secret| !secret.key_of.is_empty()) {
        keys.entry(secret.key_of).or_default().push(secret.name);
    }
    secrets.iter().filter_map(move |secret| {
        let partners = keys.get(secret.public_key);
        let own = partners.and_then(|names| names.iter().find(|name| **name == secret.name));
        match own.or_else(|| partners?.first()) {
            Some(key) => Some((secret.name, Use::Pair(key))),
            None => says_certificate(&folder.join(secret.name)).then_some((secret.name, Use::Authorities)),
        }
    })
}

fn says_certificate(path: &Path) -> bool {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE";
    let content = zeroize::Zeroizing::new(std::fs::read(path).unwrap_or_default());
    content.windows(BEGIN.len()).any(|window| window == BEGIN)
}

/// What the checker says when it refuses one of them.
async fn check(program: &Program, run: &Path, folder: &Path, tried: &[(&str, Use<'_>)]) -> Option<String> {
    let mut text =
        format!("pid {0}/trial.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n", run.display());
    for (number, (name, to)) in tried.iter().enumerate() {
        let file = |name: &str| format!("\"{}\"", folder.join(name).display());
        let lines = match to {
            Use::Pair(key) => format!("ssl_certificate {}; ssl_certificate_key {};", file(name), file(key)),
            Use::Authorities => format!("ssl_reject_handshake on; ssl_trusted_certificate {};", file(name)),
        };
        let _ = writeln!(
            text,
            "server {{ listen unix:{}/trial.sock ssl; server_name {number}.test; {lines} }}",
            run.display()
        );
    }
    text.push_str("}\n");
    let config = run.join("trial.conf");
    std::fs::write(&config, &text).ok()?;
    let files = [File { path: config.display().to_string(), part: String::new(), content: text.into() }];
    let set = FileSet { revision: None, hash: kinds::hash(&files), files: files.into() };
    let checked = program.check(&set, &config, Duration::from_secs(60)).await;
    let _ = std::fs::remove_file(&config);
    match checked {
        Err(Unserved::Refused(said)) => Some(said),
        Ok(()) | Err(Unserved::Failed(_)) => None,
    }
}

/// The secret that a refusal is about, and why: `cannot load certificate "/run/secrets/x": PEM_read_bio_X509_AUX() failed (SSL: error:0480006E:PEM
/// routines::bad end line)`.
fn named(said: &str, folder: &Path) -> Option<(String, String)> {
    let said = check_output::of_folder(said, folder);
    let (_, rest) = said.split_once(&format!("\"{}/", folder.display())).or_else(|| said.split_once('"'))?;
    let (name, rest) = rest.split_once('"')?;
    let reason = rest.split_once("SSL: ").map_or(rest, |(_, errors)| errors);
    // OpenSSL names its own functions first. The first error is the cause of the others.
    let reason = reason.split_terminator([')', ',']).next().unwrap_or(reason);
    let reason = reason.rsplit([':']).next().unwrap_or(reason).trim();
    let reason = if reason.is_empty() { "NGINX cannot read it" } else { reason };
    Some((name.to_owned(), reason.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_secret_and_the_reason() {
        for (said, name, reason) in [
            (
                r#"nginx: [emerg] cannot load certificate "/run/secrets/shop.cert": PEM_read_bio_X509_AUX() failed (SSL: error:04800066:PEM routines::bad end line)"#,
                "shop.cert",
                "bad end line",
            ),
            (
                r#"nginx: [emerg] cannot load certificate key "/run/secrets/k": PEM_read_bio_PrivateKey() failed (SSL: error:1E08010C:DECODER routines::unsupported:No supported data to decode)"#,
                "k",
                "No supported data to decode",
            ),
            (
                r#"nginx: [emerg] SSL_CTX_use_certificate("/run/secrets/old") failed (SSL: error:0A00018F:SSL routines::ee key too small)"#,
                "old",
                "ee key too small",
            ),
        ] {
            let found = named(said, Path::new("/run/secrets"));
            assert_eq!(found, Some((name.to_owned(), reason.to_owned())), "{said}");
        }
    }
}
