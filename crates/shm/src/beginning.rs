//! The beginning of a text that has to fit somewhere.

/// As much of the text as fits into that many bytes, and ends with a whole character.
pub(crate) fn beginning(text: &str, most: usize) -> &str {
    // `str::floor_char_boundary` is this, and needs Rust 1.91.
    let end = (0..=most.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::beginning;

    #[test]
    fn a_text_is_cut_only_between_characters() {
        assert_eq!(beginning("", 0), "");
        assert_eq!(beginning("name", 9), "name");
        assert_eq!(beginning("name", 4), "name");
        assert_eq!(beginning("name", 3), "nam");
        assert_eq!(beginning("größe", 3), "gr");
        assert_eq!(beginning("größe", 4), "grö");
        assert_eq!(beginning("…", 2), "");
    }
}
