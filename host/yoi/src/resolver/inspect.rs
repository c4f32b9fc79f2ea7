//! `yoi resolver inspect`: prints the structure of a component.

use std::process::ExitCode;

use component_host::structure::{Budget, ExternItem, Structure};
use component_host::{Limits, LoadError};
use runtime_api::Code;
use serde::Serialize;

use crate::error::CliError;
use crate::output::Output;
use crate::sandbox::{ComponentRef, LimitsArgs};
use crate::text::{Rows, bytes, grouped};

/// Shows the structure of a component without compiling or running it.
///
/// The exit code is 3 if the component would be refused. Its structure is shown in any case.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Component, as `PATH` or `PATH@sha256:…`. `builtin` is the built-in resolver.
    component: ComponentRef,
    #[command(flatten)]
    limits: LimitsArgs,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    digest: bundles::Digest,
    size: usize,
    /// World whose imports and exports the component has.
    world: Option<&'static str>,
    foreign_imports: Vec<String>,
    /// `true` if the component would be compiled.
    admitted: bool,
    /// Code of the refusal.
    code: Option<Code>,
    refusal: Option<String>,
    #[serde(flatten)]
    structure: Structure,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let budget = args.limits.read()?.structure;
    // A larger budget, so that a component that would be refused can be inspected.
    let limits = Limits { structure: Budget::for_inspection(), ..Limits::default() };
    let bytes = args.component.read_or_shipped(&limits)?;
    let structure = Structure::read(&bytes)
        .map_err(|refusal| CliError::new(refusal.code(), refusal.to_string(), "pass a component in binary format"))?;
    let contract = component_host::World::Resolver.check_contract(&structure);
    let foreign_imports = match &contract {
        Err(LoadError::ForeignImport { imports, .. }) => imports.clone(),
        _ => Vec::new(),
    };
    let refusal = match structure.check(&budget) {
        Err(refusal) => Some(LoadError::from(refusal)),
        Ok(()) => contract.as_ref().err().cloned(),
    };
    let code = refusal.as_ref().map(LoadError::code);
    let document = Document {
        schema: "yoi.component/1",
        digest: bundles::Digest::of(&bytes),
        size: bytes.len(),
        world: contract.is_ok().then_some("yoi:runtime/resolver@1.0.0"),
        foreign_imports,
        admitted: refusal.is_none(),
        code,
        refusal: refusal.map(|refusal| refusal.to_string()),
        structure,
    };
    output.result(&document, || text(&document));
    Ok(code.map_or(ExitCode::SUCCESS, |code| ExitCode::from(code.exit_code())))
}

fn text(document: &Document) -> String {
    let mut rows = Rows::default();
    rows.row("digest", document.digest);
    rows.row("size", bytes(document.size as u64));
    rows.row("world", document.world.unwrap_or("unknown"));
    rows.noted_list(
        "imports",
        document.structure.imports().iter().map(|item| item_line(item, &document.foreign_imports)),
    );
    rows.noted_list("exports", document.structure.exports().iter().map(|item| item_line(item, &[])));
    let made_by = document.structure.producers();
    rows.list("made by", made_by.languages.iter().chain(&made_by.processed_by).chain(&made_by.sdks));
    // The names are those of a limits file under `[structure]`.
    let counts = document.structure.counts().entries();
    let longest = counts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    rows.list("counts", counts.into_iter().map(|(name, count)| format!("{name:longest$}  {}", grouped(count))));
    match &document.refusal {
        None => rows.row("verdict", "fits the contract and the structural budget; not compiled, not run"),
        Some(refusal) => rows.row("verdict", format!("would be refused: {refusal}")),
    }
    rows.into_text()
}

fn item_line<'a>(item: &'a ExternItem, foreign: &[String]) -> (&'a str, String) {
    let holds = if item.is_types_only() { "types only".to_owned() } else { item.functions().join(", ") };
    let mark = if foreign.iter().any(|name| name == item.name()) { "  <- not allowed for a resolver" } else { "" };
    (item.name(), format!("{holds}{mark}"))
}
