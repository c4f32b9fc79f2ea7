//! `yoi resolver`: resolver components by themselves, and the resolvers of a service.

mod activate;
mod add;
mod bench;
mod check;
mod compare;
mod comparison_page;
mod events;
mod inspect;
mod list;
mod new;
mod registry;
mod remove;
mod replay;
mod revoke;
mod rollback;
mod run;
mod show;
mod sources;
mod test;

use std::process::ExitCode;

use crate::error::CliError;
use crate::output::Output;

/// Creates, tests and compares resolver components, and manages the resolvers of a service.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Shows the structure of a component without compiling or running it.
    Inspect(inspect::Args),
    /// Creates the source of a resolver.
    New(new::Args),
    /// Checks that a component conforms to the contract of resolvers.
    Check(check::Args),
    /// Measures the cost of a component against the built-in resolver.
    Bench(bench::Args),
    /// Repeats recorded resolutions and compares the results.
    Replay(replay::Args),
    /// Compares two resolvers over recorded resolutions, or over the profiles of a bundle.
    Compare(compare::Args),
    /// Runs one resolution with a component and shows its outcome.
    Run(run::Args),
    /// Runs test cases with a component.
    Test(test::Args),
    /// Lists the resolvers of a service.
    List(list::Args),
    /// Shows a resolver of a service.
    Show(show::Args),
    /// Adds a resolver to a service.
    Add(add::Args),
    /// Activates a resolver of a service.
    Activate(activate::Args),
    /// Lists the changes of a service's resolvers.
    Events(events::Args),
    /// Activates the resolver that was active before.
    Rollback(rollback::Args),
    /// Revokes a resolver of a service, which is final.
    Revoke(revoke::Args),
    /// Removes a resolver of a service that nothing uses.
    Remove(remove::Args),
}

pub(crate) fn run(command: &Command, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::Inspect(args) => inspect::run(args, output),
        Command::New(args) => new::run(args, output),
        Command::Check(args) => check::run(args, output),
        Command::Bench(args) => bench::run(args, output),
        Command::Replay(args) => replay::run(args, output),
        Command::Compare(args) => compare::run(args, output),
        Command::Run(args) => run::run(args, output),
        Command::Test(args) => test::run(args, output),
        Command::List(args) => list::run(args, output),
        Command::Show(args) => show::run(args, output),
        Command::Add(args) => add::run(args, output),
        Command::Activate(args) => activate::run(args, output),
        Command::Events(args) => events::run(args, output),
        Command::Rollback(args) => rollback::run(args, output),
        Command::Revoke(args) => revoke::run(args, output),
        Command::Remove(args) => remove::run(args, output),
    }
}
