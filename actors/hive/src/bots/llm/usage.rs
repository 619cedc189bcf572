//! Tokens of an answer and their cost. Pure.

use deia_model::LlmExecutor;
use serde::Deserialize;

/// Tokens that an answer took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) total: u64,
}

/// The usage as the APIs write it: chat completions count prompt and completion.
#[derive(Debug, Default, Deserialize)]
pub(super) struct WrittenUsage {
    #[serde(default, alias = "prompt_tokens")]
    input_tokens: Option<u64>,
    #[serde(default, alias = "completion_tokens")]
    output_tokens: Option<u64>,
    #[serde(default)]
    total_tokens: Option<u64>,
}

impl WrittenUsage {
    /// Returns the usage, if anything is told.
    pub(super) fn read(&self) -> Option<Usage> {
        if self.input_tokens.or(self.output_tokens).is_none() && self.total_tokens.is_none() {
            return None;
        }
        let (input, output) = (
            self.input_tokens.unwrap_or(0),
            self.output_tokens.unwrap_or(0),
        );
        let total = self.total_tokens.unwrap_or(input.saturating_add(output));
        // Numbers beyond those of the store are nonsense.
        i64::try_from(total).ok().map(|_| Usage {
            input,
            output,
            total,
        })
    }
}

/// Prices of a million tokens, in hundredths of the billing currency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Prices {
    input: f64,
    output: f64,
}

impl Prices {
    /// Returns the prices of a model, if they are known.
    pub(super) fn of(spec: &LlmExecutor) -> Option<Self> {
        Some(Self {
            input: spec.input_cents_per_million?,
            output: spec.output_cents_per_million?,
        })
    }

    /// Returns the cost, rounded up.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a price is not below 0, and no cost comes near 2^53 cents"
    )]
    pub(super) fn cents(self, usage: Usage) -> u64 {
        let exact = usage.input as f64 * self.input + usage.output as f64 * self.output;
        // Binary fractions may add a trace to a whole number of cents, which is no cent.
        let millionths = exact.round();
        (millionths / 1e6).ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_of_both_apis_is_read() {
        let usage = |input, output, total| {
            Some(Usage {
                input,
                output,
                total,
            })
        };
        for (json, expected) in [
            (
                r#"{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}"#,
                usage(3, 4, 7),
            ),
            (
                r#"{"input_tokens":3,"output_tokens":4,"total_tokens":9}"#,
                usage(3, 4, 9),
            ),
            (
                r#"{"prompt_tokens":3,"completion_tokens":4}"#,
                usage(3, 4, 7),
            ),
            (r#"{"total_tokens":7,"x":{}}"#, usage(0, 0, 7)),
            ("{}", None),
            (r#"{"total_tokens":18446744073709551615}"#, None),
        ] {
            let written: WrittenUsage = serde_json::from_str(json).unwrap();
            assert_eq!(written.read(), expected, "{json}");
        }
    }

    #[test]
    fn cost_is_rounded_up_to_a_cent() {
        for (input, output, prices, expected) in [
            (0, 0, (15.0, 60.0), 0),
            (1, 0, (15.0, 60.0), 1),
            (1_000_000, 0, (15.0, 60.0), 15),
            (1_000_000, 1, (15.0, 60.0), 16),
            (100_000, 100_000, (7.5, 30.0), 4),
            (300_000, 0, (0.1, 0.0), 1),
            (10_000_000, 0, (0.1, 0.0), 1),
            (30_000_000, 0, (0.1, 0.0), 3),
            (5, 5, (0.0, 0.0), 0),
        ] {
            let (of_input, of_output) = prices;
            let prices = Prices {
                input: of_input,
                output: of_output,
            };
            let usage = Usage {
                input,
                output,
                total: input + output,
            };
            assert_eq!(prices.cents(usage), expected, "{input} {output} {prices:?}");
        }
    }
}
