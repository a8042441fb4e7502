//! stub
use super::File;
use crate::proxy_config::ProxyConfig;
pub fn agree(_: &ProxyConfig, _: &[File], _: usize) -> Result<(), String> {
    Ok(())
}
