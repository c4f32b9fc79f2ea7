//! `yoi resolver test`: runs test cases with a resolver component.

use std::path::PathBuf;
use std::process::ExitCode;

use resolver_testkit::case::CaseSubject;

use crate::cases::{CaseArgs, CaseInputs, CaseSuite};
use crate::error::CliError;
use crate::output::Output;
use crate::sandbox::{self, CacheArgs, ComponentRef, LimitsArgs};

/// Runs test cases with a resolver component.
///
/// A case names a bundle, a profile and facts, and any of the values that it expects. The exit code is 1 if a case fails.
/// `--format junit` prints a report in the JUnit XML format.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Component, as `PATH` or `PATH@sha256:…`. `builtin` is the built-in resolver.
    component: ComponentRef,
    /// Folder of which the `.toml` files are read, or one file.
    cases: PathBuf,
    #[command(flatten)]
    options: CaseArgs,
    #[command(flatten)]
    limits: LimitsArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let limits = args.limits.read()?;
    let component = args.component.read_or_shipped(&limits)?;
    let sandbox = sandbox::start(&args.cache, limits, output)?;
    let resolver = crate::block_on(sandbox.load(&component))??;
    let suite = resolver.digest().to_string();
    let mut inputs = CaseInputs::new(sandbox, None, resolver);
    let cases = CaseSuite { schema: "yoi.resolver-test/1", suite, subject: CaseSubject::Resolver, cases: &args.cases };
    cases.run(&args.options, &mut inputs, output)
}
