//! Arguments of `bot add` for bots that are services elsewhere.

use clap::Args;
use deia_model::{Executor, HttpExecutor, LlmExecutor};

use super::spec::once;
use crate::cli::{error::CliError, parse};

#[derive(Debug, Args)]
pub(super) struct ServiceArgs {
    /// A service that is sent each task in a POST request to this URL.
    #[arg(long, value_name = "URL", group = "executor", conflicts_with_all = ["simulated", "file", "llm"])]
    http: Option<String>,
    /// A language model behind an API like that of OpenAI, at this base URL; further
    /// settings need --file.
    #[arg(long, value_name = "URL", group = "executor", requires = "model", conflicts_with_all = ["simulated", "file"])]
    llm: Option<String>,
    /// The name of the language model.
    #[arg(long, value_name = "MODEL", requires = "llm", conflicts_with_all = ["simulated", "file", "command", "program", "http"])]
    model: Option<String>,
    /// A header of each request of --http or --llm, for values that are not secret.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse::pair, conflicts_with_all = ["simulated", "file", "command", "program"])]
    header: Vec<(String, String)>,
    /// The URL that is asked whether the service of --http works.
    #[arg(long, value_name = "URL", requires = "http", conflicts_with_all = ["simulated", "file", "command", "program", "llm"])]
    health_url: Option<String>,
}

impl ServiceArgs {
    /// Returns the executor, if a service is named.
    ///
    /// # Errors
    /// A header is given twice.
    pub(super) fn executor(&self) -> Result<Option<Executor>, CliError> {
        let headers = once("--header", &self.header)?;
        if let Some(url) = &self.http {
            return Ok(Some(Executor::Http(HttpExecutor {
                url: url.clone(),
                headers,
                health_url: self.health_url.clone(),
                ..HttpExecutor::default()
            })));
        }
        let Some(base_url) = &self.llm else {
            return Ok(None);
        };
        Ok(Some(Executor::Llm(Box::new(LlmExecutor {
            base_url: base_url.clone(),
            model: self.model.clone().unwrap_or_default(),
            headers,
            ..LlmExecutor::default()
        }))))
    }
}
