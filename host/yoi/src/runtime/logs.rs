//! The log of a service: lines on stderr, for people or for programs. It holds codes, names and
//! numbers, and nothing that came in. Nobody waits for its reader: where that one is too slow, lines are lost.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::error::CliError;

/// Lines that wait for who reads the log: a few MiB, and some seconds of a busy service.
const WAITING_LINES: usize = 8192;

/// How the log is written.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct LogArgs {
    /// How lines of the log look; by default for people at a terminal, else for programs.
    #[arg(long, value_enum, env = "YOI_LOG_FORMAT")]
    log_format: Option<LogFormat>,
    /// What is logged.
    #[arg(long, value_enum, default_value_t = LogLevel::Info, env = "YOI_LOG")]
    log: LogLevel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// A line of words.
    Text,
    /// A JSON document in each line.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogLevel {
    /// Nothing but what does not work.
    Error,
    /// Also what should be looked at.
    Warn,
    /// Also each request.
    Info,
}

impl LogArgs {
    /// Begins logging. What waits to be written is written for as long as the guard is kept, and when it is
    /// dropped, where it is read within a second.
    pub(super) fn begin(&self) -> Result<WorkerGuard, CliError> {
        let level = match self.log {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
        };
        // Only our own words: libraries may say what they were given.
        let ours = tracing_subscriber::filter::Targets::new().with_target("yoi", level);
        let people = std::io::stderr().is_terminal();
        let format = self.log_format.unwrap_or(if people { LogFormat::Text } else { LogFormat::Json });
        // A pipe that nobody reads is full at some time: who writes into it then waits for ever.
        let (writer, guard) =
            NonBlockingBuilder::default().buffered_lines_limit(WAITING_LINES).lossy(true).finish(std::io::stderr());
        let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
        let begun = match format {
            LogFormat::Text => tracing_subscriber::registry().with(lines).with(ours).try_init(),
            LogFormat::Json => {
                tracing_subscriber::registry().with(lines.json().flatten_event(true)).with(ours).try_init()
            }
        };
        begun.map_err(|_| CliError::new("failed", "the log cannot be begun", "report this"))?;
        Ok(guard)
    }
}
