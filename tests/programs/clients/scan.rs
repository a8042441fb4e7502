//! TLS before a scanner: sslyze, with Mozilla's intermediate profile.

use std::process::Command;

use rcgen::KeyPair;

use crate::clients::{HOST, PORT, Site};
use crate::support::nginx::application;
use crate::support::pki::Authority;

/// Keys of both kinds, as each kind has cipher suites of its own.
fn keys() -> [KeyPair; 2] {
    let rsa = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
    let rsa = Command::new("openssl").args(rsa).output().unwrap();
    [KeyPair::generate().unwrap(), KeyPair::from_pem(std::str::from_utf8(&rsa.stdout).unwrap()).unwrap()]
}

#[test]
#[ignore = "needs sslyze: scripts/test installs it"]
fn tls_is_as_mozilla_recommends() {
    #[expect(clippy::disallowed_methods, reason = "there is no command line")]
    let sslyze = std::env::var("INTERLOCK_SSLYZE").expect("INTERLOCK_SSLYZE is the path of the program");
    application("shop", &format!("127.30.50.1:{PORT}"));
    for key in keys() {
        let authority = Authority::new();
        let pair = authority.signed(&[HOST], 1, &key);
        let site = Site::showing(authority, &pair, &["127.30.50.1"], &[], "");
        let output = Command::new(&sslyze)
            .args(["--mozilla_config", "intermediate", "--sni", HOST, "--certinfo_ca_file"])
            .arg(site.authority.file())
            .arg(format!("127.0.0.1:{}", site.nginx.port() + 1))
            .output()
            .unwrap();
        let report = String::from_utf8_lossy(&output.stdout);
        // It fails for what the profile does not allow, and for every vulnerability that it knows.
        assert!(output.status.success() && report.contains("OK - Compliant"), "{report}");
        assert!(!report.contains("VULNERABLE"), "{report}");
    }
}
