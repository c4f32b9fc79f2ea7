//! Reader of a file with cases. Every mistake is refused with its place.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bundles::canonical::to_canonical;
use bundles::{
    Authority, Capability, Diagnostic, Diagnostics, LanguageTag, ModelName, PluginName, ProfileName, PromptName,
    Source, TomlProblem, ToolName, WorkflowName, one_line,
};
use error_code::Code;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use toml::Spanned;

use super::{
    BundleSource, Case, CasePath, CaseSubject, Expectation, FactsSource, Field, MAX_CASE_FILE_BYTES,
    MAX_CASE_NAME_BYTES, MAX_CASES, ResolverSource,
};

/// A file with cases.
#[derive(Debug, Clone)]
pub struct CaseFile {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) cases: Vec<Case>,
}

impl CaseFile {
    /// Parses a file. `name` is shown in messages.
    ///
    /// # Errors
    ///
    /// All mistakes that were found, with their places.
    pub fn parse(name: &str, text: &str, subject: CaseSubject) -> Result<Self, Diagnostics> {
        let refuse = |list: Vec<Diagnostic>| {
            let is_shown = text.len() <= MAX_CASE_FILE_BYTES && list.iter().any(|one| one.span.is_some());
            Diagnostics { sources: is_shown.then(|| Source::new(name, text)).into_iter().collect(), list }
        };
        let mistake =
            |span, code, message: String, help: &str| Diagnostic::error_at((name, text), span, code, message, help);
        if text.len() > MAX_CASE_FILE_BYTES {
            let message = format!("the file exceeds limit `case_file_bytes` ({} > {MAX_CASE_FILE_BYTES})", text.len());
            return Err(refuse(vec![mistake(0..0, Code::TooLarge, message, "split the file into several files")]));
        }
        let syntax = |error: &toml::de::Error| {
            let problem = TomlProblem::from(error);
            let message = format!("invalid TOML: {}", problem.problem);
            let code = if problem.code == Code::DuplicateKey { problem.code } else { Code::InvalidToml };
            mistake(problem.span, code, message, "see the TOML 1.0 specification")
        };
        let table = toml::de::DeTable::parse(text).map_err(|error| refuse(vec![syntax(&error)]))?;
        let written = WrittenFile::deserialize(toml::de::Deserializer::from(table)).map_err(|error| {
            let problem = TomlProblem::from(&error);
            let help = match &problem.near {
                Some(near) => format!("did you mean `{near}`?"),
                None => "correct the line; no case runs until the whole file is valid".to_owned(),
            };
            refuse(vec![mistake(problem.span, problem.code, problem.problem, &help)])
        })?;
        if written.case.len() > MAX_CASES {
            let message = format!("the file exceeds limit `cases` ({} > {MAX_CASES})", written.case.len());
            return Err(refuse(vec![mistake(0..0, Code::TooLarge, message, "split the file into several files")]));
        }
        let mut mistakes = Vec::new();
        let mut names = BTreeSet::new();
        let mut cases = Vec::with_capacity(written.case.len());
        for case in written.case {
            let span = case.name.span();
            let case = case.read(text, subject, &mut mistakes);
            if !names.insert(case.name.clone()) {
                let message = format!("duplicate case `{}`", one_line(&case.name));
                mistakes.push(Mistake::new(&span, Code::DuplicateName, message, "rename one of the two"));
            }
            cases.push(case);
        }
        if mistakes.is_empty() {
            return Ok(Self { name: name.to_owned(), text: text.to_owned(), cases });
        }
        let mistakes = mistakes.into_iter().map(|one| mistake(one.span, one.code, one.message, one.help));
        Err(refuse(mistakes.collect()))
    }

    /// Returns the name that is shown in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the text of the file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the cases, in the order of the file.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFile {
    #[serde(default)]
    case: Vec<WrittenCase>,
}

