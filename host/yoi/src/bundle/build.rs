//! `yoi bundle build`: builds a bundle from an authoring folder.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bundles::manifest::Provenance;
use bundles::{BuildOptions, CommitId, Revision, Timestamp, archive, layout};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use clap::builder::BoolishValueParser;
use runtime_api::Code;
use serde_json::json;

use super::commit;
use crate::bundle_source;
use crate::error::CliError;
use crate::files;
use crate::output::Output;
use crate::sandbox::LimitsArgs;

/// Builds a bundle from a folder, with the same digest on every machine.
///
/// The result does not depend on the clock, the environment or the path of the folder. Revision, time and provenance come from
/// `bundle.toml` or from the options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with a `bundle.toml`.
    folder: PathBuf,
    /// Path of the bundle. Default: `WORKSPACE-REVISION.yoi` in the current folder.
    #[arg(long, short, value_name = "PATH", alias = "output", env = "YOI_OUTPUT")]
    out: Option<PathBuf>,
    /// Writes a folder with the manifest and the blobs instead of one file.
    #[arg(long, env = "YOI_LAYOUT", value_parser = BoolishValueParser::new())]
    layout: bool,
    /// Revision. Default: that of `bundle.toml`.
    #[arg(long, value_name = "NUMBER", env = "YOI_REVISION")]
    revision: Option<Revision>,
    /// Creation time. Default: that of `bundle.toml`.
    #[arg(long, value_name = "TIME", env = "YOI_CREATED_AT")]
    created_at: Option<Timestamp>,
    /// Source of the bundle, for its provenance. Default: that of `bundle.toml`.
    #[arg(long, value_name = "TEXT", env = "YOI_SOURCE")]
    source: Option<String>,
    /// Repository of the source. Default: that of `bundle.toml`.
    #[arg(long, value_name = "TEXT", env = "YOI_REPOSITORY")]
    repository: Option<String>,
    /// Commit of the source. Default: that of `bundle.toml`.
    #[arg(long, value_name = "HEX", env = "YOI_COMMIT", conflicts_with = "from_git")]
    commit: Option<CommitId>,
    /// Builder of the bundle. Default: that of `bundle.toml`.
    #[arg(long, value_name = "TEXT", env = "YOI_BUILDER")]
    builder: Option<String>,
    /// Takes commit and time from the git repository of the folder. Every file must be committed.
    #[arg(long, env = "YOI_FROM_GIT", value_parser = BoolishValueParser::new())]
    from_git: bool,
    /// Treats warnings as errors. With errors, nothing is written.
    #[arg(long, env = "YOI_STRICT", value_parser = BoolishValueParser::new())]
    strict: bool,
    #[command(flatten)]
    limits: LimitsArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let mut options = BuildOptions {
        revision: args.revision,
        created_at: args.created_at.clone(),
        provenance: Provenance {
            source: args.source.clone(),
            repository: args.repository.clone(),
            commit: args.commit.clone(),
            builder: args.builder.clone(),
        },
    };
    let limits = args.limits.read()?.bundle;
    let folder = bundle_source::read_folder(&args.folder, &limits)?;
    // A folder with symbolic links fails below, together with all its other errors.
    if args.from_git && folder.is_complete() {
        // The files are read once, so the compared bytes are the built bytes.
        let commit = commit::of(&args.folder, &folder)?;
        options.provenance.commit = Some(commit.id);
        options.created_at.get_or_insert(commit.time);
    }
    let built = bundle_source::build_folder(&folder, &options, &limits)?;
    if args.strict {
        bundle_source::refuse_warnings(&built.diagnostics)?;
    }
    let bundle = &built.bundle;
    let manifest = bundle.manifest();
    let path = match &args.out {
        Some(path) => path.clone(),
        None => {
            format!("{}-{}{}", manifest.workspace.id, manifest.revision, if args.layout { "" } else { ".yoi" }).into()
        }
    };
    if args.layout {
        write_layout(&path, bundle)?;
    } else {
        files::write(&path, &archive::pack(bundle), "bundle")?;
    }
    bundle_source::note_warnings(&built.diagnostics, output);
    let mut document = super::summary(bundle);
    if let Some(document) = document.as_object_mut() {
        document.insert("schema".to_owned(), "yoi.bundle-build/1".into());
        document.insert("path".to_owned(), json!(files::shown(&path)));
        document.insert("warnings".to_owned(), json!(built.diagnostics.list));
        let packages = built.packages.iter().map(|package| {
            let bytes = package.blob().bytes().len();
            json!({ "name": package.manifest().name(), "digest": package.digest(), "bytes": bytes })
        });
        document.insert("packages".to_owned(), packages.collect());
    }
    output.result(&document, || {
        let packages = built.packages.iter().map(|package| {
            let manifest = package.manifest();
            format!("needs package {} {}, {}\n", manifest.name(), manifest.version(), package.digest())
        });
        format!(
            "{}\nwrote {}: workspace {}, revision {}\n{}",
            bundle.digest(),
            files::shown(&path),
            manifest.workspace.id,
            manifest.revision,
            packages.collect::<String>()
        )
    });
    Ok(ExitCode::SUCCESS)
}

fn write_layout(path: &Path, bundle: &bundles::Bundle) -> Result<(), CliError> {
    let failed = |error: &std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => CliError::new(
            Code::AlreadyThere,
            format!("`{}` already exists", files::shown(path)),
            "name a folder that does not exist",
        ),
        kind => files::unwritable(path, "folder", kind),
    };
    std::fs::create_dir(path).map_err(|error| failed(&error))?;
    let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(|error| failed(&error))?;
    layout::write(&dir, bundle).map_err(|error| failed(&error))
}
