//! The case corpus in `tests/cases`, which defines resolution exactly. It is compiled into the program.

use std::sync::OnceLock;

use include_dir::{Dir, include_dir};
use serde_json::{Value, json};

use super::error::KitError;
use super::scenario::Scenario;

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../tests/cases");

/// A case of the corpus whose bundle a host accepts.
#[derive(Debug, Clone)]
pub struct CorpusCase {
    /// Name of the file without its extension.
    pub theme: String,
    /// The sentence that the case proves.
    pub name: String,
    /// Inputs.
    pub scenario: Scenario,
    /// Expected outcome of a host, in the form of [`Outcome::to_json`](super::Outcome::to_json).
    pub expected: Value,
}

/// Returns the cases of the corpus, by theme. Cases whose bundle no host accepts are left out: they test resolvers without a
/// host.
pub fn corpus() -> Result<&'static [CorpusCase], KitError> {
    static CASES: OnceLock<Vec<CorpusCase>> = OnceLock::new();
    match CASES.get() {
        Some(cases) => Ok(cases),
        None => read().map(|cases| CASES.get_or_init(|| cases).as_slice()),
    }
}

fn read() -> Result<Vec<CorpusCase>, KitError> {
    let mut files: Vec<_> =
        FILES.files().filter(|file| file.path().extension().is_some_and(|extension| extension == "json")).collect();
    files.sort_by_key(|file| file.path());
    let mut cases = Vec::new();
    for file in files {
        let theme = file.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let content: Value = serde_json::from_slice(file.contents()).unwrap_or_default();
        for case in content.get("cases").and_then(Value::as_array).into_iter().flatten() {
            if case.get("unverifiable") == Some(&json!(true)) {
                continue;
            }
            let name = case.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            let scenario = Scenario::from_json(case)
                .map_err(|source| KitError::Scenario { name: format!("{theme}: {name}"), source })?;
            let expected = of_host(case.get("expect").cloned().unwrap_or_default(), &scenario);
            cases.push(CorpusCase { theme: theme.clone(), name, scenario, expected });
        }
    }
    Ok(cases)
}

/// Adds the bundle's language if no layer sets one, as a host does.
fn of_host(mut expected: Value, scenario: &Scenario) -> Value {
    if let Some(language) = expected.get_mut("resolved").and_then(|resolved| resolved.get_mut("language"))
        && language.is_null()
    {
        *language = json!(scenario.view().bundle().manifest().language);
    }
    expected
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn corpus_has_every_theme_and_more_than_a_hundred_cases() {
        let cases = corpus().expect("the corpus");
        let themes: std::collections::BTreeSet<_> = cases.iter().map(|case| case.theme.as_str()).collect();
        assert!(cases.len() > 100 && themes.len() >= 10, "{} cases of {themes:?}", cases.len());
        assert!(cases.iter().all(|case| case.expected.is_object() && !case.name.is_empty()));
    }
}
