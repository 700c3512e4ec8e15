//! The client's side: requests as libnl writes them, and what their replies tell. How they travel is
//! the [`Channel`]'s business.

use std::fmt;
use std::io;

use crate::attribute::{Nest, Table as _};
use crate::batch;
use crate::errno::Errno;
use crate::netlink::{self, ACK, DONE, DUMP, ERROR, Header, Message, REQUEST};
use crate::table::ServerRow;
use crate::tables::{
    Command, CommandAttributes, DaemonAttributes, DestAttributes, FAMILY_ID, FAMILY_VERSION,
    InfoAttributes,
};
use crate::types::{
    Counts, Daemon, DaemonState, Family, Info, Server, ServerKey, Service, ServiceKey, Stats,
    Timeouts,
};

/// A service, what it carried, and its servers, the newest first.
pub type ServiceRows = (Service, Stats, Vec<ServerRow>);

/// A way to who answers: a datagram there, datagrams back.
pub trait Channel {
    /// Sends one datagram.
    ///
    /// # Errors
    /// The system's.
    fn send(&mut self, datagram: &[u8]) -> io::Result<()>;
    /// Waits for one datagram.
    ///
    /// # Errors
    /// The system's; `UnexpectedEof` when there will be none.
    fn receive(&mut self) -> io::Result<Vec<u8>>;
}

/// Why there is no answer, or another than was asked for.
#[derive(Debug)]
pub enum Failure {
    /// The request was refused.
    Refused(Errno),
    /// It was refused with a number that IPVS does not use.
    RefusedAs(i32),
    /// The channel failed.
    Io(io::Error),
    /// The reply makes no sense.
    Broken,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(errno) => errno.fmt(f),
            Self::RefusedAs(number) => write!(f, "error {number}"),
            Self::Io(error) => error.fmt(f),
            Self::Broken => f.write_str("the reply makes no sense"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Errno> for Failure {
    /// An error in a reply that was read.
    fn from(_: Errno) -> Self {
        Self::Broken
    }
}

/// What can be asked for, alone or in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    command: Command,
    flags: u16,
    attributes: CommandAttributes,
}

impl Request {
    fn new(command: Command, attributes: CommandAttributes) -> Self {
        Self {
            command,
            flags: 0,
            attributes,
        }
    }

    fn dump(command: Command, attributes: CommandAttributes) -> Self {
        Self {
            flags: DUMP,
            ..Self::new(command, attributes)
        }
    }

    /// Sets the timeouts that are not 0.
    #[must_use]
    pub fn set_timeouts(timeouts: Timeouts) -> Self {
        Self::new(Command::SetConfig, timeouts.attributes())
    }

    /// Adds a service. `EEXIST` when it is there.
    #[must_use]
    pub fn add_service(service: &Service) -> Self {
        Self::new(Command::NewService, service_attributes(service))
    }

    /// Changes a service. `ESRCH` when it is not there.
    #[must_use]
    pub fn edit_service(service: &Service) -> Self {
        Self::new(Command::SetService, service_attributes(service))
    }

    /// Removes a service and its servers. `ESRCH` when it is not there.
    #[must_use]
    pub fn remove_service(key: &ServiceKey) -> Self {
        Self::new(Command::DelService, key_attributes(Some(key)))
    }

    /// Adds a server. `ESRCH` without the service, `EEXIST` when it is there.
    #[must_use]
    pub fn add_server(key: &ServiceKey, server: &Server) -> Self {
        let attributes = server_attributes(key, &server.attributes());
        Self::new(Command::NewDest, attributes)
    }

    /// Changes a server. `ESRCH` without the service, `ENOENT` when it is not there.
    #[must_use]
    pub fn edit_server(key: &ServiceKey, server: &Server) -> Self {
        let attributes = server_attributes(key, &server.attributes());
        Self::new(Command::SetDest, attributes)
    }

    /// Removes a server. `ESRCH` without the service, `ENOENT` when it is not there.
    #[must_use]
    pub fn remove_server(key: &ServiceKey, server: &ServerKey) -> Self {
        let attributes = server_attributes(key, &server.attributes());
        Self::new(Command::DelDest, attributes)
    }

