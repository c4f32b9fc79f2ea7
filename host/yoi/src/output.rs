//! Printing: one result on stdout, as text or as one JSON document; errors for people on stderr.

use std::cell::Cell;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use bundles::one_line;
use serde::Serialize;
use serde_json::json;

use crate::error::{CliError, Text};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// Where results go.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    /// Why a result could not be written, where one could not.
    unwritten: Cell<Option<ErrorKind>>,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, unwritten: Cell::new(None) }
    }

    /// Whether people read the result.
    pub(crate) fn is_text(&self) -> bool {
        self.format == Format::Text
    }

    /// The result: `value` as JSON, or `text` for people.
    pub(crate) fn result(&self, value: &impl Serialize, text: impl FnOnce() -> String) {
        match self.format {
            Format::Text => self.print(&text()),
            Format::Json => self.print(&json_line(value)),
        }
    }

    fn print(&self, text: &str) {
        let mut stdout = anstream::stdout().lock();
        let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        self.unwritten.set(unwritten(written));
    }

    /// The exit code of a command that came to its end: a result that is not there is a failure,
    /// whatever it said.
    pub(crate) fn end(&self, code: ExitCode) -> ExitCode {
        let Some(kind) = self.unwritten.take() else { return code };
        let error = CliError::new(
            "unwritable",
            format!("the result cannot be written: {kind}"),
            "make room, or name another place",
        );
        Self::new(Format::Text).error(&error)
    }

    /// A line for people while something goes on.
    pub(crate) fn note(&self, text: &str) {
        let mut stderr = anstream::stderr().lock();
        // Nobody may be listening; that is no reason to fail.
        let _ = writeln!(stderr, "{text}");
    }

    /// An error, and the exit code that goes with it.
    pub(crate) fn error(&self, error: &CliError) -> ExitCode {
        match self.format {
            Format::Json => {
                let document = json!({
                    "schema": "yoi.error/1", "code": error.code, "message": error.message, "help": error.help, "details": error.details,
                });
                self.print(&json_line(&document));
            }
            Format::Text => {
                let style = anstyle::AnsiColor::Red.on_default().bold();
                let mut stderr = anstream::stderr().lock();
                let done = match error.text.as_deref() {
                    Some(Text::Diagnostics(text)) => writeln!(stderr, "{text}"),
                    Some(Text::Error(text)) => writeln!(stderr, "{style}error{style:#}[{}]: {text}", error.code),
                    None => writeln!(
                        stderr,
                        "{style}error{style:#}[{}]: {}\n  help: {}",
                        error.code,
                        one_line(&error.message),
                        one_line(&error.help)
                    ),
                };
                let _ = done;
            }
        }
        self.end(ExitCode::from(error.exit_code()))
    }
}

/// A value as JSON for a terminal: nothing in it is obeyed.
pub(crate) fn json_line(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_else(|_| "{}".to_owned());
    let mut line = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        // Beyond ASCII, JSON has characters in strings only, where an escape means the same. A
        // terminal may obey some of them.
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

/// Why nothing was written. A reader that has gone away (`| head`) is no error of ours.
fn unwritten(written: std::io::Result<()>) -> Option<ErrorKind> {
    written.err().map(|error| error.kind()).filter(|kind| *kind != ErrorKind::BrokenPipe)
}

/// What clap has to say: help and version are results, the rest is a usage error.
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
        let said: String = lines.collect::<Vec<_>>().join(" ").chars().take(300).collect();
        let first = said.trim_start_matches("error: ").to_owned();
        return Output::new(Format::Json).error(&CliError::new("usage", first, "see `yoi --help`"));
    }
    let output = Output::new(Format::Text);
    let printed = error.print().and_then(|()| std::io::stdout().flush());
    // Of what nobody reads on stderr there is nobody to tell.
    output.unwritten.set(unwritten(printed).filter(|_| !error.use_stderr()));
    output.end(ExitCode::from(if error.use_stderr() { 2 } else { 0 }))
}
