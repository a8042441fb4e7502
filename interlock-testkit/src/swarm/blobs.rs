//! Configs and secrets: immutable but for their labels, and not deletable while a service's spec refers to them.

use super::objects::{Blob, Json, Service};
use super::{Kind, Swarm, names, normal, text};
use crate::error::ApiError;
use base64::Engine as _;
use serde_json::Value;
use std::collections::BTreeMap;

impl Swarm {
    /// `POST /configs/create`. Answers the id.
    pub fn create_config(&mut self, spec: Value) -> Result<String, ApiError> {
        self.create_blob(Kind::Config, spec)
    }

    /// `POST /secrets/create`. Answers the id.
    pub fn create_secret(&mut self, spec: Value) -> Result<String, ApiError> {
        self.create_blob(Kind::Secret, spec)
    }

    /// `POST /configs/{id}/update`: labels only.
    pub fn update_config(&mut self, key: &str, version: u64, spec: Value) -> Result<(), ApiError> {
        self.update_blob(Kind::Config, key, version, spec)
    }

    /// `POST /secrets/{id}/update`: labels only.
    pub fn update_secret(&mut self, key: &str, version: u64, spec: Value) -> Result<(), ApiError> {
        self.update_blob(Kind::Secret, key, version, spec)
    }

    /// `DELETE /configs/{id}`. Only *Spec* protects a config: one that just a PreviousSpec refers to can be deleted, which disarms the
    /// rollback.
    pub fn remove_config(&mut self, key: &str) -> Result<(), ApiError> {
        self.remove_blob(Kind::Config, key)
    }

    /// `DELETE /secrets/{id}`.
    pub fn remove_secret(&mut self, key: &str) -> Result<(), ApiError> {
        self.remove_blob(Kind::Secret, key)
    }

    fn create_blob(&mut self, kind: Kind, spec: Value) -> Result<String, ApiError> {
        let data = decode(&spec)?;
        names::blob_name(text(&spec, "Name"))?;
        let limit = if kind == Kind::Secret { self.limits.secret } else { self.limits.config };
        if data.is_empty() || data.len() >= limit {
            let desc = format!("{} data must be larger than 0 and less than {limit} bytes", kind.as_str());
            return Err(ApiError::invalid(desc));
        }
        let spec = normal::plain_spec(spec);
        self.limits.check_transaction(&[&spec])?;
        let name = text(&spec, "Name").to_owned();
        if self.names.contains_key(&(kind, name.clone())) {
            let desc = format!("{} {name} already exists", kind.as_str());
            return Err(ApiError::rpc(crate::error::Code::AlreadyExists, desc));
        }
        let meta = self.new_meta();
        let id = meta.id.clone();
        self.names.insert((kind, name.clone()), id.clone());
        let blob = Blob { meta, spec, secret: kind == Kind::Secret, json: Json::default() };
        self.blobs_mut(kind).insert(id.clone(), blob);
        self.emit(kind.as_str(), "create", &id, &[("name", name)]);
        Ok(id)
    }

    fn update_blob(&mut self, kind: Kind, key: &str, version: u64, spec: Value) -> Result<(), ApiError> {
        let data = decode(&spec)?;
        let id = self.resolve(kind, self.blobs(kind), key)?;
        let now = self.timestamp();
        let map = if kind == Kind::Secret { &mut self.secrets } else { &mut self.configs };
        let Some(blob) = map.get_mut(&id) else { return Err(ApiError::not_found(kind.as_str(), key)) };
        let other_data = !data.is_empty() && text(&spec, "Data") != text(&blob.spec, "Data");
        if text(&spec, "Name") != blob.name() || other_data {
            return Err(ApiError::invalid("only updates to Labels are allowed"));
        }
        if blob.meta.version != version {
            return Err(ApiError::out_of_sequence());
        }
        blob.spec["Labels"] = normal::plain_spec(spec)["Labels"].clone();
        Self::touch(&mut self.index, now, &mut blob.meta);
        blob.json.forget();
        let name = blob.name().to_owned();
        self.emit(kind.as_str(), "update", &id, &[("name", name)]);
        Ok(())
    }

    fn remove_blob(&mut self, kind: Kind, key: &str) -> Result<(), ApiError> {
        let id = self.resolve(kind, self.blobs(kind), key)?;
        let users: Vec<_> = self.services.values().filter(|s| refers(s, kind, &id)).map(Service::name).collect();
        let name = self.blobs(kind).get(&id).map(|blob| blob.name().to_owned()).unwrap_or_default();
        if !users.is_empty() {
            let services = if users.len() == 1 { "service" } else { "services" };
            let desc =
                format!("{} '{name}' is in use by the following {services}: {}", kind.as_str(), users.join(", "));
            return Err(ApiError::invalid(desc));
        }
        self.index += 1;
        self.blobs_mut(kind).remove(&id);
        self.names.remove(&(kind, name.clone()));
        self.emit(kind.as_str(), "remove", &id, &[("name", name)]);
        Ok(())
    }

    fn blobs(&self, kind: Kind) -> &BTreeMap<String, Blob> {
        if kind == Kind::Secret { &self.secrets } else { &self.configs }
    }

