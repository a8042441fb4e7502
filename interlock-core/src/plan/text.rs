//! A plan for people.

use std::fmt;

use super::{Delivered, Plan, Step, Waiting};

/// One line a step: a sign (`+` create, `~` update, `-` remove), the object, the reason, and whether tasks are restarted.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { steps, waiting, delivered } = self;
        if steps.is_empty() && waiting.is_empty() && delivered.is_empty() {
            return writeln!(f, "nothing to do");
        }
        steps.iter().try_for_each(|step| writeln!(f, "{step}"))?;
        for Waiting { cluster, reason } in waiting {
            writeln!(f, ". service cluster {}: {reason}", cluster.title())?;
        }
        for Delivered { cluster, revision } in delivered {
            let cluster = cluster.title();
            writeln!(
                f,
                ". service cluster {cluster}: revision {revision} is delivered by the running core, without new tasks"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster: _, action, reason, restarts_tasks } = self;
        let sign = match action.verb() {
            "create" => '+',
            "update" => '~',
            _ => '-',
        };
        write!(f, "{sign} {}: {reason}", action.object())?;
        if *restarts_tasks && action.verb() == "update" {
            write!(f, " (replaces its tasks one by one)")
        } else {
            Ok(())
        }
    }
}
