//! The client's side: requests as libnl writes them, and what their replies tell. How they travel is
//! the [`Channel`]'s business.

use std::fmt;
use std::io;

use crate::attribute::{Nest, Table as _};
use crate::errno::Errno;
use crate::netlink::{self, ACK, DONE, DUMP, ERROR, Header, Message, REQUEST};
use crate::tables::{
    Command, CommandAttributes, DaemonAttributes, DestAttributes, FAMILY_ID, FAMILY_VERSION,
    InfoAttributes,
};
use crate::types::{
    Counts, Daemon, DaemonState, Family, Info, Server, ServerKey, Service, ServiceKey, Stats,
    Timeouts,
};

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

    /// Sets the timeouts that are not 0.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn set_timeouts(&mut self, timeouts: Timeouts) -> Result<(), Failure> {
        self.order(Command::SetConfig, &timeouts.attributes())
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
        let attributes = CommandAttributes {
            service: Some(Nest::of(&key.attributes())),
            ..CommandAttributes::default()
        };
        service(&self.ask(Command::GetService, &attributes)?)
    }

    /// The servers of a service, the newest first; none for a service that is not there.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn servers(&mut self, key: &ServiceKey) -> Result<Vec<(Server, Counts, Stats)>, Failure> {
        let attributes = CommandAttributes {
            service: Some(Nest::of(&key.attributes())),
            ..CommandAttributes::default()
        };
        let replies = self.call(Command::GetDest, DUMP, &attributes)?;
        let family = key.family();
        replies.iter().map(|reply| server(reply, family)).collect()
    }

    /// The synchronisation daemons that run.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn daemons(&mut self) -> Result<Vec<Daemon>, Failure> {
        let replies = self.call(Command::GetDaemon, DUMP, &CommandAttributes::default())?;
        replies.iter().map(|reply| daemon(reply)).collect()
    }

    /// Adds a service.
    ///
    /// # Errors
    /// See [`Failure`]; `EEXIST` when it is there.
    pub fn add_service(&mut self, service: &Service) -> Result<(), Failure> {
        self.order(Command::NewService, &service_attributes(service))
    }

    /// Changes a service.
    ///
    /// # Errors
    /// See [`Failure`]; `ESRCH` when it is not there.
    pub fn edit_service(&mut self, service: &Service) -> Result<(), Failure> {
        self.order(Command::SetService, &service_attributes(service))
    }

    /// Removes a service and its servers.
    ///
    /// # Errors
    /// See [`Failure`]; `ESRCH` when it is not there.
    pub fn remove_service(&mut self, key: &ServiceKey) -> Result<(), Failure> {
        let attributes = CommandAttributes {
            service: Some(Nest::of(&key.attributes())),
            ..CommandAttributes::default()
        };
        self.order(Command::DelService, &attributes)
    }

    /// Adds a server.
    ///
    /// # Errors
    /// See [`Failure`]; `ESRCH` without the service, `EEXIST` when it is there.
    pub fn add_server(&mut self, key: &ServiceKey, server: &Server) -> Result<(), Failure> {
        let attributes = server_attributes(key, &server.attributes());
        self.order(Command::NewDest, &attributes)
    }

    /// Changes a server.
    ///
    /// # Errors
    /// See [`Failure`]; `ESRCH` without the service, `ENOENT` when it is not there.
    pub fn edit_server(&mut self, key: &ServiceKey, server: &Server) -> Result<(), Failure> {
        let attributes = server_attributes(key, &server.attributes());
        self.order(Command::SetDest, &attributes)
    }

    /// Removes a server.
    ///
    /// # Errors
    /// See [`Failure`]; `ESRCH` without the service, `ENOENT` when it is not there.
    pub fn remove_server(&mut self, key: &ServiceKey, server: &ServerKey) -> Result<(), Failure> {
        let attributes = server_attributes(key, &server.attributes());
        self.order(Command::DelDest, &attributes)
    }

    /// Counts from zero again: one service with its servers, or all.
    ///
    /// # Errors
    /// See [`Failure`]; `ESRCH` when the service is not there.
    pub fn zero(&mut self, key: Option<&ServiceKey>) -> Result<(), Failure> {
        let attributes = CommandAttributes {
            service: key.map(|key| Nest::of(&key.attributes())),
            ..CommandAttributes::default()
        };
        self.order(Command::Zero, &attributes)
    }

    /// Removes all services.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.order(Command::Flush, &CommandAttributes::default())
    }

    /// Starts a synchronisation daemon.
    ///
    /// # Errors
    /// See [`Failure`]; `EEXIST` when one of its kind runs, `ENODEV` without the interface.
    pub fn start_daemon(&mut self, daemon: &Daemon) -> Result<(), Failure> {
        let attributes = CommandAttributes {
            daemon: Some(Nest::of(&daemon.attributes())),
            ..CommandAttributes::default()
        };
        self.order(Command::NewDaemon, &attributes)
    }

    /// Ends a synchronisation daemon.
    ///
    /// # Errors
    /// See [`Failure`]; `ESRCH` when none of its kind runs.
    pub fn stop_daemon(&mut self, state: DaemonState) -> Result<(), Failure> {
        let daemon = DaemonAttributes {
            state: Some(state.number()),
            ..DaemonAttributes::default()
        };
        let attributes = CommandAttributes {
            daemon: Some(Nest::of(&daemon)),
            ..CommandAttributes::default()
        };
        self.order(Command::DelDaemon, &attributes)
    }

    fn order(&mut self, command: Command, attributes: &CommandAttributes) -> Result<(), Failure> {
        self.call(command, 0, attributes).map(|_| ())
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
