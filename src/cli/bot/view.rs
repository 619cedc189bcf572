//! Bots as tables.

use std::collections::{BTreeMap, HashMap};

use deia_model::{
    Bot, BotDesired, BotLimits, BotName, BotProbe, BotStatus, CircuitState, CommandExecutor,
    ContainmentMeans, Executor, FallbackReason, OnExcess, ProbeMeans, SimulatedProfile,
};

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
        Column::new("GROUP").flows().wide(),
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
            or_dash(bot.group.as_deref()),
            or_dash(bot.fault.as_ref().map(|it| format::short(&it.reason))),
            or_dash(bot.last_exit.as_deref().map(format::short)),
        ]);
    }
    table.render(look)
}

/// Returns the bots with what they do and use.
pub(super) fn top(bots: &[Bot], rates: &HashMap<BotName, f64>, look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("NAME").flows(),
        Column::new("STATUS"),
        Column::new("TASKS").right(),
        Column::new("TASKS/S").right(),
        Column::new("CPU").right(),
        Column::new("MEMORY").right(),
        Column::new("PROCESSES").right(),
        Column::new("DESCRIPTORS").right().wide(),
        Column::new("DONE").right(),
        Column::new("FAILED").right(),
        Column::new("GROUP").flows().wide(),
    ]);
    for bot in bots {
        table.row(vec![
            bot.id.as_str().into(),
            status(bot),
            load(bot).into(),
            or_dash(rates.get(&bot.id).map(|rate| format!("{rate:.1}"))),
            or_dash(bot.cpu_percent.map(|cpu| format!("{cpu:.1} %"))),
            or_dash(bot.memory_bytes.map(format::bytes)),
            or_dash(bot.processes),
            or_dash(bot.descriptors),
            bot.tasks_completed.into(),
            bot.tasks_failed.into(),
            or_dash(bot.group.as_deref()),
        ]);
    }
    table.render(look)
}

