//! Why a config is not in force, and where. Neither messages nor the lines that go with them repeat a
//! value of the file: it may be a path, or a secret at the wrong place.

use std::fmt;
use std::ops::Range;

use bundles::{Diagnostic, Diagnostics, Severity, Source, WorkspaceId, shown};

use super::{MAX_CONFIG_BYTES, RELATIVE, source};

/// A place in a config.
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

    /// Line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Column in characters, from 1.
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

/// A config that is not understood, or that leaves out what must be said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Larger than allowed.
    #[error("the config has {0} bytes, more than the {MAX_CONFIG_BYTES} allowed")]
    TooLarge(usize),
    /// Not the TOML that it should be.
    #[error("the config is not understood: {place}: {problem}")]
    Invalid {
        /// Where.
        place: ConfigPlace,
        /// What is wrong.
        problem: String,
        /// The field that was meant, where one is near.
        near: Option<String>,
    },
    /// A mount that is no absolute path.
    #[error("the config is not understood: {0}: {RELATIVE}")]
    RelativeMount(ConfigPlace),
    /// A limit of the program that reads the config, with a value that has no meaning.
    #[error("the config is not understood: {}{problem}", place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default())]
    Limit {
        /// Where, if the file has the limit.
        place: Option<ConfigPlace>,
        /// Its name and what is expected.
        problem: String,
    },
    /// Workspaces that do not say whose signatures their bundles need.
    #[error("{}", no_posture(.0))]
    NoPosture(Vec<WorkspaceId>),
}

/// Names told at the most; whoever mends these has seen what to do.
const MOST_NAMED: usize = 8;

fn no_posture(workspaces: &[WorkspaceId]) -> String {
    let named: Vec<String> = workspaces.iter().take(MOST_NAMED).map(|id| format!("`{id}`")).collect();
    let more = match workspaces.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let (noun, verb) = if workspaces.len() == 1 { ("workspace", "does") } else { ("workspaces", "do") };
    format!("{noun} {}{more} {verb} not say whose signatures bundles need", named.join(", "))
}

impl ConfigError {
    pub(super) fn from_toml(text: &str, error: &toml::de::Error) -> Self {
        let span = error.span().unwrap_or_default();
        let place = ConfigPlace::new(text, span);
        match error.message().lines().next().unwrap_or_default() {
            RELATIVE => Self::RelativeMount(place),
            message => Self::Invalid { place, problem: without_content(message), near: near(message) },
        }
    }

