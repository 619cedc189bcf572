use super::*;

fn problem(status: u16, code: &str) -> ClientError {
    ClientError::Problem(Box::new(Problem {
        status,
        code: code.into(),
        title: "Title".into(),
        detail: Some("what is wrong".into()),
        ..Problem::default()
    }))
}

#[test]
fn the_table_of_exit_codes() {
    for (status, expected) in [
        (400, Exit::Usage),
        (413, Exit::Usage),
        (416, Exit::Usage),
        (422, Exit::Usage),
        (401, Exit::Denied),
        (403, Exit::Denied),
        (404, Exit::NotFound),
        (409, Exit::Conflict),
        (412, Exit::Conflict),
        (429, Exit::Failed),
        (500, Exit::Failed),
        (503, Exit::Failed),
        (504, Exit::TimedOut),
        (507, Exit::Failed),
    ] {
        let error = CliError::Client(problem(status, "x"));
        assert_eq!(error.exit(), expected, "{status}");
    }
    let url = || "http://h".to_owned();
    let reason = || "r".to_owned();
    let after = Duration::from_secs(1);
    for (error, expected) in [
        (
            ClientError::Invalid {
                what: url(),
                reason: reason(),
            },
            2,
        ),
        (
            ClientError::Unreachable {
                url: url(),
                reason: reason(),
            },
            7,
        ),
        (ClientError::TimedOut { what: url(), after }, 8),
        (
            ClientError::Protocol {
                url: url(),
                reason: reason(),
            },
            1,
        ),
    ] {
        assert_eq!(CliError::Client(error).exit() as u8, expected);
    }
    let name: BotName = "b-1".parse().unwrap();
    let broken = |kind: io::ErrorKind| CliError::Stream {
        stream: "standard output",
        error: kind.into(),
    };
    for (error, expected) in [
        (
            CliError::CannotAsk {
                action: reason(),
                options: "--yes",
            },
            2,
        ),
        (CliError::NotConfirmed, 1),
        (CliError::Unhealthy(reason()), 3),
        (
            CliError::NoKey {
                url: url(),
                reason: reason(),
            },
            5,
        ),
        (CliError::BotExists { name: name.clone() }, 6),
        (
            CliError::AppliedInPart {
                failed: 1,
                conflicts: 1,
                of: 3,
            },
            6,
        ),
        (
            CliError::AppliedInPart {
                failed: 1,
                conflicts: 0,
                of: 3,
            },
            1,
        ),
        (
            CliError::BotNotThere {
                name: name.clone(),
                running: 0,
                status: "starting",
                after,
            },
            8,
        ),
        (
            CliError::BotWentWrong {
                name,
                status: "failing",
                reason: reason(),
            },
            1,
        ),
        (
            CliError::TaskFailed {
                id: TaskId::new(),
                how: reason(),
            },
            1,
        ),
        (
            CliError::TaskNotEnded {
                id: TaskId::new(),
                after,
                why: None,
            },
            8,
        ),
        (
            CliError::Interrupted {
                stays: Stays::Nothing,
            },
            130,
        ),
        (
            CliError::NotShown {
                done: reason(),
                next: reason(),
                error: Box::new(broken(io::ErrorKind::BrokenPipe)),
            },
            1,
        ),
        (CliError::No { reason: reason() }, 1),
        (broken(io::ErrorKind::BrokenPipe), 0),
        (broken(io::ErrorKind::StorageFull), 1),
    ] {
        assert_eq!(error.exit() as u8, expected, "{error:?}");
    }
}
