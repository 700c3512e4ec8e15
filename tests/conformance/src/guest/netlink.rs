//! Netlink as far as it is needed here: messages of nested attributes, acknowledged.

use std::io;

use crate::sys::Socket;

const HEADER: usize = 16;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
/// All objects of a kind.
pub(crate) const DUMP: u16 = 0x300;
/// Made when it is not there.
pub(crate) const CREATE: u16 = 0x400;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// The part of an attribute's type that is its number.
const TYPE_MASK: u16 = 0x3fff;

/// Bytes of messages in the making.
#[derive(Default)]
pub(crate) struct Message {
    bytes: Vec<u8>,
    start: usize,
}

impl Message {
    /// Begins one more message, with what comes before its attributes.
    pub(crate) fn begin(&mut self, kind: u16, flags: u16, fixed: &[u8]) {
        self.start = self.bytes.len();
        self.bytes.extend(0_u32.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((REQUEST | ACK | flags).to_ne_bytes());
        self.bytes.extend([0; 8]);
        self.bytes.extend(fixed);
        self.pad();
    }

    /// One attribute.
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend((value.len() as u16 + 4).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.pad();
    }

    /// An attribute made of what `inside` adds.
    pub(crate) fn nested(&mut self, kind: u16, inside: impl FnOnce(&mut Self)) {
        let at = self.bytes.len();
        self.attribute(kind, &[]);
        inside(self);
        let len = (self.bytes.len() - at) as u16;
        self.bytes[at..at + 2].copy_from_slice(&len.to_ne_bytes());
        self.close();
    }

    /// Bytes that are no attribute, inside of one.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.close();
    }

    /// The message's length is what there is of it.
    fn close(&mut self) {
        let len = (self.bytes.len() - self.start) as u32;
        self.bytes[self.start..self.start + 4].copy_from_slice(&len.to_ne_bytes());
    }
}

/// A socket of one of netlink's protocols.
pub(crate) struct Netlink {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Netlink {
    pub(crate) fn new(protocol: i32) -> io::Result<Self> {
        Ok(Self {
            socket: Socket::new(libc::AF_NETLINK, libc::SOCK_RAW, protocol)?,
            buffer: Vec::new(),
        })
    }

    /// Sends messages, each of which is to succeed.
    pub(crate) fn all(&mut self, messages: &Message) -> io::Result<()> {
        match self.ask(messages, |_| ())? {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// Sends messages and gives the payload of each answer to `take`. Returns the first errno.
    pub(crate) fn ask(
        &mut self,
        messages: &Message,
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<i32> {
        self.socket.send(&messages.bytes)?;
        let mut errno = 0;
        while let Some(len) = self.socket.receive(&mut self.buffer)? {
            let mut rest = &self.buffer[..len];
            while rest.len() >= HEADER {
                let len = u32_at(rest, 0) as usize;
                let kind = u16_at(rest, 4);
                let payload = rest.get(HEADER..len).unwrap_or_default();
                match kind {
                    ERROR | DONE => {
                        let code = payload.first_chunk().map_or(0, |b| i32::from_ne_bytes(*b));
                        errno = if errno == 0 { -code } else { errno };
                    }
                    _ => take(payload),
                }
                rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
            }
        }
        Ok(errno)
    }
}

/// The attributes in `bytes`: their numbers and values.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(bytes.get(..4)?, 0));
        let kind = u16_at(bytes, 2) & TYPE_MASK;
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of an attribute in `bytes`.
pub(crate) fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(kind, value)| (kind == wanted).then_some(value))
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    let piece = bytes.get(at..).and_then(|rest| rest.first_chunk());
    piece.map_or(0, |bytes| u16::from_ne_bytes(*bytes))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let piece = bytes.get(at..).and_then(|rest| rest.first_chunk());
    piece.map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let piece = bytes.get(at..).and_then(|rest| rest.first_chunk());
    piece.map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}
