//! `yoi`, the command line. Each command has one file with its arguments and `run`. Results go to stdout, diagnostics and
//! progress to stderr.

mod advice;
mod backend;
mod bundle;
mod bundle_source;
mod carets;
mod cases;
mod config_file;
mod demo;
mod digest_prefix;
mod error;
mod files;
mod json_input;
mod key;
mod new_token;
mod output;
mod plugin;
mod progress;
mod refusals;
mod remote;
mod resolve;
mod resolver;
mod runtime;
mod sandbox;
mod scaffold;
mod secret;
mod text;
mod upload;
mod worker;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use runtime_api::Code;

use crate::error::CliError;
use crate::output::{Format, Output};

/// Decides what an AI agent's worker can be and can access.
#[derive(Debug, Parser)]
#[command(name = "yoi", version, max_term_width = 100, propagate_version = true, infer_subcommands = false)]
struct Cli {
    /// Format of the result: text for people, or one JSON document.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, env = "YOI_FORMAT")]
    format: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows all steps with an example, from bundle to worker, in a temporary folder.
    Demo(demo::Args),
    /// Resolves a profile on this host.
    Resolve(resolve::Args),
    /// Creates, checks and compares bundles.
    #[command(subcommand)]
    Bundle(bundle::Command),
    /// Creates, checks, packs, shows and runs plugin packages.
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Creates and shows signing keys.
    #[command(subcommand)]
    Key(key::Command),
    /// Inspects and tests resolver components.
    #[command(subcommand)]
    Resolver(resolver::Command),
    /// Runs a Runtime as a service, and manages a running one.
    #[command(subcommand)]
    Runtime(runtime::Command),
    /// Runs a Backend, which brings the right bundle to every Runtime, and manages a running one.
    #[command(subcommand)]
    Backend(backend::Command),
    /// Creates workers on a Runtime, calls their tools and shows their history.
    #[command(subcommand)]
    Worker(worker::Command),
    /// Sets, lists and removes the secrets of this host.
    #[command(subcommand)]
    Secret(secret::Command),
}

impl Command {
    /// `true` if the command can print a JUnit report.
    fn has_junit_report(&self) -> bool {
        matches!(self, Self::Bundle(bundle::Command::Test(_)) | Self::Resolver(resolver::Command::Test(_)))
    }
}

fn main() -> ExitCode {
    // The same binary compiles components, in a child process that can be killed.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == component_host::compile::child::ARGUMENT) {
        return ExitCode::from(component_host::compile::child::main());
    }
    let command = without_empty_variables(Cli::command());
    let cli = match command.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return output::usage(&error),
    };
    let output = Output::new(cli.format);
    if cli.format == Format::Junit && !cli.command.has_junit_report() {
        return output.error(&CliError::new(
            Code::Usage,
            "only `yoi bundle test` and `yoi resolver test` have the format `junit`",
            "use `--format text` or `--format json`",
        ));
    }
    match run(cli.command, &output) {
        Ok(code) => output.end(code),
        Err(error) => output.error(&error),
    }
}

/// Ignores environment variables that are empty. They count as unset, as in a shell script or a unit file.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |arg: &clap::Arg| arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| if is_empty(&arg) { arg.env(None::<&str>) } else { arg })
        .mut_subcommands(without_empty_variables)
}

fn run(command: Command, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::Demo(args) => demo::run(&args, output),
        Command::Resolve(args) => resolve::run(&args, output),
        Command::Bundle(command) => bundle::run(&command, output),
        Command::Plugin(command) => plugin::run(&command, output),
        Command::Key(command) => key::run(&command, output),
        Command::Resolver(command) => resolver::run(&command, output),
        Command::Runtime(command) => runtime::run(&command, output),
        Command::Backend(command) => backend::run(&command, output),
        Command::Worker(command) => worker::run(&command, output),
        Command::Secret(command) => secret::run(&command, output),
    }
}

/// Runs a future to completion on this thread.
fn block_on<F: Future>(future: F) -> Result<F::Output, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime
        .map_err(|_| {
            CliError::new(
                Code::Failed,
                "cannot start the asynchronous runtime",
                "raise the limits of the system for threads and open files",
            )
        })?
        .block_on(future))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(command: &clap::Command, seen: &mut usize) {
        for flag in command.get_arguments().filter(|argument| !argument.is_positional()) {
            if ["help", "version"].contains(&flag.get_id().as_str()) {
                continue;
            }
            *seen += 1;
            // A consent is given for one command.
            if ["accept_widening", "accept", "unchecked"].contains(&flag.get_id().as_str()) {
                assert!(flag.get_env().is_none());
                continue;
            }
            let variable = flag.get_env().and_then(|name| name.to_str()).unwrap_or_default();
            let name = format!("`{} --{}`", command.get_name(), flag.get_long().unwrap_or_default());
            assert!(variable.starts_with("YOI_"), "{name} has no variable");
            let is_switch = matches!(flag.get_action(), clap::ArgAction::SetTrue);
            let mut words = flag.get_value_parser().possible_values().into_iter().flatten();
            assert!(!is_switch || words.any(|word| word.matches("yes", false)), "{name} reads only `true` and `false`");
        }
        for command in command.get_subcommands() {
            walk(command, seen);
        }
    }

    #[test]
    fn every_flag_but_a_consent_has_a_variable() {
        let mut command = Cli::command();
        command.build();
        let mut seen = 0;
        walk(&command, &mut seen);
        assert!(seen > 40, "{seen}");
    }
}
