//! Lines of people for the program of a bot.

use deia_ledger::RecordEvents;
use deia_model::{Action, Bot, BotName, NewEvent, Principal, TaskId, TaskStatus, Violation};
use tokio::sync::mpsc::error::TrySendError;

use super::{BotsApi, worker::InputLine};
use crate::HiveError;

impl BotsApi {
    /// Hands a line to the program of a bot, about a task that it runs if one is given. Who did
    /// so is recorded first, without the line. The program may end before it reads the line.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], [`HiveError::Invalid`], or [`HiveError::BotTakesNoInput`].
    pub async fn input(
        &self,
        who: &Principal,
        name: &BotName,
        line: (String, Option<TaskId>),
    ) -> Result<Bot, HiveError> {
        let (text, task) = line;
        let bot = self.get(name).await?;
        let max_bytes = self.config().bots.worker.max_line_bytes.as_u64();
        if let Some(violation) = violation(&text, max_bytes) {
            return Err(HiveError::Invalid(vec![violation]));
        }
        if let Some(task) = task {
            self.runs(name, task).await?;
        }
        let refused = |why: String| Err(HiveError::BotTakesNoInput(why));
        let Some(input) = self.registry.input(name) else {
            return refused(why_none(&bot));
        };
        // There is room for the line before its event is recorded.
        let place = match input.try_reserve() {
            Ok(place) => place,
            Err(TrySendError::Full(())) => {
                return refused(format!(
                    "bot {name} has not read earlier lines yet (bots.worker.max_waiting_inputs)"
                ));
            }
            Err(TrySendError::Closed(())) => return refused(why_none(&bot)),
        };
        let details = serde_json::json!({"task": task, "bytes": text.len()});
        let event = NewEvent::new(Action::BotAttached, who.user.to_string(), name.as_str());
        let recorded = RecordEvents(vec![event.details(details)]);
        self.access.apply_for(who, recorded).await?;
        place.send(InputLine { task, text });
        Ok(bot)
    }

    /// Fails if the bot does not run that task.
    async fn runs(&self, name: &BotName, id: TaskId) -> Result<(), HiveError> {
        let task = self.ledger.task(id).await?;
        let task = task.ok_or_else(|| HiveError::NotFound {
            kind: "task",
            id: id.to_string(),
        })?;
        let is_here = task.assigned_bot.as_ref() == Some(name);
        match is_here && task.status == TaskStatus::Running {
            true => Ok(()),
            false => Err(HiveError::BotTakesNoInput(format!(
                "bot {name} does not run task {id}"
            ))),
        }
    }
}

/// Returns why a text is no line.
fn violation(text: &str, max_bytes: u64) -> Option<Violation> {
    let detail = if text.contains('\0') {
        "has a NUL character".to_owned()
    } else if text.len() as u64 > max_bytes {
        format!("is over {max_bytes} bytes (bots.worker.max_line_bytes)")
    } else {
        return None;
    };
    Some(Violation {
        pointer: "/text".into(),
        detail,
    })
}

/// Returns why there is no program that reads lines.
fn why_none(bot: &Bot) -> String {
    let (name, kind) = (&bot.id, bot.executor.kind());
    match kind {
        "worker" => format!("the program of bot {name} does not run now"),
        _ => format!("bot {name} is of the kind {kind}; only a worker reads lines of people"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_checked() {
        for (text, expected) in [
            ("", None),
            ("12345\n78", None),
            (
                "123456789",
                Some("is over 8 bytes (bots.worker.max_line_bytes)"),
            ),
            ("a\0", Some("has a NUL character")),
        ] {
            let found = violation(text, 8);
            assert_eq!(found.as_ref().map(|it| &*it.detail), expected, "{text:?}");
        }
    }
}
