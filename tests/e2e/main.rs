//! End to end: real curl, nginx, dig and dnsmasq through `weird` on `net_tap`.
//!
//! Tests share a few labs, each of which is one test's at a time, and each test has a director of
//! its own, so each begins with empty tables and schedulers at their start.

mod api;
mod clusters;
mod director;
mod drain;
mod forwarding;
mod fragments;
mod ftp;
mod fullnat;
mod ipvs;
mod keepalived;
mod labs;
mod ldirectord;
mod network;
mod persistence;
mod several_workers;
mod transcript;
mod tunnel;

use labs::lab;

/// SHA-256 of the large body, which is the same sequence of numbers in every run.
const BODY_SHA256: &str = "8e749afb9b1b011ff6d0173b3cae911008833d5e25bfccfa7d31560f122ded88";
