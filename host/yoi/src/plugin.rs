//! `yoi plugin`: creates, checks, packs, reviews and runs plugin packages, and grants them in the config of a host.

mod card;
mod check;
mod disable;
mod enable;
mod explain_url;
mod grants;
mod list;
mod new;
mod pack;
mod review;
mod run;
mod schema_check;
mod show;
mod source;

use std::process::ExitCode;

use bundles::plugin::Package;
use serde_json::{Value, json};

use crate::error::CliError;
use crate::output::Output;

/// Creates, checks, packs, reviews, runs and grants plugin packages. Only `run` runs code of a plugin.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Creates the source of a plugin in Rust, JavaScript or Python.
    New(new::Args),
    /// Checks the manifest of a plugin and the files of its package.
    Check(check::Args),
    /// Packs a folder into one file, with the same digest on every machine.
    Pack(pack::Args),
    /// Lists the plugins that a config grants.
    List(list::Args),
    /// Shows what a plugin offers and requests.
    Show(show::Args),
    /// Runs one tool of a plugin in the sandbox, without network.
    Run(run::Args),
    /// Reviews what a plugin may do, for the person who decides.
    Review(review::Args),
    /// Explains whether a plugin may send a request to a URL.
    ExplainUrl(explain_url::Args),
    /// Grants a package to a workspace, in the config of a host.
    Enable(enable::Args),
    /// Removes the grant of a plugin from the config of a host.
    Disable(disable::Args),
}

pub(crate) fn run(command: &Command, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::New(args) => new::run(args, output),
        Command::Check(args) => check::run(args, output),
        Command::Pack(args) => pack::run(args, output),
        Command::List(args) => list::run(args, output),
        Command::Show(args) => show::run(args, output),
        Command::Run(args) => run::run(args, output),
        Command::Review(args) => review::run(args, output),
        Command::ExplainUrl(args) => explain_url::run(args, output),
        Command::Enable(args) => enable::run(args, output),
        Command::Disable(args) => disable::run(args, output),
    }
}

/// Returns the fields of a package that the JSON output of all commands has.
fn summary(package: &Package, schema: &str) -> serde_json::Map<String, Value> {
    let manifest = package.manifest();
    let fields = [
        ("schema", json!(schema)),
        ("digest", json!(package.digest())),
        ("bytes", json!(package.blob().bytes().len())),
        ("component_bytes", json!(package.component().len())),
        ("name", json!(manifest.name())),
        ("version", json!(manifest.version())),
        ("world", json!(manifest.world())),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
