//! Writing: one call per action, and no choice left to make.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use serde_json::Value;

use super::observe::encode;
use super::{Client, Error, ErrorKind, OwnSpecs, convert, within};
use crate::kinds::Manifest;
use crate::ownership;
use crate::plan::{self, Action, Created};
use crate::swarm::Labels;
use crate::trust::SignedManifest;
use crate::units::{ConfigId, ServiceId};

impl Client {
    /// Carries one action out.
    ///
    /// `specs` are those that were read together with the snapshot that the plan was made from. `created` collects the ids of
    /// what this plan created, and later actions of the plan take them from there; begin each plan with an empty one.
    ///
    /// # Guarantees
    ///
    /// - Doing it twice does no harm: what is created already, or gone already, counts as done.
    /// - A service that changed since it was read is not written to: the engine refuses, or we do.
    ///
    /// # Errors
    ///
    /// [`ErrorKind`] says what to do. After [`ErrorKind::Unavailable`] it is not known whether the action happened.
    pub async fn apply(&self, action: &Action, specs: &OwnSpecs, created: &mut Created) -> Result<(), Error> {
        let object = action.object();
        match action {
            Action::CreateManifest { name, labels, manifest } => {
                let id = self.create_manifest(&object, name, labels, manifest).await?;
                created.configs.insert(name.clone(), id);
                Ok(())
            }
            Action::CreateConfig { name, labels, data } => {
                let id = self.create_config(&object, name, labels, data, |there| there == data).await?;
                created.configs.insert(name.clone(), id);
                Ok(())
            }
            Action::CreateNetwork { name, labels } => {
                let id = self.create_network(&object, name, labels).await?;
                created.networks.insert(name.clone(), id);
                Ok(())
            }
            Action::CreateAuthority { name } => {
                let id = self.create_authority(&object, name).await?;
                created.secrets.insert(name.clone(), id);
                Ok(())
            }
            Action::CreateIdentity { name, holder, cluster, labels } => {
                let id = self.create_identity(&object, name, *holder, cluster, labels).await?;
                created.secrets.insert(name.clone(), id);
                Ok(())
            }
            Action::CreateService { name: _, spec } => {
                let mut spec = spec.clone();
                fill(&object, &mut spec, created)?;
                self.post(&object, "/services/create", &spec).await
            }
            Action::UpdateService { id, name: _, version, changes } => {
                let mut spec = read_at(&object, specs, id, *version)?.clone();
                plan::merge(&mut spec, changes);
                fill(&object, &mut spec, created)?;
                self.post(&object, &format!("/services/{}/update?version={version}", encode(id.as_str())), &spec).await
            }
            Action::RollBackService { id, name: _, version } => {
                // The engine checks the spec that is sent along, and uses the previous one.
                let spec = read_at(&object, specs, id, *version)?;
                let path = format!("/services/{}/update?version={version}&rollback=previous", encode(id.as_str()));
                self.post(&object, &path, spec).await
            }
            Action::RemoveService { id, name: _ } => {
                self.removed(&object, self.docker.delete_service(id.as_str())).await
            }
            Action::RemoveConfig { id, name: _ } => self.removed(&object, self.docker.delete_config(id.as_str())).await,
            Action::RemoveSecret { id, name: _ } => self.removed(&object, self.docker.delete_secret(id.as_str())).await,
            Action::RemoveNetwork { id, name: _ } => {
                self.removed(&object, self.docker.remove_network(id.as_str())).await
            }
        }
    }

    async fn post(&self, object: &str, path: &str, spec: &Value) -> Result<(), Error> {
        let body = Bytes::from(spec.to_string());
        self.call(object, Method::POST, path, body, self.deadlines.write).await.map(drop)
    }