pub(super) fn details(bot: &Bot, look: &Look) -> String {
    let mut table = Table::fields();
    table.field("name", bot.id.as_str());
    table.field("status", status(bot));
    table.field(
        "desired",
        match bot.desired {
            BotDesired::Launched => "launched",
            BotDesired::Draining => "stopped, once its running tasks have ended",
            BotDesired::Stopped => "stopped",
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
    fleet(bot, &mut table);
    table.field("takes", takes(bot));
    table.field("kind of bot", bot.capabilities.bot_type.as_str());
    table.field("running tasks", load(bot));
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
    resources(bot, &mut table);
    if let Some(probe) = &bot.probe {
        table.field("probe", probe_of(probe));
    }
    if let Some(reason) = &bot.unreachable {
        table.field("unreachable", Cell::new(reason, Tone::Bad));
    }
    if let Some(seconds) = bot.idle_timeout_seconds {
        let limit = format::millis(seconds.saturating_mul(1_000));
        table.field("idle time-out", limit);
    }
    let when = |at: Option<_>| or_dash(at.map(|at| format::when_exactly(at, look.now)));
    table.field("launched", when(bot.launched_at));
    table.field("last heartbeat", when(bot.last_heartbeat));
    let lives = |lives: bool| if lives { "alive" } else { "dead" };
    table.field("process", or_dash(bot.liveness.process.map(lives)));
    table.field("channel", lives(bot.liveness.channel));
    table.field("last progress", when(bot.liveness.progress_at));
    table.field("restarts", bot.restarts);
    table.field("last exit", or_dash(bot.last_exit.as_deref()));
    if let Some(fault) = &bot.fault {
        table.field("fault", Cell::new(&fault.reason, Tone::Bad));
        table.field("consecutive faults", fault.in_a_row);
        table.field("fault since", when(Some(fault.since)));
        table.field("tries again", when(fault.next_try_at));
    }
    circuit(bot, &mut table, look);
    fallback(bot, &mut table, look);
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

fn fleet(bot: &Bot, table: &mut Table) {
    if let Some(group) = &bot.group {
        table.field("group", group.as_str());
    }
    if !bot.labels.is_empty() {
        let labels = bot.labels.iter();
        let labels: Vec<_> = labels
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        table.field("labels", labels.join("\n"));
    }
    if let Some(template) = &bot.template {
        table.field("template", template.as_str());
    }
}

fn resources(bot: &Bot, table: &mut Table) {
    if let (Some(cpu), Some(memory)) = (bot.cpu_percent, bot.memory_bytes) {
        table.field("processor", format!("{cpu:.1} %"));
        table.field("memory", format::bytes(memory));
        table.field("descriptors", or_dash(bot.descriptors));
        table.field("processes", or_dash(bot.processes));
    }
    for (name, limit) in limits(&bot.limits) {
        table.field(name, limit);
    }
}

fn circuit(bot: &Bot, table: &mut Table, look: &Look) {
    let when = |at: Option<_>| or_dash(at.map(|at| format::when_exactly(at, look.now)));
    if let Some(circuit) = &bot.circuit {
        let (word, tone) = match circuit.state {
            CircuitState::Closed => ("closed", Tone::Good),
            CircuitState::HalfOpen => ("half-open: one task at a time tries", Tone::Attention),
            CircuitState::Open => ("open: takes no tasks", Tone::Bad),
        };
        table.field("circuit", Cell::new(word, tone));
        table.field("consecutive failures", circuit.failures);
        table.field("failure rate", or_dash(circuit.rate.map(format::share)));
        table.field("circuit since", when(circuit.since));
        table.field("tries again", when(circuit.until));
    }
}

fn fallback(bot: &Bot, table: &mut Table, look: &Look) {
    let names = |bots: &[BotName]| {
        let names: Vec<&str> = bots.iter().map(BotName::as_str).collect();
        names.join(", ")
    };
    if !bot.fallback.is_empty() {
        table.field("fallback bots", names(&bot.fallback));
    }
    if let Some(in_use) = &bot.fallback_in_use {
        let reason = match in_use.reason {
            FallbackReason::Failing => "the bot is failing",
            FallbackReason::CircuitOpen => "its circuit is open",
            FallbackReason::Suspended => "the bot is suspended",
        };
        table.field("fallback in use", Cell::new(reason, Tone::Attention));
        table.field(
            "fallback since",
            format::when_exactly(in_use.since, look.now),
        );
    }
    if !bot.stands_in_for.is_empty() {
        table.field("stands in for", names(&bot.stands_in_for));
    }
}

fn probe_of(probe: &BotProbe) -> String {
    let means = match probe.means() {
        Some(ProbeMeans::Tcp) | None => "connects to its port".to_owned(),
        Some(ProbeMeans::Http(path)) => format!("GET {path} at its port"),
        Some(ProbeMeans::Command(words)) => format!("command: {}", words.join(" ")),
    };
    format!(
        "{means}, every {} s, unreachable after {}",
        probe.every_seconds,
        format::count(u64::from(probe.failures), "failure", "failures"),
    )
}

fn limits(limits: &BotLimits) -> Vec<(&'static str, String)> {
    let BotLimits {
        memory_bytes,
        cpu_seconds,
        descriptors,
        processes,
        on_excess,
    } = *limits;
    let given = [
        ("limit of memory", memory_bytes.map(format::bytes)),
        (
            "limit of processor time",
            cpu_seconds.map(|seconds| format!("{seconds} s an attempt")),
        ),
        ("limit of descriptors", descriptors.map(|n| n.to_string())),
        ("limit of processes", processes.map(|n| n.to_string())),
        (
            "over a limit",
            (on_excess == OnExcess::Fail).then(|| "the task fails for good".to_owned()),
        ),
    ];
    let given = given.into_iter();
    given
        .filter_map(|(name, limit)| Some((name, limit?)))
        .collect()
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
        Executor::Command(command) => program("command", command),
        Executor::Worker(worker) => program("worker", &worker.program()),
        Executor::Remote(remote) => match remote.heartbeat_seconds {
            Some(seconds) => format!("remote workers, a heartbeat every {seconds} s"),
            None => "remote workers".to_owned(),
        },
        Executor::Http(http) => {
            let mut text = format!("http: {}", http.url);
            text.push_str(&headers(&http.headers));
            if let Some(ms) = http.timeout_ms {
                text.push_str(&format!("\nanswers within {}", format::millis(ms)));
            }
            if let Some(url) = &http.health_url {
                text.push_str(&format!("\nprobed at {url}"));
            }
            text
        }
        Executor::Llm(llm) => {
            let path = llm.api.path();
            let mut text = format!("llm: {} at {}, {path}", llm.model, llm.base_url);
            text.push_str(&headers(&llm.headers));
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

fn headers(headers: &BTreeMap<String, String>) -> String {
    let line =
        |(name, value): (&String, &String)| format!("\nwith {name}: {}", format::one_line(value));
    headers.iter().map(line).collect()
}

fn program(kind: &str, command: &CommandExecutor) -> String {
    let mut text = format!("{kind}: {}", command.command.join(" "));
    for (name, value) in &command.env {
        text.push_str(&format!("\nwith {name}={}", format::one_line(value)));
    }
    if let Some(dir) = &command.working_dir {
        text.push_str(&format!("\nin {dir}"));
    }
    text
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