    fn blobs_mut(&mut self, kind: Kind) -> &mut BTreeMap<String, Blob> {
        if kind == Kind::Secret { &mut self.secrets } else { &mut self.configs }
    }

    /// The bytes of a config.
    pub(super) fn config_data(&self, id: &str) -> Option<Vec<u8>> {
        decode(&self.configs.get(id)?.spec).ok()
    }

    /// The bytes of a secret.
    pub(super) fn secret_data(&self, id: &str) -> Option<Vec<u8>> {
        decode(&self.secrets.get(id)?.spec).ok()
    }
}

fn refers(service: &Service, kind: Kind, id: &str) -> bool {
    let (list, key) = if kind == Kind::Secret { ("Secrets", "SecretID") } else { ("Configs", "ConfigID") };
    let refs = service.spec["TaskTemplate"]["ContainerSpec"][list].as_array();
    refs.into_iter().flatten().any(|r| text(r, key) == id)
}

fn decode(spec: &Value) -> Result<Vec<u8>, ApiError> {
    base64::engine::general_purpose::STANDARD.decode(text(spec, "Data")).map_err(|err| {
        let at = match err {
            base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
            _ => text(spec, "Data").len() / 4 * 4,
        };
        ApiError::new(400, format!("illegal base64 data at input byte {at}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(result: Result<impl std::fmt::Debug, ApiError>) -> (u16, String) {
        let err = result.unwrap_err();
        (err.status, err.message)
    }

    #[test]
    fn a_second_config_of_one_name_is_a_conflict() {
        let mut swarm = Swarm::new();
        swarm.create_config(json!({ "Name": "a", "Data": "aGVsbG8=" })).unwrap();
        let (status, text) = refused(swarm.create_config(json!({ "Name": "a", "Data": "aGVsbG8=" })));
        assert_eq!((status, &*text), (409, "rpc error: code = AlreadyExists desc = config a already exists"));
    }

    #[test]
    fn sizes_are_limited_from_both_ends() {
        let mut swarm = Swarm::new();
        let data = |n: usize| base64::engine::general_purpose::STANDARD.encode(vec![b'a'; n]);
        swarm.create_config(json!({ "Name": "full", "Data": data(1_023_999) })).unwrap();
        assert_eq!(refused(swarm.create_config(json!({ "Name": "over", "Data": data(1_024_000) }))).0, 400);
        assert_eq!(refused(swarm.create_config(json!({ "Name": "none", "Data": "" }))).0, 400);
        assert_eq!(refused(swarm.create_secret(json!({ "Name": "over", "Data": data(512_000) }))).0, 400);
        swarm.limits = crate::Limits::small_configs();
        assert_eq!(refused(swarm.create_config(json!({ "Name": "old", "Data": data(512_000) }))).0, 400);
        assert_eq!(
            refused(swarm.create_config(json!({ "Name": "junk", "Data": "!!" }))),
            (400, "illegal base64 data at input byte 0".into())
        );
    }

    #[test]
    fn only_labels_of_a_config_can_change_and_only_at_its_version() {
        let mut swarm = Swarm::new();
        let id = swarm.create_config(json!({ "Name": "a", "Data": "aGVsbG8=" })).unwrap();
        let version = swarm.configs[&id].meta.version;
        let (status, text) = refused(swarm.update_config(&id, version, json!({ "Name": "a", "Data": "eHg=" })));
        assert_eq!(
            (status, &*text),
            (400, "rpc error: code = InvalidArgument desc = only updates to Labels are allowed")
        );
        assert_eq!(refused(swarm.update_config(&id, version, json!({ "Name": "b" }))).0, 400);
        swarm.update_config("a", version, json!({ "Name": "a", "Labels": { "q": "1" } })).unwrap();
        assert_eq!(refused(swarm.update_config("a", version, json!({ "Name": "a" }))).0, 500);
        assert_eq!(swarm.configs[&id].spec["Labels"], json!({ "q": "1" }));
    }

    #[test]
    fn a_config_in_use_cannot_be_deleted_but_one_of_a_previous_spec_can() {
        let mut swarm = Swarm::three_nodes();
        let old = swarm.config("old", "x");
        let new = swarm.config("new", "y");
        swarm.service("web").config("old", "/etc/x").create();
        swarm.settle();
        let (status, text) = refused(swarm.remove_config("old"));
        assert_eq!(status, 400);
        assert!(text.ends_with("config 'old' is in use by the following service: web"), "{text}");
        swarm
            .edit_service("web", |spec| {
                spec["TaskTemplate"]["ContainerSpec"]["Configs"][0]["ConfigID"] = new.clone().into();
                spec["TaskTemplate"]["ContainerSpec"]["Configs"][0]["ConfigName"] = "new".into();
            })
            .unwrap();
        swarm.remove_config(&old).unwrap();
    }

    #[test]
    fn a_secret_never_shows_its_data() {
        let mut swarm = Swarm::new();
        let id = swarm.create_secret(json!({ "Name": "s", "Data": "aGVsbG8=" })).unwrap();
        assert!(!swarm.secrets[&id].json().contains("aGVsbG8="));
    }
}
