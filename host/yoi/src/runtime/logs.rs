//! The log of a service, written to stderr. It contains codes, names and numbers, but no content of requests. Logging never
//! blocks: lines are lost if the reader is too slow.

use std::io::IsTerminal;

use clap::ValueEnum;
use runtime_api::Code;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::error::CliError;

/// Maximum number of buffered lines: a few MiB, or the lines of some seconds of a busy service.
const MAX_BUFFERED_LINES: usize = 8192;

/// Arguments that configure the log.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LogArgs {
    /// Format of the log. Default: `text` at a terminal, `json` otherwise.
    #[arg(long, value_enum, env = "YOI_LOG_FORMAT")]
    log_format: Option<LogFormat>,
    /// Minimum level of log lines.
    #[arg(long, value_enum, default_value_t = LogLevel::Info, env = "YOI_LOG")]
    log: LogLevel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// One line of text per event.
    Text,
    /// One JSON document per line.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogLevel {
    /// Only errors.
    Error,
    /// Errors and warnings.
    Warn,
    /// Errors, warnings, and each request.
    Info,
}

impl LogArgs {
    /// Starts logging. Lines are written in the background until the guard is dropped. The drop flushes buffered lines, for at
    /// most one second.
    pub(crate) fn start(&self) -> Result<WorkerGuard, CliError> {
        let level = match self.log {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
        };
        // Only targets of this project: log lines of libraries could contain content of requests.
        let own_targets =
            tracing_subscriber::filter::Targets::new().with_target("yoi", level).with_target("worker_runtime", level);
        let is_terminal = std::io::stderr().is_terminal();
        let format = self.log_format.unwrap_or(if is_terminal { LogFormat::Text } else { LogFormat::Json });
        // A pipe that is not read fills up, and a blocking write to it would never return.
        let (writer, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(MAX_BUFFERED_LINES)
            .lossy(true)
            .finish(std::io::stderr());
        let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
        let started = match format {
            LogFormat::Text => tracing_subscriber::registry().with(lines).with(own_targets).try_init(),
            LogFormat::Json => {
                tracing_subscriber::registry().with(lines.json().flatten_event(true)).with(own_targets).try_init()
            }
        };
        started.map_err(|_| CliError::new(Code::Failed, "cannot start the log", "report this as a bug"))?;
        Ok(guard)
    }
}
