//! Creating networks and identities.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::identities::{statement, verified};
use super::observe::encode;
use super::{Client, Error, convert, parse};
use crate::ownership;
use crate::swarm::{Holder, Identity, Labels, Secret};
use crate::trust::{self, Authority};
use crate::units::{Cluster, Fingerprint, NetworkId, Role, SecretId};

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

    /// Makes an authority and stores it as a secret. One that exists under this name counts only if this connection made it: whoever
    /// may create secrets could have put one of his own there.
    pub(super) async fn create_authority(&self, object: &str, name: &str) -> Result<SecretId, Error> {
        let failed = |source: trust::Error| Error::Authority { object: object.to_owned(), source: source.into() };
        let authority = match self.made.get() {
            Some(made) => made,
            None => {
                let made = Authority::generate().map_err(failed)?;
                self.made.get_or_init(|| made)
            }
        };
        let fingerprint = authority.fingerprint();
        let labels = Labels::from([
            (ownership::OWNER.to_owned(), ownership::OWNER_VALUE.to_owned()),
            (ownership::ROLE.to_owned(), "authority".to_owned()),
            (ownership::FINGERPRINT.to_owned(), fingerprint.to_string()),
        ]);
        let is_same = |secret: &Secret| secret.labels.get(ownership::FINGERPRINT) == Some(&fingerprint.to_string());
        self.store(object, name, &labels, &authority.to_pem(), is_same).await
    }

    /// The fingerprint of the authority that this connection made, if it made one.
    pub fn made_authority(&self) -> Option<Fingerprint> {
        self.made.get().map(Authority::fingerprint)
    }

    /// Issues a certificate and stores it with its key as a secret, signed. One that exists under this name counts if the authority signed
    /// it for this holder: an earlier call got through after all.
    pub(super) async fn create_identity(
        &self,
        object: &str,
        name: &str,
        holder: Holder,
        cluster: &Cluster,
        labels: &Labels,
    ) -> Result<SecretId, Error> {
        let Some(authority) = &self.authority else { return Err(Error::NoAuthority { object: object.to_owned() }) };
        let failed = |source: trust::Error| Error::Authority { object: object.to_owned(), source: source.into() };
        let issued = authority.issue(Role::from(holder), cluster).map_err(failed)?;
        let identity = Identity { holder, cluster: cluster.clone(), fingerprint: issued.fingerprint.clone() };
        let signature = authority.sign(&statement(name, &identity)).map_err(failed)?;
        let mut labels = labels.clone();
        labels.insert(ownership::FINGERPRINT.to_owned(), issued.fingerprint.to_string());
        labels.insert(ownership::SIGNATURE.to_owned(), signature.to_string());
        let is_same = |secret: &Secret| {
            verified(authority, secret).is_some_and(|it| (it.holder, &it.cluster) == (holder, cluster))
        };
        self.store(object, name, &labels, &issued.pem, is_same).await
    }

    async fn store(
        &self,
        object: &str,
        name: &str,
        labels: &Labels,
        pem: &str,
        is_same: impl Fn(&Secret) -> bool,
    ) -> Result<SecretId, Error> {
        // Not by bollard, which logs what it sends.
        let body = json!({ "Name": name, "Labels": labels, "Data": STANDARD.encode(pem) });
        match self.create(object, "/secrets/create", &body.to_string()).await {
            Ok(id) => Ok(SecretId::new(id)),
            Err(Error::Refused { status: 409, .. }) => self.adopt_secret(object, name, is_same).await,
            Err(error) => Err(error),
        }
    }

    async fn adopt_secret(
        &self,
        object: &str,
        name: &str,
        is_same: impl Fn(&Secret) -> bool,
    ) -> Result<SecretId, Error> {
        let json = self.get(object, &format!("/secrets/{}", encode(name)), self.deadlines.inspect).await?;
        let secret = convert::secret(&json).map_err(|source| Error::Answer { object: object.to_owned(), source })?;
        if secret.name == name && is_same(&secret) {
            return Ok(secret.id);
        }
        let what = "is not proven to be interlock's own".to_owned();
        Err(Error::Foreign { object: object.to_owned(), what })
    }

    async fn create(&self, object: &str, path: &str, body: &str) -> Result<String, Error> {
        let body = Bytes::from(body.to_owned());
        let answer = self.call(object, Method::POST, path, body, self.deadlines.write).await?;
        Ok(parse::<CreatedId>(object, &answer)?.id)
    }
}
