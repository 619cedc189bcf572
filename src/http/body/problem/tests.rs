use actix_web::http::StatusCode;
use deia_hive::access::{AuthError, AuthFailure, TokenError};
use deia_ledger::Shortage;
use deia_model::KeyError;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

#[test]
fn errors_of_the_hive_have_their_codes() {
    let bot = "b".parse::<deia_model::BotName>().unwrap();
    let (task, key) = (deia_model::TaskId::new(), deia_model::KeyId::new());
    let status = deia_model::TaskStatus::Completed;
    let cases = [
        (HiveError::BadCursor, Code::BadCursor),
        (
            HiveError::Refused(Rejection::QueueFull { limit: 1 }),
            Code::QueueFull,
        ),
        (
            HiveError::Refused(Rejection::QueueShareUsedUp {
                what: "tasks",
                waiting: 1,
                limit: 1,
                setting: "max_waiting",
            }),
            Code::QueueShareUsedUp,
        ),
        (
            HiveError::MayNotGive(Permission::TaskRead),
            Code::PermissionDenied,
        ),
        (HiveError::NoOutput("x".into()), Code::NoOutput),
        (HiveError::OutputMissing("x".into()), Code::OutputMissing),
        (HiveError::BeyondOutput { length: 1 }, Code::BeyondOutput),
        (HiveError::BadEventId("x".into()), Code::BadEventId),
        (HiveError::PartRefused("x".into()), Code::PartRefused),
        (HiveError::RestartRefused("x".into()), Code::RestartRefused),
        (
            HiveError::StorageFull(Shortage::default()),
            Code::StorageFull,
        ),
        (HiveError::Overloaded, Code::Overloaded),
        (HiveError::ReadTimeout, Code::ReadTimeout),
        (HiveError::Unavailable("stopping"), Code::Unavailable),
        (HiveError::DataGone("x".into()), Code::Unavailable),
        (HiveError::OutcomeUnknown, Code::OutcomeUnknown),
        (HiveError::ArchiveUnreachable, Code::ArchiveUnreachable),
        (
            HiveError::RecoveryRefused("x".into()),
            Code::RecoveryRefused,
        ),
        (HiveError::Internal("secret".into()), Code::Internal),
        (HiveError::Invalid(vec![]), Code::InvalidInput),
        (
            HiveError::TaskNotFinished { task, status },
            Code::TaskNotFinished,
        ),
        (
            HiveError::Refused(Rejection::TaskIsFinal { task, status }),
            Code::TaskIsFinal,
        ),
        (
            HiveError::Refused(Rejection::TaskIsRunning(task)),
            Code::TaskIsRunning,
        ),
        (
            HiveError::Refused(Rejection::TaskIsUnfinished { task, status }),
            Code::TaskIsUnfinished,
        ),
        (
            HiveError::Refused(Rejection::DedupKeyInUse(task)),
            Code::DedupKeyInUse,
        ),
        (
            HiveError::Refused(Rejection::TooManyDependents {
                parent: task,
                limit: 1,
            }),
            Code::TooManyDependents,
        ),
        (
            HiveError::Refused(Rejection::BotInUse(bot.clone())),
            Code::BotInUse,
        ),
        (
            HiveError::Refused(Rejection::NoRoomForBot("x".into())),
            Code::BotLimitReached,
        ),
        (
            HiveError::Refused(Rejection::LastAdminKey),
            Code::LastAdminKey,
        ),
        (
            HiveError::Refused(Rejection::LastAdmin("ada".into())),
            Code::LastAdminKey,
        ),
        (
            HiveError::Refused(Rejection::UserExists("ada".into())),
            Code::UserExists,
        ),
        (
            HiveError::Refused(Rejection::WebSessionOpenedAlready(
                deia_model::WebSessionId::new(),
            )),
            Code::SessionOpenedAlready,
        ),
        (
            HiveError::Refused(Rejection::NameHasTasks("ada".into())),
            Code::NameHasTasks,
        ),
        (
            HiveError::Refused(Rejection::KeyNotInForce(key)),
            Code::KeyNotInForce,
        ),
        (
            HiveError::Refused(Rejection::RotationRunning(key)),
            Code::RotationRunning,
        ),
        (
            HiveError::Refused(Rejection::NoRoomForAccess("x")),
            Code::AccessLimitReached,
        ),
        (Rejection::NoSuchUser("ada".into()).into(), Code::NotFound),
        (
            HiveError::Refused(Rejection::IdempotencyMismatch),
            Code::IdempotencyMismatch,
        ),
        (Rejection::NoSuchBot(bot).into(), Code::NotFound),
    ];
    for (error, code) in cases {
        assert_eq!(Problem::from(error.clone()).code(), code, "{error:?}");
    }
    for (error, code) in [
        (AuthError::Malformed(KeyError::Checksum), Code::KeyMalformed),
        (AuthError::Unknown, Code::KeyUnknown),
        (AuthError::Revoked, Code::KeyRevoked),
        (AuthError::Expired, Code::KeyExpired),
        (AuthError::SessionOver, Code::SessionOver),
        (TokenError::Malformed("x").into(), Code::TokenMalformed),
        (TokenError::Signature.into(), Code::TokenRefused),
        (TokenError::Expired.into(), Code::TokenExpired),
        (TokenError::NoRole.into(), Code::TokenWithoutRole),
        (
            TokenError::Unavailable(Duration::ZERO).into(),
            Code::IssuerUnavailable,
        ),
        (AuthError::UserInactive, Code::UserInactive),
        (AuthError::Address, Code::AddressNotAllowed),
    ] {
        assert_eq!(Problem::from(AuthFailure::anonymous(error)).code(), code);
    }
}

