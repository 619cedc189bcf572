use deia_client::Problem;
use deia_model::Violation;

use super::*;

fn lines(text: &str) -> Lines<&[u8]> {
    Lines {
        from: text.as_bytes(),
        name: "t.jsonl".into(),
        number: 0,
        again: VecDeque::new(),
    }
}

fn line(content: &str, depends_on: &[&str]) -> String {
    json!({"type": "general", "content": content, "depends_on": depends_on}).to_string()
}

#[test]
fn each_batch_of_a_file_has_a_key_that_is_taken() {
    for length in [1, 200, 253, 254, 255] {
        let key = "k".repeat(length);
        let keys = [batch_key(&key, 1), batch_key(&key, 10_000)];
        assert!(keys.iter().all(|key| key.len() <= 255), "{length}");
        assert_ne!(keys[0], keys[1]);
        assert_eq!(keys[0], batch_key(&key, 1), "the same when it is repeated");
        assert_ne!(keys[0], batch_key(&"l".repeat(length), 1));
    }
    let too_long = "k".repeat(256);
    assert!(batch_key(&too_long, 1).len() > 255, "the hive refuses it");
}

#[test]
fn batches_are_of_a_size_and_know_their_lines() {
    let text = [
        line("a", &[]),
        String::new(),
        line("b", &[]),
        line("c", &[]),
    ]
    .join("\n");
    let mut lines = lines(&text);
    let mut got = Vec::new();
    loop {
        let batch = lines.batch(2, &[]).unwrap();
        if batch.tasks.is_empty() {
            break;
        }
        got.push(batch.lines);
    }
    assert_eq!(got, [vec![1, 3], vec![4]]);
}

#[test]
fn places_in_the_file_become_places_in_the_batch() {
    let before = [TaskId::new(), TaskId::new()];
    let other = TaskId::new();
    let of = |depends_on: &[&str]| {
        task(&line("x", depends_on), 1, &before).map(|task| {
            let text = task.depends_on.iter().map(ToString::to_string);
            text.collect::<Vec<_>>()
        })
    };
    assert_eq!(of(&["@1"]), Ok(vec![before[1].to_string()]));
    assert_eq!(of(&["@2"]), Ok(vec!["@0".to_owned()]));
    assert_eq!(of(&[&other.to_string()]), Ok(vec![other.to_string()]));
    assert!(of(&["@3"]).unwrap_err().contains("@3"));
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (text, expected) in [
        ("{", "t.jsonl, line 2: is not JSON: EOF while parsing"),
        ("{\"type\":\"general\"}", "line 2: missing field `content`"),
        (
            "{\"type\":\"a\",\"content\":\"x\",\"colour\":1}",
            "unknown field `colour`",
        ),
        ("[]", "line 2: invalid"),
    ] {
        let text = format!("{}\n{text}\n", line("a", &[]));
        let error = lines(&text).batch(10, &[]).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let mut binary = Lines {
        from: &[0xff, b'\n'][..],
        name: "b".into(),
        number: 0,
        again: VecDeque::new(),
    };
    assert!(binary.batch(1, &[]).is_err());
}

#[test]
fn refusals_name_the_lines() {
    let at = |pointer: &str| Violation {
        pointer: pointer.into(),
        detail: "is wrong".into(),
    };
    let problem = Problem {
        status: 422,
        code: "invalid_input".into(),
        title: "t".into(),
        detail: Some("/tasks/1/content is wrong".into()),
        errors: vec![at("/tasks/1/content"), at("/tasks/0"), at("/other")],
        ..Problem::default()
    };
    let error = in_lines(ClientError::Problem(Box::new(problem)), &[3, 7], "t.jsonl");
    assert_eq!(
        error.message()[..4],
        [
            "error: t.jsonl has tasks that are not accepted (invalid_input)",
            "  line 7 /content: is wrong",
            "  line 3: is wrong",
            "  /other: is wrong"
        ]
    );
}
