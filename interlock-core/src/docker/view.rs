//! What is held of our own services beyond the snapshot.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::plan::{Action, Plan};
use crate::swarm::{Service, Task};
use crate::units::ServiceId;

/// The specs of services that carry our ownership label, as the engine wrote them, with their versions. An update changes fields
/// in the whole spec, so that fields which this program does not know survive.
///
/// They hold environments and commands, so they are neither serialised nor printed.
#[derive(Clone, Default)]
pub struct OwnSpecs(BTreeMap<ServiceId, (u64, Value)>);

impl OwnSpecs {
    /// The spec of this service and its version, if it is one of ours.
    pub(super) fn get(&self, id: &ServiceId) -> Option<(u64, &Value)> {
        self.0.get(id).map(|(version, spec)| (*version, spec))
    }

    /// Adds to what a plan says of each changed field what is deployed now: `replicas: 2 → 3`.
    pub fn show_old_values(&self, plan: &mut Plan) {
        for step in &mut plan.steps {
            let Action::UpdateService { id, changes, .. } = &mut step.action else { continue };
            let Some((_, spec)) = self.get(id) else { continue };
            for change in changes {
                let Some(changed) = change.with_old(spec) else { continue };
                step.reason = step.reason.replacen(&change.summary, &changed, 1);
                change.summary = changed;
            }
        }
    }

    pub(super) fn insert(&mut self, service: &Service, spec: Value) {
        self.0.insert(service.id.clone(), (service.version, spec));
    }

    /// Takes what another one holds of this service, which may be nothing.
    pub fn take_from(&mut self, other: &mut Self, id: &ServiceId) {
        match other.0.remove(id) {
            Some(spec) => self.0.insert(id.clone(), spec),
            None => self.0.remove(id),
        };
    }

    /// Takes what a targeted read found, unless a newer one is held. A service that is gone is `None`.
    pub fn put(&mut self, id: &ServiceId, view: Option<&ServiceView>) {
        match view {
            None => {
                self.0.remove(id);
            }
            Some(view) => {
                if self.0.get(id).is_some_and(|(version, _)| *version > view.service.version) {
                    return;
                }
                match &view.spec {
                    Some(spec) => self.0.insert(id.clone(), (view.service.version, spec.clone())),
                    None => self.0.remove(id),
                };
            }
        }
    }
}

impl fmt::Debug for OwnSpecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions = self.0.iter().map(|(id, (version, _))| (id, version));
        f.debug_map().entries(versions).finish()
    }
}

/// One service with its tasks, as a targeted read found them.
#[derive(Clone)]
pub struct ServiceView {
    /// The service.
    pub service: Service,
    /// Its tasks, the same ones that a whole snapshot has: those that Swarm wants ready or running, of our own services all.
    pub tasks: Vec<Task>,
    /// Of our own services: the whole spec.
    pub(super) spec: Option<Value>,
}

impl ServiceView {
    #[cfg(test)]
    pub(crate) fn for_tests(service: Service, tasks: Vec<Task>) -> Self {
        Self { service, tasks, spec: None }
    }
}

impl fmt::Debug for ServiceView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, tasks, spec: _ } = self;
        f.debug_struct("ServiceView").field("service", service).field("tasks", tasks).finish_non_exhaustive()
    }
}
