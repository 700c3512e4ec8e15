//! What a kernel was seen to do: commands, frames in, frames out.
//!
//! ```text
//! # a remark on what follows
//! - what the next frame is about
//! $ ipvsadm -A -t 192.0.2.100:80 -s rr
//! c> 0200…       a frame from the client side       r> …  from the server side
//! <r 0200…       what left to the server side then  <c …  to the client side
//! 00+7           00 and the next seven numbers      aa*7  aa eight times
//! ```

use weir_core::io::PortId;

use crate::world::{LAN, WAN};

/// One recording.
pub(crate) struct Recording {
    pub(crate) steps: Vec<Step>,
}

pub(crate) enum Step {
    Command(String),
    Frame(Exchange),
}

/// A frame in, and what left because of it.
pub(crate) struct Exchange {
    /// The last remark, and what is said of the frame.
    pub(crate) about: String,
    pub(crate) port: PortId,
    pub(crate) frame: Vec<u8>,
    pub(crate) left: Vec<(PortId, Vec<u8>)>,
}

impl Recording {
    pub(crate) fn read(text: &str) -> Self {
        let mut steps = Vec::new();
        let (mut section, mut about) = (String::new(), String::new());
        for line in text.lines() {
            let (kind, rest) = line.split_at(2);
            let rest = rest.trim();
            match kind {
                "# " => rest.clone_into(&mut section),
                "- " => rest.clone_into(&mut about),
                "$ " => steps.push(Step::Command(rest.to_owned())),
                "c>" | "r>" => steps.push(Step::Frame(Exchange {
                    about: format!("{section}: {}", std::mem::take(&mut about)),
                    port: port(&kind[..1]),
                    frame: bytes(rest),
                    left: Vec::new(),
                })),
                "<c" | "<r" => match steps.last_mut() {
                    Some(Step::Frame(exchange)) => {
                        exchange.left.push((port(&kind[1..]), bytes(rest)));
                    }
                    _ => panic!("a frame leaves before one arrives: {line}"),
                },
                _ => panic!("not a line of a recording: {line}"),
            }
        }
        Self { steps }
    }
}

fn port(side: &str) -> PortId {
    if side == "c" { WAN } else { LAN }
}

fn bytes(text: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    for part in text.split(' ') {
        let end = part.find(['+', '*']).unwrap_or(part.len());
        let (hex, run) = part.split_at(end);
        for at in (0..hex.len()).step_by(2) {
            bytes.push(u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal"));
        }
        if let Some(kind) = run.chars().next() {
            let last = *bytes.last().expect("a run goes on from a byte");
            let by = u8::from(kind == '+');
            for n in 1..=run[1..].parse::<usize>().expect("a number") {
                bytes.push(last.wrapping_add((n as u8).wrapping_mul(by)));
            }
        }
    }
    bytes
}

#[test]
fn runs_are_read() {
    assert_eq!(
        bytes("01fe+3 aa*2 05"),
        [1, 0xfe, 0xff, 0, 1, 0xaa, 0xaa, 0xaa, 5]
    );
}