/// A mistake that the types of the fields do not exclude.
struct Mistake {
    span: Range<usize>,
    code: Code,
    message: String,
    help: &'static str,
}

impl Mistake {
    fn new(span: &Range<usize>, code: Code, message: impl Into<String>, help: &'static str) -> Self {
        Self { span: span.clone(), code, message: message.into(), help }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table that describes a case")]
struct WrittenCase {
    name: Spanned<String>,
    profile: ProfileName,
    #[serde(default)]
    require: Vec<Capability>,
    #[serde(default)]
    facts: FactsSource,
    config: Option<CasePath>,
    resolver: Option<Spanned<ResolverSource>>,
    bundle: Option<Spanned<BundleSource>>,
    expect: Option<WrittenExpectations>,
}

impl WrittenCase {
    fn read(self, text: &str, subject: CaseSubject, mistakes: &mut Vec<Mistake>) -> Case {
        let at = self.name.span();
        let name = self.name.into_inner();
        if name.trim().is_empty() || name.len() > MAX_CASE_NAME_BYTES || name.chars().any(char::is_control) {
            let message = format!("invalid name of a case: expected one line of 1 to {MAX_CASE_NAME_BYTES} bytes");
            mistakes.push(Mistake::new(&at, Code::InvalidValue, message, "say in a sentence what the case shows"));
        }
        match (subject, &self.bundle, &self.resolver) {
            (CaseSubject::Bundle, Some(bundle), _) => mistakes.push(Mistake::new(
                &bundle.span(),
                Code::UnknownField,
                "a case of a bundle names no other bundle",
                "remove `bundle`",
            )),
            (CaseSubject::Resolver, _, Some(resolver)) => mistakes.push(Mistake::new(
                &resolver.span(),
                Code::UnknownField,
                "a case of a resolver names no other resolver",
                "remove `resolver`",
            )),
            (CaseSubject::Resolver, None, _) => mistakes.push(Mistake::new(
                &at,
                Code::MissingField,
                "missing field `bundle`",
                "name the folder or file of a bundle, or `builtin`",
            )),
            _ => {}
        }
        let expect = self.expect.map(|written| written.read(text, mistakes));
        for one in expect.iter().flatten().filter(|one| one.field.needs_config() && self.config.is_none()) {
            let message = format!("`{}` needs the config of a host", one.field);
            let help = "add `config = \"FILE\"` to the case, or remove the line";
            mistakes.push(Mistake::new(&one.span, Code::MissingField, message, help));
        }
        Case {
            line: line(text, at.start),
            name,
            profile: self.profile,
            require: self.require,
            facts: self.facts,
            config: self.config,
            resolver: self.resolver.map(Spanned::into_inner),
            bundle: self.bundle.map(Spanned::into_inner),
            expect,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of expected values")]
struct WrittenExpectations {
    failure: Option<Spanned<WrittenCode>>,
    refused: Option<Spanned<BTreeMap<String, WrittenCode>>>,
    model: Option<Spanned<WrittenModel>>,
    instructions: Option<Spanned<Vec<PromptName>>>,
    tools: Option<Spanned<BTreeSet<ToolName>>>,
    plugins: Option<Spanned<BTreeSet<PluginName>>>,
    workflows: Option<Spanned<BTreeSet<WorkflowName>>>,
    language: Option<Spanned<LanguageTag>>,
    requires: Option<Spanned<BTreeSet<Authority>>>,
    wants: Option<Spanned<BTreeSet<Authority>>>,
    grants: Option<Spanned<BTreeSet<Authority>>>,
    narrowed: Option<Spanned<BTreeMap<String, WrittenCode>>>,
    settings: Option<Spanned<Map<String, Value>>>,
}

impl WrittenExpectations {
    fn read(self, text: &str, mistakes: &mut Vec<Mistake>) -> Vec<Expectation> {
        let mut list = ExpectationList { text, list: Vec::new() };
        if let Some(settings) = &self.settings {
            check_settings(settings, mistakes);
        }
        list.add(Field::Failure, self.failure);
        list.add(Field::Refused, self.refused);
        list.add(Field::Model, self.model);
        list.add(Field::Instructions, self.instructions);
        list.add(Field::Tools, self.tools);
        list.add(Field::Plugins, self.plugins);
        list.add(Field::Workflows, self.workflows);
        list.add(Field::Language, self.language);
        list.add(Field::Requires, self.requires);
        list.add(Field::Wants, self.wants);
        list.add(Field::Grants, self.grants);
        list.add(Field::Narrowed, self.narrowed);
        list.add(Field::Settings, self.settings);
        list.list
    }
}

struct ExpectationList<'a> {
    text: &'a str,
    list: Vec<Expectation>,
}

impl ExpectationList<'_> {
    fn add<T: Serialize>(&mut self, field: Field, written: Option<Spanned<T>>) {
        let Some(written) = written else { return };
        let span = written.span();
        // In canonical form, because a bundle stores its values so: there, 1.0 is 1.
        let value = to_canonical(written.get_ref()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let value = super::observation::sorted(field, value.unwrap_or_default());
        self.list.push(Expectation { field, value, line: line(self.text, span.start), span });
    }
}

/// Reports settings that no bundle can have.
fn check_settings(settings: &Spanned<Map<String, Value>>, mistakes: &mut Vec<Mistake>) {
    // The TOML parser represents a date as an object with this key.
    fn has_date(value: &Value) -> bool {
        match value {
            Value::Object(map) => map.iter().any(|(key, value)| key.starts_with("$__toml_private") || has_date(value)),
            Value::Array(list) => list.iter().any(has_date),
            _ => false,
        }
    }
    let mut report = |code, message: &str, help| mistakes.push(Mistake::new(&settings.span(), code, message, help));
    if settings.get_ref().values().any(has_date) {
        report(Code::InvalidType, "settings have no dates and times", "write the date as a string");
    } else if to_canonical(settings.get_ref()).is_err() {
        report(Code::UnsafeNumber, "settings have a number that JSON cannot represent", "write a smaller number");
    }
}

/// Returns the line of a byte, from 1.
fn line(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|byte| *byte == b'\n').count() + 1
}

/// A stable error code.
#[derive(Serialize)]
struct WrittenCode(Code);

impl<'de> Deserialize<'de> for WrittenCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        word.parse().map(Self).map_err(|_| {
            let start: String = word.chars().take(64).collect();
            D::Error::custom(format_args!("invalid error code `{}`", bundles::one_line(&start)))
        })
    }
}

/// A model, or an empty text.
#[derive(Serialize)]
struct WrittenModel(String);

impl<'de> Deserialize<'de> for WrittenModel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if !text.is_empty() {
            text.parse::<ModelName>().map_err(D::Error::custom)?;
        }
        Ok(Self(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[[case]]\nname = 'a'\nprofile = 'p'\n";

    fn refused(text: &str, subject: CaseSubject) -> Diagnostics {
        CaseFile::parse("tests/a.toml", text, subject).expect_err(text)
    }

    #[test]
    fn mistake_is_refused_with_its_place() {
        for (text, line, column, code, message) in [
            ("[[case]]\nname = ", 2, 8, Code::InvalidToml, "invalid TOML"),
            ("[[case]]\nname = 'a'\nname = 'a'\n", 3, 1, Code::DuplicateKey, "invalid TOML: duplicate key"),
            ("[[cases]]\n", 1, 3, Code::UnknownField, "unknown field `cases`, expected `case`"),
            (&format!("{GOOD}expect = {{ tool = [] }}"), 4, 12, Code::UnknownField, "unknown field `tool`"),
            (&format!("{GOOD}expect = {{ tools = ['A B'] }}"), 4, 21, Code::InvalidName, "invalid tool name"),
            (&format!("{GOOD}expect = {{ tools = 'a' }}"), 4, 20, Code::InvalidType, "expected a list"),
            (&format!("{GOOD}expect = {{ failure = 'x' }}"), 4, 22, Code::InvalidValue, "invalid error code `x`"),
            (&format!("{GOOD}expect = {{ grants = [] }}"), 4, 21, Code::MissingField, "`grants` needs the config"),
            (&format!("{GOOD}expect.settings.day = 2026-01-01"), 4, 8, Code::InvalidType, "settings have no dates"),
            (&format!("{GOOD}facts = '/etc/passwd'"), 4, 9, Code::InvalidValue, "invalid path"),
            (&format!("{GOOD}facts = 1"), 4, 9, Code::InvalidType, "expected a table of facts"),
            (
                &format!("{GOOD}facts = {{ os = 'linux', arch = 'x', mount = [] }}"),
                4,
                37,
                Code::UnknownField,
                "unknown field `mount`",
            ),
            (&format!("{GOOD}bundle = 'x'"), 4, 10, Code::UnknownField, "a case of a bundle names no other bundle"),
            (&format!("{GOOD}{GOOD}"), 5, 8, Code::DuplicateName, "duplicate case `a`"),
            ("[[case]]\nname = ''\nprofile = 'p'\n", 2, 8, Code::InvalidValue, "invalid name of a case"),
            ("[[case]]\nname = 'a'\n", 1, 1, Code::MissingField, "missing field `profile`"),
        ] {
            let found = refused(text, CaseSubject::Bundle);
            let first = &found.list[0];
            assert_eq!((first.line, first.column, first.code), (line, column, code), "{text}: {first:?}");
            assert!(first.message.starts_with(message), "{first:?}");
            assert_eq!(found.source_of(first).map(|source| source.masked.len()), Some(text.len()));
        }
        let found = refused(GOOD, CaseSubject::Resolver);
        assert_eq!((found.list[0].line, found.list[0].message.as_str()), (2, "missing field `bundle`"));
        assert!(CaseFile::parse("a", &format!("{GOOD}bundle = 'x'"), CaseSubject::Resolver).is_ok());
        assert!(CaseFile::parse("a", GOOD, CaseSubject::Bundle).is_ok());
    }

    #[test]
    fn size_and_number_of_cases_are_limited() {
        let cases = |count: usize| {
            (0..count).map(|number| format!("[[case]]\nname = '{number}'\nprofile = 'p'\n")).collect::<String>()
        };
        assert!(CaseFile::parse("a", &cases(MAX_CASES), CaseSubject::Bundle).is_ok());
        let found = refused(&cases(MAX_CASES + 1), CaseSubject::Bundle);
        assert!(found.list[0].message.contains("limit `cases`"), "{found:?}");
        let found = refused(&"#".repeat(MAX_CASE_FILE_BYTES + 1), CaseSubject::Bundle);
        assert!(found.list[0].message.contains("limit `case_file_bytes`") && found.sources.is_empty());
        let deep = format!("{GOOD}expect.settings.a = {}", "[".repeat(100_000));
        assert_eq!(refused(&deep, CaseSubject::Bundle).list[0].code, Code::InvalidToml);
    }

    #[test]
    fn number_is_compared_in_the_form_of_a_bundle() {
        let text = format!("{GOOD}expect.settings = {{ a = 1.0, b = [2, 1] }}\nexpect.tools = ['b', 'a']\n");
        let file = CaseFile::parse("a", &text, CaseSubject::Bundle).expect("cases");
        let value = |field| file.cases[0].expectation(field).map(|one| (one.line, one.value.clone()));
        assert_eq!(value(Field::Settings), Some((4, serde_json::json!({ "a": 1, "b": [2, 1] }))));
        assert_eq!(value(Field::Tools), Some((5, serde_json::json!(["a", "b"]))));
    }
}
