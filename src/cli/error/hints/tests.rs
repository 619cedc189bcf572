use std::time::Duration;

use deia_model::Violation;

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
fn messages_say_what_where_and_what_next() {
    let unreachable = CliError::Client(ClientError::Unreachable {
        url: "http://127.0.0.1:8000".into(),
        reason: "Connection refused".into(),
    });
    assert_eq!(
        unreachable.message(),
        [
            "error: no hive answers at http://127.0.0.1:8000 (Connection refused)",
            "  next: start a hive with `deia`, or say where one is with --url or DEIA_URL"
        ]
    );
    let mut invalid = problem(422, "invalid_input");
    if let ClientError::Problem(problem) = &mut invalid {
        problem.errors = ["/content", ""]
            .map(|pointer| Violation {
                pointer: pointer.into(),
                detail: "is out of range".into(),
            })
            .into();
    }
    assert_eq!(
        CliError::Client(invalid).message(),
        [
            "error: what is wrong (invalid_input)",
            "  /content: is out of range",
            "  the input: is out of range"
        ]
    );
    let mut busy = problem(429, "rate_limited");
    if let ClientError::Problem(problem) = &mut busy {
        problem.retry_after = Some(Duration::from_secs(3));
    }
    let lines = CliError::Client(busy).message();
    assert_eq!(lines[1], "  next: try again in 3s");
}

#[test]
fn advice_speaks_of_the_command_line_for_every_code() {
    for code in Code::ALL {
        let mut error = problem(code.status().as_u16(), code.as_str());
        if let ClientError::Problem(problem) = &mut error {
            problem.detail = Some(format!("It is wrong. {}", code.hint()));
        }
        let told = CliError::Client(error).message();
        let first = format!("error: It is wrong ({})", code.as_str());
        assert_eq!(told[0], first, "the advice is in a line of its own");
        for word in [
            "GET ",
            "POST ",
            "DELETE ",
            "JSON pointer",
            "ETag",
            "Idempotency-Key",
            "Authorization",
            "Retry-After",
            "wait_ms",
            "Content-Type",
            "errors names",
        ] {
            assert!(!told.join(" ").contains(word), "{word}: {told:?}");
        }
    }
}

#[test]
fn advice_has_the_id_or_name_that_it_is_about() {
    let id = "task_01h455vb4pex5vsknk084sn02q";
    for (words, said, expected) in [
        (
            "deia task result ID",
            format!("task {id} is completed already"),
            format!("deia task result {id}"),
        ),
        (
            "deia bot stop NAME --wait",
            "bot upper-1 is launched".into(),
            "deia bot stop upper-1 --wait".into(),
        ),
        (
            "deia bot stop NAME --wait",
            "the bot \"b\" is used".into(),
            "deia bot stop b --wait".into(),
        ),
        (
            "deia task logs ID",
            "there is none".into(),
            "deia task logs ID".into(),
        ),
    ] {
        assert_eq!(filled(words, &said), expected);
    }
}

#[test]
fn numbers_of_the_system_are_left_out() {
    let line = "x: No such file or directory (os error 2); next";
    assert_eq!(without_numbers(line), "x: No such file or directory; next");
}

#[test]
fn advice_names_the_roles_that_have_a_permission() {
    for (permission, expected) in [
        (
            "bot:list",
            "the roles admin, operator and viewer have bot:list;",
        ),
        ("admin:keys", "the role admin has admin:keys;"),
        ("new:one", "no role that this program knows has new:one;"),
    ] {
        let mut error = problem(403, "permission_denied");
        if let ClientError::Problem(problem) = &mut error {
            problem.permission = Some(permission.into());
        }
        let told = CliError::Client(error).message();
        assert!(
            told[1].starts_with(&format!("  next: {expected}")),
            "{told:?}"
        );
    }
}

#[test]
fn advice_on_a_missing_thing_names_its_list_and_the_nearest() {
    for (kind, nearest, expected) in [
        ("bot", &["upper-1"][..], "deia bot list (nearest: upper-1)"),
        (
            "user",
            &[],
            "deia user list; create one: deia user add, or --new-user of deia key create",
        ),
        ("task", &[], "deia task list"),
        ("alert", &[], "deia alerts --all"),
    ] {
        let problem = Problem {
            status: 404,
            code: "not_found".into(),
            detail: Some(format!(
                "There is no {kind} \"x\". {}",
                Code::NotFound.hint()
            )),
            missing: Some(deia_client::Missing {
                kind: kind.into(),
                id: "x".into(),
            }),
            ..Problem::default()
        };
        let nearest = nearest.iter().map(ToString::to_string).collect();
        let problem = Box::new(problem);
        let told = CliError::NotThere { problem, nearest }.message();
        assert_eq!(
            told[0],
            format!("error: There is no {kind} \"x\" (not_found)")
        );
        assert_eq!(told[1], format!("  next: list them: {expected}"));
    }
}
