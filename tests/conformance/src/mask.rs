//! What the kernel draws at random in packets that the director makes itself, blanked: the IPv4
//! identification, the identification of IPv6 fragments, the flow label and GUE's source port.

use weir_conformance::bytes::Bytes;
use weir_wire::protocol;

const ETHERNET: usize = 14;

/// `frame` as it is compared, which left because of `came`. What the kernel draws at random is
/// blanked where `kernel`, its own frame in this place, shows that the director made the packet.
pub(crate) fn masked(came: &Bytes, kernel: &Bytes, frame: &Bytes) -> Vec<u8> {
    let mut bytes = frame.0.clone();
    match (kernel.0.get(12..14), bytes.get(12..14)) {
        (Some([8, 0]), Some([8, 0])) => mask_v4(&came.0, &kernel.0, &mut bytes),
        (Some([0x86, 0xdd]), Some([0x86, 0xdd])) => mask_v6(&came.0, &kernel.0, &mut bytes),
        _ => {}
    }
    bytes
}

fn mask_v4(came: &[u8], kernel: &[u8], bytes: &mut [u8]) {
    const ID: std::ops::Range<usize> = ETHERNET + 4..ETHERNET + 6;
    const CHECKSUM: std::ops::Range<usize> = ETHERNET + 10..ETHERNET + 12;
    const PROTOCOL: usize = ETHERNET + 9;
    const SRC: std::ops::Range<usize> = ETHERNET + 12..ETHERNET + 16;
    const DST: std::ops::Range<usize> = ETHERNET + 16..ETHERNET + 20;
    if bytes.len() < ETHERNET + 20 || kernel.len() < ETHERNET + 20 {
        return;
    }
    // A packet that the director makes may draw the very identification of the one that came.
    let is_passed_on = [SRC, DST]
        .into_iter()
        .any(|end| came.get(end.clone()) == Some(&kernel[end]));
    let is_kept =
        came.get(12..14) == Some(&[8, 0]) && is_passed_on && came.get(ID) == Some(&kernel[ID]);
    // With DF the kernel draws nothing: it is 0. Without it may draw 0.
    let has_df = kernel[ETHERNET + 6] & 0x40 != 0;
    if !is_kept && (!has_df || kernel[ID] != [0, 0]) {
        bytes[ID].fill(0);
        bytes[CHECKSUM].fill(0);
    }
    if kernel[PROTOCOL] == protocol::UDP {
        mask_gue(
            came,
            bytes,
            ETHERNET + usize::from(kernel[ETHERNET] & 15) * 4,
        );
    }
}

fn mask_v6(came: &[u8], kernel: &[u8], bytes: &mut [u8]) {
    const FLOW_LABEL: std::ops::Range<usize> = ETHERNET + 1..ETHERNET + 4;
    const HEADER: usize = ETHERNET + 40;
    if bytes.len() < HEADER || kernel.len() < HEADER {
        return;
    }
    let label = |frame: &[u8]| frame.get(FLOW_LABEL).map(|l| [l[0] & 0xf, l[1], l[2]]);
    if label(came) != label(kernel) {
        bytes[FLOW_LABEL.start] &= 0xf0;
        bytes[FLOW_LABEL.start + 1..FLOW_LABEL.end].fill(0);
    }
    let at = match (fragment_header(kernel), fragment_header(bytes)) {
        (Some(_), Some(at)) => {
            bytes[at + 4..at + 8].fill(0);
            // The first fragment of what is in a tunnel.
            let is_first = bytes[at + 2] == 0 && bytes[at + 3] < 8;
            (is_first && bytes[at] == protocol::UDP).then_some(at + 8)
        }
        (None, Some(at)) => (bytes[at] == protocol::UDP).then_some(at + 8),
        _ => (bytes[ETHERNET + 6] == protocol::UDP).then_some(HEADER),
    };
    if let Some(at) = at {
        mask_gue(came, bytes, at);
    }
}

/// Where the fragment header is of a packet that has one.
fn fragment_header(frame: &[u8]) -> Option<usize> {
    let (mut next, mut at) = (*frame.get(ETHERNET + 6)?, ETHERNET + 40);
    while let protocol::HOPOPTS | protocol::ROUTING | protocol::DSTOPTS = next {
        next = *frame.get(at)?;
        at += 8 * (usize::from(*frame.get(at + 1)?) + 1);
    }
    (next == protocol::FRAGMENT && at + 8 <= frame.len()).then_some(at)
}

/// The outer UDP header at `at` of a packet that did not come with one of these ports: source port
/// and checksum.
fn mask_gue(came: &[u8], bytes: &mut [u8], at: usize) {
    let is_gue = matches!(bytes.get(at + 8..at + 10), Some([0, 4 | 41]));
    if is_gue && came.get(at..at + 2) != bytes.get(at..at + 2) {
        bytes[at..at + 2].fill(0);
        bytes[at + 6..at + 8].fill(0);
    }
}
