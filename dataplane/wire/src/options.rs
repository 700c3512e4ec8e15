//! Options of IPv4 and hop-by-hop options of IPv6: whether a router can make sense of them.

use crate::headers::{HeaderBits, ParseError};

/// Refuses loose and strict source routes among IPv4 options (RFC 791 §3.1), and tells whether the
/// options are odd: of a wrong length, or a source route at its end, which not everybody takes.
///
/// ```text
/// +------+-----+---------+------    Of the route (7) and the time stamps (68) that are recorded, and
/// | kind | len | pointer | ...      of source routes (131, 137), the pointer tells the next place, from
/// +------+-----+---------+------    1; len counts all. 0 and 1 stand alone. 148 warns routers.
/// ```
#[cold]
pub(crate) fn judge_options(mut options: &[u8]) -> Result<HeaderBits, ParseError> {
    while let [kind, rest @ ..] = options {
        let (option, next) = match (*kind, rest) {
            (0, _) => break,
            (1, _) => {
                options = rest;
                continue;
            }
            (_, [len, ..]) => options
                .split_at_checked(usize::from(*len))
                .unwrap_or_default(),
            (_, []) => return Ok(HeaderBits::ODD_OPTIONS),
        };
        let makes_sense = match *option {
            [131 | 137, len, pointer, ..] if pointer < len => return Err(ParseError::SourceRoute),
            [131 | 137, ..] => false,
            // A place for an address or a time stamp, or the end.
            [7, len, pointer, ..] => pointer >= 4 && (pointer > len || pointer + 2 < len),
            [68, len, pointer, _, ..] => pointer >= 5 && (pointer > len || pointer + 2 < len),
            [148, ..] => option.len() >= 4,
            [7 | 68, ..] => false,
            _ => option.len() >= 2,
        };
        if !makes_sense {
            return Ok(HeaderBits::ODD_OPTIONS);
        }
        options = next;
    }
    Ok(HeaderBits::NONE)
}

/// Whether hop-by-hop options are odd: longer than their header, or unknown to Weir and not to be passed
/// over by who does not know them, as the two highest bits of their kind say (RFC 8200 §4.2).
pub(crate) fn judge_hop_options(mut options: &[u8]) -> HeaderBits {
    while let [kind, rest @ ..] = options {
        options = match (*kind, rest) {
            (0, _) => rest,
            (kind, [len, rest @ ..]) if kind >> 6 == 0 => match rest.get(usize::from(*len)..) {
                Some(rest) => rest,
                None => return HeaderBits::ODD_OPTIONS,
            },
            _ => return HeaderBits::ODD_OPTIONS,
        };
    }
    HeaderBits::NONE
}
