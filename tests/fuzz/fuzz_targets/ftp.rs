//! A control connection of FTP on which both sides say anything: neither end sees a gap, and the
//! director stays bounded. The first byte chooses the family.
#![no_main]

#[allow(dead_code, unused_imports, reason = "shared with the packet tests")]
#[path = "../../packets/ftp_stream.rs"]
mod ftp_stream;
#[allow(dead_code, unused_imports, reason = "shared with the packet tests")]
#[path = "../../packets/world/mod.rs"]
mod world;

use ftp_stream::Stream;
use libfuzzer_sys::fuzz_target;
use weir_wire::ftp;
use world::Net;

fuzz_target!(|input: &[u8]| {
    // The words alone, without a connection around them.
    let _ = (ftp::pasv_reply(input), ftp::epsv_reply(input));
    assert!(ftp::commands(input).count() <= input.len());
    if let Some((family, steps)) = input.split_first() {
        Stream::new(Net::both()[usize::from(family & 1)]).run(steps);
    }
});
