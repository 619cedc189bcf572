//! Suggestions for names that do not exist.

use deia_client::{ClientError, SupervisorNode};
use deia_hive::config::distance;

use super::{context::Context, error::CliError};

/// Maximum number of suggestions. Fixed: of the command line, which has no settings.
const MAX_SHOWN: usize = 3;

/// Adds similar names to an error about a missing object, as far as the caller may list
/// them.
pub(super) async fn name(context: &Context, error: CliError) -> CliError {
    let CliError::Client(ClientError::Problem(problem)) = error else {
        return error;
    };
    let Some(missing) = &problem.missing else {
        return CliError::Client(ClientError::Problem(problem));
    };
    // The first error is reported, whatever happens here.
    let names = names(context, &missing.kind).await.unwrap_or_default();
    let nearest = nearest(&missing.id, names);
    CliError::NotThere { problem, nearest }
}

async fn names(context: &Context, kind: &str) -> Result<Vec<String>, ClientError> {
    let client = &context.client;
    Ok(match kind {
        "bot" => {
            let bots = client.bots().await?.items.into_iter();
            bots.map(|bot| bot.id.to_string()).collect()
        }
        "user" => {
            let users = client.users().await?.items.into_iter();
            users.map(|user| user.id).collect()
        }
        "secret" => {
            let secrets = client.secrets().await?.items.into_iter();
            secrets.map(|secret| secret.name).collect()
        }
        "supervised child" => {
            let mut paths = Vec::new();
            add_paths(&client.supervisors().await?, "", &mut paths);
            paths
        }
        // Ids are not typed.
        _ => Vec::new(),
    })
}

fn add_paths(node: &SupervisorNode, above: &str, paths: &mut Vec<String>) {
    let path = match above {
        "" => node.name.clone(),
        above => format!("{above}/{}", node.name),
    };
    for child in &node.children {
        add_paths(child, &path, paths);
    }
    paths.push(path);
}

/// Returns the names that a typing error may have been meant for, the nearest first.
fn nearest(wanted: &str, names: Vec<String>) -> Vec<String> {
    let far = (wanted.chars().count() / 3).clamp(1, 3);
    let mut near: Vec<_> = names
        .into_iter()
        .map(|name| (distance(wanted, &name), name))
        .filter(|(distance, name)| {
            let is_end = || {
                name.strip_suffix(wanted)
                    .is_some_and(|rest| rest.ends_with('/'))
            };
            *distance <= far || wanted.len() >= 3 && (name.starts_with(wanted) || is_end())
        })
        .collect();
    near.sort_unstable();
    near.truncate(MAX_SHOWN);
    near.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_near() {
        let all = [
            "upper-1",
            "upper-2",
            "sim-1",
            "sim-2",
            "wc-1",
            "hive/core/scheduler",
        ];
        for (wanted, expected) in [
            ("uper-1", &["upper-1", "upper-2"][..]),
            ("upper", &["upper-1", "upper-2"]),
            ("sim-11", &["sim-1", "sim-2"]),
            ("si", &[]),
            ("wc1", &["wc-1"]),
            ("scheduler", &["hive/core/scheduler"]),
            ("nothing-like-it", &[]),
            ("", &[]),
        ] {
            let names = all.iter().map(ToString::to_string).collect();
            assert_eq!(nearest(wanted, names), expected, "{wanted}");
        }
    }
}
