//! A stream that is read at a limited rate.
//!
//! The protocol library reads frames without a message, such as empty fragments, in a loop of its own. A rate of messages
//! would not see them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::quota::Rate;

/// A stream whose reads pause above a rate. Writes pass.
pub(super) struct MeteredStream<S> {
    inner: S,
    rate: Rate,
    /// Pause until the bytes that were read are within the rate.
    pause: Option<Pin<Box<Sleep>>>,
    /// Bytes that were read and are not counted yet.
    uncounted: usize,
}

impl<S> MeteredStream<S> {
    pub(super) fn new(inner: S, bytes_per_second: u32) -> Self {
        Self { inner, rate: Rate::new(bytes_per_second), pause: None, uncounted: 0 }
    }

    fn poll_count(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.uncounted > 0 {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            match self.rate.take(self.uncounted) {
                Ok(()) => self.uncounted = 0,
                Err(wait) => self.pause = Some(Box::pin(sleep(wait))),
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for MeteredStream<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_count(context));
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
        this.uncounted = buffer.filled().len() - before;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for MeteredStream<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn reads_pause_above_the_rate_and_lose_nothing() {
        let (mut remote, local) = duplex(1024);
        let mut stream = MeteredStream::new(local, 100);
        remote.write_all(&[7; 500]).await.expect("written");
        let mut buffer = [0; 50];
        let mut read = 0;
        let mut pauses = 0;
        while read < 300 {
            let mut reading = Box::pin(stream.read(&mut buffer));
            let first = poll!(&mut reading);
            pauses += usize::from(first.is_pending());
            read += match first {
                Poll::Ready(bytes) => bytes.expect("read"),
                Poll::Pending => reading.await.expect("read"),
            };
        }
        assert!(pauses >= 2, "{pauses}");
        assert_eq!((read, buffer), (300, [7; 50]));
    }
}
