//! The Call-ID of a SIP message, by which IPVS's engine "sip" tells calls apart.

/// Longest Call-ID in bytes; a message with a longer one counts as one without.
pub const CALL_ID_MAX: usize = super::NAME_MAX;

/// The Call-ID of the message in a datagram: the value of its first header of that name, long or
/// compact (RFC 3261 §7.3.3, §20.8), wherever in the datagram, as in the kernel. Reads each byte once.
/// None when there is none, or it is no `word [ "@" word ]` of 1 to [`CALL_ID_MAX`] bytes (§25.1) that
/// ends with its line.
#[must_use]
pub fn call_id(message: &[u8]) -> Option<&[u8]> {
    let mut rest = message;
    // The start line is no header.
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        rest = &rest[end + 1..];
        if let Some(value) = value_of(rest) {
            return word_at_word(value);
        }
    }
    None
}

/// What follows the colon, if a header of this name begins here.
fn value_of(line: &[u8]) -> Option<&[u8]> {
    let is_long = line
        .get(..7)
        .is_some_and(|n| n.eq_ignore_ascii_case(b"call-id"));
    let is_compact = line.first().is_some_and(|n| n.eq_ignore_ascii_case(&b'i'));
    let name = match (is_long, is_compact) {
        (true, _) => 7,
        (_, true) => 1,
        _ => return None,
    };
    let rest = without_blanks(line.get(name..)?).strip_prefix(b":")?;
    Some(without_blanks(rest))
}

/// Blanks, and line ends before a blank (§7.3.1: a header may be folded), taken off the front.
fn without_blanks(mut text: &[u8]) -> &[u8] {
    loop {
        text = match text {
            [b' ' | b'\t', rest @ ..]
            | [b'\n', b' ' | b'\t', rest @ ..]
            | [b'\r', b'\n', b' ' | b'\t', rest @ ..] => rest,
            _ => return text,
        };
    }
}

fn word_at_word(value: &[u8]) -> Option<&[u8]> {
    let word = word_len(value);
    let mut len = word;
    if let Some(host) = value.get(word..).and_then(|rest| rest.strip_prefix(b"@")) {
        len = match word_len(host) {
            0 => return None,
            host => word + 1 + host,
        };
    }
    let is_last = matches!(value.get(len), Some(b'\r' | b'\n'));
    let is_good = word > 0 && len <= CALL_ID_MAX && is_last;
    value.get(..len).filter(|_| is_good)
}

fn word_len(text: &[u8]) -> usize {
    let is_of_word =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~()<>:\\\"/[]?{}".contains(byte);
    // No further than what makes it too long.
    let text = text.get(..=CALL_ID_MAX).unwrap_or(text);
    text.iter().take_while(|byte| is_of_word(byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn message(headers: &str) -> Vec<u8> {
        let text = alloc::format!("INVITE sip:a@example.com SIP/2.0\r\n{headers}\r\nbody\r\n");
        text.into_bytes()
    }

    #[test]
    fn the_call_id_is_found_under_both_names_and_in_any_case() {
        for headers in [
            "Call-ID: aaa@x\r\n",
            "From: b\r\nCALL-id:aaa@x\r\nTo: c\r\n",
            "i: aaa@x\r\n",
            "I \t:\t aaa@x\r\n",
            "Via: v\r\nCall-ID:\r\n aaa@x\r\n",
            "Call-ID: aaa@x\nTo: bare line ends\n",
            "Call-ID: aaa@x\r\nCall-ID: second@x\r\n",
            "\r\nCall-ID: aaa@x\r\n",
        ] {
            assert_eq!(
                call_id(&message(headers)),
                Some(&b"aaa@x"[..]),
                "{headers:?}"
            );
        }
        assert_eq!(call_id(&message("i: f81d4fae\r\n")), Some(&b"f81d4fae"[..]));
    }

    #[test]
    fn what_is_no_call_id_is_none() {
        for headers in [
            "",
            "To: a\r\n",
            "Call-ID aaa@x\r\n",
            "Call-IDs: aaa@x\r\n",
            "Info: aaa@x\r\n",
            "Call-ID:\r\n",
            "Call-ID: \u{e4}\r\n",
            "Call-ID: @x\r\n",
            "Call-ID: aaa@\r\n",
            "X-Call-ID: aaa@x\r\n",
            "Call-ID: aaa@x \r\n",
            "Call-ID: aaa@x;tag=1\r\n",
            "Call-ID: aaa@x@y\r\n",
            "Call-ID: aaa, bbb\r\n",
        ] {
            assert_eq!(call_id(&message(headers)), None, "{headers:?}");
        }
        for message in ["", "hello", "Call-ID: a@b", "\n", "\r\n\r\n", "x\n"] {
            assert_eq!(call_id(message.as_bytes()), None, "{message:?}");
        }
    }

    #[test]
    fn a_call_id_has_255_bytes_at_most() {
        let of = |len: usize| message(&alloc::format!("i: {}\r\n", "a".repeat(len)));
        assert_eq!(call_id(&of(255)).map(<[u8]>::len), Some(255));
        assert_eq!(call_id(&of(256)), None);
        let host = alloc::format!("i: {}@{}\r\n", "a".repeat(200), "b".repeat(54));
        assert_eq!(call_id(&message(&host)).map(<[u8]>::len), Some(255));
        let host = alloc::format!("i: {}@{}\r\n", "a".repeat(200), "b".repeat(55));
        assert_eq!(call_id(&message(&host)), None);
    }

    #[test]
    fn every_beginning_of_a_message_is_answered() {
        let whole = message("Via: v\r\ni: aaa@x\r\n");
        for end in 0..whole.len() {
            let found = call_id(&whole[..end]);
            let is_whole = end > whole.len() - "\r\n\r\nbody\r\n".len();
            assert_eq!(found, is_whole.then_some(&b"aaa@x"[..]), "{end}");
        }
    }
}
