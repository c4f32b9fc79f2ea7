//! Help texts of the libraries with a command added. The libraries do not know the command line, so their help texts name no
//! commands.

/// Help texts of a library, each with its replacement that names a command.
const COMMANDS: [(&str, &str); 43] = [
    (
        "compare it with the active resolver",
        "compare it with the active resolver: `yoi resolver compare active DIGEST`",
    ),
    (
        "activate it without a comparison, or create workers first",
        "create workers first; `yoi resolver activate DIGEST --unchecked` activates without a comparison",
    ),
    (
        "wait until its other requests have ended, or use a token with a larger share",
        "wait until its other requests have ended, or use a token with a larger share (`yoi runtime token new --connections N`)",
    ),
    ("list the workers of the workspace", "list the workers of the workspace with `yoi worker list`"),
    ("stop the worker first", "stop the worker first: `yoi worker stop ID`"),
    ("choose a tool from the worker's spec", "choose a tool from the worker's spec (`yoi worker show`)"),
    (
        "put the bundle first, or list the bundles to find its digest",
        "put the bundle first (`yoi runtime put`), or find its digest with `yoi runtime bundles`",
    ),
    (
        "raise the revision and build the bundle again",
        "raise the revision (`yoi bundle bump`) and build the bundle again",
    ),
    (
        "stop the workers that use it and remove its pins",
        "stop the workers that use it and remove its pins (`yoi runtime who-uses` lists them)",
    ),
    (
        "remove unused bundles and workers, or raise the limit",
        "remove unused bundles and workers and run `yoi runtime gc`, or raise the limit",
    ),
    (
        "remove what is not used, or give the store more room",
        "remove what is not used (`yoi runtime gc`), or give the store more room",
    ),
    ("use a token that has the scope", "use a token that has the scope (`yoi runtime token new --scope SCOPE`)"),
    (
        "use a token that serves the workspace",
        "use a token that serves the workspace (`yoi runtime token new --workspace ID`)",
    ),
    ("use the token exactly as it was issued", "use the token as `yoi runtime token new` printed it"),
    (
        "check the URL and that the Runtime is running",
        "check the URL and that the Runtime is running (`yoi runtime serve`)",
    ),
    ("set the secret on this host", "set it on this host: `yoi secret set NAME`"),
    ("set the secret again", "set it again: `yoi secret set NAME`"),
    (
        "send `Authorization: Bearer TOKEN` with a token of this Runtime",
        "send `Authorization: Bearer TOKEN`; `yoi runtime token new` makes one",
    ),
    ("list the tokens to find the id", "find the id with `yoi runtime token list`"),
    ("issue a new token", "issue a new token with `yoi runtime token new`"),
    (
        "build a component, and remove the parts that it does not need",
        "build a component, and remove the parts that it does not need; `yoi resolver inspect` lists its parts",
    ),
    (
        "use another resolver, or run this one separately to find the cause",
        "use another resolver, or run this one separately with `yoi resolver run` to find the cause",
    ),
    ("put the bundle again", "put the bundle again (`yoi runtime put`)"),
    ("select a profile of the bundle", "select a profile of the bundle; `yoi bundle show` lists them"),
    ("build or fetch the bundle again", "build it again with `yoi bundle build`, or fetch it again"),
    (
        "name a folder with a `bundle.toml`, or create one",
        "name a folder with a `bundle.toml`, or create one with `yoi bundle new`",
    ),
    ("create a `bundle.toml` in the folder", "create one with `yoi bundle new`"),
    (
        "pack the folder of the plugin again: a package has exactly two files",
        "pack the folder of the plugin again with `yoi plugin pack`: a package has exactly two files",
    ),
    (
        "name a folder with a `plugin.toml`, or pack one again",
        "name a folder with a `plugin.toml`, or pack one again with `yoi plugin pack`",
    ),
    (
        "begin with `revision = 1`, and raise it for each bundle",
        "begin with `revision = 1`; `yoi bundle bump` raises it",
    ),
    (
        "build the bundle from its folder, or use a canonicaliser",
        "build it with `yoi bundle build`, or use a canonicaliser",
    ),
    (
        "write the expected content, or build the bundle from its folder",
        "write the expected content, or build the bundle with `yoi bundle build`",
    ),
    ("a check of the bundle lists the rules", "`yoi bundle check --rules` lists the rules"),
    ("name the file of a signing key", "name the file that `yoi key new` wrote"),
    (
        "name the file of a signing key, or generate a new key",
        "name the file that `yoi key new` wrote, or generate a key with it",
    ),
    ("write the public key of a signing key", "`yoi key show FILE` prints the public key of a signing key"),
    (
        "write the public key of that signing key, and replace the signing key if others can read it",
        "write what `yoi key show FILE` prints for it, and replace the signing key if others can read it",
    ),
    (
        "ask the owner for the key again, or generate a new key",
        "ask the owner for the key again, or generate one with `yoi key new`",
    ),
    ("sign the bundle with a trusted key", "sign the bundle with a trusted key: `yoi bundle sign BUNDLE --key FILE`"),
    (
        "have the other keys sign too: existing signatures are kept",
        "have the other keys sign too with `yoi bundle sign`: existing signatures are kept",
    ),
    ("sign the bundle's manifest", "sign the bundle's manifest, with `yoi bundle sign`"),
    ("fetch the envelope again, or sign again", "fetch the envelope again, or sign again with `yoi bundle sign`"),
    (
        "sign again, or have the signer write the SHA-256 of the 32 bytes of its public key",
        "sign with `yoi bundle sign`, or have the signer write the SHA-256 of the 32 bytes of its public key",
    ),
];

/// Returns the help text with a command, if [`COMMANDS`] has one, and otherwise the text itself.
pub(crate) fn with_command(help: &str) -> &str {
    COMMANDS.iter().find(|(advice, _)| *advice == help).map_or(help, |(_, command)| command)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    /// Folders of the packages whose errors reach the command line.
    const PACKAGES: [&str; 13] = [
        "bundles",
        "bundles/leak-scan",
        "bundles/tool-schema",
        "host/component-host",
        "host/content-store",
        "host/host-policy",
        "host/host-tools",
        "host/http-edge",
        "host/resolver-testkit",
        "host/runtime-api",
        "host/runtime-client",
        "host/runtime-service",
        "host/worker-runtime",
    ];

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    #[test]
    fn help_texts_of_libraries_name_no_commands_and_every_key_is_one_of_them() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut files = Vec::new();
        for package in PACKAGES {
            sources(&root.join(package).join("src"), &mut files);
        }
        let mut texts = String::new();
        for file in files {
            let text = std::fs::read_to_string(&file).expect("read");
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let advised = code.clone().find(|line| line.contains("`yoi "));
            assert_eq!(advised, None, "{}", file.display());
            texts.extend(code);
        }
        for (advice, command) in COMMANDS {
            assert!(texts.contains(&format!("\"{advice}\"")), "{advice}");
            assert!(command.contains("`yoi "), "{command}");
        }
    }
}
