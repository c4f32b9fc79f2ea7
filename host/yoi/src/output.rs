//! Printing. The result goes to stdout, as text or as one JSON document. Errors go to stderr as text, or to stdout as JSON.

use std::cell::Cell;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use bundles::one_line;
use runtime_api::Code;
use serde::Serialize;
use serde_json::json;

use crate::error::{CliError, Text};

/// Format of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Text for people.
    Text,
    /// One JSON document.
    Json,
    /// A report of tests in the JUnit XML format. Hidden, because only the commands that run tests have it.
    #[value(hide = true)]
    Junit,
}

/// Printer of results and errors.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    /// Error of the last write to stdout.
    write_error: Cell<Option<ErrorKind>>,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, write_error: Cell::new(None) }
    }

    /// Returns `true` if the result is text for people.
    pub(crate) fn is_text(&self) -> bool {
        self.format == Format::Text
    }

    /// Prints the result: `value` as JSON, or `text`.
    pub(crate) fn result(&self, value: &impl Serialize, text: impl FnOnce() -> String) {
        match self.format {
            Format::Text | Format::Junit => self.print(&text()),
            Format::Json => self.print(&json_line(value)),
        }
    }

    /// Prints the result of tests: `value` as JSON, `text`, or `junit` as JUnit XML.
    pub(crate) fn report(&self, value: &impl Serialize, text: impl FnOnce() -> String, junit: impl FnOnce() -> String) {
        match self.format {
            Format::Junit => self.print(&junit()),
            Format::Text | Format::Json => self.result(value, text),
        }
    }

    fn print(&self, text: &str) {
        let mut stdout = anstream::stdout().lock();
        let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        self.write_error.set(write_error(written));
    }

    /// Returns the exit code of a finished command. A result that could not be written is a failure.
    pub(crate) fn end(&self, code: ExitCode) -> ExitCode {
        let Some(kind) = self.write_error.take() else { return code };
        let error = CliError::new(
            Code::Unwritable,
            format!("cannot write the result: {kind}"),
            "free disk space, or redirect the output to another place",
        );
        Self::new(Format::Text).error(&error)
    }

    /// Prints a line to stderr.
    pub(crate) fn note(&self, text: &str) {
        let mut stderr = anstream::stderr().lock();
        // A closed stderr does not make the command fail.
        let _ = writeln!(stderr, "{text}");
    }

    /// Prints an error and returns its exit code.
    pub(crate) fn error(&self, error: &CliError) -> ExitCode {
        match self.format {
            Format::Json => {
                let document = json!({
                    "schema": "yoi.error/1", "code": error.shown_code(), "message": error.message, "help": error.help, "details": error.details,
                });
                self.print(&json_line(&document));
            }
            Format::Text | Format::Junit => {
                let style = anstyle::AnsiColor::Red.on_default().bold();
                let mut stderr = anstream::stderr().lock();
                let done = match error.text.as_deref() {
                    Some(Text::Diagnostics(text)) => writeln!(stderr, "{text}"),
                    Some(Text::Error(text)) => {
                        writeln!(stderr, "{style}error{style:#}[{}]: {text}", error.shown_code())
                    }
                    None => writeln!(
                        stderr,
                        "{style}error{style:#}[{}]: {}\n  help: {}",
                        error.shown_code(),
                        one_line(&error.message),
                        one_line(&error.help)
                    ),
                };
                let _ = done;
            }
        }
        self.end(ExitCode::from(error.code.exit_code()))
    }
}

/// Formats a value as JSON without characters that a terminal interprets.
pub(crate) fn json_line(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_else(|_| "{}".to_owned());
    let mut line = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        // JSON has non-ASCII and control characters only inside strings, where an escape means the same.
        let plain = c.is_ascii_graphic() || matches!(c, ' ' | '\n');
        if !plain && one_line(&c.to_string()) != c.to_string() {
            line.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    line
}

/// Returns the kind of a failed write. A closed pipe (`| head`) is not an error.
fn write_error(written: std::io::Result<()>) -> Option<ErrorKind> {
    written.err().map(|error| error.kind()).filter(|kind| *kind != ErrorKind::BrokenPipe)
}

/// Prints an error of clap. Help and version are results, everything else is a usage error.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let wants_json = {
        let arguments: Vec<String> =
            std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
        let pair = arguments.iter().zip(arguments.iter().skip(1)).any(|(one, two)| one == "--format" && two == "json");
        pair || arguments.iter().any(|argument| argument == "--format=json")
            || std::env::var_os("YOI_FORMAT").is_some_and(|format| format == "json")
    };
    if error.use_stderr() && wants_json {
        let message = error.to_string();
        let lines = message.lines().take_while(|line| !line.is_empty()).map(str::trim);
        let text: String = lines.collect::<Vec<_>>().join(" ").chars().take(300).collect();
        let first = text.trim_start_matches("error: ").to_owned();
        return Output::new(Format::Json).error(&CliError::new(Code::Usage, first, "see `yoi --help`"));
    }
    let output = Output::new(Format::Text);
    let printed = error.print().and_then(|()| std::io::stdout().flush());
    // A failed write to stderr cannot be reported.
    output.write_error.set(write_error(printed).filter(|_| !error.use_stderr()));
    output.end(ExitCode::from(if error.use_stderr() { 2 } else { 0 }))
}