    /// The error for a limit whose value has no meaning. `table` is the path of its table in `text`.
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

    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Limit { .. } => "invalid_limits",
            Self::NoPosture(_) => "no_signature_posture",
            _ => "invalid_config",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::TooLarge(_) => "a config names what is granted; it is small".to_owned(),
            Self::Limit { .. } => "write a number that is expected, or leave the limit out for its default".to_owned(),
            Self::Invalid { near: Some(near), .. } => format!("did you mean `{near}`?"),
            Self::Invalid { near: None, .. } => {
                "mend the line; nothing of the file is in force until all of it is understood".to_owned()
            }
            Self::RelativeMount(_) => {
                "write the whole path: what a relative one means depends on where the process was started".to_owned()
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

    /// Where in the file, where one place is meant.
    pub fn place(&self) -> Option<&ConfigPlace> {
        match self {
            Self::Invalid { place, .. } | Self::RelativeMount(place) => Some(place),
            Self::Limit { place, .. } => place.as_ref(),
            Self::TooLarge(_) | Self::NoPosture(_) => None,
        }
    }

    /// The same as a diagnostic of a file of that name, with as much of its text as may be shown.
    pub fn diagnostics(&self, file: &str) -> Diagnostics {
        let message = match self {
            Self::Invalid { problem, .. } | Self::Limit { problem, .. } => problem.clone(),
            Self::RelativeMount(_) => RELATIVE.to_owned(),
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

/// The reader quotes the value or the key it met; a value may be a path or a secret at the wrong place.
fn without_content(message: &str) -> String {
    let expected = message.rsplit_once(", expected ").map(|(_, expected)| expected);
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let field =
            rest.rsplit_once("`, expected ").or(rest.rsplit_once("`, there are ")).map_or(rest, |(field, _)| field);
        let known = expected.map(|expected| format!(", expected {expected}")).unwrap_or_default();
        return format!("unknown field `{}`{known}", shown(field));
    }
    if message.starts_with("invalid ") || message.starts_with("unknown ") {
        return format!("expected {}", expected.map_or("something else", plain));
    }
    // Names quote what was written; the caret shows where it stands.
    match message.strip_prefix('`').and_then(|quoted| quoted.rsplit_once("` is no ")) {
        Some((_, grammar)) => format!("this is no {grammar}"),
        None => message.to_owned(),
    }
}

/// The known field that is nearest to an unknown one.
fn near(message: &str) -> Option<String> {
    let (field, known) = message.strip_prefix("unknown field `")?.rsplit_once("`, expected ")?;
    let known = known.split('`').skip(1).step_by(2);
    bundles::nearest(field, known).map(str::to_owned)
}

/// The reader's words for types, as an operator would say it.
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
    use super::super::RuntimeConfig;
    use super::*;

    #[test]
    fn the_text_of_the_file_is_not_repeated() {
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
    fn no_value_is_in_what_is_shown_of_a_file() {
        for wrong in [
            "shell = 'CANARY'",
            "shell = CANARY",
            "secrets = ['CANARY', 1]",
            "secrets = [', expected CANARY']",
            "secrets = ['x` is no CANARY']",
            "mounts.a = { path = 'CANARY', access = 'read' }",
            "mounts.a = { path = '/CANARY', access = 'CANARY' }",
            "signatures = { posture = 'required', keys = ['CANARY'] }",
            "signatures = { posture = 'CANARY' } # CANARY",
            "'CANARY CANARY",
            "a = '''CANARY",
        ] {
            let text = format!("[workspaces.acme]\n{wrong}\nshell = 2\n");
            let error = RuntimeConfig::from_toml(&text).expect_err("no config");
            let told = error.diagnostics("runtime.toml");
            assert!(!format!("{error} {error:?} {} {told:?}", error.help()).contains("CANARY"), "{error} {told:?}");
            let span = told.list[0].span.clone().expect("a place");
            assert!(told.sources[0].masked.len() == text.len() && span.end <= text.len(), "{error}");
        }
    }

    #[test]
    fn a_mistake_in_a_posture_is_told_where_it_stands() {
        let key = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        for (posture, column, said) in [
            ("{ posture = 'required', keys = ['ed25519:x'] }".to_owned(), 46, "a public key is `ed25519:` followed"),
            (format!("{{ posture = 'required', keys = ['{key}'], threshold = 2 }}"), 14, "`threshold` is 2"),
            ("{ posture = 'none', keys = [] }".to_owned(), 14, "demands nothing"),
            ("{ posture = 'required' }".to_owned(), 14, "`keys` is empty"),
            ("{ posture = 'maybe' }".to_owned(), 26, "expected `none` or `required`"),
            ("{ posture = 'none', key = 1 }".to_owned(), 34, "unknown field `key`"),
            ("'none'".to_owned(), 14, "expected a table such as `{ posture = \"none\" }`"),
            (format!("{{ posture = 'required', keys = ['{key}'], threshold = -1 }}"), 115, "expected a whole number"),
            (format!("{{ posture = 'required', keys = '{key}' }}"), 45, "expected a list"),
        ] {
            let error = RuntimeConfig::from_toml(&format!("[workspaces.acme]\nsignatures = {posture}\n"));
            let error = error.expect_err("no posture");
            assert!(error.to_string().contains(said), "{posture}: {error}");
            assert_eq!(error.place().map(|place| (place.line(), place.column())), Some((2, column)), "{error}");
        }
    }

    #[test]
    fn a_mistake_is_told_by_line_and_column() {
        let error = RuntimeConfig::from_toml("[workspaces.acme]\nshel = true\n").expect_err("no such field");
        assert_eq!(error.place().map(|place| (place.line(), place.column())), Some((2, 1)), "{error}");
        let error =
            RuntimeConfig::from_toml("[workspaces.a.mounts.b]\npath='x'\naccess='read'\n").expect_err("relative");
        assert!(matches!(error, ConfigError::RelativeMount(_)));
        assert_eq!(error.place().map(|place| (place.line(), place.column())), Some((2, 6)));
    }
}
