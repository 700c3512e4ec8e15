//! Any datagram: the reader of SIP's Call-ID neither panics nor takes for one what RFC 3261 does not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_core::persist::sip::{CALL_ID_MAX, call_id};

fuzz_target!(|message: &[u8]| {
    let Some(id) = call_id(message) else {
        return;
    };
    assert!((1..=CALL_ID_MAX).contains(&id.len()));
    assert!(id.iter().all(|byte| byte.is_ascii_graphic()));
    assert!(id.iter().filter(|byte| **byte == b'@').count() <= 1);
    // It stands behind a line and a colon, and what follows the byte that ends it does not count.
    let at = id.as_ptr() as usize - message.as_ptr() as usize;
    assert!(message[..at].contains(&b':') && message[..at].contains(&b'\n'));
    assert_eq!(call_id(&message[..=at + id.len()]), Some(id));
});
