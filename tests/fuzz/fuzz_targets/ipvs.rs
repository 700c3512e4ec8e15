//! Netlink messages of the family IPVS: any bytes are answered, within bounds, by well-formed replies,
//! and what the table then holds is told so that a client reads back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_ipvs::client::{Channel, Client};
use weir_ipvs::netlink::messages;
use weir_ipvs::testing::Memory;
use weir_ipvs::{Table, answer};

/// A table that answers on the spot.
struct Direct<'t> {
    table: &'t mut Memory,
    replies: std::collections::VecDeque<Vec<u8>>,
}

impl Channel for Direct<'_> {
    fn send(&mut self, datagram: &[u8]) -> std::io::Result<()> {
        self.replies.extend(answer(datagram, self.table));
        Ok(())
    }

    fn receive(&mut self) -> std::io::Result<Vec<u8>> {
        self.replies.pop_front().ok_or(std::io::ErrorKind::UnexpectedEof.into())
    }
}

fuzz_target!(|datagram: &[u8]| {
    let mut table = Memory::default();
    for reply in answer(datagram, &mut table) {
        let told = messages(&reply);
        let length: usize = told.map(|m| m.bytes.len().next_multiple_of(4)).sum();
        assert_eq!(length, reply.len(), "{reply:02x?}");
    }
    let (services, daemons) = (table.services(), table.daemons());
    let servers: Vec<_> = services.iter().map(|(s, _)| table.servers(&s.key)).collect();
    let direct = Direct {
        table: &mut table,
        replies: std::collections::VecDeque::new(),
    };
    let mut client = Client::new(direct);
    let told = client.services().expect("it is answered");
    assert_eq!(told, services);
    for ((service, _), servers) in told.iter().zip(&servers) {
        let told = client.servers(&service.key).expect("it is answered");
        assert_eq!(told, *servers);
    }
    assert_eq!(client.daemons().expect("it is answered"), daemons);
});
