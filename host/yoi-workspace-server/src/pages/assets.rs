//! Style, script and icon of the pages. Their path has their digest, so that browsers may keep them for ever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bundles::Digest;

use super::problem::PageProblem;

/// A file that all pages share.
#[derive(Debug)]
pub(super) struct Asset {
    name: &'static str,
    media_type: &'static str,
    content: &'static str,
    /// Path on this server.
    path: LazyLock<String>,
}

pub(super) static STYLE: Asset = Asset {
    name: "yoi.css",
    media_type: "text/css; charset=utf-8",
    content: include_str!("assets/yoi.css"),
    path: LazyLock::new(|| path(&STYLE)),
};

pub(super) static SCRIPT: Asset = Asset {
    name: "yoi.js",
    media_type: "text/javascript; charset=utf-8",
    content: include_str!("assets/yoi.js"),
    path: LazyLock::new(|| path(&SCRIPT)),
};

pub(super) static ICON: Asset = Asset {
    name: "yoi.svg",
    media_type: "image/svg+xml",
    content: include_str!("assets/yoi.svg"),
    path: LazyLock::new(|| path(&ICON)),
};

fn path(asset: &Asset) -> String {
    format!("/assets/{}/{}", Digest::of(asset.content).hex(), asset.name)
}

impl Asset {
    /// Returns the path on this server.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

/// Serves an asset. No session is required, because the assets are the same for every Backend.
pub(super) async fn serve(Path((digest, name)): Path<(String, String)>) -> Result<Response, PageProblem> {
    let path = format!("/assets/{digest}/{name}");
    let asset = [&STYLE, &SCRIPT, &ICON].into_iter().find(|asset| asset.path() == path);
    let asset = asset.ok_or_else(PageProblem::not_found)?;
    let headers =
        [(header::CONTENT_TYPE, asset.media_type), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    Ok((headers, asset.content).into_response())
}
