//! `yoi resolver new`: creates the source of a resolver.
//!
//! The sources in Rust and JavaScript are those of the resolvers of this project, so they are tested with them.

use std::path::PathBuf;
use std::process::ExitCode;

use bundles::PluginName;
use runtime_api::Code;
use serde_json::json;

use crate::error::CliError;
use crate::files;
use crate::output::Output;
use crate::scaffold::{self, File, Language};

/// Creates the source of a complete resolver, to be changed.
///
/// The README in the folder has the commands that build the component, with the tools of the language.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Language of the source.
    language: Language,
    /// Folder to create. It must not exist.
    folder: PathBuf,
}

macro_rules! of_rust {
    ($name:literal) => {
        (concat!("src/", $name), include_str!(concat!("../../../../resolver-guest/src/", $name)))
    };
}

const RUST: [File; 15] = [
    ("Cargo.toml", include_str!("new/templates/rust/Cargo.toml")),
    ("README.md", include_str!("new/templates/rust/README.md")),
    ("src/lib.rs", include_str!("new/templates/rust/src/lib.rs")),
    ("src/glue.rs", include_str!("new/templates/rust/src/glue.rs")),
    of_rust!("ancestry.rs"),
    of_rust!("bundle.rs"),
    of_rust!("c3.rs"),
    of_rust!("json.rs"),
    of_rust!("layers.rs"),
    of_rust!("names.rs"),
    of_rust!("origins.rs"),
    of_rust!("resolve.rs"),
    of_rust!("settings.rs"),
    of_rust!("wishes.rs"),
    (".gitignore", "/target\n/component.wasm\n"),
];

macro_rules! of_js {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../../tests/guests/quickjs/", $name)))
    };
}

const JS: [File; 8] = [
    ("README.md", include_str!("new/templates/js/README.md")),
    of_js!("resolver.js"),
    of_js!("lineage.js"),
    of_js!("names.js"),
    of_js!("wishes.js"),
    of_js!("settings.js"),
    of_js!("failure.js"),
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
    let name = args.folder.file_name().unwrap_or_default().to_string_lossy();
    // The grammar of plugin names is that of names of packages in all three languages.
    let name: PluginName = name.parse().map_err(|_| {
        let message = format!("`{}` cannot be the name of a package", bundles::shown(&name));
        CliError::new(Code::Usage, message, "name the folder with lower-case letters, digits and `-`")
    })?;
    // The name may be one that cargo reserves, such as `test`. None begins like this.
    let package = format!("resolver-{name}");
    let fill = |text: &str| text.replace("{crate-name}", &package).replace("{crate}", &package.replace('-', "_"));
    let written = scaffold::write(&args.folder, sources(args.language), fill)?;
    let folder = files::shown(&args.folder);
    let document = json!({ "schema": "yoi.resolver-new/1", "folder": folder, "files": written });
    let check = format!("yoi resolver check {folder}/component.wasm");
    output.result(&document, || scaffold::summary(written.len(), &folder, &check));
    Ok(ExitCode::SUCCESS)
}
