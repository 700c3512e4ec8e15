//! Fragments put together, to be compared as the packets that they carry.

use weir_wire::{Headers, Parsed, fragment};

const ETHERNET: usize = 14;
/// Longer than any packet's headers.
const HEADERS_MAX: usize = 256;

/// Frames with their fragments put together, without DF; as they are where a fragment is missing.
pub(crate) fn joined(frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut rest = frames.as_slice();
    while let Some((frame, after)) = rest.split_first() {
        match whole(rest) {
            Some((whole, count)) => {
                all.push(whole);
                rest = &rest[count..];
            }
            None => {
                all.push(frame.clone());
                rest = after;
            }
        }
    }
    all
}

/// True for a fragment, and for a packet that has a fragment header though it is whole.
pub(crate) fn is_fragment(frame: &[u8]) -> bool {
    headers(frame).is_some_and(|headers| info(frame, &headers).is_some())
}

/// The packet that begins with the first frame, and of how many frames it is.
fn whole(frames: &[Vec<u8>]) -> Option<(Vec<u8>, usize)> {
    let first = frames.first()?;
    let first_headers = headers(first)?;
    let mut payload: Vec<u8> = Vec::new();
    for (n, frame) in frames.iter().enumerate() {
        let headers = headers(frame)?;
        let info =
            info(frame, &headers).filter(|info| usize::from(info.offset) == payload.len())?;
        payload.extend(frame.get(usize::from(info.at)..usize::from(headers.end))?);
        if !info.more {
            let mut whole = first[..ETHERNET].to_vec();
            whole.resize(ETHERNET + HEADERS_MAX, 0);
            let header = &mut whole[ETHERNET..];
            let len =
                fragment::write_header(header, first, &first_headers, payload.len(), 0, false);
            whole.truncate(ETHERNET + len);
            whole.extend(payload);
            return (len > 0).then_some((whole, n + 1));
        }
    }
    None
}

fn info(frame: &[u8], headers: &Headers) -> Option<fragment::FragmentInfo> {
    fragment::info(frame, headers).or_else(|| fragment::atomic(frame, headers))
}

fn headers(frame: &[u8]) -> Option<Headers> {
    match weir_wire::parse(frame, false) {
        Ok(Parsed::Ip(headers)) => Some(headers),
        _ => None,
    }
}
