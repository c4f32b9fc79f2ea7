//! Classification of transport errors. The messages of `reqwest` contain addresses, so only the kind of an error is used.

use std::error::Error;
use std::io::ErrorKind;

use super::{ClientError, ConnectError, UnexpectedResponse};

/// Classifies the failure of a request or of reading its response.
pub(super) fn transport_error(error: &reqwest::Error, timeout: std::time::Duration) -> ClientError {
    if error.is_timeout() {
        return ClientError::TimedOut { within: timeout };
    }
    let causes = Causes(Some(error));
    if error.is_connect() {
        let mut kind = ConnectError::Other;
        for cause in causes {
            if let Some(error) = cause.downcast_ref::<rustls::Error>() {
                kind = match error {
                    // The first bytes are not a TLS record.
                    rustls::Error::InvalidMessage(_) => ConnectError::PlainText,
                    rustls::Error::InvalidCertificate(_) => ConnectError::Certificate,
                    _ => ConnectError::Tls,
                };
            } else if is_io(cause, ErrorKind::ConnectionRefused) {
                kind = ConnectError::Refused;
            }
        }
        return ClientError::Unreachable(kind);
    }
    let is_parse_error =
        |cause: &(dyn Error + 'static)| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse);
    // hyper reports a connection that closes in the middle of a head as a parse error, too.
    let is_incomplete = |cause: &(dyn Error + 'static)| {
        cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message)
    };
    let is_not_http = Causes(Some(error)).any(is_parse_error) && !Causes(Some(error)).any(is_incomplete);
    if is_not_http { ClientError::Unexpected(UnexpectedResponse::NotHttp) } else { ClientError::Interrupted }
}

fn is_io(cause: &(dyn Error + 'static), kind: ErrorKind) -> bool {
    cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == kind)
}

/// An error and its causes. `source` of an I/O error skips the error that it wraps, so wrapped errors are visited explicitly.
struct Causes<'a>(Option<&'a (dyn Error + 'static)>);

impl<'a> Iterator for Causes<'a> {
    type Item = &'a (dyn Error + 'static);

    fn next(&mut self) -> Option<Self::Item> {
        let this = self.0?;
        self.0 = match this.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => this.source(),
        };
        Some(this)
    }
}
