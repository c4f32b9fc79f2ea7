//! Answers that are held in memory until they are taken: who takes them slowly holds no more of them than
//! it may have bytes on their way.

use axum::body::{Body, Bytes};
use futures_util::stream;

/// So much goes out at a time.
const PIECE: usize = 64 << 10;

/// A body that holds something until its last piece is taken.
pub(super) fn body(content: Bytes, held: impl Send + 'static) -> Body {
    let pieces = stream::unfold((content, held), |(mut content, held)| async move {
        let piece = content.split_to(content.len().min(PIECE));
        (!piece.is_empty()).then(|| (Ok::<_, std::convert::Infallible>(piece), (content, held)))
    });
    Body::from_stream(pieces)
}
