//! The argument `--stage`: a part of the Runtimes.

use std::str::FromStr;

use backend_api::desired::Stage;
use backend_api::policy::Labels;

/// Parses `25%` or `KEY=VALUE[,KEY=VALUE]`.
pub(super) fn parse(text: &str) -> Result<Stage, String> {
    if let Some(number) = text.strip_suffix('%') {
        let percent = number.trim().parse::<u8>().ok().and_then(|number| number.try_into().ok());
        return percent.map(Stage::Percent).ok_or_else(|| "expected a whole number from 1 to 99 before `%`".to_owned());
    }
    let mut labels = Labels::new();
    for pair in text.split(',') {
        let (key, value) = pair.split_once('=').ok_or("expected `25%` or `KEY=VALUE`")?;
        let key = FromStr::from_str(key.trim()).map_err(|_| format!("invalid key of a label `{key}`"))?;
        let value = FromStr::from_str(value.trim()).map_err(|_| format!("invalid value of a label `{value}`"))?;
        if labels.insert(key, value).is_some() {
            return Err("a key stands twice".to_owned());
        }
    }
    Ok(Stage::Labels(labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stage_is_a_percentage_or_labels() {
        assert_eq!(parse("25%").expect("a stage").to_string(), "25 %");
        assert_eq!(parse("ring=canary, region=eu").expect("a stage").to_string(), "region=eu,ring=canary");
        for wrong in ["", "25", "0%", "100%", "256%", "x%", "ring", "=canary", "ring=", "ring=a,ring=b", "RING=a"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
