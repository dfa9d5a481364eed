//! What commands ask of the loop that owns the configuration in force. One owner carries out one order after the
//! other, so that reading the configuration again and setting limits cannot race.

use crate::config::{Config, InForce, Limit, LimitChange, written_text};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

/// Orders that wait at most; each is of a command that waits, too.
const WAITING_MAX: usize = 16;

/// Something to be done by the owner of the configuration in force.
#[derive(Debug)]
pub struct Order {
    task: Task,
    reply: oneshot::Sender<Result<Value, String>>,
}

#[derive(Debug)]
enum Task {
    Reload,
    ShowLimits,
    SetLimits(Vec<String>),
}

/// Where the answer to an order goes.
#[derive(Debug)]
pub struct Answer(oneshot::Sender<Result<Value, String>>);

/// For commands: a way to give orders.
#[derive(Clone, Debug)]
pub struct Orders(mpsc::Sender<Order>);

/// A way to give orders, and one to take them.
#[must_use]
pub fn orders() -> (Orders, mpsc::Receiver<Order>) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (Orders(sender), receiver)
}

impl Answer {
    /// Tells what became of it.
    pub fn give(self, result: Result<(), String>) {
        // Whoever asked may have stopped waiting.
        let _ = self.0.send(result.map(|()| json!({ "reloaded": true })));
    }
}

impl Orders {
    /// Reads the configuration again. Blocks.
    pub(super) fn reload(&self) -> Result<Value, String> {
        self.give(Task::Reload)
    }

    /// Every limit in force. Blocks.
    pub(super) fn show_limits(&self) -> Result<Value, String> {
        self.give(Task::ShowLimits)
    }

    /// Sets limits, all or none. Blocks.
    pub(super) fn set_limits(&self, assignments: Vec<String>) -> Result<Value, String> {
        self.give(Task::SetLimits(assignments))
    }

    fn give(&self, task: Task) -> Result<Value, String> {
        let (reply, answer) = oneshot::channel();
        let stopping = "the broker is stopping";
        self.0
            .blocking_send(Order { task, reply })
            .map_err(|_| stopping)?;
        answer.blocking_recv().map_err(|_| stopping)?
    }
}

impl Order {
    /// Where the answer goes, if it is to read the configuration again, which takes its time.
    ///
    /// # Errors
    /// Any other order, which [`Order::obey`] carries out.
    pub fn if_reload(self) -> Result<Answer, Self> {
        match self.task {
            Task::Reload => Ok(Answer(self.reply)),
            _ => Err(self),
        }
    }

    /// Carries it out; `apply` puts a configuration in force.
    pub fn obey(self, in_force: &mut InForce, apply: impl FnOnce(&Config)) {
        let result = match self.task {
            Task::Reload => Err("it takes time, and is not to be done here".to_owned()),
            Task::ShowLimits => Ok(json!({
                "file": in_force.now().file.as_ref().map(|file| file.display().to_string()),
                "limits": in_force.limits().iter().map(limit).collect::<Vec<_>>(),
            })),
            Task::SetLimits(assignments) => match in_force.set_limits(&assignments) {
                Ok(changes) => {
                    apply(in_force.now());
                    Ok(json!({ "changed": changes.iter().map(change).collect::<Vec<_>>() }))
                }
                Err(problems) => Err(lines(&problems)),
            },
        };
        // Whoever asked may have stopped waiting.
        let _ = self.reply.send(result);
    }
}

/// What the log says of limits that hold no longer.
#[must_use]
pub fn replaced_text(changes: &[LimitChange]) -> String {
    let text = |change: &LimitChange| {
        let (before, after) = (written_text(&change.before), written_text(&change.after));
        format!("{} was set to {before} and is {after} again", change.key)
    };
    changes.iter().map(text).collect::<Vec<_>>().join("; ")
}

pub(super) fn lines<T: ToString>(problems: &[T]) -> String {
    problems.iter().map(T::to_string).collect::<Vec<_>>().join("\n")
}

fn limit(limit: &Limit) -> Value {
    json!({
        "key": limit.key,
        "value": limit.value,
        "configured": limit.configured,
        "from": limit.origin.name(),
    })
}

fn change(change: &LimitChange) -> Value {
    json!({ "key": change.key, "value": change.after, "before": change.before })
}
