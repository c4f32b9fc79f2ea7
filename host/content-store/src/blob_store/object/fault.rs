//! Conversion of failures into [`BlobError`]. Messages of the storage engines are dropped, because they contain paths
//! and addresses.

use std::error::Error;
use std::io::ErrorKind;

use crate::blob_store::BlobError;

/// Converts an error of a storage engine.
pub(super) fn engine(operation: &'static str, error: &object_store::Error) -> BlobError {
    #[cfg(feature = "s3")]
    if let Some(kind) = service_kind(error) {
        return BlobError::io(operation, kind);
    }
    let kind = match error {
        object_store::Error::NotFound { .. } => ErrorKind::NotFound,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            ErrorKind::PermissionDenied
        }
        error => kind_in_chain(error),
    };
    BlobError::io(operation, kind)
}

/// `true` if the object does not exist. A missing bucket is another failure.
#[cfg(feature = "s3")]
pub(super) fn is_absent(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. }) && service_kind(error).is_none()
}

/// Returns the kind of an error whose response body has one of these S3 codes. `object_store` exposes the code only in
/// the text of its error.
#[cfg(feature = "s3")]
fn service_kind(error: &object_store::Error) -> Option<ErrorKind> {
    const CODES: [(&str, ErrorKind); 4] = [
        ("NoSuchBucket", ErrorKind::NotFound),
        ("XMinioStorageFull", ErrorKind::StorageFull),
        ("InsufficientCapacity", ErrorKind::StorageFull),
        ("QuotaExceeded", ErrorKind::QuotaExceeded),
    ];
    let answer = error.to_string();
    let has_code = |code| answer.contains(&format!("<Code>{code}</Code>"));
    CODES.iter().find(|(code, _)| has_code(code)).map(|(_, kind)| *kind)
}

/// Returns a function that converts the error of a file operation.
#[cfg(feature = "files")]
pub(super) fn io(operation: &'static str) -> impl Fn(std::io::Error) -> BlobError {
    move |error| BlobError::io(operation, error.kind())
}

/// Returns the error of work that was cancelled or panicked.
pub(super) fn interrupted(operation: &'static str) -> BlobError {
    BlobError::Unavailable { operation, kind: ErrorKind::Interrupted }
}

/// Returns the kind of the innermost I/O or HTTP error in the chain of causes.
fn kind_in_chain(error: &(dyn Error + 'static)) -> ErrorKind {
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
