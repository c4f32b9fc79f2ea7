//! What went wrong on the way, by its kind alone: messages of the engine tell addresses.

use std::error::Error;
use std::io::ErrorKind;

use super::{ClientError, NoConnection, Unexpected};

/// The failure of a request, or of reading its answer.
pub(super) fn on_the_way(error: &reqwest::Error, within: std::time::Duration) -> ClientError {
    if error.is_timeout() {
        return ClientError::TimedOut { within };
    }
    let causes = Causes(Some(error));
    if error.is_connect() {
        let mut why = NoConnection::Other;
        for cause in causes {
            if let Some(error) = cause.downcast_ref::<rustls::Error>() {
                why = match error {
                    // What came first is no TLS record.
                    rustls::Error::InvalidMessage(_) => NoConnection::PlainText,
                    rustls::Error::InvalidCertificate(_) => NoConnection::Certificate,
                    _ => NoConnection::Tls,
                };
            } else if is_io(cause, ErrorKind::ConnectionRefused) {
                why = NoConnection::Refused;
            }
        }
        return ClientError::Unreachable(why);
    }
    let is_no_http =
        |cause: &(dyn Error + 'static)| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse);
    // What is cut off in the middle of its head is told as such a failure as well.
    let is_cut = |cause: &(dyn Error + 'static)| {
        cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message)
    };
    let no_http = Causes(Some(error)).any(is_no_http) && !Causes(Some(error)).any(is_cut);
    if no_http { ClientError::Unexpected(Unexpected::NoHttp) } else { ClientError::Interrupted }
}

fn is_io(cause: &(dyn Error + 'static), kind: ErrorKind) -> bool {
    cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == kind)
}

/// An error and what caused it. An I/O error leaves out what it wraps, which is what says more.
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
