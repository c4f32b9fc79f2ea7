//! Opens the package that the argument PACKAGE names: a folder or a packed file.

use std::path::Path;

use bundles::BundleLimits;
use bundles::plugin::{Package, PackageError};

use crate::bundle_source;
use crate::error::CliError;
use crate::files;

/// Opens the package that PACKAGE names.
pub(super) fn open(path: &Path, limits: &BundleLimits) -> Result<Package, CliError> {
    let metadata = std::fs::metadata(path).map_err(|error| files::unreadable(path, "package", &error))?;
    let opened = if metadata.is_dir() {
        Package::read(&bundle_source::open_dir(path)?, limits)
    } else {
        let bytes = files::read_within(path, ("package_bytes", limits.package_bytes), "package")?;
        Package::open(bytes, limits)
    };
    opened.map_err(|error| match &error {
        PackageError::Manifest(diagnostics) => bundle_source::diagnostics(diagnostics),
        error => CliError::of_library(error.code(), error.to_string(), error.help()),
    })
}
