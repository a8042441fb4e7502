//! What the secrets of a task are, for core to tell their owners what is wrong: core itself cannot see them.

use std::path::Path;
use std::time::Duration;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::grpc::v1;
use crate::kinds::nginx::server::{Secret, Server};
use crate::ownership;
use crate::units::hash;

/// The largest file that is looked at. Docker's secrets have at most 500 kB.
const LARGEST: u64 = 512 * 1024;

/// Describes all files in a folder but interlock's own identity.
pub(super) fn describe(folder: &Path) -> Vec<v1::Secret> {
    let own = Path::new(ownership::IDENTITY_PATH).file_name();
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let files = entries.flatten().filter(|entry| Some(entry.file_name().as_os_str()) != own);
    let mut secrets: Vec<_> = files
        .filter_map(|entry| {
            let small = std::fs::metadata(entry.path()).ok().filter(|it| it.is_file() && it.len() <= LARGEST);
            small.map(|_| secret(entry.file_name().to_string_lossy().into_owned(), &entry.path()))
        })
        .collect();
    secrets.sort_by(|a, b| a.name.cmp(&b.name));
    secrets
}

fn secret(name: String, path: &Path) -> v1::Secret {
    let content = zeroize::Zeroizing::new(std::fs::read(path).unwrap_or_default());
    let certificate = CertificateDer::pem_slice_iter(&content).find_map(Result::ok);
    let parsed = certificate.as_ref().and_then(|der| x509_parser::parse_x509_certificate(der).ok());
    let key = PrivateKeyDer::from_pem_slice(&content).ok();
    let of_key =
        key.as_ref().and_then(|key| any_supported_type(key).ok()?.public_key().map(|spki| hash::sha256(&spki)));
    v1::Secret {
        name,
        public_key: parsed.as_ref().map(|(_, it)| hash::sha256(it.public_key().raw)).unwrap_or_default(),
        not_after: parsed.as_ref().map(|(_, it)| it.validity().not_after.timestamp()).unwrap_or_default(),
        key_of: of_key.unwrap_or_default(),
        has_key: key.is_some(),
        unusable: String::new(),
    }
}

/// Notes in `secrets`, which stand in this folder, why the proxy cannot use them.
pub(super) async fn judge(server: &Server, folder: &Path, secrets: &mut [v1::Secret], limit: Duration) {
    let known: Vec<_> =
        secrets.iter().map(|v1::Secret { name, public_key, key_of, .. }| Secret { name, public_key, key_of }).collect();
    let mut bad = server.judge(folder, &known, limit).await;
    for secret in secrets {
        secret.unusable = bad.remove(&secret.name).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::Authority;
    use crate::units::Role;

    #[test]
    fn a_certificate_and_its_key_are_known_as_a_pair() {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::generate().expect("an authority");
        let pair = authority.issue(Role::Proxy, &"".parse().expect("the default")).expect("a pair").pem;
        let (certificate, rest) = pair.split_at(pair.find("-----BEGIN PRIVATE KEY").expect("a key"));
        for (name, content) in [
            ("both", pair.as_str()),
            ("certificate", certificate),
            ("key", rest),
            ("words", "no PEM at all"),
            ("interlock-identity", pair.as_str()),
        ] {
            std::fs::write(folder.path().join(name), content).expect("a file");
        }
        let secrets = describe(folder.path());
        let names: Vec<_> = secrets.iter().map(|secret| secret.name.as_str()).collect();
        assert_eq!(names, ["both", "certificate", "key", "words"]);
        let [both, certificate, key, words] = &secrets[..] else { panic!("four") };
        assert!(both.has_key && both.public_key == both.key_of && both.public_key.len() == 64, "{both:?}");
        assert!(!certificate.has_key && certificate.public_key == both.public_key && certificate.not_after > 0);
        assert!(key.has_key && key.key_of == both.public_key);
        assert!(!words.has_key && words.public_key.is_empty());
    }
}
