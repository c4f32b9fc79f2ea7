//! `yoi plugin pack`: packs the folder of a plugin into one file.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::source;
use crate::error::CliError;
use crate::files;
use crate::output::Output;
use crate::sandbox::LimitsArgs;

/// Packs a folder into one file, with the same digest on every machine.
///
/// The file contains `plugin.toml` and `component.wasm`. Other files of the folder are not packed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with a `plugin.toml` and a `component.wasm`.
    folder: PathBuf,
    /// Path of the package. Default: `NAME-VERSION.tar` in the current folder.
    #[arg(long, short, value_name = "PATH", alias = "output", env = "YOI_OUTPUT")]
    out: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitsArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let package = source::open(&args.folder, &args.limits.read()?.bundle)?;
    let manifest = package.manifest();
    let path = match &args.out {
        Some(path) => path.clone(),
        None => format!("{}-{}.tar", manifest.name(), manifest.version()).into(),
    };
    files::write(&path, package.blob().bytes(), "package")?;
    let mut document = super::summary(&package, "yoi.plugin-pack/1");
    document.insert("path".to_owned(), json!(files::shown(&path)));
    output.result(&document, || {
        format!(
            "{}\nwrote {}: plugin {}, version {}\n",
            package.digest(),
            files::shown(&path),
            manifest.name(),
            manifest.version()
        )
    });
    Ok(ExitCode::SUCCESS)
}
