//! The settings file.

use interlock_core::reconcile::{Inputs, reconcile_embedded};
use interlock_core::settings::{ProxyKind, Settings};

use super::pipeline;

/// Reads any text. What is wrong has a place in it; from what is right files follow, which say what the model says unless lines of the
/// operator's stand in them.
pub fn any_text(text: &str) {
    let (settings, notices) = match Settings::parse(text) {
        Ok(read) => read,
        Err(errors) => {
            assert!(!errors.0.is_empty());
            let lines = text.matches('\n').count() + 1;
            return errors.0.iter().for_each(|error| {
                assert!((1..=lines).contains(&error.line) && error.column > 0, "{error:?}");
            });
        }
    };
    assert_eq!(Settings::parse(text).as_ref(), Ok(&(settings.clone(), notices)));
    assert!(!settings.extensions.is_empty());
    let raw = settings.extensions.values().any(|extension| match &extension.kind {
        ProxyKind::Nginx(options) => {
            [&options.global_options, &options.http_options, &options.tcp_options].iter().any(|lines| !lines.is_empty())
        }
        ProxyKind::Haproxy | ProxyKind::F5 | ProxyKind::Template => false,
    });
    let inputs = Inputs { settings, ..pipeline::alone() };
    let (outcome, renderings) = reconcile_embedded(&inputs);
    for key in outcome.proxy_configs.keys().filter(|_| !raw) {
        let said = renderings[key].result.as_ref().map_err(ToString::to_string);
        assert!(said.is_ok(), "{said:?}: {text}");
    }
}
