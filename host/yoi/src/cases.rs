//! Runs test cases of bundles and resolvers, and prints their results. `bundle test` and `resolver test` use it.

mod inputs;
mod result;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bundles::Diagnostics;
use clap::builder::BoolishValueParser;
use resolver_testkit::case::{CaseFile, CaseSubject, MAX_CASE_FILE_BYTES, Observation};
use runtime_api::Code;

use crate::bundle_source;
use crate::error::CliError;
use crate::files;
use crate::output::Output;

pub(crate) use inputs::CaseInputs;
use result::{CaseResult, Document, Verdict};

/// Arguments of the commands that run cases.
#[derive(Debug, clap::Args)]
pub(crate) struct CaseArgs {
    /// Runs only the cases whose name, or the name of whose file, contains TEXT.
    #[arg(long, value_name = "TEXT", env = "YOI_FILTER")]
    filter: Option<String>,
    /// Writes the actual values into the files, as the expected ones. Comments and matching values stay.
    #[arg(long, env = "YOI_BLESS", value_parser = BoolishValueParser::new())]
    bless: bool,
}

/// Maximum number of files with cases in a folder. Each has up to 1,000 cases.
const MAX_CASE_FILES: usize = 256;

/// A file with cases and its path.
struct OpenFile {
    path: PathBuf,
    file: CaseFile,
}

/// Cases to run.
pub(crate) struct CaseSuite<'a> {
    /// Value of `schema` in JSON.
    pub(crate) schema: &'static str,
    /// Name of the tested bundle or resolver.
    pub(crate) suite: String,
    /// The subject of the cases.
    pub(crate) subject: CaseSubject,
    /// A file, or a folder of which the `.toml` files are read.
    pub(crate) cases: &'a Path,
}

impl CaseSuite<'_> {
    /// Runs the cases and prints the results. The exit code is 1 if a case fails.
    pub(crate) fn run(self, args: &CaseArgs, inputs: &mut CaseInputs, output: &Output) -> Result<ExitCode, CliError> {
        let files = self.open()?;
        let (mut results, mut blessed) = (Vec::new(), Vec::new());
        for file in &files {
            let (of_file, text) = crate::block_on(run_file(file, args, inputs))??;
            results.extend(of_file);
            blessed.extend(text.map(|text| (file, text)));
        }
        if results.is_empty() {
            return Err(self.no_cases(args.filter.as_deref()));
        }
        // Written after all cases have run, so that a mistake in one of them leaves all files as they were.
        for (OpenFile { path, file }, text) in blessed {
            files::edit(path, file.text(), &text, "case file")?;
        }
        let document = Document::new(self.schema, results);
        let exit = if document.ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        let report = document.junit(&self.suite)?;
        output.report(&document, || document.text(), || report);
        Ok(exit)
    }

    /// Reads the files. The error has the mistakes of all of them.
    fn open(&self) -> Result<Vec<OpenFile>, CliError> {
        let mut open = Vec::new();
        let mut found = Diagnostics::default();
        for path in self.paths()? {
            inputs::require_file(&path, "case file")?;
            let text = files::read_text(&path, MAX_CASE_FILE_BYTES, "case file")?;
            match CaseFile::parse(&files::shown(&path), &text, self.subject) {
                Ok(file) => open.push(OpenFile { path, file }),
                Err(mistakes) => {
                    found.list.extend(mistakes.list);
                    found.sources.extend(mistakes.sources);
                }
            }
        }
        if found.list.is_empty() { Ok(open) } else { Err(bundle_source::diagnostics(&found)) }
    }

    fn paths(&self) -> Result<Vec<PathBuf>, CliError> {
        let unreadable = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => self.no_cases(None),
            _ => files::unreadable(self.cases, "folder", &error),
        };
        if std::fs::metadata(self.cases).map_err(unreadable)?.is_file() {
            return Ok(vec![self.cases.to_owned()]);
        }
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(self.cases).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if path.extension().is_some_and(|extension| extension == "toml") && !is_hidden {
                paths.push(path);
            }
            if paths.len() > MAX_CASE_FILES {
                let message = format!("folder `{}` exceeds limit `case_files` ({MAX_CASE_FILES})", self.shown());
                return Err(CliError::new(Code::TooLarge, message, "write several cases into each file"));
            }
        }
        paths.sort();
        Ok(paths)
    }

    fn no_cases(&self, filter: Option<&str>) -> CliError {
        match filter {
            Some(_) => {
                let message = format!("no case in `{}` matches the filter", self.shown());
                CliError::new(
                    Code::NotFound,
                    message,
                    "write a part of a case's name, or of the name of its file, with `--filter`",
                )
            }
            None => CliError::new(
                Code::NotFound,
                format!("no cases in `{}`", self.shown()),
                "write a `.toml` file with `[[case]]`; `docs/testing.md` of the project describes it",
            ),
        }
    }

    fn shown(&self) -> String {
        files::shown(self.cases)
    }
}

/// Runs the selected cases of a file. With `--bless`, also returns the text of the file with the actual values of those that
/// fail.
async fn run_file(
    open: &OpenFile,
    args: &CaseArgs,
    inputs: &mut CaseInputs,
) -> Result<(Vec<CaseResult>, Option<String>), CliError> {
    let OpenFile { path, file } = open;
    let file_name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let is_selected =
        |name: &str| args.filter.as_ref().is_none_or(|text| name.contains(text) || file_name.contains(text));
    let mut results = Vec::new();
    let mut failed: Vec<(usize, Observation)> = Vec::new();
    for (index, case) in file.cases().iter().enumerate().filter(|(_, case)| is_selected(case.name())) {
        let folder = path.parent().unwrap_or(Path::new(""));
        let actual = inputs.observe(case, folder).await.map_err(|error| of_case(error, case.name(), file.name()))?;
        let mut result = CaseResult::new(file.name(), case, &actual);
        if args.bless && result.verdict == Verdict::Failed {
            result.verdict = Verdict::Blessed;
            failed.push((index, actual));
        }
        results.push(result);
    }
    if failed.is_empty() {
        return Ok((results, None));
    }
    let blessed = file.blessed(failed.iter().map(|(index, actual)| (*index, actual)));
    let blessed = blessed.map_err(|error| {
        let help = "remove the field from the expected values of the case";
        CliError::new(Code::InvalidValue, format!("cannot write `{}`: {error}", file.name()), help)
    })?;
    Ok((results, Some(blessed)))
}

/// Adds the case to the error of one of its inputs.
fn of_case(mut error: CliError, case: &str, file: &str) -> CliError {
    error.message = format!("case `{case}` in `{file}`: {}", error.message);
    error
}
