//! Netlink messages and generic netlink's header (`linux/netlink.h`, `linux/genetlink.h`), in the
//! byte order of this machine, as netlink has it.

use crate::errno::Errno;

/// Bytes of a message's header.
pub const HEADER: usize = 16;
/// Bytes of generic netlink's header, which follows.
pub const GENERIC_HEADER: usize = 4;
/// Bytes of an attribute's header.
const ATTRIBUTE_HEADER: usize = 4;
/// An attribute's type without its flags (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
const ATTRIBUTE_TYPE: u16 = 0x3fff;
/// Marks an attribute that has others in it. The kernel's IPVS does not set it; its clients do.
pub(crate) const NESTED: u16 = 0x8000;

/// Types below it are netlink's own.
pub const FIRST_TYPE: u16 = 0x10;
/// `NLMSG_ERROR`: an error, or with 0 an acknowledgement.
pub const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a dump.
pub const DONE: u16 = 3;

/// `NLM_F_REQUEST`
pub const REQUEST: u16 = 1;
/// `NLM_F_MULTI`: one of several, to be ended by [`DONE`].
pub const MULTI: u16 = 2;
/// `NLM_F_ACK`: success is to be told as well.
pub const ACK: u16 = 4;
/// `NLM_F_DUMP`: all of it is wanted. Both bits.
pub const DUMP: u16 = 0x300;
/// `NLM_F_CAPPED`: of the request only the header is repeated.
pub const CAPPED: u16 = 0x100;

/// The header of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the message with this header.
    pub length: u32,
    /// Netlink's own type, or the number of a family.
    pub kind: u16,
    /// `NLM_F_…`
    pub flags: u16,
    /// The request's number, which its replies repeat.
    pub sequence: u32,
    /// The port of who asked.
    pub port: u32,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            length: u32_at(bytes, 0)?,
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            sequence: u32_at(bytes, 8)?,
            port: u32_at(bytes, 12)?,
        })
    }

    pub(crate) fn write(&self, into: &mut Vec<u8>) {
        into.extend(self.length.to_ne_bytes());
        into.extend(self.kind.to_ne_bytes());
        into.extend(self.flags.to_ne_bytes());
        into.extend(self.sequence.to_ne_bytes());
        into.extend(self.port.to_ne_bytes());
    }
}

/// A message of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'d> {
    /// Its header.
    pub header: Header,
    /// All of it, header included.
    pub bytes: &'d [u8],
}

impl<'d> Message<'d> {
    /// What follows the header.
    #[must_use]
    pub fn payload(&self) -> &'d [u8] {
        self.bytes.get(HEADER..).unwrap_or_default()
    }

    /// The command, and the attributes after generic netlink's header, of which the version and the
    /// reserved bytes tell nothing here. None when the message is too short for that header.
    #[must_use]
    pub fn generic(&self) -> Option<(u8, &'d [u8])> {
        let payload = self.payload();
        Some((*payload.first()?, payload.get(GENERIC_HEADER..)?))
    }

    /// The error that an `NLMSG_ERROR` tells: 0 or a negative `errno`.
    #[must_use]
    pub fn error(&self) -> Option<i32> {
        let is_error = self.header.kind == ERROR;
        u32_at(self.payload(), 0)
            .filter(|_| is_error)
            .map(|error| error as i32)
    }
}

/// The messages of a datagram, up to the first that is not whole, which the kernel passes over with
/// all that follows.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let header = Header::read(rest)?;
        let length = header.length as usize;
        if length < HEADER || length > rest.len() {
            return None;
        }
        let bytes = &rest[..length];
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some(Message { header, bytes })
    })
}

/// The attributes in `bytes`: type without flags, and payload. What follows the first that is not
/// whole is passed over, as the kernel does it.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & ATTRIBUTE_TYPE;
        let payload = rest.get(ATTRIBUTE_HEADER..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some((kind, payload))
    })
}

/// Appends an attribute, whose payload `write` appends.
pub(crate) fn put(into: &mut Vec<u8>, kind: u16, write: impl FnOnce(&mut Vec<u8>)) {
    let start = into.len();
    into.extend([0; ATTRIBUTE_HEADER]);
    write(into);
    let length = into.len() - start;
    // Nothing that is written here is near 64 KiB; a reader would find a longer one broken.
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    into[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    into[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
    pad(into);
}

/// A message of a family: header, command, attributes. Its length is set here.
pub(crate) fn generic(
    header: Header,
    command: u8,
    version: u8,
    attributes: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    let mut message = Vec::with_capacity(512);
    header.write(&mut message);
    message.extend([command, version, 0, 0]);
    attributes(&mut message);
    let length = message.len() as u32;
    message[..4].copy_from_slice(&length.to_ne_bytes());
    message
}

/// What tells of a request's success or failure. An error repeats the whole request, success its
/// header.
#[must_use]
pub fn acknowledge(request: &Message<'_>, result: Result<(), Errno>) -> Vec<u8> {
    let (error, repeated, flags) = match result {
        Ok(()) => (0, &request.bytes[..HEADER], CAPPED),
        Err(errno) => (-errno.number(), request.bytes, 0),
    };
    let mut message = Vec::with_capacity(HEADER + 4 + repeated.len() + 3);
    let header = Header {
        length: aligned(HEADER + 4 + repeated.len()) as u32,
        kind: ERROR,
        flags,
        ..request.header
    };
    header.write(&mut message);
    message.extend(i32::to_ne_bytes(error));
    message.extend(repeated);
    pad(&mut message);
    message
}

/// What ends a dump.
pub(crate) fn done(request: &Header) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER + 4);
    let header = Header {
        length: (HEADER + 4) as u32,
        kind: DONE,
        flags: MULTI,
        ..*request
    };
    header.write(&mut message);
    message.extend([0; 4]);
    message
}

/// Messages and attributes begin at multiples of 4 bytes.
fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn pad(into: &mut Vec<u8>) {
    into.resize(aligned(into.len()), 0);
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}
