//! What settings ask for, on the real nginx.

use crate::support::nginx::{Nginx, application};
use crate::support::routes::{labelled, rendered_with};

#[test]
fn e3_where_underscores_are_accepted_no_other_spelling_says_who_a_client_is() {
    application("shop", "127.10.21.1:19301");
    let services = labelled("shop", 19_301, &[("hosts", "shop.example.com")])
        + &labelled(
            "tenant",
            19_301,
            &[("hosts", "tenant.example.com"), ("request_headers", "X-Tenant: blue"), ("context_root", "/app")],
        );
    let toml = "[Extensions.default.Config]\nUnderscoresInHeaders = true";
    let tasks = [("shop", "127.10.21.1"), ("tenant", "127.10.21.1")];
    let nginx = Nginx::start(&rendered_with(&services, &tasks, &[], toml));
    for (host, path) in [("shop.example.com", "/"), ("tenant.example.com", "/app/x")] {
        let answer = nginx.raw(&format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nX_Forwarded_For: evil\r\nx_forwarded-for: evil\r\nX-Forwarded_Proto: evil\r\n\
             X_REAL_IP: evil\r\nX_Original_URL: evil\r\nX_Rewrite-URL: evil\r\nX_Tenant_Id: 7\r\nConnection: close\r\n\r\n"
        ));
        assert!(answer.contains("X_Tenant_Id: 7\r\n") && !answer.contains("evil"), "{answer}");
    }
}
