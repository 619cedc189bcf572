//! Query strings of requests.

use std::borrow::Borrow;

use actix_web::web::Query;

use crate::http::body::{catalogue::Code, problem::Problem};

/// Query parameters that may be repeated.
const REPEATED: [&str; 3] = ["tag", "metadata", "label"];

/// Splits a query into parameters; any query is taken when `known` is absent.
///
/// # Errors
/// [`Code::InvalidParameter`] for a parameter that is not among `known`, or that is
/// repeated and may not be.
pub(crate) fn parse<S: Borrow<str>>(
    text: &str,
    known: Option<&[S]>,
) -> Result<Vec<(String, String)>, Problem> {
    let Some(known) = known.filter(|_| !text.is_empty()) else {
        return Ok(Vec::new());
    };
    let pairs = Query::<Vec<(String, String)>>::from_query(text)
        .map_err(|error| {
            Problem::new(
                Code::InvalidParameter,
                format!("the query is not valid: {error}"),
            )
        })?
        .into_inner();
    for (i, (name, _)) in pairs.iter().enumerate() {
        let shown: String = name.chars().take(64).collect();
        if !known.iter().any(|one| one.borrow() == name) {
            let why = match known {
                [] => "is not known; this route has no parameters".to_owned(),
                some => format!("is not known; this route has {}", some.join(", ")),
            };
            return Err(Problem::parameter(&shown, why));
        }
        let once = !REPEATED.contains(&name.as_str());
        if once && pairs[..i].iter().any(|(earlier, _)| earlier == name) {
            return Err(Problem::parameter(&shown, "is given more than once"));
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_query_is_read_without_a_panic(text: String) {
            let _ = parse(&text, Some(&["limit", "cursor"]));
        }
    }

    #[test]
    fn query_parameters_are_known_and_single() {
        let known = Some(&["limit", "cursor"][..]);
        assert_eq!(parse("", known).unwrap(), vec![]);
        assert_eq!(
            parse("limit=5&cursor=a%20b", known).unwrap(),
            vec![
                ("limit".into(), "5".into()),
                ("cursor".into(), "a b".into())
            ]
        );
        for text in ["x=1", "limit=1&limit=2", "key=deia_secret", "=", "limit&x"] {
            let problem = parse(text, known).unwrap_err();
            assert_eq!(problem.code(), Code::InvalidParameter, "{text}");
        }
    }
}
