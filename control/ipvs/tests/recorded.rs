//! What a kernel was seen to answer, asked again here: `tests/data/ipvs`.

use std::path::PathBuf;

use weir_ipvs::netlink::{self, DONE, ERROR};
use weir_ipvs::tables::{CONTROL_ID, FAMILY_ID};
use weir_ipvs::testing::Memory;
use weir_ipvs::{Table, answer};

/// Stands for the family's number in the recordings.
const RECORDED_FAMILY: u16 = 0xffff;

fn read(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/ipvs");
    std::fs::read_to_string(path.join(name)).expect("the recordings are there")
}

fn datagrams() -> Vec<Vec<u8>> {
    read("datagrams.txt").lines().map(bytes).collect()
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("hexadecimal");
        u8::from_str_radix(pair, 16).expect("hexadecimal")
    };
    hexadecimal.as_bytes().chunks(2).map(byte).collect()
}

/// A request as it comes to us.
fn asked(recorded: &[u8]) -> Vec<u8> {
    replace_kind(recorded, RECORDED_FAMILY, FAMILY_ID)
}

fn replace_kind(datagram: &[u8], old: u16, new: u16) -> Vec<u8> {
    let mut datagram = datagram.to_vec();
    let mut at = 0;
    while let Some(header) = datagram.get(at..at + 16) {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        if kind == old {
            datagram[at + 4..at + 6].copy_from_slice(&new.to_ne_bytes());
        }
        let embedded = at + 24..at + 26;
        if kind == ERROR && datagram.get(embedded.clone()) == Some(&old.to_ne_bytes()) {
            datagram[embedded].copy_from_slice(&new.to_ne_bytes());
        }
        let id = at + 36..at + 38;
        if kind == CONTROL_ID && datagram.get(id.clone()) == Some(&old.to_ne_bytes()) {
            datagram[id].copy_from_slice(&new.to_ne_bytes());
        }
        at += length.max(16).next_multiple_of(4);
    }
    datagram
}

/// A reply as it was recorded. The list of a dump has no order.
fn told(replies: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let is_dump = replies.iter().any(|datagram| {
        let mut messages = netlink::messages(datagram);
        messages.any(|message| message.header.kind == DONE)
    });
    if !is_dump {
        return replies.to_vec();
    }
    for datagram in replies {
        assert!(datagram.len() <= 16384, "{}", datagram.len());
    }
    let messages = replies
        .iter()
        .flat_map(|datagram| netlink::messages(datagram));
    let mut messages: Vec<_> = messages.map(|message| message.bytes.to_vec()).collect();
    let end = messages.len() - 1;
    messages[..end].sort();
    messages
}

/// Whether it is a request, and the datagram.
type Step<'d> = (bool, &'d [u8]);

/// Asks all that was asked and compares all that was answered.
fn replay(name: &str, steps: &[Step<'_>], table: &mut dyn Table) {
    let mut steps = steps;
    while let [(true, request), rest @ ..] = steps {
        let replies = rest.iter().take_while(|(is_request, _)| !is_request);
        let replies: Vec<_> = replies.map(|(_, reply)| reply.to_vec()).collect();
        steps = &rest[replies.len()..];
        let answers = answer(&asked(request), table);
        let answers = answers.iter();
        let answers = answers.map(|reply| replace_kind(reply, FAMILY_ID, RECORDED_FAMILY));
        let (answers, replies) = (told(&answers.collect::<Vec<_>>()), told(&replies));
        // The client did not wait for the acknowledgement.
        let unread = answers.len() - 1 == replies.len() && answers.len() == 2;
        let heard = if unread { &answers[..1] } else { &answers[..] };
        assert!(
            heard == replies,
            "{name}: {request:02x?}\n{heard:02x?}\n{replies:02x?}"
        );
    }
    assert!(steps.is_empty(), "{name}: a reply without a request");
}

#[test]
fn every_run_of_ipvsadm_gets_the_same_replies() {
    let datagrams = datagrams();
    let mut table = Memory::default();
    let mut runs = 0;
    for line in read("ipvsadm-runs.jsonl").lines() {
        let run: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let steps = run["datagrams"].as_str().expect("a list").split(' ');
        let steps: Vec<_> = steps.map(|step| (step, &*datagrams)).map(step).collect();
        replay(run["id"].as_str().expect("a name"), &steps, &mut table);
        runs += 1;
    }
    assert_eq!(runs, 183);
}

#[test]
fn keepalived_gets_the_same_replies() {
    let datagrams = datagrams();
    let mut table = Memory::default();
    table.interfaces.push(("vA".to_owned(), 1500));
    // Its processes ask side by side, each one thing at a time: a request of one may stand between
    // another's and its reply, and is carried out first in the kernel, as its reply comes first.
    let text = read("keepalived-run.txt");
    let mut waiting: Vec<(&str, Vec<Step<'_>>)> = Vec::new();
    let mut requests = 0;
    for line in text.lines() {
        let (process, one) = line.split_once(' ').expect("two words");
        let one = step((one, &datagrams));
        let at = waiting.iter().position(|(name, _)| *name == process);
        let at = at.unwrap_or_else(|| {
            waiting.push((process, Vec::new()));
            waiting.len() - 1
        });
        let steps = &mut waiting[at].1;
        if one.0 && !steps.is_empty() {
            replay(process, &std::mem::take(steps), &mut table);
        }
        requests += usize::from(one.0);
        steps.push(one);
    }
    for (process, steps) in waiting {
        replay(process, &steps, &mut table);
    }
    assert_eq!(requests, 92);
}

#[test]
fn crafted_messages_get_the_same_replies() {
    let text = read("crafted.txt");
    let lines: Vec<_> = text.lines().map(|line| line.split_at(1)).collect();
    let lines = lines.iter().map(|(way, hex)| (*way == ">", bytes(hex)));
    let steps: Vec<(bool, Vec<u8>)> = lines.collect();
    let mut table = Memory::default();
    let (mut asked, mut different) = (0, Vec::new());
    let mut rest = &steps[..];
    while let [(_, request), later @ ..] = rest {
        let replies = later.iter().take_while(|(is_request, _)| !is_request);
        let replies: Vec<_> = replies.map(|(_, reply)| reply.clone()).collect();
        rest = &later[replies.len()..];
        let answers = answer(&self::asked(request), &mut table);
        let answers = answers.iter();
        let answers = answers.map(|reply| replace_kind(reply, FAMILY_ID, RECORDED_FAMILY));
        let (answers, replies) = (told(&answers.collect::<Vec<_>>()), told(&replies));
        asked += 1;
        if answers != replies {
            different.push(format!(
                "{request:02x?}\n  {answers:02x?}\n  {replies:02x?}"
            ));
        }
    }
    assert_eq!(asked, 1016);
    let all = different.join("\n");
    assert!(
        different.is_empty(),
        "{} of {asked}:\n{all}",
        different.len()
    );
}

fn step<'d>((step, datagrams): (&str, &'d [Vec<u8>])) -> Step<'d> {
    let (direction, number) = step.split_at(1);
    let number: usize = number.parse().expect("a number");
    (direction == ">", &datagrams[number - 1])
}
