use std::vec::Vec;

use super::*;

/// What a kernel does, state by state: rows are the state before, columns its events in their
/// order, DATA first; `=` leaves the state.
const KERNEL: [(Seen, &str); 3] = [
    (
        Seen::Request,
        "\
        NONE        ESTABLISHED INIT1       C-WAIT      C-REPLIED   ESTABLISHED S-RECEIVED  CLOSED      CLOSED      CLOSED      CLOSED
        INIT1       =           INIT        C-WAIT      INIT        =           =           INIT        CLOSED      =           CLOSED
        INIT        =           =           C-WAIT      =           =           =           =           CLOSED      =           CLOSED
        C-SENT      =           =           =           C-REPLIED   =           =           =           =           =           CLOSED
        C-REPLIED   =           =           =           =           =           =           =           =           =           CLOSED
        C-WAIT      =           =           COOKIE      =           =           =           =           =           =           REJECTED
        COOKIE      =           =           =           =           =           =           =           =           =           CLOSED
        C-ECHOED    =           =           =           =           ESTABLISHED =           =           =           CLOSED      CLOSED
        ESTABLISHED =           =           =           =           =           S-RECEIVED  =           =           =           CLOSED
        S-SENT      =           =           =           =           =           =           CLOSED      =           =           CLOSED
        S-RECEIVED  =           =           =           =           =           =           =           =           =           CLOSED
        S-ACK-SENT  =           =           =           =           =           =           CLOSED      CLOSED      =           CLOSED
        REJECTED    =           INIT        =           =           =           =           =           =           =           CLOSED
        CLOSED      =           INIT        =           =           =           =           =           =           =           =
        ",
    ),
    (
        Seen::Reply,
        "\
        NONE        ESTABLISHED C-WAIT      C-SENT      C-ECHOED    ESTABLISHED S-SENT      S-ACK-SENT  CLOSED      CLOSED      CLOSED
        INIT1       =           C-WAIT      C-SENT      C-ECHOED    ESTABLISHED S-SENT      S-ACK-SENT  =           CLOSED      REJECTED
        INIT        =           C-WAIT      C-SENT      C-ECHOED    ESTABLISHED S-SENT      S-ACK-SENT  =           CLOSED      CLOSED
        C-SENT      =           C-WAIT      =           C-ECHOED    ESTABLISHED S-SENT      S-ACK-SENT  =           CLOSED      CLOSED
        C-REPLIED   =           C-WAIT      =           C-ECHOED    ESTABLISHED S-SENT      S-ACK-SENT  =           CLOSED      CLOSED
        C-WAIT      =           =           =           C-ECHOED    ESTABLISHED S-SENT      =           =           =           CLOSED
        COOKIE      =           C-WAIT      =           C-ECHOED    ESTABLISHED S-SENT      =           =           =           CLOSED
        C-ECHOED    =           C-WAIT      =           =           ESTABLISHED S-SENT      =           =           =           CLOSED
        ESTABLISHED =           =           =           =           =           S-SENT      =           =           =           CLOSED
        S-SENT      =           C-WAIT      =           =           =           =           S-ACK-SENT  =           =           CLOSED
        S-RECEIVED  =           C-WAIT      =           =           =           =           S-ACK-SENT  =           =           CLOSED
        S-ACK-SENT  =           C-WAIT      =           =           =           =           =           =           =           CLOSED
        REJECTED    =           C-WAIT      =           =           =           =           =           =           =           CLOSED
        CLOSED      =           C-WAIT      =           =           =           =           =           =           =           =
        ",
    ),
    (
        Seen::RequestOnly,
        "\
        NONE        ESTABLISHED INIT1       C-ECHOED    ESTABLISHED ESTABLISHED S-RECEIVED  CLOSED      CLOSED      CLOSED      CLOSED
        INIT1       =           INIT        C-ECHOED    ESTABLISHED =           =           INIT        CLOSED      =           CLOSED
        INIT        =           =           C-ECHOED    ESTABLISHED =           =           =           CLOSED      =           CLOSED
        C-SENT      =           INIT        C-ECHOED    ESTABLISHED ESTABLISHED =           =           CLOSED      =           CLOSED
        C-REPLIED   =           INIT        C-ECHOED    ESTABLISHED ESTABLISHED =           =           CLOSED      =           CLOSED
        C-WAIT      ESTABLISHED INIT        C-ECHOED    ESTABLISHED =           =           =           =           =           REJECTED
        COOKIE      =           =           =           =           ESTABLISHED =           =           =           =           CLOSED
        C-ECHOED    =           =           =           =           ESTABLISHED =           =           =           =           CLOSED
        ESTABLISHED =           =           =           =           =           S-RECEIVED  CLOSED      =           =           CLOSED
        S-SENT      =           =           =           =           =           =           CLOSED      =           =           CLOSED
        S-RECEIVED  =           =           =           =           =           =           =           CLOSED      =           CLOSED
        S-ACK-SENT  =           =           =           =           =           =           CLOSED      CLOSED      =           CLOSED
        REJECTED    =           INIT        =           =           =           =           =           =           =           CLOSED
        CLOSED      =           INIT        =           =           =           =           =           =           =           =
        ",
    ),
];

fn state(name: &str) -> SctpState {
    let known = SctpState::ALL.into_iter();
    let mut known = known.filter(|state| state.name() == name);
    known.next().expect("a state's name")
}

#[test]
fn every_transition_is_the_kernels() {
    let mut cells = 0;
    for (seen, rows) in KERNEL {
        for (row, expected) in rows.lines().zip(SctpState::ALL) {
            let words: Vec<&str> = row.split_whitespace().collect();
            let (before, after) = words.split_first().expect("a row");
            let before = state(before);
            assert_eq!(before, expected, "in their order");
            assert_eq!(after.len(), SctpEvent::ALL.len());
            for (event, name) in SctpEvent::ALL.into_iter().zip(after) {
                let after = match *name {
                    "=" => before,
                    name => state(name),
                };
                let next = before.next(seen, Some(event));
                assert_eq!(next, after, "{before:?}, {seen:?}, {event:?}");
                cells += 1;
            }
        }
    }
    assert_eq!(cells, 3 * 14 * 10);
}

#[test]
fn a_packet_without_chunks_leaves_the_state() {
    for state in SctpState::ALL {
        assert_eq!(state.next(Seen::Request, None), state);
    }
}

#[test]
fn numbers_lead_back_to_their_states() {
    for state in SctpState::ALL {
        assert_eq!(SctpState::from_index(state as u8), state);
    }
    assert_eq!(SctpState::from_index(15), SctpState::None);
}
