//! What the requests are about: services and servers, wherever they are kept.

use std::net::IpAddr;

use crate::errno::Errno;
use crate::types::{
    Counts, Daemon, DaemonState, Server, ServerKey, Service, ServiceKey, Stats, Timeouts,
};

/// A server, the connections it has, and what it carried.
pub type ServerRow = (Server, Counts, Stats);

/// What changes ask of a table of services, and do to it. What the kernel checks has been checked before
/// a method is called that changes something; such a method refuses what this table cannot hold.
pub trait Changes {
    /// True for a scheduler that a service may have.
    fn has_scheduler(&self, name: &str) -> bool;
    /// True for a persistence engine that a service may have.
    fn has_engine(&self, name: &str) -> bool;
    /// True for an address of the director itself.
    fn is_local(&self, address: IpAddr) -> bool;
    /// The MTU of one of the director's interfaces.
    fn interface_mtu(&self, name: &str) -> Option<u32>;
    /// A service.
    fn service(&self, key: &ServiceKey) -> Option<Service>;
    /// True when the service has the server.
    fn has_server(&self, service: &ServiceKey, server: &ServerKey) -> bool;
    /// True when a server is of another family than its service.
    fn has_mixed_families(&self) -> bool;
    /// The synchronisation daemons that run, master first.
    fn daemons(&self) -> Vec<Daemon>;

    /// Sets the timeouts that are not 0.
    ///
    /// # Errors
    /// When it cannot hold that.
    fn set_timeouts(&mut self, timeouts: Timeouts) -> Result<(), Errno>;
    /// Adds a service that is not there.
    ///
    /// # Errors
    /// When it cannot hold that.
    fn add_service(&mut self, service: Service) -> Result<(), Errno>;
    /// Changes a service that is there.
    ///
    /// # Errors
    /// When it cannot hold that.
    fn edit_service(&mut self, service: Service) -> Result<(), Errno>;
    /// Removes a service that is there.
    ///
    /// # Errors
    /// When it cannot.
    fn remove_service(&mut self, key: &ServiceKey) -> Result<(), Errno>;
    /// Adds a server that is not there to a service that is.
    ///
    /// # Errors
    /// When it cannot hold that.
    fn add_server(&mut self, service: &ServiceKey, server: Server) -> Result<(), Errno>;
    /// Changes a server that is there.
    ///
    /// # Errors
    /// When it cannot hold that.
    fn edit_server(&mut self, service: &ServiceKey, server: Server) -> Result<(), Errno>;
    /// Removes a server that is there.
    ///
    /// # Errors
    /// When it cannot.
    fn remove_server(&mut self, service: &ServiceKey, server: &ServerKey) -> Result<(), Errno>;
    /// Removes all services.
    ///
    /// # Errors
    /// When it cannot.
    fn flush(&mut self) -> Result<(), Errno>;
    /// Counts from zero again: one service with its servers, or all.
    fn zero(&mut self, service: Option<&ServiceKey>);
    /// A synchronisation daemon is to run. None of that kind does.
    ///
    /// # Errors
    /// When it cannot.
    fn start_daemon(&mut self, daemon: Daemon) -> Result<(), Errno>;
    /// A synchronisation daemon that runs is to end.
    ///
    /// # Errors
    /// When it cannot.
    fn stop_daemon(&mut self, state: DaemonState) -> Result<(), Errno>;
}

/// A table of services.
pub trait Table: Changes {
    /// Size of the connection table.
    fn size(&self) -> u32;
    /// The timeouts.
    fn timeouts(&self) -> Timeouts;
    /// What a service carried.
    fn service_stats(&self, key: &ServiceKey) -> Stats;
    /// All services with what they carried.
    fn services(&self) -> Vec<(Service, Stats)>;
    /// The servers of a service, the newest first.
    fn servers(&self, service: &ServiceKey) -> Vec<ServerRow>;
}
