use super::*;

/// What a kernel did, state by state: rows are the state before, columns SYN, FIN, ACK, RST from
/// the client, then from the server, then from the client with no server packet ever seen.
const KERNEL: [(&str, [&str; 12]); 11] = [
    (
        "No",
        [
            "Sr", "Cl", "Es", "Cl", "Ss", "Tw", "Es", "Cl", "Sr", "Cl", "Es", "Cl",
        ],
    ),
    (
        "Es",
        [
            "Es", "Cw", "Es", "Cl", "Es", "Fw", "Es", "Cl", "Es", "Fw", "Es", "Cl",
        ],
    ),
    (
        "Ss",
        [
            "Es", "Ss", "Ss", "Cl", "Ss", "Ss", "Ss", "Ss", "Es", "Ss", "Ss", "Cl",
        ],
    ),
    (
        "Sr",
        [
            "Sr", "Tw", "Es", "Sr", "Sr", "Tw", "Es", "Cl", "Sr", "Tw", "Es", "Sr",
        ],
    ),
    (
        "Fw",
        [
            "Sr", "Tw", "Fw", "Cl", "Ss", "Fw", "Fw", "Cl", "Sr", "Fw", "Fw", "Cl",
        ],
    ),
    (
        "Tw",
        [
            "Sr", "Tw", "Tw", "Cl", "Ss", "Tw", "Tw", "Tw", "Sr", "Tw", "Tw", "Cl",
        ],
    ),
    (
        "Cl",
        [
            "Sr", "Cl", "Cl", "Cl", "Ss", "Cl", "Cl", "Cl", "Sr", "Cl", "Cl", "Cl",
        ],
    ),
    (
        "Cw",
        [
            "Sr", "Cw", "Cw", "Cl", "Ss", "Tw", "Cw", "Cl", "Sr", "Cw", "Cw", "Cl",
        ],
    ),
    (
        "La",
        [
            "Sr", "La", "Cl", "La", "Ss", "La", "La", "Cl", "Sr", "La", "Cl", "La",
        ],
    ),
    (
        "Li",
        [
            "Sr", "Li", "Li", "Li", "Li", "Li", "Es", "Cl", "Sr", "Li", "Li", "Li",
        ],
    ),
    (
        "Sa",
        [
            "Sr", "Tw", "Es", "Sr", "Sr", "Tw", "Es", "Cl", "Sr", "Tw", "Es", "Cl",
        ],
    ),
];

/// The same under the defence `secure_tcp`.
const KERNEL_SECURE: [(&str, &str); 11] = [
    ("No", "Sr Cl Es Cl Ss Tw Es Cl Sa Cl Es Cl"),
    ("Es", "Es Cw Es Cl Es Fw Es Cl Es Fw Es Cl"),
    ("Ss", "Es Ss Ss Cl Ss Ss Ss Ss Es Ss Ss Cl"),
    ("Sr", "Sr Tw Sr Sr Sa Tw Es Cl Sr Tw Es Sr"),
    ("Fw", "Sr Tw Fw Cl Ss Fw Fw Cl Sa Fw Fw Cl"),
    ("Tw", "Sr Tw Tw Cl Ss Tw Tw Tw Sa Tw Tw Cl"),
    ("Cl", "Sr Cl Cl Cl Ss Cl Cl Cl Sa Cl Cl Cl"),
    ("Cw", "Sr Cw Cw Cl Ss Tw Cw Cl Sa Cw Cw Cl"),
    ("La", "Sr La Cl La Ss La La Cl Sa La Cl La"),
    ("Li", "Sr Li Li Li Li Li Es Cl Sa Li Li Li"),
    ("Sa", "Sa Sa Sa Cl Sa Tw Es Cl Sa Tw Es Cl"),
];

fn state(short: &str) -> TcpState {
    let at = KERNEL.iter().position(|(name, _)| *name == short);
    const ORDER: [TcpState; 11] = [No, Es, Ss, Sr, Fw, Tw, Cl, Cw, La, Li, Sa];
    ORDER[at.expect("a state's short name")]
}

#[test]
fn every_transition_is_the_kernels() {
    let events = [tcp_flag::SYN, tcp_flag::FIN, tcp_flag::ACK, tcp_flag::RST];
    for (before, row) in KERNEL {
        for (column, after) in row.iter().enumerate() {
            let seen = [Seen::Request, Seen::Reply, Seen::RequestOnly][column / 4];
            let next = state(before).next(seen, events[column % 4], false);
            assert_eq!(
                next,
                state(after),
                "{before}, {seen:?}, event {}",
                column % 4
            );
        }
    }
}

#[test]
fn every_transition_of_the_defence_is_the_kernels() {
    let events = [tcp_flag::SYN, tcp_flag::FIN, tcp_flag::ACK, tcp_flag::RST];
    for (before, row) in KERNEL_SECURE {
        assert_eq!(row.split(' ').count(), 12);
        for (column, after) in row.split(' ').enumerate() {
            let seen = [Seen::Request, Seen::Reply, Seen::RequestOnly][column / 4];
            let next = state(before).next(seen, events[column % 4], true);
            let event = column % 4;
            assert_eq!(next, state(after), "{before}, {seen:?}, event {event}");
        }
    }
}

/// A packet of an established flow that is an ACK takes the short way without asking for a table.
#[test]
fn an_ack_on_an_established_flow_leaves_it_in_either_table() {
    for seen in [Seen::Request, Seen::Reply, Seen::RequestOnly] {
        for is_secure in [false, true] {
            assert_eq!(Es.next(seen, tcp_flag::ACK, is_secure), Es);
        }
    }
}

#[test]
fn reset_counts_before_syn_before_fin_before_ack() {
    let all = tcp_flag::RST | tcp_flag::SYN | tcp_flag::FIN | tcp_flag::ACK;
    assert_eq!(Es.next(Seen::Request, all, false), Cl);
    assert_eq!(Fw.next(Seen::Request, all & !tcp_flag::RST, false), Sr);
    let fin_ack = tcp_flag::FIN | tcp_flag::ACK;
    assert_eq!(Es.next(Seen::Request, fin_ack, false), Cw);
}

#[test]
fn a_segment_without_any_of_the_four_flags_closes() {
    for state in TcpState::ALL {
        assert_eq!(state.next(Seen::Request, tcp_flag::PSH, false), Cl);
    }
}
