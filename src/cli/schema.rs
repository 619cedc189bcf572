//! `deia schema`: needs no hive.

use deia_model::{Page, schema::Entity};
use serde::Serialize;

use super::{
    error::CliError,
    output::Output,
    table::{Column, Table},
};
use crate::http::schemas;

#[derive(Serialize)]
struct Line {
    name: &'static str,
    description: String,
}

/// Prints the schema of that name, or lists the schemas.
pub(super) fn run(out: &Output, name: Option<&str>) -> Result<(), CliError> {
    let all = schemas::entities().map_err(unwritten)?;
    let Some(name) = name else {
        return list(out, all);
    };
    let found = schemas::entity(name).map_err(unwritten)?;
    let entity = found.ok_or_else(|| CliError::NoSuch {
        what: format!("schema {name}"),
        known: all.iter().map(|entity| entity.name.to_owned()).collect(),
    })?;
    let text = serde_json::to_string_pretty(&entity.schema)?;
    out.one(&entity.schema, |_| text)
}

fn list(out: &Output, all: &[Entity]) -> Result<(), CliError> {
    let line = |entity: &Entity| Line {
        name: entity.name,
        description: schemas::summary(entity),
    };
    let page = Page {
        items: all.iter().map(line).collect(),
        next_cursor: None,
    };
    out.list(&page, "there are no schemas", |look| {
        let mut table = Table::new(&[Column::new("NAME"), Column::new("WHAT IT IS").flows()]);
        for line in &page.items {
            table.row(vec![line.name.into(), line.description.as_str().into()]);
        }
        table.render(look)
    })
}

fn unwritten(error: &serde_json::Error) -> CliError {
    CliError::Input {
        what: "the schemas".into(),
        reason: error.to_string(),
    }
}
