//! Which worker owns a flow.
//!
//! Every worker must find the same owner for every packet of a flow, from the packet alone. Two
//! rules do. By client: from the client's address and port, which requests carry as their source
//! and NAT replies as their destination. By device: the worker in whose queue the device puts the
//! packet ([`device`]), so that it need not be handed over; this serves where only requests come by,
//! or where the director chooses a port of the reply.
//!
//! What is predicted of a device is a matter of speed only. A worker that receives a packet of
//! another's flow hands it over, whatever brought it there.

pub mod device;
pub mod toeplitz;

use alloc::sync::Arc;

use weir_wire::Addr;

use crate::flow::Tuple;
use crate::io::WorkerId;
use crate::service::Protocol;
use device::{DeviceRss, Prediction};

/// How the flows of a director belong to its workers. The same value is given to every worker and
/// stays for its life. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Steering {
    workers: u16,
    device: Option<Arc<Prediction>>,
}

/// So many workers, and devices of which nothing is known.
impl From<u16> for Steering {
    fn from(workers: u16) -> Self {
        Self::by_client(workers)
    }
}

impl Steering {
    /// By client alone: for devices of which nothing is known.
    #[must_use]
    pub fn by_client(workers: u16) -> Self {
        let workers = workers.max(1);
        Self {
            workers,
            device: None,
        }
    }

    /// By what all devices do, where that serves. Queue n is worker n's.
    #[must_use]
    pub fn by_device(workers: u16, device: &DeviceRss) -> Self {
        let mut steering = Self::by_client(workers);
        if workers > 1 {
            steering.device = Prediction::new(workers, device).map(Arc::new);
        }
        steering
    }

    /// True when the devices' RSS is reckoned with.
    #[must_use]
    pub fn is_by_device(&self) -> bool {
        self.device.is_some()
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> u16 {
        self.workers
    }

    /// The owner of the flows of this client and port: where replies show no more than the client.
    #[inline]
    #[must_use]
    pub fn owner_of_client(&self, client: Addr, port: u16) -> WorkerId {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let folded = (client.0 as u64) ^ ((client.0 >> 64) as u64).rotate_left(17);
        let mixed = (folded ^ u64::from(port) << 40).wrapping_mul(ODD);
        let mixed = (mixed ^ mixed >> 29).wrapping_mul(ODD);
        WorkerId((((mixed >> 32) * u64::from(self.workers)) >> 32) as u16)
    }

    /// The worker at which the fragments of a packet come together.
    #[inline]
    #[must_use]
    pub fn gatherer(&self, src: Addr, dst: Addr, id: u32) -> WorkerId {
        let ends = Addr(src.0 ^ dst.0.rotate_left(64) ^ u128::from(id >> 16) << 32);
        self.owner_of_client(ends, id as u16)
    }

    /// The owner of the flow of a client's packet. `by_client` is its service's
    /// ([`crate::service::Service::by_client`]).
    #[inline]
    #[must_use]
    pub fn owner_of_request(&self, request: &Tuple, by_client: bool) -> WorkerId {
        let device = self.device.as_ref().filter(|_| !by_client);
        device
            .and_then(|device| device.receiver(request))
            .unwrap_or_else(|| self.owner_of_client(request.src, request.src_port))
    }

    /// The owner of the flow of a server's packet to a local address and port that the director
    /// chose (FullNAT). It is for the director to choose a port that makes this the worker which
    /// has the flow: see [`replies`](Self::replies).
    #[inline]
    #[must_use]
    pub fn owner_of_reply_to_local(&self, reply: &Tuple) -> WorkerId {
        let Tuple {
            src,
            dst,
            src_port,
            dst_port,
            protocol,
        } = *reply;
        self.replies(protocol, src, src_port, dst).owner(dst_port)
    }

    /// The packets of a server to a local address: what is left to choose is the local port.
    #[inline]
    #[must_use]
    pub fn replies(
        &self,
        protocol: Protocol,
        server: Addr,
        server_port: u16,
        local: Addr,
    ) -> Replies<'_> {
        let is_v4 = server.is_v4();
        let device = self.device.as_deref();
        let device = device.filter(|device| device.reaches_all_by_dst_port(is_v4, protocol));
        Replies {
            workers: self.workers,
            is_v4,
            hash: device.map_or(0, |device| {
                device.hash.addresses(server, local) ^ device.hash.src_port(is_v4, server_port)
            }),
            device,
        }
    }
}

/// Packets from one server's address and port to one local address. Which worker owns one follows
/// from its destination port, at the cost of three look-ups.
#[derive(Clone, Copy, Debug)]
pub struct Replies<'a> {
    workers: u16,
    is_v4: bool,
    /// Of everything but the destination port.
    hash: u32,
    /// None: nobody can tell where the device puts them, so that the port itself names the owner.
    device: Option<&'a Prediction>,
}

impl Replies<'_> {
    /// The owner of those to this port. Every worker owns some ports; where the key is one of
    /// [`toeplitz::draw_key`] and the table even, as many as every other of each 512.
    #[inline]
    #[must_use]
    pub fn owner(&self, local_port: u16) -> WorkerId {
        match self.device {
            Some(device) => {
                device.queue_of(self.hash ^ device.hash.dst_port(self.is_v4, local_port))
            }
            None => WorkerId(local_port % self.workers),
        }
    }
}

#[cfg(test)]
mod tests;
