//! A bundle that a command uploads, with its signatures and plugin packages.

use std::path::Path;

use bundles::signature::EnvelopeError;
use bundles::{BundleLimits, Contents};
use runtime_api::Code;
use runtime_client::{Client, ClientError};

use crate::bundle_source;
use crate::error::CliError;
use crate::output::Output;
use crate::runtime::packages::{self, Beside, NamedPackage, PackageState};

/// A bundle to upload.
pub(crate) struct Upload {
    pub(crate) contents: Contents,
    /// The packages that the bundle names.
    pub(crate) packages: Vec<NamedPackage>,
    beside: Beside,
}

impl Upload {
    /// Opens the bundle that an argument names, and finds its packages beside it. `signature` is the file of the envelope, if
    /// it is not in the bundle.
    pub(crate) fn open(
        path: &Path,
        signature: Option<&Path>,
        limits: &BundleLimits,
        output: &Output,
    ) -> Result<Self, CliError> {
        let source = bundle_source::open(path, limits)?;
        if source.builtin {
            let message = "every Runtime has the built-in bundle";
            return Err(CliError::new(Code::Usage, message, "create workers from it with `--profile builtin:NAME`"));
        }
        let envelope = match signature {
            Some(path) => Some(bundle_source::read_envelope(path, &source.bundle, limits)?),
            None => source.envelope.clone(),
        };
        if let Some(built) = &source.built {
            bundle_source::note_warnings(&built.diagnostics, output);
        }
        let packages = packages::named(source.bundle.manifest());
        let beside = Beside::find(path, &source, &packages, limits)?;
        let failed = |error: EnvelopeError| CliError::of_library(error.code(), error.to_string(), error.help());
        Ok(Self { contents: Contents::new(source.bundle, envelope).map_err(failed)?, packages, beside })
    }

    /// Uploads the packages that the server lacks. They go first: once the bundle is stored, a worker can be created that
    /// selects their plugins.
    pub(crate) async fn send_packages(&mut self, client: &Client) -> Result<(), ClientError> {
        std::mem::take(&mut self.beside).send(client, &mut self.packages).await
    }

    /// Prints a warning for each package that is neither beside the bundle nor at the server.
    pub(crate) fn note_missing(&self, server: &str, output: &Output) {
        for package in &self.packages {
            let where_else = match package.state {
                PackageState::Sent | PackageState::Known => continue,
                PackageState::Missing => format!(", and {server} does not have it"),
                PackageState::Unknown => format!("; {server} does not tell whether it has the package"),
            };
            let (plugin, digest) = (&package.plugin, package.digest);
            output.note(&format!(
                "warning: package of plugin `{plugin}` not found beside the bundle{where_else}: {digest}\n  \
                 help: workers go on without the plugin until the package is put: copy the package into `plugins` beside \
                 the bundle, and run this command again"
            ));
        }
    }
}
