//! Directives that follow from the operator's settings alone.

use crate::proxy_config::ProxySettings;
use crate::settings::{NginxOptions, ProxyOptions};

pub(super) fn nginx_options(proxy: &ProxySettings) -> NginxOptions {
    match &proxy.options {
        ProxyOptions::Nginx(options) => options.clone(),
        _ => NginxOptions::default(),
    }
}
pub(super) fn main(_: &NginxOptions) -> Vec<String> {
    vec!["worker_processes auto;".into()]
}
pub(super) fn http(_: &NginxOptions) -> Vec<String> {
    vec!["server_tokens off;".into()]
}
