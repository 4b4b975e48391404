//! A progress bar, for the demos that take a while.

use indicatif::{ProgressBar, ProgressStyle};

/// A progress bar on stderr; invisible when that is no terminal.
pub(crate) fn progress(what: &str, length: usize) -> ProgressBar {
    let bar = ProgressBar::new(length as u64).with_message(what.to_owned());
    let style = ProgressStyle::with_template("{msg:>12} {wide_bar} {pos}/{len} {elapsed}");
    style.map_or(bar.clone(), |style| bar.with_style(style))
}
