//! The network: namespaces, bridges, router, real servers.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, bail};

use crate::client::Client;
use crate::dns;
use crate::guest;
use crate::netns::{Netns, run};
use crate::nginx;
use crate::plan::{self, Family, Method, in_url, with_prefix};
use crate::reaper::{self, Reaper};

/// Name of the lab that stays up until `./x lab down`.
pub const KEPT: &str = "weirlab";

/// A running lab without a director. Dropping it removes it, unless it is kept.
#[derive(Debug)]
pub struct Lab {
    /// Who sends requests.
    pub client: Client,
    name: String,
    dir: PathBuf,
    director: Netns,
    router: Netns,
    nat: Vec<Server>,
    dr: Vec<Server>,
    fullnat: Vec<Server>,
    tun: OnceCell<Vec<Server>>,
    done: RefCell<BTreeSet<&'static str>>,
    // Last, so that the clean-up begins when all else is dropped.
    _reaper: Option<Reaper>,
}

/// A real server that answers every request with its name.
#[derive(Clone, Debug)]
pub struct Server {
    /// What it answers: `nat1`, `dr3`, …
    pub name: String,
    /// How the director reaches it.
    pub method: Method,
    /// Where it is in its method, from 1.
    pub number: u8,
    /// Its namespace on this machine; the TUN servers' are inside the guest.
    pub netns: Option<Netns>,
}

impl Server {
    /// The server's own address.
    pub fn address(&self, family: Family) -> IpAddr {
        plan::server(self.method, family, self.number)
    }
}

impl Lab {
    /// Builds a lab that goes when it is dropped or when this process ends in any way.
    ///
    /// # Errors
    /// Without root, or when a needed program is missing.
    pub fn new() -> Result<Self> {
        static BUILT: AtomicU32 = AtomicU32::new(0);
        reaper::sweep()?;
        let number = BUILT.fetch_add(1, Ordering::Relaxed);
        let name = reaper::name(process::id(), number);
        let reaper = Reaper::start(&name, &run_dir(&name))?;
        Self::build(name, Some(reaper))
    }

    /// Builds the lab called [`KEPT`], which stays up when this process ends.
    ///
    /// # Errors
    /// As [`Lab::new`], and when it is up already.
    pub fn keep() -> Result<Self> {
        reaper::sweep()?;
        if Self::is_kept()? {
            bail!("a lab is up already; `./x lab down` removes it");
        }
        let lab = Self::build(KEPT.into(), None);
        if lab.is_err() {
            Self::remove_kept()?;
        }
        lab
    }

    /// Says whether the kept lab is up.
    ///
    /// # Errors
    /// When `ip` cannot be run.
    pub fn is_kept() -> Result<bool> {
        Ok(reaper::names()?.iter().any(|name| name == KEPT))
    }

    /// Removes the kept lab with all that runs in it.
    ///
    /// # Errors
    /// When `ip` cannot be run.
    pub fn remove_kept() -> Result<()> {
        reaper::remove(KEPT, &run_dir(KEPT))
    }

    /// The servers of a method. The TUN servers are started when first asked for: they need a
    /// guest kernel, which takes some seconds to boot.
    ///
    /// # Errors
    /// When the guest does not come up.
    pub fn servers(&self, method: Method) -> Result<&[Server]> {
        match method {
            Method::Nat => Ok(&self.nat),
            Method::Dr => Ok(&self.dr),
            Method::FullNat => Ok(&self.fullnat),
            Method::Tun => {
                if self.tun.get().is_none() {
                    let servers = guest::boot(&self.router, &self.dir)?;
                    nginx::wait_until_up(&self.router, &servers)?;
                    self.tun.get_or_init(|| servers);
                }
                Ok(self.tun.get().expect("set above"))
            }
        }
    }

    /// The namespace the director runs in.
    pub fn director_netns(&self) -> &Netns {
        &self.director
    }

    /// The router's namespace.
    pub fn router_netns(&self) -> &Netns {
        &self.router
    }

    /// One more host on the servers' network, called `name`, with this address (`address/prefix`) and
    /// default route, that answers its name in plain HTTP on each of `ports`.
    ///
    /// # Errors
    /// When it does not come up; a name serves once.
    pub fn add_server(
        &self,
        name: &str,
        address: &str,
        via: IpAddr,
        ports: &[u16],
    ) -> Result<Netns> {
        let netns = Netns::create(&format!("{}-{name}", self.name))?;
        plug(&netns, "lan", &self.director, "br-lan", name)?;
        netns.ip(&format!(
            "addr add {address} dev lan\nroute add default via {via} dev lan"
        ))?;
        nginx::start_on(&netns, name, &self.dir, ports)?;
        let own = address.split('/').next().unwrap_or_default();
        nginx::wait_until_answers(&netns, own.parse()?, name)?;
        Ok(netns)
    }

