//! `yoi plugin new`: creates the source of a plugin.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bundles::PluginName;
use runtime_api::Code;
use serde_json::json;

use crate::error::CliError;
use crate::files;
use crate::output::Output;
use crate::scaffold::{self, File, Language};

/// Creates the source of a plugin with one tool.
///
/// The README in the folder has the commands that build the component, with the tools of the language.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Language of the source.
    language: Language,
    /// Folder to create. It must not exist.
    folder: PathBuf,
    /// Name of the plugin. Default: the name of the folder.
    #[arg(long, env = "YOI_PLUGIN_NAME")]
    name: Option<PluginName>,
}

const MANIFEST: File = ("plugin.toml", include_str!("new/templates/plugin.toml"));

const RUST: [File; 4] = [
    ("Cargo.toml", include_str!("new/templates/rust/Cargo.toml")),
    ("README.md", include_str!("new/templates/rust/README.md")),
    ("src/lib.rs", include_str!("new/templates/rust/src/lib.rs")),
    (".gitignore", "/target\n/component.wasm\n"),
];

const JS: [File; 3] = [
    ("README.md", include_str!("new/templates/js/README.md")),
    ("plugin.js", include_str!("new/templates/js/plugin.js")),
    (".gitignore", "/component.wasm\n"),
];

const PYTHON: [File; 3] = [
    ("README.md", include_str!("new/templates/python/README.md")),
    ("app.py", include_str!("new/templates/python/app.py")),
    (".gitignore", "/bindings\n/component.wasm\n__pycache__\n"),
];

fn sources(language: Language) -> &'static [File] {
    match language {
        Language::Rust => &RUST,
        Language::Js => &JS,
        Language::Python => &PYTHON,
    }
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => name_of(&args.folder)?,
    };
    let written =
        scaffold::write(&args.folder, [MANIFEST].iter().chain(sources(args.language)), |text| named(text, &name))?;
    let folder = files::shown(&args.folder);
    let document = json!({ "schema": "yoi.plugin-new/1", "folder": folder, "name": name, "files": written });
    let check = format!("yoi plugin check {folder}");
    output.result(&document, || scaffold::summary(written.len(), &folder, &check));
    Ok(ExitCode::SUCCESS)
}

fn name_of(folder: &Path) -> Result<PluginName, CliError> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let parsed = name.parse::<PluginName>();
    parsed.map_err(|error| CliError::new(Code::Usage, error.to_string(), "name the plugin with `--name`"))
}

/// Fills in the name of the plugin. Cargo spells it with `_` in the name of the module.
fn named(text: &str, name: &PluginName) -> String {
    // Names of plugins may be names that cargo reserves, such as `test`. None begins like this.
    let package = format!("plugin-{name}");
    text.replace("{name}", name.as_ref())
        .replace("{crate-name}", &package)
        .replace("{crate}", &package.replace('-', "_"))
}
