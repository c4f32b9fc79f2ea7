//! Sources that `new` commands write: the contract, and the files of a language.

use std::path::Path;

use crate::error::CliError;
use crate::files;
use crate::text::count;

/// Language of a source.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Language {
    /// Rust, with cargo.
    Rust,
    /// JavaScript on QuickJS, with Node.
    Js,
    /// Python.
    Python,
}

/// Path in the folder, and content.
pub(crate) type File = (&'static str, &'static str);

/// The contract, as this program implements it.
const WIT: [File; 4] = [
    ("wit/world.wit", include_str!("../../../wit/world.wit")),
    ("wit/deps/yoi-host@1.0.0/host.wit", include_str!("../../../wit/deps/yoi-host@1.0.0/host.wit")),
    ("wit/deps/yoi-plugin@1.0.0/plugin.wit", include_str!("../../../wit/deps/yoi-plugin@1.0.0/plugin.wit")),
    ("wit/deps/yoi-resolver@1.0.0/resolver.wit", include_str!("../../../wit/deps/yoi-resolver@1.0.0/resolver.wit")),
];

/// Returns the output of a `new` command. `check` is the command for the built component.
pub(crate) fn summary(written: usize, folder: &str, check: &str) -> String {
    let files = count(written, "file");
    format!("wrote {files} into {folder}\n\nnext:\n  build `component.wasm` as {folder}/README.md says\n  {check}\n")
}

/// Creates a folder with the files and the contract, and returns their paths. `fill` completes each text but those of the
/// contract.
pub(crate) fn write<'a>(
    folder: &Path,
    sources: impl IntoIterator<Item = &'a File>,
    fill: impl Fn(&str) -> String,
) -> Result<Vec<&'static str>, CliError> {
    files::create_folder(folder)?;
    let sources = sources.into_iter().map(|(path, text)| (*path, fill(text)));
    let contract = WIT.iter().map(|(path, text)| (*path, (*text).to_owned()));
    let mut written = Vec::new();
    for (path, text) in sources.chain(contract) {
        let to = folder.join(path);
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder).map_err(|error| files::unwritable(folder, "folder", error.kind()))?;
        }
        files::write(&to, text.as_bytes(), "file")?;
        written.push(path);
    }
    Ok(written)
}