    /// Does `work`, called `what`, unless it was done in this lab before.
    ///
    /// # Errors
    /// What `work` says.
    pub fn once(&self, what: &'static str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        if !self.done.borrow().contains(what) {
            work()?;
            self.done.borrow_mut().insert(what);
        }
        Ok(())
    }

    /// Starts a web server on the director's own host, which answers `director` on its port 80.
    ///
    /// # Errors
    /// When nginx cannot be started.
    pub fn start_directors_own_server(&self) -> Result<()> {
        nginx::start(&self.director, "director", &self.dir)
    }

    /// Ends the web server of a real server.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stop_web(&self, server: &Server) -> Result<()> {
        let pid = fs::read_to_string(self.dir.join(format!("{}.pid", server.name)))?;
        run(process::Command::new("kill").arg(pid.trim())).map(drop)
    }

    /// Starts it again.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_web(&self, server: &Server) -> Result<()> {
        let netns = server
            .netns
            .as_ref()
            .context("in a namespace of this host")?;
        nginx::start(netns, &server.name, &self.dir)?;
        nginx::wait_until_up(netns, std::slice::from_ref(server))
    }

    /// Where this run keeps its configuration, logs and sockets.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The first part of the namespaces' names.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sets the MTU of the link from the router to the TUN servers, in bytes.
    ///
    /// # Errors
    /// When the guest is not up, or `bytes` is not possible on a tap device.
    pub fn set_far_mtu(&self, bytes: u16) -> Result<()> {
        self.router.ip(&format!("link set far mtu {bytes}"))
    }

    fn build(name: String, reaper: Option<Reaper>) -> Result<Self> {
        let dir = run_dir(&name);
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        nginx::make_body()?;
        let director = make_director(&name)?;
        let client = make_client(&name, &director)?;
        let router = make_router(&name, &director)?;
        let nat = make_servers(&name, &director, Method::Nat)?;
        let dr = make_servers(&name, &director, Method::Dr)?;
        let fullnat = make_servers(&name, &director, Method::FullNat)?;
        let all = || nat.iter().chain(&dr).chain(&fullnat);
        for server in all() {
            let netns = server.netns.as_ref().expect("in a namespace of this host");
            nginx::start(netns, &server.name, &dir)?;
            dns::start(netns, &server.name, &dir)?;
        }
        for server in all() {
            let netns = server.netns.as_ref().expect("in a namespace of this host");
            nginx::wait_until_up(netns, std::slice::from_ref(server))?;
        }
        Ok(Self {
            client: Client::new(client),
            name,
            dir,
            director,
            router,
            nat,
            dr,
            fullnat,
            tun: OnceCell::new(),
            done: RefCell::default(),
            _reaper: reaper,
        })
    }
}

/// Where a lab of this name keeps its files.
pub(crate) fn run_dir(name: &str) -> PathBuf {
    std::env::temp_dir().join(name)
}

/// The director's namespace holds both bridges, because `net_tap` makes its kernel interfaces where
/// the process runs, and they must hang on the bridges.
///
/// The bridges stand for switches, but Linux also gives each a port of its own into this very
/// namespace, where the VIPs live on the twins. Linux answers ARP for any local address on any
/// interface, so without `arp off` the bridge would claim the VIPs with a wrong MAC. And a
/// bridge takes the lowest MAC of its ports for its own unless it has one, which could be the DPDK port's.
fn make_director(lab: &str) -> Result<Netns> {
    let netns = Netns::create(&format!("{lab}-director"))?;
    for (bridge, mac) in [
        ("br-wan", "02:00:00:00:ff:01"),
        ("br-lan", "02:00:00:00:ff:02"),
    ] {
        netns.ip(&format!(
            "link add {bridge} address {mac} type bridge forward_delay 0 mcast_snooping 0"
        ))?;
        netns.sysctl(&[&format!("net.ipv6.conf.{bridge}.disable_ipv6=1")])?;
        netns.ip(&format!("link set {bridge} arp off up"))?;
    }
    Ok(netns)
}

fn make_client(lab: &str, switch: &Netns) -> Result<Netns> {
    let netns = Netns::create(&format!("{lab}-client"))?;
    plug(&netns, "wan", switch, "br-wan", "client")?;
    let mut lines = String::new();
    for host in plan::CLIENT {
        add_addresses(&mut lines, "wan", host, plan::wan);
    }
    netns.ip(&lines)?;
    Ok(netns)
}