#[actix_web::test]
async fn cause_of_an_internal_error_is_hidden() {
    let response = Problem::internal("secret path").into_response("r1");
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body = actix_web::body::to_bytes(response.into_body())
        .await
        .unwrap();
    let text = std::str::from_utf8(&body).unwrap();
    assert!(
        text.contains("internal_error") && !text.contains("secret"),
        "{text}"
    );
}

#[test]
fn a_wait_is_rounded_up_to_whole_seconds() {
    for (millis, seconds) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2")] {
        assert_eq!(retry_after(Duration::from_millis(millis)).1, seconds);
    }
}

fn rendered(problem: Problem, request_id: &str) -> (HttpResponse, Value) {
    let response = problem.into_response(request_id);
    let (response, body) = response.into_parts();
    let Ok(bytes) = actix_web::body::MessageBody::try_into_bytes(body) else {
        panic!("the body is not whole");
    };
    let body = serde_json::from_slice(&bytes).unwrap();
    (response.set_body(actix_web::body::BoxBody::new(())), body)
}

proptest! {
    #[test]
    fn every_problem_has_one_form(
        code in 0..Code::ALL.len(), detail: String, pointer: String, name: String, id: String,
    ) {
        let code = Code::ALL[code];
        let faults = vec![Violation { pointer, detail: detail.clone() }];
        for problem in [
            Problem::new(code, detail.clone()),
            Problem::invalid(faults),
            Problem::parameter(&name, &detail),
            Problem::not_found("task", &name),
        ] {
            let code = problem.code();
            let (response, body) = rendered(problem, &id);
            prop_assert_eq!(response.status(), code.status());
            prop_assert_eq!(response.headers().get(CONTENT_TYPE), Some(&PROBLEM_JSON));
            prop_assert_eq!(&body["code"], code.as_str());
            prop_assert_eq!(&body["status"], code.status().as_u16());
            prop_assert_eq!(&body["request_id"], &id);
            prop_assert!(body["detail"].as_str().is_some_and(|text| text.ends_with(code.hint())));
        }
    }

    #[test]
    fn keys_in_problems_are_redacted(before in "[ -~]{0,20}", after in "[ /?&=\"]?[ -~]{0,20}") {
        let key = deia_model::ApiKey::generate().unwrap().reveal();
        let secret = key.split('_').nth(2).unwrap();
        let text = format!("{before}{key}{after}");
        for problem in [
            Problem::new(Code::InvalidHeader, text.clone()),
            Problem::invalid(vec![Violation { pointer: text.clone(), detail: text.clone() }]),
            Problem::parameter(&text, &text),
            Problem::not_found("task", &text),
        ] {
            let (_, body) = rendered(problem, "r");
            prop_assert!(!body.to_string().contains(secret), "{}", body);
        }
    }
}
