//! `yoi resolver add`.

use std::process::ExitCode;

use super::registry;
use crate::error::CliError;
use crate::output::Output;
use crate::remote::ServerArgs;
use crate::sandbox::{ComponentRef, LimitsArgs};

/// Adds a resolver to a service.
///
/// The service examines and compiles the component, and stores it. Requests can name the resolver afterwards; `yoi resolver
/// activate` makes it the default.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Component, as `PATH` or `PATH@sha256:…`.
    component: ComponentRef,
    #[command(flatten)]
    limits: LimitsArgs,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let component = args.component.read_or_shipped(&args.limits.read()?)?;
    let (resolver, _) =
        args.server.send(|client| async move { client.put_resolver(component.to_vec().into()).await })?;
    registry::print(&resolver, output);
    Ok(ExitCode::SUCCESS)
}