fn make_router(lab: &str, switch: &Netns) -> Result<Netns> {
    let netns = Netns::create(&format!("{lab}-router"))?;
    plug(&netns, "wan", switch, "br-wan", "router-wan")?;
    plug(&netns, "lan", switch, "br-lan", "router-lan")?;
    let mut lines = String::from("tuntap add dev far mode tap\nlink set far up\n");
    add_addresses(&mut lines, "wan", plan::ROUTER, plan::wan);
    add_addresses(&mut lines, "lan", plan::ROUTER_LAN, plan::lan);
    add_addresses(&mut lines, "far", plan::ROUTER, plan::far);
    netns.ip(&lines)?;
    netns.sysctl(&["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])?;
    Ok(netns)
}

fn make_servers(lab: &str, switch: &Netns, method: Method) -> Result<Vec<Server>> {
    (1..=plan::SERVERS)
        .map(|number| {
            let name = format!("{method}{number}");
            let netns = Netns::create(&format!("{lab}-{name}"))?;
            match method {
                Method::Nat => {
                    let (host, gateway) = (number, plan::DIRECTOR_LAN);
                    set_up_lan_server(&netns, switch, &name, host, gateway)?;
                }
                // Its default route is not the director, and would lead replies past it.
                Method::FullNat => {
                    let (host, gateway) = (30 + number, plan::ROUTER_LAN);
                    set_up_lan_server(&netns, switch, &name, host, gateway)?;
                }
                Method::Dr => set_up_dr_server(&netns, switch, &name, number)?,
                Method::Tun => bail!("TUN servers live in the guest"),
            }
            Ok(Server {
                name,
                method,
                number,
                netns: Some(netns),
            })
        })
        .collect()
}

fn set_up_lan_server(
    netns: &Netns,
    switch: &Netns,
    name: &str,
    host: u8,
    gateway: u8,
) -> Result<()> {
    plug(netns, "lan", switch, "br-lan", name)?;
    let mut lines = String::new();
    add_addresses(&mut lines, "lan", host, plan::lan);
    for family in Family::ALL {
        let gateway = plan::lan(family, gateway);
        writeln!(lines, "route add default via {gateway} dev lan")?;
    }
    netns.ip(&lines)
}

/// The VIP is on `lo`, and the server must not claim it by ARP: it answers only for addresses
/// of the interface asked (`arp_ignore` 1) and never asks in the VIP's name (`arp_announce` 2).
/// Neighbour discovery needs no setting: IPv6 answers only for the interface's own addresses.
fn set_up_dr_server(netns: &Netns, switch: &Netns, name: &str, number: u8) -> Result<()> {
    netns.sysctl(&[
        "net.ipv4.conf.all.arp_ignore=1",
        "net.ipv4.conf.all.arp_announce=2",
    ])?;
    plug(netns, "wan", switch, "br-wan", name)?;
    let mut lines = String::new();
    add_addresses(&mut lines, "wan", 20 + number, plan::wan);
    writeln!(lines, "addr add {}/32 dev lo", Method::Dr.vip(Family::V4))?;
    writeln!(
        lines,
        "addr add {}/128 dev lo nodad",
        Method::Dr.vip(Family::V6)
    )?;
    netns.ip(&lines)
}

/// Joins `device` in `netns` to a bridge by a cable called `cable` at the bridge's end.
fn plug(netns: &Netns, device: &str, switch: &Netns, bridge: &str, cable: &str) -> Result<()> {
    netns.ip(&format!(
        "link add {device} type veth peer name {cable} netns {}\nlink set {device} up",
        switch.name()
    ))?;
    // A bridge port needs no address of its own; with IPv6 it would talk on the wire.
    switch.sysctl(&[&format!("net.ipv6.conf.{cable}.disable_ipv6=1")])?;
    switch.ip(&format!("link set {cable} master {bridge} up"))
}

fn add_addresses(lines: &mut String, device: &str, host: u8, net: fn(Family, u8) -> IpAddr) {
    for family in Family::ALL {
        let address = with_prefix(net(family, host));
        let nodad = if family == Family::V6 { " nodad" } else { "" };
        lines.push_str(&format!("addr add {address} dev {device}{nodad}\n"));
    }
}

/// The URL of a path on port 80 of an address.
pub fn url(address: IpAddr, path: &str) -> String {
    format!("http://{}/{path}", in_url(address))
}
