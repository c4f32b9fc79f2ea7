//! Decoder of server-sent events. It buffers at most one line and the data of one frame, whatever the server sends. It does not
//! interpret the frames; see `events`.

use bytes::{Buf, Bytes};

/// Maximum size of a line, and of the data of a frame.
const MAX_BYTES: usize = 64 << 10;

/// A frame with data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Frame {
    /// Id of this frame, or of the last frame before it that has one.
    pub(super) id: String,
    /// Name of the event. Empty if the frame has none.
    pub(super) event: String,
    /// Lines of data, separated by line feeds.
    pub(super) data: String,
}

/// Error of a stream that is not UTF-8 or exceeds a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InvalidStream;

/// Decodes frames from pieces of a stream.
#[derive(Debug, Default)]
pub(super) struct FrameDecoder {
    /// Unread rest of the piece that was pushed last.
    piece: Bytes,
    /// Start of a line whose end has not arrived.
    line: Vec<u8>,
    /// `true` if the last line ended with a carriage return. A line feed directly after it belongs to the same line end.
    after_return: bool,
    /// `true` after the first line, which may start with a byte order mark.
    has_line: bool,
    frame: Frame,
    has_data: bool,
}

impl FrameDecoder {
    /// Adds the next piece. The caller must have called [`next`](Self::next) until it returned `None`.
    pub(super) fn push(&mut self, piece: Bytes) {
        self.piece = piece;
    }

    /// Returns the next complete frame, if there is one.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, InvalidStream> {
        while self.piece.has_remaining() {
            if std::mem::take(&mut self.after_return) && self.piece.first() == Some(&b'\n') {
                self.piece.advance(1);
                continue;
            }
            let end = self.piece.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let part = self.piece.split_to(end.unwrap_or(self.piece.len()));
            if self.line.len() + part.len() > MAX_BYTES {
                return Err(InvalidStream);
            }
            self.line.extend_from_slice(&part);
            if end.is_none() {
                break;
            }
            self.after_return = self.piece.get_u8() == b'\r';
            let line = std::mem::take(&mut self.line);
            let line = std::str::from_utf8(&line).map_err(|_| InvalidStream)?;
            let line =
                if std::mem::replace(&mut self.has_line, true) { line } else { line.trim_start_matches('\u{feff}') };
            if let Some(frame) = self.end_line(line)? {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    fn end_line(&mut self, line: &str) -> Result<Option<Frame>, InvalidStream> {
        if line.is_empty() {
            // The id also applies to later frames.
            let next = Frame { id: self.frame.id.clone(), ..Frame::default() };
            let frame = std::mem::replace(&mut self.frame, next);
            return Ok(std::mem::take(&mut self.has_data).then_some(frame));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" if !value.contains('\0') => value.clone_into(&mut self.frame.id),
            "event" => value.clone_into(&mut self.frame.event),
            "data" => {
                if self.frame.data.len() + value.len() + 1 > MAX_BYTES {
                    return Err(InvalidStream);
                }
                if std::mem::replace(&mut self.has_data, true) {
                    self.frame.data.push('\n');
                }
                self.frame.data.push_str(value);
            }
            // A comment, which starts with a colon, or a field of a later version.
            _ => {}
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes a text in pieces of `piece_bytes` bytes.
    fn frames(text: &[u8], piece_bytes: usize) -> Result<Vec<(String, String, String)>, InvalidStream> {
        let mut decoder = FrameDecoder::default();
        let mut all = Vec::new();
        for piece in text.chunks(piece_bytes) {
            decoder.push(Bytes::copy_from_slice(piece));
            while let Some(frame) = decoder.next()? {
                all.push((frame.id, frame.event, frame.data));
            }
        }
        Ok(all)
    }

    #[test]
    fn the_size_of_the_pieces_does_not_change_the_frames() {
        let text = "\u{feff}: hello\n\nid: 1\nevent: a\ndata: x\n\nid:2\r\ndata: y\r\ndata:  z\r\n\r\ndata\rretry: 5\r\rid: 9\n\ndata: last\n\ndata: not whole\n";
        let one = |id: &str, event: &str, data: &str| (id.to_owned(), event.to_owned(), data.to_owned());
        let all = vec![one("1", "a", "x"), one("2", "", "y\n z"), one("2", "", ""), one("9", "", "last")];
        for piece_bytes in 1..=text.len() {
            assert_eq!(frames(text.as_bytes(), piece_bytes), Ok(all.clone()), "{piece_bytes}");
        }
    }

    #[test]
    fn lines_and_data_above_the_limit_are_refused() {
        let line = [b"data: ".as_slice(), &[b'x'; MAX_BYTES]].concat();
        assert_eq!(frames(&line, 1000), Err(InvalidStream));
        let lines = "data: xxxxxxxxx\n".repeat(MAX_BYTES / 10 + 1);
        assert_eq!(frames(lines.as_bytes(), 1000), Err(InvalidStream));
        assert_eq!(frames(b"data: \xff\n\n", 1000), Err(InvalidStream));
        let fits = format!("data: {}\n\n", "x".repeat(MAX_BYTES - 10));
        assert_eq!(frames(fits.as_bytes(), 1000).map(|all| all.len()), Ok(1));
    }

    #[test]
    fn any_bytes_decode_the_same_in_pieces_of_any_size() {
        use proptest::prelude::*;
        proptest!(|(bytes in proptest::collection::vec(any::<u8>(), 0..200), piece_bytes in 1usize..9)| {
            prop_assert_eq!(frames(&bytes, piece_bytes), frames(&bytes, 1));
        });
    }
}
