//! Server-sent events, line by line. Whatever comes in, what is kept of it is bounded; this module
//! knows nothing of connections or of what the frames mean.

use bytes::{Buf, Bytes};

/// Most bytes of a line, and of the data of a frame.
pub(super) const MOST_BYTES: usize = 64 << 10;

/// One frame that holds data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Frame {
    /// Its id, where this or an earlier frame has one.
    pub(super) id: String,
    /// What it is called; empty where it is called nothing.
    pub(super) event: String,
    /// Its data, the lines of it with line ends between them.
    pub(super) data: String,
}

/// What comes in is no such stream, or has no bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoFrames;

/// Takes pieces, gives frames.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// What was not looked at.
    piece: Bytes,
    /// A line that has not ended.
    line: Vec<u8>,
    /// A line ended with a carriage return, so that a line feed right after it is no line of its own.
    returned: bool,
    /// Whether a line was seen: the first may begin with a mark of the byte order.
    begun: bool,
    frame: Frame,
    has_data: bool,
}

impl Frames {
    /// Takes the next piece. What was taken before must have been asked for to its end.
    pub(super) fn take(&mut self, piece: Bytes) {
        self.piece = piece;
    }

    /// The next frame that is whole, if there is one yet.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, NoFrames> {
        while self.piece.has_remaining() {
            if std::mem::take(&mut self.returned) && self.piece.first() == Some(&b'\n') {
                self.piece.advance(1);
                continue;
            }
            let end = self.piece.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let part = self.piece.split_to(end.unwrap_or(self.piece.len()));
            if self.line.len() + part.len() > MOST_BYTES {
                return Err(NoFrames);
            }
            self.line.extend_from_slice(&part);
            if end.is_none() {
                break;
            }
            self.returned = self.piece.get_u8() == b'\r';
            let line = std::mem::take(&mut self.line);
            let line = std::str::from_utf8(&line).map_err(|_| NoFrames)?;
            let line =
                if std::mem::replace(&mut self.begun, true) { line } else { line.trim_start_matches('\u{feff}') };
            if let Some(frame) = self.end_line(line)? {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    fn end_line(&mut self, line: &str) -> Result<Option<Frame>, NoFrames> {
        if line.is_empty() {
            // The id stays for the frames after this one.
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
                if self.frame.data.len() + value.len() + 1 > MOST_BYTES {
                    return Err(NoFrames);
                }
                if std::mem::replace(&mut self.has_data, true) {
                    self.frame.data.push('\n');
                }
                self.frame.data.push_str(value);
            }
            // A comment, which begins with a colon, and what a later version may say.
            _ => {}
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All frames of a text that comes in pieces of so many bytes.
    fn frames(text: &[u8], at_a_time: usize) -> Result<Vec<(String, String, String)>, NoFrames> {
        let mut frames = Frames::default();
        let mut all = Vec::new();
        for piece in text.chunks(at_a_time) {
            frames.take(Bytes::copy_from_slice(piece));
            while let Some(frame) = frames.next()? {
                all.push((frame.id, frame.event, frame.data));
            }
        }
        Ok(all)
    }

    #[test]
    fn frames_are_the_same_however_they_come_in() {
        let text = "\u{feff}: hello\n\nid: 1\nevent: a\ndata: x\n\nid:2\r\ndata: y\r\ndata:  z\r\n\r\ndata\rretry: 5\r\rid: 9\n\ndata: last\n\ndata: not whole\n";
        let one = |id: &str, event: &str, data: &str| (id.to_owned(), event.to_owned(), data.to_owned());
        let all = vec![one("1", "a", "x"), one("2", "", "y\n z"), one("2", "", ""), one("9", "", "last")];
        for at_a_time in 1..=text.len() {
            assert_eq!(frames(text.as_bytes(), at_a_time), Ok(all.clone()), "{at_a_time}");
        }
    }

    #[test]
    fn nothing_without_bounds_is_kept() {
        let line = [b"data: ".as_slice(), &[b'x'; MOST_BYTES]].concat();
        assert_eq!(frames(&line, 1000), Err(NoFrames));
        let lines = "data: xxxxxxxxx\n".repeat(MOST_BYTES / 10 + 1);
        assert_eq!(frames(lines.as_bytes(), 1000), Err(NoFrames));
        assert_eq!(frames(b"data: \xff\n\n", 1000), Err(NoFrames));
        let fits = format!("data: {}\n\n", "x".repeat(MOST_BYTES - 10));
        assert_eq!(frames(fits.as_bytes(), 1000).map(|all| all.len()), Ok(1));
    }

    #[test]
    fn any_bytes_are_frames_or_none() {
        use proptest::prelude::*;
        proptest!(|(bytes in proptest::collection::vec(any::<u8>(), 0..200), at_a_time in 1usize..9)| {
            prop_assert_eq!(frames(&bytes, at_a_time), frames(&bytes, 1));
        });
    }
}