    /// Counts from zero again: one service with its servers, or all. `ESRCH` when it is not there.
    #[must_use]
    pub fn zero(key: Option<&ServiceKey>) -> Self {
        Self::new(Command::Zero, key_attributes(key))
    }

    /// Removes all services.
    #[must_use]
    pub fn flush() -> Self {
        Self::new(Command::Flush, CommandAttributes::default())
    }

    /// Starts a synchronisation daemon. `EEXIST` when one of its kind runs, `ENODEV` without the interface.
    #[must_use]
    pub fn start_daemon(daemon: &Daemon) -> Self {
        Self::new(Command::NewDaemon, daemon_attributes(&daemon.attributes()))
    }

    /// Ends a synchronisation daemon. `ESRCH` when none of its kind runs.
    #[must_use]
    pub fn stop_daemon(state: DaemonState) -> Self {
        let daemon = DaemonAttributes {
            state: Some(state.number()),
            ..DaemonAttributes::default()
        };
        Self::new(Command::DelDaemon, daemon_attributes(&daemon))
    }

    /// As a message.
    pub(crate) fn message(&self, sequence: u32) -> Vec<u8> {
        request(sequence, self.command, self.flags, &self.attributes)
    }
}

/// Asks and waits, one request at a time.
#[derive(Debug)]
pub struct Client<C> {
    channel: C,
    sequence: u32,
}

impl<C: Channel> Client<C> {
    /// A client that asks by `channel`.
    pub fn new(channel: C) -> Self {
        Self {
            channel,
            sequence: 0,
        }
    }

    /// Version and size of the table.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn info(&mut self) -> Result<Info, Failure> {
        let reply = self.ask(Command::GetInfo, &CommandAttributes::default())?;
        let info = InfoAttributes::parse(&reply)?;
        Ok(Info {
            version: info.version.unwrap_or_default(),
            table_size: info.conn_tab_size.unwrap_or_default(),
        })
    }

