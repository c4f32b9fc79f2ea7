//! The last messages that were received.

use std::collections::VecDeque;

/// Number of messages that are kept.
const MAX_MESSAGES: usize = 100;

/// Bytes of all messages together that are kept. As JSON, a byte can take six times as much, and a host accepts 1 MiB of
/// output by default.
const MAX_BYTES: usize = 128 << 10;

/// The last messages, and the number of all. Old messages make room for new ones.
#[derive(Debug, Default)]
pub(crate) struct RecentMessages {
    texts: VecDeque<String>,
    bytes: usize,
    received: u64,
}

impl RecentMessages {
    /// Adds a message. A message that is larger than the room for all messages is counted and not kept.
    pub(crate) fn push(&mut self, text: String) {
        self.received = self.received.saturating_add(1);
        if text.len() > MAX_BYTES {
            return;
        }
        self.bytes += text.len();
        self.texts.push_back(text);
        while self.texts.len() > MAX_MESSAGES || self.bytes > MAX_BYTES {
            let oldest = self.texts.pop_front().unwrap_or_default();
            self.bytes -= oldest.len();
        }
    }

    /// Returns the last `limit` messages, the oldest first.
    pub(crate) fn last(&self, limit: usize) -> Vec<&str> {
        let skipped = self.texts.len().saturating_sub(limit);
        self.texts.iter().skip(skipped).map(String::as_str).collect()
    }

    /// Returns the number of messages that were received, including those that are not kept any more.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_BYTES, MAX_MESSAGES, RecentMessages};

    fn with(texts: impl IntoIterator<Item = String>) -> RecentMessages {
        let mut messages = RecentMessages::default();
        texts.into_iter().for_each(|text| messages.push(text));
        messages
    }

    #[test]
    fn last_messages_are_in_the_order_of_arrival() {
        let messages = with((1..=3).map(|number| number.to_string()));
        assert_eq!(messages.last(2), ["2", "3"]);
        assert_eq!(messages.last(100), ["1", "2", "3"]);
        assert_eq!(RecentMessages::default().last(1), [""; 0]);
    }

    #[test]
    fn oldest_message_makes_room_for_a_new_one() {
        let messages = with((0..=MAX_MESSAGES).map(|number| number.to_string()));
        let kept = messages.last(1000);
        assert_eq!((kept.len(), kept[0], messages.received()), (100, "1", 101));
    }

    #[test]
    fn large_messages_leave_room_for_fewer_ones() {
        let half = "a".repeat(MAX_BYTES / 2);
        let mut messages = with([half.clone(), "b".to_owned(), half]);
        assert_eq!(messages.last(100).iter().map(|text| text.len()).collect::<Vec<_>>(), [1, MAX_BYTES / 2]);
        messages.push("c".repeat(MAX_BYTES + 1));
        assert_eq!((messages.last(100).len(), messages.received()), (2, 4));
        messages.push("d".repeat(MAX_BYTES));
        assert_eq!(messages.last(100).len(), 1);
    }
}
