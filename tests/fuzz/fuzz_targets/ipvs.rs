//! Netlink messages of the family IPVS: any bytes are answered, within bounds, by well-formed replies,
//! and what the table then holds is told so that a client reads back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_ipvs::batch::{Gathered, Gathering};
use weir_ipvs::client::{Channel, Client};
use weir_ipvs::netlink::messages;
use weir_ipvs::testing::Memory;
use weir_ipvs::{Changes as _, Table as _, answer};

/// A table that answers on the spot.
struct Direct<'t> {
    table: &'t mut Memory,
    gathering: Gathering,
    replies: std::collections::VecDeque<Vec<u8>>,
}

impl Channel for Direct<'_> {
    fn send(&mut self, datagram: &[u8]) -> std::io::Result<()> {
        match self.gathering.take(datagram) {
            Gathered::Part => {}
            Gathered::Whole(batch) => self.replies.extend(self.table.answer_batch(&batch)),
            Gathered::Else => self.replies.extend(answer(datagram, self.table)),
        }
        Ok(())
    }

    fn receive(&mut self) -> std::io::Result<Vec<u8>> {
        self.replies.pop_front().ok_or(std::io::ErrorKind::UnexpectedEof.into())
    }
}

fuzz_target!(|datagram: &[u8]| {
    let mut table = Memory::default();
    let replies = match Gathering::default().take(datagram) {
        Gathered::Part => Vec::new(),
        Gathered::Whole(batch) => table.answer_batch(&batch),
        Gathered::Else => answer(datagram, &mut table),
    };
    for reply in replies {
        let told = messages(&reply);
        let length: usize = told.map(|m| m.bytes.len().next_multiple_of(4)).sum();
        assert_eq!(length, reply.len(), "{reply:02x?}");
    }
    let (services, daemons) = (table.services(), table.daemons());
    let servers: Vec<_> = services.iter().map(|(s, _)| table.servers(&s.key)).collect();
    let direct = Direct {
        table: &mut table,
        gathering: Gathering::default(),
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
    // At one moment the same is told.
    let whole = client.table().expect("it is answered");
    let whole = whole.into_iter().map(|(service, stats, servers)| ((service, stats), servers));
    assert!(whole.eq(services.into_iter().zip(servers)));
});