    /// The timeouts.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn timeouts(&mut self) -> Result<Timeouts, Failure> {
        let reply = self.ask(Command::GetConfig, &CommandAttributes::default())?;
        Ok(Timeouts::read(&CommandAttributes::parse(&reply)?))
    }

    /// All services with what they carried.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn services(&mut self) -> Result<Vec<(Service, Stats)>, Failure> {
        let replies = self.call(Command::GetService, DUMP, &CommandAttributes::default())?;
        replies.iter().map(|reply| service(reply)).collect()
    }

    /// One service with what it carried.
    ///
    /// # Errors
    /// See [`Failure`]; `ESRCH` when it is not there.
    pub fn service(&mut self, key: &ServiceKey) -> Result<(Service, Stats), Failure> {
        service(&self.ask(Command::GetService, &key_attributes(Some(key)))?)
    }

    /// The servers of a service, the newest first; none for a service that is not there.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn servers(&mut self, key: &ServiceKey) -> Result<Vec<(Server, Counts, Stats)>, Failure> {
        let replies = self.call(Command::GetDest, DUMP, &key_attributes(Some(key)))?;
        let family = key.family();
        replies.iter().map(|reply| server(reply, family)).collect()
    }

    /// All services with their servers, as they are at one moment.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn table(&mut self) -> Result<Vec<ServiceRows>, Failure> {
        let mut services = self.services()?;
        loop {
            let of_service = |(service, _): &(Service, Stats)| {
                Request::dump(Command::GetDest, key_attributes(Some(&service.key)))
            };
            let all = Request::dump(Command::GetService, CommandAttributes::default());
            let mut asked = vec![all];
            asked.extend(services.iter().map(of_service));
            let mut answers = self.ask_all(&asked)?.into_iter();
            let replies = answers.next().ok_or(Failure::Broken)?;
            let replies = replies.iter().map(|reply| service(reply));
            let now: Vec<_> = replies.collect::<Result<_, _>>()?;
            let keys = |list: &[(Service, Stats)]| -> Vec<_> {
                list.iter().map(|(service, _)| service.key).collect()
            };
            if keys(&now) != keys(&services) {
                // Services came or left since they were asked for: once more, with those that are there.
                services = now;
                continue;
            }
            let rows = now.into_iter().zip(answers);
            let rows = rows.map(|((service, stats), replies)| {
                let family = service.key.family();
                let servers = replies.iter().map(|reply| server(reply, family));
                Ok((service, stats, servers.collect::<Result<_, _>>()?))
            });
            return rows.collect();
        }
    }

    /// The synchronisation daemons that run.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn daemons(&mut self) -> Result<Vec<Daemon>, Failure> {
        let replies = self.call(Command::GetDaemon, DUMP, &CommandAttributes::default())?;
        replies.iter().map(|reply| daemon(reply)).collect()
    }

    /// Has one change done.
    ///
    /// # Errors
    /// See [`Failure`], and of what it may be refused at [`Request`].
    pub fn order(&mut self, request: &Request) -> Result<(), Failure> {
        self.call(request.command, 0, &request.attributes)
            .map(|_| ())
    }

    /// Has all of `requests` done at one moment, in their order, or none of them.
    ///
    /// # Errors
    /// The number of the request that was refused, the first being 0, and why; 0 when it is none of
    /// theirs.
    pub fn order_all(&mut self, requests: &[Request]) -> Result<(), (usize, Failure)> {
        let first = self.sequence.wrapping_add(1);
        for part in batch::parts(first, requests) {
            self.channel
                .send(&part)
                .map_err(|error| (0, error.into()))?;
        }
        // Each message has a number of its own, the batch the first one.
        let numbers = u32::try_from(requests.len()).unwrap_or(u32::MAX);
        self.sequence = first.wrapping_add(numbers);
        let datagram = self.channel.receive().map_err(|error| (0, error.into()))?;
        let reply = netlink::messages(&datagram).next();
        let reply = reply.ok_or((0, Failure::Broken))?;
        let from_first = reply.header.sequence.wrapping_sub(first) as usize;
        if from_first > requests.len() {
            return Err((0, Failure::Broken));
        }
        match read(&reply) {
            Ok(Read::End) => Ok(()),
            Ok(Read::Reply(_)) => Err((0, Failure::Broken)),
            Err(failure) => Err((from_first.saturating_sub(1), failure)),
        }
    }

    /// The attributes of the replies to each of `requests`, which are answered at one moment.
    fn ask_all(&mut self, requests: &[Request]) -> Result<Vec<Vec<Vec<u8>>>, Failure> {
        let first = self.send_all(requests)?;
        let mut answers = vec![Vec::new(); requests.len()];
        loop {
            let datagram = self.channel.receive()?;
            for message in netlink::messages(&datagram) {
                match (
                    message.header.sequence.wrapping_sub(first) as usize,
                    read(&message)?,
                ) {
                    (0, Read::End) => return Ok(answers),
                    (_, Read::End) => {}
                    (number, Read::Reply(attributes)) => {
                        let answer = number.checked_sub(1).and_then(|at| answers.get_mut(at));
                        answer.ok_or(Failure::Broken)?.push(attributes.to_vec());
                    }
                }
            }
        }
    }

    /// Sends a batch, whose number is returned; each of its messages has one of those that follow.
    fn send_all(&mut self, requests: &[Request]) -> io::Result<u32> {
        let first = self.sequence.wrapping_add(1);
        for part in batch::parts(first, requests) {
            self.channel.send(&part)?;
        }
        let numbers = u32::try_from(requests.len()).unwrap_or(u32::MAX);
        self.sequence = first.wrapping_add(numbers);
        Ok(first)
    }

    /// The attributes of the one reply.
    fn ask(
        &mut self,
        command: Command,
        attributes: &CommandAttributes,
    ) -> Result<Vec<u8>, Failure> {
        let replies = self.call(command, 0, attributes)?;
        replies.into_iter().next().ok_or(Failure::Broken)
    }

    /// The attributes of all replies.
    fn call(
        &mut self,
        command: Command,
        flags: u16,
        attributes: &CommandAttributes,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        self.sequence += 1;
        let request = request(self.sequence, command, flags, attributes);
        self.channel.send(&request)?;
        let mut replies = Vec::new();
        loop {
            let datagram = self.channel.receive()?;
            for message in netlink::messages(&datagram) {
                if message.header.sequence != self.sequence {
                    return Err(Failure::Broken);
                }
                match read(&message)? {
                    Read::Reply(attributes) => replies.push(attributes.to_vec()),
                    Read::End => return Ok(replies),
                }
            }
        }
    }
}

