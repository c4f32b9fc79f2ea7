//! Response bodies that are in memory already.

use axum::body::{Body, Bytes};
use futures_util::stream;

/// Size of the pieces in which a body is sent.
const PIECE_BYTES: usize = 64 << 10;

/// Returns a body that keeps `guard` until its last piece was taken. A client that reads slowly keeps the guard for as
/// long, so a semaphore permit as guard limits the bytes that wait to be sent.
pub fn body_holding(content: Bytes, guard: impl Send + 'static) -> Body {
    let pieces = stream::unfold((content, guard), |(mut content, guard)| async move {
        let piece = content.split_to(content.len().min(PIECE_BYTES));
        (!piece.is_empty()).then(|| (Ok::<_, std::convert::Infallible>(piece), (content, guard)))
    });
    Body::from_stream(pieces)
}
