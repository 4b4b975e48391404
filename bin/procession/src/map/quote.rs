//! Words as a shell would read them again, in one line of printable text.

/// The words of a command.
pub(crate) fn line<W: AsRef<[u8]>>(words: &[W]) -> String {
    words.iter().map(|word| quoted(word.as_ref())).collect::<Vec<_>>().join(" ")
}

/// The words of a command for people, who do not read on for ever.
pub(crate) fn short<W: AsRef<[u8]>>(words: &[W]) -> String {
    const LONGEST: usize = 200;
    let line = line(words);
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// One word.
pub(crate) fn quoted(word: &[u8]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(byte);
    match std::str::from_utf8(word) {
        Ok(text) if !text.is_empty() && word.iter().all(is_plain) => text.to_owned(),
        Ok(text) if !text.chars().any(char::is_control) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => format!("$'{}'", word.utf8_chunks().map(escaped).collect::<String>()),
    }
}

fn escaped(chunk: std::str::Utf8Chunk<'_>) -> String {
    let valid = chunk.valid().chars().map(|c| match c {
        '\n' => r"\n".to_owned(),
        '\t' => r"\t".to_owned(),
        '\r' => r"\r".to_owned(),
        '\\' => r"\\".to_owned(),
        '\'' => r"\'".to_owned(),
        c if c.is_control() => c.to_string().bytes().map(|byte| format!("\\x{byte:02x}")).collect::<String>(),
        c => c.to_string(),
    });
    valid.chain(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::{line, quoted, short};

    #[test]
    fn words_are_quoted_where_they_must_be() {
        let words: [&[u8]; 8] =
            [b"a.b", b"", b"a b", b"it's", b"a\nb\tc\\'", b"x\xff\x01", "ü ü".as_bytes(), b"~"];
        let said = ["a.b", "''", "'a b'", r"'it'\''s'", r"$'a\nb\tc\\\''", r"$'x\xff\x01'", "'ü ü'", "'~'"];
        assert_eq!(words.map(quoted), said);
        assert_eq!(line(&["echo", "a b"]), "echo 'a b'");
        assert_eq!(short(&["echo", &"ü".repeat(1000)]).chars().count(), 201);
    }

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        let words: [&[u8]; 5] = [b"a\nb\tc\\'\"$(x)`", b"\xff\xc3", b"'", b"$'", b"\x7f1\x016"];
        for word in words {
            let script = format!("printf %s {}", quoted(word));
            let said = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
            assert_eq!(said.stdout, word, "{script}");
        }
    }
}
