//! Problems of TOML files that serde reads, in words for people and without values of the file.
//!
//! The messages of the TOML parser repeat values, which may be misplaced secrets. [`TomlProblem`] removes them.

use std::ops::Range;

use error_code::Code;

use crate::author::nearest;
use crate::names::{InvalidName, shown};

/// A mistake in a TOML file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TomlProblem {
    /// Byte range in the file.
    pub span: Range<usize>,
    /// Stable error code.
    pub code: Code,
    /// The problem, without values of the file.
    pub problem: String,
    /// The known field that is most similar to an unknown one.
    pub near: Option<String>,
}

impl From<&toml::de::Error> for TomlProblem {
    fn from(error: &toml::de::Error) -> Self {
        let message = error.message().lines().next().unwrap_or_default();
        Self {
            span: error.span().unwrap_or_default(),
            code: code(message),
            problem: without_content(message),
            near: near(message),
        }
    }
}

fn code(message: &str) -> Code {
    let starts = |start: &str| message.starts_with(start);
    if starts("unknown field `") {
        Code::UnknownField
    } else if starts("missing field `") {
        Code::MissingField
    } else if starts("duplicate key") {
        Code::DuplicateKey
    } else if starts("invalid type: ") {
        Code::InvalidType
    } else if InvalidName::redact(message).is_some() {
        Code::InvalidName
    } else {
        Code::InvalidValue
    }
}

/// Removes quoted values and unsafe keys from a message of the TOML parser. A value may be a path or a
/// misplaced secret.
fn without_content(message: &str) -> String {
    let expected = message.rsplit_once(", expected ").map(|(_, expected)| expected);
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let field =
            rest.rsplit_once("`, expected ").or(rest.rsplit_once("`, there are ")).map_or(rest, |(field, _)| field);
        let known = expected.map(|expected| format!(", expected {expected}")).unwrap_or_default();
        return format!("unknown field `{}`{known}", shown(field));
    }
    if let Some(redacted) = InvalidName::redact(message) {
        return redacted;
    }
    if ["invalid type: ", "invalid value: ", "invalid length ", "unknown "]
        .iter()
        .any(|start| message.starts_with(start))
    {
        return format!("expected {}", expected.map_or("something else", plain));
    }
    message.to_owned()
}

/// Returns the known field that is most similar to the unknown one in the message.
fn near(message: &str) -> Option<String> {
    let (field, known) = message.strip_prefix("unknown field `")?.rsplit_once("`, expected ")?;
    let known = known.split('`').skip(1).step_by(2);
    nearest(field, known).map(str::to_owned)
}

/// Translates the TOML parser's words for types into words for operators.
fn plain(expected: &str) -> &str {
    match expected {
        "usize" | "u64" => "a whole number",
        "u32" => "a whole number below 2^32",
        "a sequence" => "a list",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only parsed")]
    struct Example {
        shell: bool,
        #[serde(default)]
        names: Vec<crate::ToolName>,
    }

    #[test]
    fn problem_has_its_place_and_code_and_no_value() {
        for (text, start, code, problem, near) in [
            ("shel = true", 0, Code::UnknownField, "unknown field `shel`, expected `shell` or `names`", Some("shell")),
            ("names = []", 0, Code::MissingField, "missing field `shell`", None),
            ("shell = 'CANARY'", 8, Code::InvalidType, "expected a boolean", None),
            ("shell = true\nnames = ['CANARY x']", 22, Code::InvalidName, "invalid tool name: expected", None),
            ("shell = true\nshell = true", 13, Code::DuplicateKey, "duplicate key", None),
        ] {
            let error = toml::from_str::<Example>(text).expect_err(text);
            let found = TomlProblem::from(&error);
            assert_eq!((found.span.start, found.code, found.near.as_deref()), (start, code, near), "{found:?}");
            assert!(found.problem.starts_with(problem) && !found.problem.contains("CANARY"), "{found:?}");
        }
    }
}
