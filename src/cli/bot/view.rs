//! Bots as tables.

use deia_model::{Bot, BotDesired, BotStatus, ContainmentMeans, Executor, SimulatedProfile};

use crate::cli::{
    format,
    output::Look,
    table::{Cell, Column, Table, Tone, or_dash},
    wait::status_name,
};

pub(super) fn list(bots: &[Bot], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("NAME").flows(),
        Column::new("STATUS"),
        Column::new("KIND"),
        Column::new("TASKS").right(),
        Column::new("DONE").right(),
        Column::new("FAILED").right(),
        Column::new("RESTARTS").right().wide(),
        Column::new("LAUNCHED"),
        Column::new("VERSION").right().wide(),
        Column::new("TAKES").flows().wide(),
        Column::new("FAULT").flows().wide(),
        Column::new("LAST EXIT").flows().wide(),
    ]);
    for bot in bots {
        table.row(vec![
            bot.id.as_str().into(),
            status(bot),
            bot.executor.kind().into(),
            load(bot).into(),
            bot.tasks_completed.into(),
            bot.tasks_failed.into(),
            bot.restarts.into(),
            or_dash(bot.launched_at.map(|at| format::when(at, look.now))),
            bot.version.into(),
            takes(bot).into(),
            or_dash(bot.fault.as_ref().map(|it| format::short(&it.reason))),
            or_dash(bot.last_exit.as_deref().map(format::short)),
        ]);
    }
    table.render(look)
}

pub(super) fn details(bot: &Bot, look: &Look) -> String {
    let mut table = Table::fields();
    table.field("name", bot.id.as_str());
    table.field("status", status(bot));
    table.field(
        "meant to run",
        match bot.desired {
            BotDesired::Launched => "yes",
            BotDesired::Draining => "until its running tasks have ended",
            BotDesired::Stopped => "no",
        },
    );
    table.field("executor", executor(&bot.executor));
    if !bot.secrets.is_empty() {
        let each = bot.secrets.iter();
        let lines: Vec<_> = each
            .map(|(name, place)| format!("{name} from {place}"))
            .collect();
        table.field("secrets", lines.join("\n"));
    }
    table.field("takes", takes(bot));
    table.field("kind of bot", bot.capabilities.bot_type.as_str());
    table.field("tasks in hand", load(bot));
    table.field("done", bot.tasks_completed);
    table.field("failed", bot.tasks_failed);
    table.field("success rate", or_dash(bot.success_rate.map(format::share)));
    table.field("version", bot.version);
    table.field("port", bot.port);
    let pids: Vec<_> = bot.pids.iter().map(ToString::to_string).collect();
    table.field(
        "process ids",
        or_dash((!pids.is_empty()).then(|| pids.join(", "))),
    );
    let when = |at: Option<_>| or_dash(at.map(|at| format::when_exactly(at, look.now)));
    table.field("launched", when(bot.launched_at));
    table.field("last heartbeat", when(bot.last_heartbeat));
    table.field("restarts", bot.restarts);
    table.field("last exit", or_dash(bot.last_exit.as_deref()));
    if let Some(fault) = &bot.fault {
        table.field("fault", Cell::new(&fault.reason, Tone::Bad));
        table.field("consecutive faults", fault.in_a_row);
        table.field("fault since", when(Some(fault.since)));
        table.field("tries again", when(fault.next_try_at));
    }
    if let Some(containment) = &bot.containment {
        let means = match containment.means {
            ContainmentMeans::Subreaper => "subreaper",
            ContainmentMeans::EnvironmentMarks => "environment marks",
        };
        table.field("containment", means);
        table.field("could escape", containment.escape.as_str());
    }
    table.render(look)
}

fn status(bot: &Bot) -> Cell {
    let tone = match bot.status {
        BotStatus::Healthy => Tone::Good,
        BotStatus::Starting | BotStatus::Degraded | BotStatus::Draining => Tone::Attention,
        BotStatus::Failing => Tone::Bad,
        BotStatus::Offline | BotStatus::Stopped => Tone::Faint,
    };
    Cell::new(status_name(bot.status), tone)
}

fn load(bot: &Bot) -> String {
    format!(
        "{}/{}",
        bot.running_tasks, bot.capabilities.max_concurrent_tasks
    )
}

fn takes(bot: &Bot) -> String {
    let types = &bot.capabilities.specializations;
    if types.is_empty() {
        return "any".into();
    }
    let names: Vec<_> = types.iter().map(|name| name.as_str()).collect();
    names.join(", ")
}

fn executor(executor: &Executor) -> String {
    match executor {
        Executor::Command(command) => {
            let mut text = format!("command: {}", command.command.join(" "));
            for (name, value) in &command.env {
                text.push_str(&format!("\nwith {name}={}", format::one_line(value)));
            }
            if let Some(dir) = &command.working_dir {
                text.push_str(&format!("\nin {dir}"));
            }
            text
        }
        Executor::Simulated(simulated) => {
            let profile = simulated.profile();
            let latency = (profile.latency_min_ms, profile.latency_max_ms);
            let (from, to) = (format::millis(latency.0), format::millis(latency.1));
            format!("simulated: {from} to {to}, {}", fates(&profile))
        }
    }
}

/// Returns the shares of the outcomes of simulated attempts, in the order in which they
/// are drawn.
fn fates(profile: &SimulatedProfile) -> String {
    let hang = profile.hang_rate.min(1.0);
    let crash = profile.crash_rate.min(1.0 - hang);
    let succeed = profile.success_rate.min(1.0 - hang - crash);
    let shares = [
        (succeed, "succeed"),
        (1.0 - hang - crash - succeed, "fail"),
        (crash, "crash"),
        (hang, "hang"),
    ];
    let drawn = shares.into_iter().filter(|(share, _)| *share >= 0.000_5);
    let words = drawn.map(|(share, fate)| format!("{} {fate}", format::share(share)));
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use deia_model::SimulatedExecutor;

    use super::*;

    #[test]
    fn simulated_fates_are_those_that_are_drawn() {
        for (success_rate, crash_rate, hang_rate, expected) in [
            (0.7, 0.05, 0.0, "70.0 % succeed, 25.0 % fail, 5.0 % crash"),
            (1.0, 1.0, 0.0, "100.0 % crash"),
            (1.0, 0.0, 0.0, "100.0 % succeed"),
            (0.0, 0.0, 0.0, "100.0 % fail"),
            (0.9, 0.2, 0.1, "70.0 % succeed, 20.0 % crash, 10.0 % hang"),
        ] {
            let profile = SimulatedProfile {
                success_rate,
                crash_rate,
                hang_rate,
                ..SimulatedExecutor::default().profile()
            };
            assert_eq!(fates(&profile), expected);
        }
    }
}
