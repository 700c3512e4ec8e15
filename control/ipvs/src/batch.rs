//! Many requests at one moment: what Weir's own client can ask for besides what the kernel knows.
//!
//! A *batch* is a message of a family of its own, with the number [`BATCH_ID`], whose payload is what would
//! be messages of the family IPVS: either changes or questions. What does not fit into a datagram comes in
//! parts, each such a message in a datagram, and its command tells whether more follow. Nothing is done
//! before the last one came.
//!
//! - Of *changes* then all are made, or none. The answer is one message: the acknowledgement of the last
//!   part, or the error of the message in the batch that is in the way, as it would be alone.
//! - *Questions* are all answered of the same table, each as it would be alone; the acknowledgement of the last
//!   part is the end.
//!
//! What was sent of a batch without an end is dropped with the connection, or by anything else that is asked.

use crate::answer::{answer, change};
use crate::attribute::Table as _;
use crate::client::Request;
use crate::errno::Errno;
use crate::netlink::{self, ACK, GENERIC_HEADER, HEADER, Header, Message, REQUEST};
use crate::table::{Changes, Table};
use crate::tables::{Command, CommandAttributes, FAMILY_ID, FAMILY_VERSION};

/// The number of the batch's family. The kernel has nothing like it, so no other client asks for it by name.
pub const BATCH_ID: u16 = 0x21;

/// More parts follow.
const PART: u8 = 1;
/// The last part, often the only one.
const LAST: u8 = 2;

/// Most bytes of a part, to be well within what a socket takes at once.
const PART_MAX: usize = 32 * 1024;

/// Most bytes of a batch: some 700 000 servers. One that is longer is refused with `EMSGSIZE`.
pub const BATCH_MAX: usize = 128 * 1024 * 1024;

/// The parts of a batch, as they come by one connection.
#[derive(Debug, Default)]
pub struct Gathering {
    requests: Vec<u8>,
    is_too_long: bool,
}

/// What a datagram is.
#[derive(Debug, PartialEq, Eq)]
pub enum Gathered {
    /// No part of a batch: [`answer()`](crate::answer()) has its answer.
    Else,
    /// A part of a batch, of which more is to come.
    Part,
    /// The last part of this batch.
    Whole(Batch),
}

/// A whole batch.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    /// Netlink's header of the last part, as bytes and read.
    head: Vec<u8>,
    header: Header,
    /// Messages; none when they were too many.
    requests: Option<Vec<u8>>,
}

impl Gathering {
    /// Takes a datagram that came.
    pub fn take(&mut self, datagram: &[u8]) -> Gathered {
        let first = netlink::messages(datagram).next();
        let part = first.filter(|message| message.header.kind == BATCH_ID);
        let Some((message, (command, requests))) = part.and_then(|m| Some((m, m.generic()?)))
        else {
            *self = Self::default();
            return Gathered::Else;
        };
        self.is_too_long |= self.requests.len() + requests.len() > BATCH_MAX;
        match self.is_too_long {
            true => self.requests = Vec::new(),
            false => self.requests.extend(requests),
        }
        if command == PART {
            return Gathered::Part;
        }
        let Self {
            requests,
            is_too_long,
        } = std::mem::take(self);
        Gathered::Whole(Batch {
            head: message.bytes[..HEADER].to_vec(),
            header: message.header,
            requests: (!is_too_long).then_some(requests),
        })
    }
}

/// Why a batch was refused, and the number of the message that is in the way, the first being 0. None: it is
/// none of theirs.
pub type Refused = (Option<usize>, Errno);

impl Batch {
    fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        netlink::messages(self.requests.as_deref().unwrap_or_default())
    }

    /// True when it is of questions.
    #[must_use]
    pub fn is_question(&self) -> bool {
        self.messages()
            .next()
            .is_some_and(|message| is_question(&message))
    }

    /// The datagrams that answer its questions.
    pub fn answers(&self, table: &mut dyn Table) -> Vec<Vec<u8>> {
        let mut answers = Vec::new();
        for (at, message) in self.messages().enumerate() {
            if !is_question(&message) {
                answers.push(self.reply(Err((Some(at), Errno::Eopnotsupp))));
                return answers;
            }
            answers.extend(answer(message.bytes, table));
        }
        answers.push(self.reply(Ok(())));
        answers
    }

    /// Makes its changes to `table`, which the caller then takes for the real one, or drops.
    ///
    /// # Errors
    /// The first change that cannot be made.
    pub fn lay_over(&self, table: &mut dyn Changes) -> Result<(), Refused> {
        let requests = self.requests.as_ref().ok_or((None, Errno::Emsgsize))?;
        let lengths = self.messages().map(|message| message.bytes.len());
        if lengths
            .map(|length| length.next_multiple_of(4))
            .sum::<usize>()
            != requests.len()
        {
            // What follows the first message that is not whole would be passed over.
            return Err((None, Errno::Einval));
        }
        for (at, message) in self.messages().enumerate() {
            one(&message, table).map_err(|errno| (Some(at), errno))?;
        }
        Ok(())
    }

    /// The datagram that tells what came of it.
    #[must_use]
    pub fn reply(&self, result: Result<(), Refused>) -> Vec<u8> {
        let whole = Message {
            header: self.header,
            bytes: &self.head,
        };
        let Err((at, errno)) = result else {
            return netlink::acknowledge(&whole, Ok(()));
        };
        let refused = at.and_then(|at| self.messages().nth(at));
        netlink::acknowledge(&refused.unwrap_or(whole), Err(errno))
    }
}

fn is_question(message: &Message<'_>) -> bool {
    let command = message
        .generic()
        .and_then(|(number, _)| Command::from_number(number));
    let is_asking = matches!(
        command,
        Some(
            Command::GetService
                | Command::GetDest
                | Command::GetDaemon
                | Command::GetConfig
                | Command::GetInfo
        )
    );
    message.header.kind == FAMILY_ID && is_asking
}

/// One change.
fn one(message: &Message<'_>, table: &mut dyn Changes) -> Result<(), Errno> {
    let Header { kind, flags, .. } = message.header;
    if kind != FAMILY_ID || flags & REQUEST == 0 {
        return Err(Errno::Enoent);
    }
    let (command, attributes) = message.generic().ok_or(Errno::Einval)?;
    let command = Command::from_number(command).ok_or(Errno::Eopnotsupp)?;
    if is_question(message) || command == Command::SetInfo {
        return Err(Errno::Eopnotsupp);
    }
    change(command, &CommandAttributes::parse(attributes)?, table)
}

/// The datagrams of a batch that has the number `sequence`; its messages have those that follow.
pub(crate) fn parts(sequence: u32, requests: &[Request]) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    let mut number = sequence;
    for request in requests {
        number = number.wrapping_add(1);
        let message = request.message(number);
        match parts.last_mut() {
            Some(part) if part.len() + message.len() <= PART_MAX => part.extend(message),
            _ => parts.push(message),
        }
    }
    let last = parts.len() - 1;
    let parts = parts.into_iter().enumerate();
    let parts = parts.map(|(at, requests)| {
        let header = Header {
            length: (HEADER + GENERIC_HEADER + requests.len()) as u32,
            kind: BATCH_ID,
            flags: REQUEST | ACK,
            sequence,
            port: 0,
        };
        let command = if at == last { LAST } else { PART };
        netlink::generic(header, command, FAMILY_VERSION, |into| {
            into.extend(requests);
        })
    });
    parts.collect()
}
