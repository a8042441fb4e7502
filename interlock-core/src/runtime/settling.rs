//! Services whose tasks have not come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::docker::ServiceView;
use crate::swarm::{Mode, Service, Task, TaskState};
use crate::units::ServiceId;

/// Services that something happened to and whose tasks have not come to rest. Tasks send no events, so these services are read
/// again and again.
#[derive(Debug, Default)]
pub(super) struct Settling {
    services: BTreeMap<ServiceId, Watched>,
}

#[derive(Debug)]
struct Watched {
    touched: Instant,
    read: Option<Instant>,
}

impl Settling {
    /// How long after an answer the next question comes.
    pub(super) const AGAIN: Duration = Duration::from_millis(75);
    /// A service that looks at rest may only not have begun: Swarm makes its tasks some milliseconds after the event.
    const CALM: Duration = Duration::from_millis(500);
    /// What does not come to rest in this time (an image that cannot be had) is left to the full passes.
    const PATIENCE: Duration = Duration::from_secs(30);
    /// How many services are asked for at once.
    const AT_ONCE: usize = 300;

    /// Something happened to the service.
    pub(super) fn touch(&mut self, id: ServiceId, now: Instant) {
        let watched = self.services.entry(id).or_insert(Watched { touched: now, read: None });
        watched.touched = now;
    }

    /// Which services to ask for next: those that were not asked for the longest.
    pub(super) fn next(&self) -> BTreeSet<ServiceId> {
        let mut ids: Vec<_> = self.services.iter().map(|(id, watched)| (watched.read, id)).collect();
        ids.sort();
        ids.into_iter().take(Self::AT_ONCE).map(|(_, id)| id.clone()).collect()
    }

    /// These services were asked for at this time, and those that exist answered.
    pub(super) fn read(&mut self, asked: &BTreeSet<ServiceId>, at: Instant, views: &BTreeMap<ServiceId, ServiceView>) {
        for id in asked {
            let Some(watched) = self.services.get_mut(id) else { continue };
            watched.read = Some(at);
            let since = at.saturating_duration_since(watched.touched);
            let at_rest = views.get(id).is_none_or(|view| at_rest(&view.service, &view.tasks));
            if watched.touched <= at && ((at_rest && since >= Self::CALM) || since >= Self::PATIENCE) {
                self.services.remove(id);
            }
        }
    }

    /// Whether no service has to be asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.services.is_empty()
    }
}

/// Whether a service's tasks are what it asks for, and no update of it is going on.
fn at_rest(service: &Service, tasks: &[Task]) -> bool {
    if service.update.as_ref().is_some_and(|update| update.state.in_progress()) {
        return false;
    }
    let wanted = || tasks.iter().filter(|task| matches!(task.desired, TaskState::Ready | TaskState::Running));
    match service.spec.mode {
        Mode::Job => true,
        Mode::Global => wanted().all(Task::serves),
        Mode::Replicated(replicas) => {
            wanted().all(Task::serves) && u64::try_from(wanted().count()).is_ok_and(|count| count == replicas)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn view(replicas: u64, states: &[TaskState]) -> ServiceView {
        let tasks = states.iter().map(|state| {
            serde_json::json!({"id": format!("{state:?}"), "service": "s", "desired": "running", "state": state})
        });
        let tasks: Vec<Task> = tasks.map(|task| serde_json::from_value(task).unwrap()).collect();
        let service = serde_json::json!({
            "id": "s", "version": 1, "created_at": "2026-01-01T00:00:00Z",
            "spec": {"name": "shop", "mode": {"replicated": replicas}}});
        ServiceView::for_tests(serde_json::from_value(service).unwrap(), tasks)
    }

    fn answers(settling: &mut Settling, at: Instant, view: Option<ServiceView>) {
        let views = view.map(|view| (ServiceId::from("s"), view)).into_iter().collect();
        let asked = settling.next();
        settling.read(&asked, at, &views);
    }

    #[test]
    fn a_service_is_asked_for_until_its_tasks_rest() {
        use TaskState::{Preparing, Running};
        let start = Instant::now();
        let mut settling = Settling::default();
        settling.touch("s".into(), start);
        answers(&mut settling, start, Some(view(1, &[Running])));
        assert!(!settling.is_empty(), "its new tasks may not be there yet");
        answers(&mut settling, start + ms(600), Some(view(1, &[Preparing])));
        assert!(!settling.is_empty());
        answers(&mut settling, start + ms(700), Some(view(2, &[Running])));
        assert!(!settling.is_empty(), "a task is missing");
        answers(&mut settling, start + ms(800), Some(view(1, &[Running])));
        assert!(settling.is_empty());
    }

    #[test]
    fn a_service_that_never_rests_is_left_to_the_full_passes() {
        let start = Instant::now();
        let mut settling = Settling::default();
        settling.touch("s".into(), start);
        answers(&mut settling, start + ms(29_999), Some(view(1, &[TaskState::Rejected])));
        assert!(!settling.is_empty());
        answers(&mut settling, start + ms(30_000), Some(view(1, &[TaskState::Rejected])));
        assert!(settling.is_empty());
        // A new event begins anew, and a service that is gone is at rest.
        settling.touch("s".into(), start + ms(40_000));
        answers(&mut settling, start + ms(40_100), None);
        assert!(!settling.is_empty());
        answers(&mut settling, start + ms(40_600), None);
        assert!(settling.is_empty());
    }

    #[test]
    fn an_event_during_a_read_is_not_answered_by_it() {
        let start = Instant::now();
        let mut settling = Settling::default();
        settling.touch("s".into(), start);
        let asked = settling.next();
        settling.touch("s".into(), start + ms(700));
        settling.read(&asked, start + ms(600), &BTreeMap::new());
        assert!(!settling.is_empty());
    }

    #[test]
    fn many_services_take_turns() {
        let start = Instant::now();
        let mut settling = Settling::default();
        for number in 0..500 {
            settling.touch(ServiceId::new(format!("{number:03}")), start);
        }
        let first = settling.next();
        assert_eq!(first.len(), Settling::AT_ONCE);
        settling.read(&first, start + ms(1), &first.iter().map(|id| (id.clone(), view(1, &[]))).collect());
        let second = settling.next();
        assert_eq!(second.difference(&first).count(), 200);
    }
}
