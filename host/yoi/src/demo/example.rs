//! The example folders, compiled into the program.

use include_dir::{Dir, DirEntry, include_dir};

static EXAMPLES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../bundles/examples");

/// Returns the files of an example folder, with their names in the folder.
pub(crate) fn files(example: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    if let Some(dir) = EXAMPLES.get_dir(example) {
        collect(dir, example, &mut files);
    }
    files
}

/// Returns the text of a file beside the example folders.
pub(crate) fn file(name: &str) -> Option<&'static str> {
    EXAMPLES.get_file(name)?.contents_utf8()
}

fn collect(dir: &Dir<'static>, example: &str, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in dir.entries() {
        match entry {
            DirEntry::Dir(dir) => collect(dir, example, files),
            DirEntry::File(file) => {
                let name = file
                    .path()
                    .to_str()
                    .and_then(|name| name.strip_prefix(example))
                    .map(|name| name.trim_start_matches(['/', '\\']));
                files.extend(name.map(|name| (name.replace('\\', "/"), file.contents().to_vec())));
            }
        }
    }
}
