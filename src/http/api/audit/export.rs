//! Exports of the audit trail, streamed.

use std::str::FromStr;

use actix_web::http::header::CONTENT_DISPOSITION;
use deia_hive::AuditExport;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::filter::{self, ActorParameter, CommonParameters, LevelParameters, TargetParameter};
use crate::http::{
    body::{
        answer::{Answer, with_header},
        streams::{Over, Sink, headers_only},
    },
    context::RequestCtx,
    operation::describe,
};

/// The format of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ExportFormat {
    /// One record a line, as JSON.
    #[default]
    Jsonl,
    /// RFC 4180, with a header.
    Csv,
}

impl FromStr for ExportFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "jsonl" => Ok(Self::Jsonl),
            "csv" => Ok(Self::Csv),
            _ => Err("expected jsonl or csv"),
        }
    }
}

impl ExportFormat {
    fn content_type(self) -> &'static str {
        match self {
            Self::Jsonl => "application/jsonl",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    fn disposition(self) -> &'static str {
        match self {
            Self::Jsonl => "attachment; filename=\"deia-audit.jsonl\"",
            Self::Csv => "attachment; filename=\"deia-audit.csv\"",
        }
    }
}

describe! { get:
    params(
        ("format" = inline(Option<ExportFormat>), Query, description = "`jsonl`: one record a line; `csv`: RFC 4180, with a header. `jsonl` when absent"),
        ActorParameter, TargetParameter, LevelParameters, CommonParameters,
    ),
    responses((status = 200, description = "All records that match and that the index has now, the oldest first. An answer that breaks off is not whole. The export itself leaves the event `audit.exported`",
        content((String = "application/jsonl"), (String = "text/csv")),
        headers(("Content-Disposition" = String, description = "A name for the file"))))
}
pub(crate) async fn get(call: RequestCtx) -> Answer {
    let format = call.query::<ExportFormat>("format")?.unwrap_or_default();
    let filter = filter::from_query(&call)?;
    let answer = match call.stream_place()? {
        None => headers_only(format.content_type()),
        Some(place) => {
            let (audit, csv) = (call.hive().audit(), format == ExportFormat::Csv);
            let export = audit.export(&call.who, filter, csv).await?;
            place.streamed(format.content_type(), move |mut sink| async move {
                let ended = pass_on(export, &mut sink).await;
                sink.close(ended).await;
            })
        }
    };
    with_header(answer, CONTENT_DISPOSITION, format.disposition())
}

async fn pass_on(mut export: AuditExport, sink: &mut Sink) -> Result<(), Over> {
    loop {
        match sink.wait(export.next()).await? {
            Ok(Some(piece)) => sink.send(piece).await?,
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::warn!(%error, "an export of the audit trail ends early");
                sink.break_off("the audit trail cannot be read").await;
                return Ok(());
            }
        }
    }
}
