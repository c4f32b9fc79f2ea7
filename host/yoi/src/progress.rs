//! Progress of long commands, on stderr and only on a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A progress bar that counts items. It disappears when it is dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Creates a bar without items. `what` names them.
    pub(crate) fn new(what: &'static str) -> Self {
        let bar = ProgressBar::new(0);
        // The template is valid, and a bar with the default style is no error.
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos} of {len} {msg}") {
            bar.set_style(style);
        }
        bar.set_message(what);
        Self(bar)
    }

    /// Sets the number of finished items and of all items.
    pub(crate) fn set(&self, finished: usize, all: usize) {
        self.0.set_length(all as u64);
        self.0.set_position(finished as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
