//! `yoi bundle test`: runs the test cases of a bundle.

use std::path::PathBuf;
use std::process::ExitCode;

use resolver_testkit::case::CaseSubject;

use crate::bundle_source;
use crate::cases::{CaseArgs, CaseInputs, CaseSuite};
use crate::error::CliError;
use crate::output::Output;
use crate::sandbox::{self, CacheArgs, ComponentRef, LimitsArgs};

/// Runs the test cases of a bundle.
///
/// The cases are in `tests/*.toml` of the folder, which is no part of the bundle. A case names a profile, facts and the
/// config of a host, and any of the values that it expects. The exit code is 1 if a case fails. `--format junit` prints a
/// report in the JUnit XML format.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with a `bundle.toml` and a folder `tests`.
    folder: PathBuf,
    /// Resolver component of the cases that name none, as `PATH` or `PATH@sha256:…`. Default: the built-in resolver.
    #[arg(long, value_name = "COMPONENT", env = "YOI_RESOLVER")]
    resolver: Option<ComponentRef>,
    #[command(flatten)]
    cases: CaseArgs,
    #[command(flatten)]
    limits: LimitsArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let limits = args.limits.read()?;
    let source = bundle_source::open(&args.folder, &limits.bundle)?;
    let suite = source.bundle.manifest().workspace.id.to_string();
    let sandbox = sandbox::start(&args.cache, limits, output)?;
    let resolver = crate::block_on(sandbox::resolver(&sandbox, args.resolver.as_ref()))??;
    let mut inputs = CaseInputs::new(sandbox, Some(source), resolver);
    let folder = args.folder.join("tests");
    let cases = CaseSuite { schema: "yoi.bundle-test/1", suite, subject: CaseSubject::Bundle, cases: &folder };
    cases.run(&args.cases, &mut inputs, output)
}
