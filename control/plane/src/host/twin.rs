//! The tap interface in Linux that stands for a port. It lives as long as its descriptor is open.
#![allow(
    unsafe_code,
    reason = "one ioctl names the tap; there is no safe call for it"
)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use ipnet::IpNet;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags};
use rtnetlink::{Handle, LinkUnspec, LinkVlan};
use thiserror::Error;

use super::follow::index_of;

/// Why a twin could not be made.
#[derive(Debug, Error)]
pub enum TwinError {
    /// `/dev/net/tun` could not be opened.
    #[error(
        "twin {name}: /dev/net/tun cannot be opened ({error}); load the module tun (modprobe tun), or set twin = false"
    )]
    Device {
        /// The twin.
        name: String,
        /// What Linux said.
        error: io::Error,
    },
    /// Not allowed to make interfaces.
    #[error(
        "twin {name}: no privilege to make an interface; run as root or with CAP_NET_ADMIN, or set twin = false"
    )]
    Privilege {
        /// The twin.
        name: String,
    },
    /// The name is taken.
    #[error(
        "twin {name}: an interface of that name is in use; stop what uses it (ip link show {name}) or give the port another twin"
    )]
    InUse {
        /// The twin.
        name: String,
    },
    /// Linux refused a setting.
    #[error("twin {name}: Linux refuses {what}: {error}")]
    Refused {
        /// The twin.
        name: String,
        /// Which setting.
        what: String,
        /// What it said.
        error: String,
    },
}

/// A tap interface, up, with its addresses.
#[derive(Debug)]
pub struct Twin {
    /// Its name in Linux.
    pub name: String,
    /// Its index in Linux.
    pub index: u32,
    pub(super) tap: File,
}

/// What a twin takes over from its port.
#[derive(Clone, Debug)]
pub struct TwinPlan<'a> {
    /// Its name in Linux.
    pub name: &'a str,
    /// The port's MAC address.
    pub mac: [u8; 6],
    /// The port's MTU.
    pub mtu: u16,
    /// Addresses of the untagged interface.
    pub addresses: &'a [IpNet],
    /// VLAN IDs and their addresses.
    pub vlans: Vec<(u16, &'a [IpNet])>,
}

impl Twin {
    /// Makes the interface, gives it the port's MAC address, MTU and addresses, and brings it up.
    /// What was made goes when the twin is dropped.
    ///
    /// # Errors
    /// [`TwinError`], with the cure; nothing is left behind.
    pub async fn create(netlink: &Handle, plan: &TwinPlan<'_>) -> Result<Self, TwinError> {
        let name = plan.name.to_owned();
        let tap = open_tap(plan.name)?;
        let refused = |what: &str| {
            let (name, what) = (plan.name.to_owned(), what.to_owned());
            move |error: rtnetlink::Error| TwinError::Refused {
                name,
                what,
                error: error.to_string(),
            }
        };
        let index = index_of(netlink, plan.name)
            .await
            .map_err(refused("a look at it"))?;
        quieten(plan.name);
        let link = LinkUnspec::new_with_index(index)
            .address(plan.mac.to_vec())
            .mtu(plan.mtu.into());
        netlink
            .link()
            .set(link.build())
            .execute()
            .await
            .map_err(refused("its MAC address and MTU"))?;
        let up = LinkUnspec::new_with_index(index).up().build();
        netlink
            .link()
            .set(up)
            .execute()
            .await
            .map_err(refused("to bring it up"))?;
        let twin = Self { name, index, tap };
        for address in plan.addresses {
            twin.add_address(netlink, index, *address).await?;
        }
        for (id, addresses) in &plan.vlans {
            let vlan = format!("{}.{id}", plan.name);
            let link = LinkVlan::new(&vlan, index, *id).up().build();
            netlink
                .link()
                .add(link)
                .execute()
                .await
                .map_err(refused(&format!("VLAN {id}")))?;
            let vlan_index = index_of(netlink, &vlan)
                .await
                .map_err(refused(&format!("VLAN {id}")))?;
            quieten(&vlan);
            for address in *addresses {
                twin.add_address(netlink, vlan_index, *address).await?;
            }
        }
        Ok(twin)
    }

    /// Adds an address to the interface of this index, the twin's or that of a VLAN on it; one
    /// that is there already is fine.
    ///
    /// # Errors
    /// When Linux refuses.
    pub async fn add_address(
        &self,
        netlink: &Handle,
        index: u32,
        address: IpNet,
    ) -> Result<(), TwinError> {
        let mut request = netlink
            .address()
            .add(index, address.addr(), address.prefix_len())
            .replace();
        if address.addr().is_ipv6() {
            // Usable at once: whoever configures a VIP here has decided that it is not a duplicate.
            let message = request.message_mut();
            message.header.flags |= AddressHeaderFlags::Nodad;
            message
                .attributes
                .push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        request.execute().await.map_err(|error| TwinError::Refused {
            name: self.name.clone(),
            what: format!("the address {address}"),
            error: error.to_string(),
        })
    }

    /// Takes an address away from the interface of this index; one that is gone already is fine.
    pub async fn remove_address(&self, netlink: &Handle, index: u32, address: IpNet) {
        let mut request = netlink
            .address()
            .add(index, address.addr(), address.prefix_len());
        let message = request.message_mut().clone();
        if let Err(error) = netlink.address().del(message).execute().await {
            tracing::debug!("{}: address {address} was gone already: {error}", self.name);
        }
    }
}

/// Settings of the interface itself that its duty asks for: replies may take another way than the
/// packets they answer, and its addresses are usable at once. Where they cannot be written, Linux's
/// defaults work for most set-ups.
fn quieten(name: &str) {
    let settings = [
        (format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"), "0"),
        (format!("/proc/sys/net/ipv6/conf/{name}/accept_dad"), "0"),
        (format!("/proc/sys/net/ipv6/conf/{name}/accept_ra"), "0"),
    ];
    for (path, value) in settings {
        if let Err(error) = std::fs::write(&path, value) {
            tracing::debug!("{path} stays as it is: {error}");
        }
    }
}

fn open_tap(name: &str) -> Result<File, TwinError> {
    let tap = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")
        .map_err(|error| TwinError::Device {
            name: name.to_owned(),
            error,
        })?;
    // SAFETY: ifreq is plain data for which all zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name[..libc::IFNAMSIZ - 1]
        .iter_mut()
        .zip(name.bytes())
    {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags =
        (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_TUN_EXCL) as libc::c_short;
    // SAFETY: the descriptor is open, and TUNSETIFF reads and writes one ifreq, which is borrowed
    // for the call; its name ends in a zero byte.
    let result = unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETIFF as _, &mut request) };
    if result == 0 {
        return Ok(tap);
    }
    let name = name.to_owned();
    let error = io::Error::last_os_error();
    Err(match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => TwinError::Privilege { name },
        Some(libc::EBUSY | libc::EEXIST) => TwinError::InUse { name },
        _ => TwinError::Refused {
            name,
            what: "a tap".to_owned(),
            error: error.to_string(),
        },
    })
}
