//! Errors with their causes.

/// Writes an error with its causes. Some errors repeat their cause in their own words:
/// repetitions are left out.
pub(super) fn told_once(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        let plain = anyhow::anyhow!("the disk is full").context("the store cannot be opened");
        assert_eq!(
            told_once(&plain),
            "the store cannot be opened: the disk is full"
        );
        let repeats = anyhow::anyhow!("the disk is full").context("no store: the disk is full");
        assert_eq!(told_once(&repeats), "no store: the disk is full");
    }
}
