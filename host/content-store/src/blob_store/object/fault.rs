//! What went wrong, without its message: those of the engines tell paths and addresses.

use std::error::Error;
use std::io::ErrorKind;

use crate::blob_store::BlobError;

/// The failure of an engine, by its kind alone.
pub(super) fn engine(doing: &'static str, error: &object_store::Error) -> BlobError {
    #[cfg(feature = "s3")]
    if let Some(kind) = answered(error) {
        return BlobError::io(doing, kind);
    }
    let kind = match error {
        object_store::Error::NotFound { .. } => ErrorKind::NotFound,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            ErrorKind::PermissionDenied
        }
        error => in_chain(error),
    };
    BlobError::io(doing, kind)
}

/// Whether the failure says that an object is not there: it is its place that has it not.
#[cfg(feature = "s3")]
pub(super) fn is_absent(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. }) && answered(error).is_none()
}

/// The kind that a service's answer tells by its code. The answers have no type that could be asked.
#[cfg(feature = "s3")]
fn answered(error: &object_store::Error) -> Option<ErrorKind> {
    const CODES: [(&str, ErrorKind); 4] = [
        ("NoSuchBucket", ErrorKind::NotFound),
        ("XMinioStorageFull", ErrorKind::StorageFull),
        ("InsufficientCapacity", ErrorKind::StorageFull),
        ("QuotaExceeded", ErrorKind::QuotaExceeded),
    ];
    let answer = error.to_string();
    let said = |code| answer.contains(&format!("<Code>{code}</Code>"));
    CODES.iter().find(|(code, _)| said(code)).map(|(_, kind)| *kind)
}

/// The failure of a file operation.
#[cfg(feature = "files")]
pub(super) fn io(doing: &'static str) -> impl Fn(std::io::Error) -> BlobError {
    move |error| BlobError::io(doing, error.kind())
}

/// The process does not go on with the work.
pub(super) fn cut_off(doing: &'static str) -> BlobError {
    BlobError::Unavailable { doing, kind: ErrorKind::Interrupted }
}

/// The kind that the innermost cause tells.
fn in_chain(error: &(dyn Error + 'static)) -> ErrorKind {
    let mut kind = ErrorKind::Other;
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && io.kind() != ErrorKind::Other
        {
            kind = io.kind();
        }
        #[cfg(feature = "s3")]
        if let Some(http) = error.downcast_ref::<object_store::client::HttpError>() {
            use object_store::client::HttpErrorKind;
            kind = match http.kind() {
                HttpErrorKind::Connect => ErrorKind::NotConnected,
                HttpErrorKind::Timeout => ErrorKind::TimedOut,
                HttpErrorKind::Interrupted => ErrorKind::ConnectionAborted,
                HttpErrorKind::Decode => ErrorKind::InvalidData,
                _ => kind,
            };
        }
        cause = error.source();
    }
    kind
}