    /// Creates the config object with a manifest, signed. Each signature is another, so one that is there already only has to be good.
    async fn create_manifest(
        &self,
        object: &str,
        name: &str,
        labels: &Labels,
        manifest: &Manifest,
    ) -> Result<ConfigId, Error> {
        let Some(authority) = &self.authority else { return Err(Error::NoAuthority { object: object.to_owned() }) };
        let signed = SignedManifest::sign(manifest.clone(), authority)
            .map_err(|source| Error::Authority { object: object.to_owned(), source: source.into() })?;
        let is_same = |there: &str| {
            let there = SignedManifest::from_toml(there).ok();
            there.is_some_and(|there| there.is_signed_by(authority.certificate()) && there.manifest == *manifest)
        };
        self.create_config(object, name, labels, &signed.to_toml(), is_same).await
    }

    /// Creates the config object. The name has a hash of the data in it, so one that is there already is most likely the same.
    async fn create_config(
        &self,
        object: &str,
        name: &str,
        labels: &Labels,
        data: &str,
        is_same: impl Fn(&str) -> bool,
    ) -> Result<ConfigId, Error> {
        let spec = bollard::models::ConfigSpec {
            name: Some(name.to_owned()),
            labels: Some(hashed(labels)),
            data: Some(STANDARD.encode(data)),
            templating: None,
        };
        let failed = |error| Error::bollard(self.transport.url(), object, error);
        let answer =
            within(object, self.deadlines.write, async { self.docker.create_config(spec).await.map_err(failed) });
        match answer.await {
            Ok(answer) => Ok(ConfigId::new(answer.id)),
            Err(Error::Refused { status: 409, .. }) => self.adopt(object, name, is_same).await,
            Err(error) => Err(error),
        }
    }

    /// Takes a config object that exists for the one that was to be created, if it is the same and ours.
    async fn adopt(&self, object: &str, name: &str, is_same: impl Fn(&str) -> bool) -> Result<ConfigId, Error> {
        let json = self.get(object, &format!("/configs/{}", encode(name)), self.deadlines.inspect).await?;
        let config = convert::config(&json).map_err(|source| Error::Answer { object: object.to_owned(), source })?;
        let foreign = |what: &str| Err(Error::Foreign { object: object.to_owned(), what: what.to_owned() });
        if !ownership::is_ours(&config.labels) {
            return foreign("does not carry our ownership label");
        }
        if !is_same(&config.data) {
            return foreign("has other content");
        }
        Ok(config.id)
    }

    /// Waits for a removal. What is gone already is removed.
    async fn removed(
        &self,
        object: &str,
        removal: impl Future<Output = Result<(), bollard::errors::Error>>,
    ) -> Result<(), Error> {
        let failed = |error| Error::bollard(self.transport.url(), object, error);
        match within(object, self.deadlines.write, async { removal.await.map_err(failed) }).await {
            Err(error) if error.kind() == ErrorKind::Gone => Ok(()),
            result => result,
        }
    }
}

/// The spec of a service as it was read, if that was the version that the plan was made against.
fn read_at<'s>(object: &str, specs: &'s OwnSpecs, id: &ServiceId, version: u64) -> Result<&'s Value, Error> {
    let stale = |what: String| Error::Stale { object: object.to_owned(), what };
    let (read, spec) = specs.get(id).ok_or_else(|| stale("is not among the services that were read".to_owned()))?;
    if read == version {
        Ok(spec)
    } else {
        Err(stale(format!("was planned at version {version} and read at version {read}")))
    }
}

fn fill(object: &str, spec: &mut Value, created: &Created) -> Result<(), Error> {
    match plan::fill_ids(spec, created).as_slice() {
        [] => Ok(()),
        missing => {
            let what = format!("refers to {}, which this plan did not create", missing.join(", "));
            Err(Error::Stale { object: object.to_owned(), what })
        }
    }
}

/// Bollard wants its labels in random order.
#[expect(clippy::disallowed_types, reason = "bollard's own type; the engine sorts labels again")]
fn hashed(labels: &Labels) -> std::collections::HashMap<String, String> {
    labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}
