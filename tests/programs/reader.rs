//! Core's reader of nginx configurations beside nginx's own, on every fixture and on drawn texts. `fuzz/` has the same claim.

#[path = "../claims/reader.rs"]
#[expect(unreachable_pub, reason = "the targets in fuzz/ include it, too")]
mod claim;
use crate::support::Scenario;
use interlock_core::reconcile::reconcile_embedded;
use proptest::prelude::*;

#[test]
fn k1_what_is_rendered_is_read_as_nginx_reads_it() {
    let files = Scenario::all().into_iter().flat_map(|scenario| {
        let (_, renderings) = reconcile_embedded(&scenario.inputs());
        renderings.into_values().filter_map(|rendering| rendering.result.ok()).flatten()
    });
    claim::rendered(files.map(|file| file.content.to_string()));
}

#[test]
fn k1_a_brace_behind_a_dollar_sign_begins_no_block() {
    for text in [
        "upstream u${{\"a { server 127.0.0.1:1; } server { listen 80; } # \" z; }",
        "a ${{{ b;",
        "a $b{ c d; }",
        "a \\{b c;",
        "a \"x\"{ b; }",
        "a $\\{ b;",
    ] {
        claim::any_text(text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_as_nginx_reads_it(text in "([a-c]{1,2}|[ ;{}\"'\\\\$#\n\r\t)]{1,2}|\\$\\{|;\n|é){0,24}") {
        claim::any_text(&text);
    }
}
