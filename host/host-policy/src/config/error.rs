//! Errors of a config, with their places in the file.
//!
//! Neither messages nor excerpts repeat a value of the file: it may be a path or a misplaced secret.

use std::fmt;
use std::ops::Range;

use bundles::{Diagnostic, Diagnostics, Severity, Source, TomlProblem, WorkspaceId};
use error_code::Code;

use super::{MAX_CONFIG_BYTES, RELATIVE_MOUNT_PATH, source};

/// A place in a config, with the masked text of the file.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigPlace {
    line: usize,
    column: usize,
    span: Range<usize>,
    masked: String,
}

impl ConfigPlace {
    fn new(text: &str, span: Range<usize>) -> Self {
        let before = text.get(..span.start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            span,
            masked: source::masked(text),
        }
    }

    /// Returns the line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Returns the column in characters, from 1.
    pub fn column(&self) -> usize {
        self.column
    }
}

impl fmt::Debug for ConfigPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for ConfigPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Error returned for a config that is invalid or incomplete.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file has this many bytes, more than allowed.
    #[error("the config is too large ({0} bytes > {MAX_CONFIG_BYTES})")]
    TooLarge(usize),
    /// The file is not valid TOML, or not a config.
    #[error("invalid config: {place}: {problem}")]
    Invalid {
        /// Place of the mistake.
        place: ConfigPlace,
        /// The problem, without values of the file.
        problem: String,
        /// The known field that is most similar to an unknown one.
        near: Option<String>,
    },
    /// The path of a mount is not absolute.
    #[error("invalid config: {0}: {RELATIVE_MOUNT_PATH}")]
    RelativeMount(ConfigPlace),
    /// A limit of the program that reads the config has a value that makes no sense.
    #[error("invalid config: {}{problem}", place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default())]
    Limit {
        /// Place of the limit, if the file has it.
        place: Option<ConfigPlace>,
        /// Name of the limit and its valid values.
        problem: String,
    },
    /// These workspaces do not state a signature posture.
    #[error("{}", no_posture(.0))]
    NoPosture(Vec<WorkspaceId>),
}

/// Number of workspaces that a message lists by name. The mistake and its remedy are the same for all.
const MAX_LISTED_WORKSPACES: usize = 8;

