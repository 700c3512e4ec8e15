//! A whole LVS site on one machine, for the demo and the end-to-end tests.
//!
//! [`Lab`] builds client, router and real servers, each in a network namespace of its own, and
//! two bridges with the director between them; [`Director`] is `weird` running there on two
//! `net_tap` ports. Everything is done with the tools an operator knows (`ip`, `curl`, `dig`, nginx, dnsmasq),
//! so what a test does can be done again by hand in `./x lab up`.
//!
//! ```text
//!                 wan 192.0.2.0/24 2001:db8:1::/64
//!   client ─────────┬──────────────┬──────────────┬───────── dr1 dr2 dr3 (VIP on lo)
//!   .10 .11         │ .1           │ .254         .21 .22 .23
//!               ┌───┴────┐     ┌───┴────┐
//!               │director│     │ router │         far 10.9.0.0/24 2001:db8:3::/64
//!               └───┬────┘     └───┬──┬─┘─────────────────── tun1 tun2 tun3 (VIP on tunl0,
//!                   │ .254         │ .253  .254               .1 .2 .3        user-mode Linux)
//!   nat1 nat2 nat3 ─┴──────┬───────┘
//!   .1 .2 .3               │  lan 10.0.0.0/24 2001:db8:2::/64
//!   (gateway: director)    fullnat1 fullnat2 fullnat3 .31 .32 .33 (gateway: router)
//! ```
//!
//! Answers of DR and TUN servers reach the client without passing the director, as they must.

pub mod client;
pub mod config;
pub mod director;
mod dns;
mod guest;
pub mod lab;
pub mod netns;
mod nginx;
pub mod plan;
mod reaper;
pub mod stock;
pub mod uml;

pub use client::{Client, Traffic};
pub use config::{Config, Service};
pub use director::Director;
pub use lab::{Lab, Server};
pub use plan::{Family, Method};
pub use stock::Keepalived;

/// Size of the large body every server has at `/body`, in bytes.
pub const BODY_LEN: u64 = 100_000_000;