/// A request of the family, which is to be acknowledged.
#[must_use]
pub fn request(
    sequence: u32,
    command: Command,
    flags: u16,
    attributes: &CommandAttributes,
) -> Vec<u8> {
    let header = Header {
        length: 0,
        kind: FAMILY_ID,
        flags: REQUEST | ACK | flags,
        sequence,
        port: 0,
    };
    netlink::generic(header, command as u8, FAMILY_VERSION, |into| {
        attributes.write(into, true);
    })
}

enum Read<'m> {
    Reply(&'m [u8]),
    End,
}

fn read<'m>(message: &Message<'m>) -> Result<Read<'m>, Failure> {
    match message.header.kind {
        DONE => Ok(Read::End),
        ERROR => match message.error() {
            Some(0) => Ok(Read::End),
            Some(error) => {
                let number = error.saturating_neg();
                Err(Errno::from_number(number).map_or(Failure::RefusedAs(number), Failure::Refused))
            }
            None => Err(Failure::Broken),
        },
        _ => {
            let (_, attributes) = message.generic().ok_or(Failure::Broken)?;
            Ok(Read::Reply(attributes))
        }
    }
}

fn service_attributes(service: &Service) -> CommandAttributes {
    CommandAttributes {
        service: Some(Nest::of(&service.attributes())),
        ..CommandAttributes::default()
    }
}

fn key_attributes(key: Option<&ServiceKey>) -> CommandAttributes {
    CommandAttributes {
        service: key.map(|key| Nest::of(&key.attributes())),
        ..CommandAttributes::default()
    }
}

fn daemon_attributes(daemon: &DaemonAttributes) -> CommandAttributes {
    CommandAttributes {
        daemon: Some(Nest::of(daemon)),
        ..CommandAttributes::default()
    }
}

fn server_attributes(key: &ServiceKey, server: &DestAttributes) -> CommandAttributes {
    CommandAttributes {
        service: Some(Nest::of(&key.attributes())),
        dest: Some(Nest::of(server)),
        ..CommandAttributes::default()
    }
}

fn service(reply: &[u8]) -> Result<(Service, Stats), Failure> {
    let attributes = CommandAttributes::parse(reply)?;
    let attributes = attributes.service.ok_or(Failure::Broken)?.parse()?;
    let stats = Stats::read(attributes.stats64.as_ref(), attributes.stats.as_ref())?;
    Ok((Service::read(&attributes, None)?, stats))
}

fn server(reply: &[u8], family: Family) -> Result<(Server, Counts, Stats), Failure> {
    let attributes = CommandAttributes::parse(reply)?;
    let attributes = attributes.dest.ok_or(Failure::Broken)?.parse()?;
    let stats = Stats::read(attributes.stats64.as_ref(), attributes.stats.as_ref())?;
    let counts = Counts {
        active: attributes.active_conns.unwrap_or_default(),
        inactive: attributes.inact_conns.unwrap_or_default(),
        persistent: attributes.persist_conns.unwrap_or_default(),
    };
    Ok((Server::read(&attributes, family)?, counts, stats))
}

fn daemon(reply: &[u8]) -> Result<Daemon, Failure> {
    let attributes = CommandAttributes::parse(reply)?;
    let attributes = attributes.daemon.ok_or(Failure::Broken)?.parse()?;
    let (number, daemon) = Daemon::read(&attributes)?;
    let state = DaemonState::from_number(number).ok_or(Failure::Broken)?;
    Ok(Daemon { state, ..daemon })
}
