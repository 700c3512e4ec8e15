//! Batches that are not as Weir's client writes them.

use weir_ipvs::batch::{BATCH_ID, BATCH_MAX, Gathered, Gathering};
use weir_ipvs::client::request;
use weir_ipvs::netlink::{self, DUMP, HEADER, REQUEST};
use weir_ipvs::tables::{Command, CommandAttributes};
use weir_ipvs::testing::Memory;
use weir_ipvs::{Errno, Table as _};

const PART: u8 = 1;
const LAST: u8 = 2;

/// A part of a batch with these messages in it.
fn part(command: u8, messages: &[u8]) -> Vec<u8> {
    let length = (HEADER + 4 + messages.len()) as u32;
    let mut part = length.to_ne_bytes().to_vec();
    part.extend(BATCH_ID.to_ne_bytes());
    part.extend(REQUEST.to_ne_bytes());
    part.extend(77_u32.to_ne_bytes());
    part.extend([0; 4]);
    part.extend([command, 1, 0, 0]);
    part.extend(messages);
    part
}

fn message(command: Command, flags: u16) -> Vec<u8> {
    request(5, command, flags, &CommandAttributes::default())
}

/// What is answered: number and error of each message.
fn answered(datagrams: &[&[u8]]) -> Vec<(u32, Option<i32>)> {
    let mut table = Memory::default();
    let mut gathering = Gathering::default();
    let mut answers = Vec::new();
    for datagram in datagrams {
        match gathering.take(datagram) {
            Gathered::Part => {}
            Gathered::Whole(batch) => answers.extend(table.answer_batch(&batch)),
            Gathered::Else => answers.extend(weir_ipvs::answer(datagram, &mut table)),
        }
    }
    assert!(table.services().is_empty());
    let messages = answers.iter().flat_map(|answer| netlink::messages(answer));
    messages
        .map(|message| (message.header.sequence, message.error()))
        .collect()
}

fn refused(errno: Errno) -> Option<i32> {
    Some(-errno.number())
}

#[test]
fn what_is_in_a_batch_is_whole_and_of_one_kind() {
    let flush = message(Command::Flush, 0);
    assert_eq!(answered(&[&part(LAST, &flush)]), [(77, Some(0))]);
    assert_eq!(answered(&[&part(LAST, &[])]), [(77, Some(0))]);
    // The end of a message is missing, or more than messages is there.
    let cut = &flush[..flush.len() - 1];
    for messages in [cut.to_vec(), [&flush[..], &[0; 7]].concat()] {
        let answers = answered(&[&part(LAST, &messages)]);
        assert_eq!(answers, [(77, refused(Errno::Einval))]);
    }
    let question = message(Command::GetInfo, 0);
    let set_info = message(Command::SetInfo, 0);
    for messages in [
        [flush.clone(), question.clone()].concat(),
        [flush.clone(), set_info.clone()].concat(),
        set_info,
    ] {
        let answers = answered(&[&part(LAST, &messages)]);
        assert_eq!(answers, [(5, refused(Errno::Eopnotsupp))]);
    }
    // A question before a change is answered, and the change is none.
    let answers = answered(&[&part(LAST, &[question, flush.clone()].concat())]);
    assert_eq!(answers.len(), 3, "{answers:?}");
    assert_eq!(answers[2], (5, refused(Errno::Eopnotsupp)));
    // A batch in a batch, and what is no request.
    let batch = part(LAST, &flush);
    let mut reply = flush.clone();
    reply[6..8].copy_from_slice(&0_u16.to_ne_bytes());
    for (messages, number) in [(batch, 77), (reply, 5)] {
        let answers = answered(&[&part(LAST, &messages)]);
        assert_eq!(answers, [(number, refused(Errno::Enoent))]);
    }
}

#[test]
fn the_questions_of_a_batch_are_all_answered() {
    let dump = message(Command::GetService, DUMP);
    let messages = [dump.clone(), dump, message(Command::GetConfig, 0)].concat();
    let answers = answered(&[&part(LAST, &messages)]);
    // Two ends of dumps, the timeouts with their acknowledgement, the end of the batch.
    let numbers: Vec<_> = answers.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [5, 5, 5, 5, 77]);
}

#[test]
fn parts_are_gathered_until_something_else_comes() {
    let zero = message(Command::Zero, 0);
    let first = part(PART, &zero);
    let last = part(LAST, &message(Command::Flush, 0));
    assert_eq!(answered(&[&first, &first, &last]), [(77, Some(0))]);
    assert_eq!(answered(&[&first]), []);
    // The first part is forgotten: what it had would be refused.
    let wrong = part(PART, &message(Command::DelService, 0));
    assert_eq!(answered(&[&wrong, &last]), [(5, refused(Errno::Einval))]);
    assert_eq!(
        answered(&[&wrong, &zero, &last]),
        [(5, Some(0)), (77, Some(0))]
    );
    // It is too short to tell what part it is.
    let short = {
        let mut short = part(LAST, &[])[..HEADER].to_vec();
        short[..4].copy_from_slice(&(HEADER as u32).to_ne_bytes());
        short
    };
    assert_eq!(answered(&[&short]), [(77, refused(Errno::Enoent))]);
}

#[test]
fn a_batch_that_is_too_long_is_refused_as_a_whole() {
    let many = message(Command::Zero, 0).repeat(50_000);
    let first = part(PART, &many);
    let mut gathering = Gathering::default();
    for _ in 0..=BATCH_MAX / many.len() {
        assert_eq!(gathering.take(&first), Gathered::Part);
    }
    let Gathered::Whole(batch) = gathering.take(&part(LAST, &[])) else {
        panic!("it was the last");
    };
    let answers = Memory::default().answer_batch(&batch);
    let answer = netlink::messages(&answers[0]).next().expect("a message");
    assert_eq!(answer.error(), refused(Errno::Emsgsize));
}
