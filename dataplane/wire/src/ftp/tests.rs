use std::format;
use std::string::String;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::builder::addr;

fn asked(text: &str) -> Vec<Command> {
    commands(text.as_bytes()).collect()
}

#[test]
fn commands_are_understood_in_any_case_and_several_in_one_segment() {
    let port = Command::Port(addr("198.51.100.7"), 50_000);
    for (text, expected) in [
        ("PASV\r\n", Some(Command::Pasv)),
        ("pasv\n", Some(Command::Pasv)),
        ("EPSV\r\n", Some(Command::Epsv)),
        ("Epsv 2\r\n", Some(Command::Epsv)),
        ("PORT 198,51,100,7,195,80\r\n", Some(port)),
        ("port  198,51,100,7,195,80 \r\n", Some(port)),
        // What ends the last number is enough.
        ("PORT 198,51,100,7,195,80\r", Some(port)),
        ("PORT 198,51,100,7,195,80", None),
        ("EPRT |1|198.51.100.7|50000|\r\n", Some(port)),
        ("eprt !1!198.51.100.7!50000!\r\n", Some(port)),
        (
            "EPRT |2|2001:db8::7|50000|\r\n",
            Some(Command::Port(addr("2001:db8::7"), 50_000)),
        ),
        ("NOOP\r\n", None),
    ] {
        assert_eq!(asked(text), Vec::from_iter(expected), "{text:?}");
    }
    let all = "USER x\r\nPASV\r\nPORT 198,51,100,7,195,80\r\nEPSV";
    assert_eq!(
        asked(all),
        [Command::Pasv, port],
        "the last line is not complete"
    );
}

#[test]
fn what_is_no_command_of_these_asks_for_nothing() {
    for text in [
        "PASV",
        "PASV x\r\n",
        "XPASV\r\n",
        "PASVX\r\n",
        "EPSV ALL\r\n",
        "EPSV 3\r\n",
        "EPSV 12\r\n",
        "PORT\r\n",
        "PORTS 198,51,100,7,195,80\r\n",
        "PORT198,51,100,7,195,80\r\n",
        "PORT 198,51,100,7,195\r\n",
        "PORT 198,51,100,7,195,80,1\r\n",
        "PORT 198,51,100,256,195,80\r\n",
        "PORT 198,51,100,0007,195,80\r\n",
        "PORT 198,51,100,7,0,0\r\n",
        "PORT 198, 51,100,7,195,80\r\n",
        "EPRT |1|198.51.100.7|50000\r\n",
        "EPRT |1|198.51.100.7|50000||\r\n",
        "EPRT |2|198.51.100.7|50000|\r\n",
        "EPRT |1|2001:db8::7|50000|\r\n",
        "EPRT |1|198.51.100.7|0|\r\n",
        "EPRT |1|198.51.100.7|65536|\r\n",
        "EPRT  1 198.51.100.7 50000 \r\n",
        "EPRT |1|www.example|50000|\r\n",
        "\r\n",
        "\n\n\n",
    ] {
        assert_eq!(asked(text), [], "{text:?}");
    }
}

fn text_of(payload: &str) -> Option<(String, u16)> {
    let (at, port) = pasv_reply(payload.as_bytes())?;
    Some((payload[at].into(), port))
}

#[test]
fn passive_replies_are_understood_with_and_without_parentheses() {
    let numbers = Some(("10,0,0,1,156,64".into(), 40_000));
    for reply in [
        "227 Entering Passive Mode (10,0,0,1,156,64).\r\n",
        "227 Entering Passive Mode (10,0,0,1,156,64)\r\n",
        "227 10,0,0,1,156,64\r\n",
        "227 =10,0,0,1,156,64\n",
        "227 Entering Passive Mode (10,0,0,1,156,64)",
        "227 Entering Passive Mode (((10,0,0,1,156,64)\r\n",
        "230 Hello\r\n227 Here (10,0,0,1,156,64) it is\r\n",
    ] {
        assert_eq!(text_of(reply), numbers, "{reply:?}");
    }
    for reply in [
        "227 Entering Passive Mode (10,0,0,1,156,64",
        "227-Entering (10,0,0,1,156,64).\r\n",
        "227 Entering (10,0,0,1,156)\r\n",
        "227 Entering (10,0,0,1,156,)\r\n",
        "227 Entering (10,0,0,1,300,64)\r\n",
        "227 Entering (10,0,0,1,0,0)\r\n",
        "227 \r\n",
        "227\r\n",
        "2270 (10,0,0,1,156,64)\r\n",
        "150 227 (10,0,0,1,156,64)\r\n",
    ] {
        assert_eq!(text_of(reply), None, "{reply:?}");
    }
}

#[test]
fn extended_passive_replies_are_understood_with_any_delimiter() {
    for delimiter in ['|', '!', '~', 'x'] {
        let d = delimiter;
        // It matters no more what comes behind the port.
        for end in [")\r\n", ")", "\r\n", ""] {
            let reply = format!("229 Entering Extended Passive Mode ({d}{d}{d}40001{d}{end}");
            assert_eq!(epsv_reply(reply.as_bytes()), Some(40_001), "{reply:?}");
        }
    }
    for reply in [
        "229 Extended (|||40001",
        "229 Extended (||40001|)\r\n",
        "229 Extended (|1||40001|)\r\n",
        "229 Extended (|||40001)\r\n",
        "229 Extended (|||0|)\r\n",
        "229 Extended (|||99999|)\r\n",
        "229 Extended (|||4000 1|)\r\n",
        "229 Extended (0000400010)\r\n",
        "229 Extended (\r\n",
        "228 Extended (|||40001|)\r\n",
    ] {
        assert_eq!(epsv_reply(reply.as_bytes()), None, "{reply:?}");
    }
}

proptest! {
    #[test]
    fn six_numbers_are_read_as_they_were_written(bits: u32, port in 1u16..) {
        let addr = Addr::from_v4_bytes(bits.to_be_bytes());
        let numbers = SixNumbers::new(addr, port).expect("of IPv4");
        let text = core::str::from_utf8(numbers.as_bytes()).expect("letters");
        prop_assert_eq!(
            asked(&format!("PORT {text}\r\n")),
            [Command::Port(addr, port)]
        );
        let reply = format!("227 ({text})\r\n");
        prop_assert_eq!(text_of(&reply), Some((text.into(), port)));
    }

    #[test]
    fn no_payload_is_too_much(payload: Vec<u8>) {
        prop_assert!(commands(&payload).count() <= payload.len());
        if let Some((at, _)) = pasv_reply(&payload) {
            prop_assert!(payload.get(at).is_some());
        }
        let _ = epsv_reply(&payload);
    }
}