fn no_posture(workspaces: &[WorkspaceId]) -> String {
    let named: Vec<String> = workspaces.iter().take(MAX_LISTED_WORKSPACES).map(|id| format!("`{id}`")).collect();
    let more = match workspaces.len().saturating_sub(MAX_LISTED_WORKSPACES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let noun = if workspaces.len() == 1 { "workspace" } else { "workspaces" };
    format!("no signature posture for {noun} {}{more}", named.join(", "))
}

impl ConfigError {
    pub(super) fn from_toml(text: &str, error: &toml::de::Error) -> Self {
        let TomlProblem { span, problem, near, code: _ } = error.into();
        let place = ConfigPlace::new(text, span);
        match problem.as_str() {
            RELATIVE_MOUNT_PATH => Self::RelativeMount(place),
            _ => Self::Invalid { place, problem, near },
        }
    }

    /// Creates the error for a limit with a value that makes no sense. `table` is the path of its table in `text`.
    pub fn invalid_limit(text: &str, table: &[&str], name: &str, expected: &str) -> Self {
        let span = toml::de::DeTable::parse(text).ok().and_then(|written| {
            let mut found = written.get_ref();
            for key in table {
                found = found.get(*key)?.get_ref().as_table()?;
            }
            Some(found.get(name)?.span())
        });
        Self::Limit {
            place: span.map(|span| ConfigPlace::new(text, span)),
            problem: format!("invalid limit `{name}` under [{}]: expected {expected}", table.join(".")),
        }
    }

    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::Limit { .. } => Code::InvalidLimits,
            Self::NoPosture(_) => Code::NoSignaturePosture,
            _ => Code::InvalidConfig,
        }
    }

    /// Returns a help line for the user.
    pub fn help(&self) -> String {
        match self {
            Self::TooLarge(_) => "check that this file is the config, and shorten it".to_owned(),
            Self::Limit { .. } => "write a number that is expected, or leave the limit out for its default".to_owned(),
            Self::Invalid { near: Some(near), .. } => format!("did you mean `{near}`?"),
            Self::Invalid { near: None, .. } => {
                "correct the line; no part of the file applies until the whole file is valid".to_owned()
            }
            Self::RelativeMount(_) => {
                "write the absolute path; a relative one would depend on the working directory of the process"
                    .to_owned()
            }
            Self::NoPosture(workspaces) => {
                let each = if workspaces.len() == 1 { "" } else { " each of" };
                let first = workspaces.first().map(WorkspaceId::to_string).unwrap_or_default();
                format!(
                    "under{each} [workspaces.{first}] write `signatures = {{ posture = \"required\", keys = [\"ed25519:...\"] }}`, or `signatures = {{ posture = \"none\" }}` if none are needed"
                )
            }
        }
    }

    /// Returns the place in the file, if the error has one.
    pub fn place(&self) -> Option<&ConfigPlace> {
        match self {
            Self::Invalid { place, .. } | Self::RelativeMount(place) => Some(place),
            Self::Limit { place, .. } => place.as_ref(),
            Self::TooLarge(_) | Self::NoPosture(_) => None,
        }
    }

    /// Converts the error to a diagnostic for `file`, with the masked text of the file.
    pub fn diagnostics(&self, file: &str) -> Diagnostics {
        let message = match self {
            Self::Invalid { problem, .. } | Self::Limit { problem, .. } => problem.clone(),
            Self::RelativeMount(_) => RELATIVE_MOUNT_PATH.to_owned(),
            other => other.to_string(),
        };
        let place = self.place();
        let diagnostic = Diagnostic {
            code: self.code(),
            severity: Severity::Error,
            file: file.to_owned(),
            line: place.map_or(0, ConfigPlace::line),
            column: place.map_or(0, ConfigPlace::column),
            message,
            help: self.help(),
            pointer: None,
            span: place.map(|place| place.span.clone()),
        };
        let sources = place.map(|place| Source { file: file.to_owned(), masked: place.masked.clone() });
        Diagnostics { list: vec![diagnostic], sources: sources.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::RuntimeConfig;
    use super::*;

    #[test]
    fn message_does_not_repeat_a_value() {
        for wrong in
            ["shell = 'CANARY, expected CANARY'", "secrets = 'CANARY'", "git = 'CANARY'", "models = [['CANARY']]"]
        {
            let error = RuntimeConfig::from_toml(&format!("[workspaces.acme]\n{wrong}\n")).expect_err("another type");
            assert!(!format!("{error} {error:?}").contains("CANARY"), "{error}");
            assert!(error.to_string().contains("expected "), "{error}");
        }
        let key = ["AKIA", "IOSFODNN7", "ABCDEFG"].concat();
        let error = RuntimeConfig::from_toml(&format!("[workspaces.acme]\n{key} = 1\n")).expect_err("no such field");
        assert!(error.to_string().contains("unknown field `(withheld)`, expected one of"), "{error}");
    }

    #[test]
    fn diagnostics_do_not_contain_a_value() {
        for wrong in [
            "shell = 'CANARY'",
            "shell = CANARY",
            "secrets = ['CANARY', 1]",
            "secrets = [', expected CANARY']",
            "secrets = ['x`: expected CANARY']",
            "mounts.a = { path = 'CANARY', access = 'read' }",
            "mounts.a = { path = '/CANARY', access = 'CANARY' }",
            "signatures = { posture = 'required', keys = ['CANARY'] }",
            "signatures = { posture = 'CANARY' } # CANARY",
            "'CANARY CANARY",
            "a = '''CANARY",
        ] {
            let text = format!("[workspaces.acme]\n{wrong}\nshell = 2\n");
            let error = RuntimeConfig::from_toml(&text).expect_err("no config");
            let diagnostics = error.diagnostics("runtime.toml");
            let shown = format!("{error} {error:?} {} {diagnostics:?}", error.help());
            assert!(!shown.contains("CANARY"), "{shown}");
            let span = diagnostics.list[0].span.clone().expect("a place");
            assert!(diagnostics.sources[0].masked.len() == text.len() && span.end <= text.len(), "{error}");
        }
    }

    #[test]
    fn mistake_in_a_posture_is_reported_with_its_place() {
        let key = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        for (posture, column, expected) in [
            (
                "{ posture = 'required', keys = ['ed25519:x'] }".to_owned(),
                46,
                "invalid public key: expected `ed25519:` followed",
            ),
            (format!("{{ posture = 'required', keys = ['{key}'], threshold = 2 }}"), 14, "invalid threshold 2"),
            ("{ posture = 'none', keys = [] }".to_owned(), 14, "requires nothing"),
            ("{ posture = 'required' }".to_owned(), 14, "`keys` is empty"),
            ("{ posture = 'maybe' }".to_owned(), 26, "expected `none` or `required`"),
            ("{ posture = 'none', key = 1 }".to_owned(), 34, "unknown field `key`"),
            ("'none'".to_owned(), 14, "expected a table such as `{ posture = \"none\" }`"),
            (format!("{{ posture = 'required', keys = ['{key}'], threshold = -1 }}"), 115, "expected a whole number"),
            (format!("{{ posture = 'required', keys = '{key}' }}"), 45, "expected a list"),
        ] {
            let error = RuntimeConfig::from_toml(&format!("[workspaces.acme]\nsignatures = {posture}\n"));
            let error = error.expect_err("no posture");
            assert!(error.to_string().contains(expected), "{posture}: {error}");
            assert_eq!(error.place().map(|place| (place.line(), place.column())), Some((2, column)), "{error}");
        }
    }

    #[test]
    fn target_in_the_list_of_the_other_kind_is_refused() {
        let digest = bundles::Digest::of("package");
        let read = |list: &str, scheme: &str, methods: &str| {
            let target = format!("{{ scheme = '{scheme}', host = 'a.example', {methods} path_prefixes = ['/'] }}");
            let text = format!("[workspaces.acme.plugins.'{digest}']\nname = 'p'\n{list} = [{target}]\n");
            RuntimeConfig::from_toml(&text).map(drop)
        };
        assert!(read("requests", "https", "methods = ['GET'],").is_ok());
        assert!(read("websockets", "wss", "").is_ok());
        for (list, scheme, methods) in [("requests", "wss", ""), ("websockets", "https", "methods = ['GET'],")] {
            let error = read(list, scheme, methods).expect_err("another kind");
            assert!(error.to_string().contains(&format!("`{scheme}` is not a scheme of `{list}`")), "{error}");
            assert_eq!(error.place().map(|place| place.line()), Some(3), "{error}");
        }
    }

    #[test]
    fn mistake_is_reported_with_line_and_column() {
        let error = RuntimeConfig::from_toml("[workspaces.acme]\nshel = true\n").expect_err("no such field");
        assert_eq!(error.place().map(|place| (place.line(), place.column())), Some((2, 1)), "{error}");
        let error =
            RuntimeConfig::from_toml("[workspaces.a.mounts.b]\npath='x'\naccess='read'\n").expect_err("relative");
        assert!(matches!(error, ConfigError::RelativeMount(_)));
        assert_eq!(error.place().map(|place| (place.line(), place.column())), Some((2, 6)));
    }
}
