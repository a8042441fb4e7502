//! Creating networks and identities.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::observe::encode;
use super::{Client, Error, convert, parse};
use crate::desired::Role;
use crate::names::{Cluster, NetworkId, SecretId};
use crate::ownership;
use crate::snapshot::Labels;
use crate::trust;

#[derive(Deserialize)]
struct CreatedId {
    #[serde(rename = "ID", alias = "Id")]
    id: String,
}

impl Client {
    /// Creates an overlay network, or finds the one that has this name.
    pub(super) async fn create_network(&self, object: &str, name: &str, labels: &Labels) -> Result<NetworkId, Error> {
        // A second one of the same name could be created otherwise: names of networks are no keys.
        let known = self.get(object, "/networks", self.deadlines.list).await?;
        let known = convert::networks(&known).map_err(|source| Error::Answer { object: object.to_owned(), source })?;
        if let Some(network) = known.into_iter().find(|network| network.name == name) {
            return Ok(network.id);
        }
        let body = json!({
            "Name": name, "Driver": "overlay", "Scope": "swarm", "Labels": labels, "CheckDuplicate": true,
        });
        Ok(NetworkId::new(self.create(object, "/networks/create", &body.to_string()).await?))
    }

    /// Issues a certificate and stores it with its key as a secret, or finds the one that has this name.
    pub(super) async fn create_identity(
        &self,
        object: &str,
        name: &str,
        role: Role,
        holder: &Cluster,
        labels: &Labels,
    ) -> Result<SecretId, Error> {
        let Some(authority) = &self.authority else { return Err(Error::NoAuthority { object: object.to_owned() }) };
        let issued = authority
            .issue(trusted(role), holder)
            .map_err(|source| Error::Authority { object: object.to_owned(), source: source.into() })?;
        let mut labels = labels.clone();
        labels.insert(ownership::FINGERPRINT.to_owned(), issued.fingerprint.to_string());
        // Not by bollard, which logs what it sends.
        let body = json!({ "Name": name, "Labels": labels, "Data": STANDARD.encode(issued.pem.as_bytes()) });
        match self.create(object, "/secrets/create", &body.to_string()).await {
            Ok(id) => Ok(SecretId::new(id)),
            Err(Error::Refused { status: 409, .. }) => self.adopt_identity(object, name).await,
            Err(error) => Err(error),
        }
    }

    /// Takes a secret that exists for the one that was to be created, if it is ours: an earlier call got through after all.
    async fn adopt_identity(&self, object: &str, name: &str) -> Result<SecretId, Error> {
        let json = self.get(object, &format!("/secrets/{}", encode(name)), self.deadlines.inspect).await?;
        let secret = convert::secret(&json).map_err(|source| Error::Answer { object: object.to_owned(), source })?;
        if ownership::is_ours(&secret.labels) && secret.labels.contains_key(ownership::FINGERPRINT) {
            return Ok(secret.id);
        }
        let what = "does not carry our ownership label".to_owned();
        Err(Error::Foreign { object: object.to_owned(), what })
    }

    async fn create(&self, object: &str, path: &str, body: &str) -> Result<String, Error> {
        let body = Bytes::from(body.to_owned());
        let answer = self.call(object, Method::POST, path, body, self.deadlines.write).await?;
        Ok(parse::<CreatedId>(object, &answer)?.id)
    }
}

fn trusted(role: Role) -> trust::Role {
    match role {
        Role::Extension => trust::Role::Extension,
        Role::Proxy => trust::Role::Proxy,
    }
}
