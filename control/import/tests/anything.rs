//! Whatever comes, nothing panics, Weir reads what is printed, and the work is bounded.

use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use weir_import::{Kind, NoFiles, Options, import};

/// What a file of that length may take; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

fn check(kind: Kind, text: &str) {
    let options = Options {
        config_id: Some("main"),
        files: &NoFiles,
    };
    let begun = Instant::now();
    let imported = import(kind, "a file", text, options);
    assert!(
        begun.elapsed() < PATIENCE,
        "{kind:?} took too long: {:.60}",
        text
    );
    if let Err(faults) = weir_model::parse(imported.completed(), "") {
        panic!("{kind:?}: {faults}\nof {text:?}");
    }
    let has_lines = imported.text.lines().all(|line| !line.contains('\r'));
    assert!(has_lines, "a line within a line");
}

fn kind() -> impl Strategy<Value = Kind> {
    select(Kind::ALL.to_vec())
}

/// Every sample, with its kind.
fn samples() -> Vec<(Kind, String)> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut samples = Vec::new();
    for kind in Kind::ALL {
        let entries = std::fs::read_dir(data.join(kind.name())).expect("samples of each kind");
        for entry in entries {
            let text = std::fs::read_to_string(entry.expect("an entry").path());
            samples.push((kind, text.expect("a text")));
        }
    }
    samples
}

/// Words that mean something to one of the readers.
fn word() -> impl Strategy<Value = String> {
    let words = "virtual_server real_server { } } { \n \n \n lb_algo lb_kind NAT TUN type gue port \
        ~SEQ(A,1,99999999) ~SEQ(A,9,-1,1) ~LST({A,B},{1,2}) $A=$A ${A} $B=${A}${A} @main @^x \\\n \" # ! \
        virtual= real= virtual=10.0.0.1:80\n \x20\x20\x20\x20real=10.0.0.1->10.9.9.9:80 gate masq 4294967296 \
        -A -a -t -u -f -r -p -M 10.0.0.1:80 [2001:db8::1]:80 -1 0x7fffffff *mangle COMMIT PREROUTING \
        -j MARK --set-mark 0/0 table chain prerouting ip daddr @s mark set jump , ; \u{feff} \u{1} ::";
    let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
    select(words)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_read(kind in kind(), bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        check(kind, &String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn random_words_are_read(kind in kind(), words in proptest::collection::vec(word(), 0..60)) {
        check(kind, &words.join(" "));
    }

    #[test]
    fn mutated_samples_are_read(
        sample in any::<Index>(),
        other in any::<Index>(),
        cuts in proptest::collection::vec((any::<Index>(), any::<Index>(), word()), 1..6),
    ) {
        let samples = samples();
        let (kind, text) = sample.get(&samples);
        let (_, donor) = other.get(&samples);
        let mut text: Vec<char> = text.chars().collect();
        let donor: Vec<char> = donor.chars().collect();
        for (from, to, word) in cuts {
            let (from, to) = (from.index(text.len() + 1), to.index(text.len() + 1));
            let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 40));
            let graft = donor.get(from..to).unwrap_or_default().iter().copied();
            let new: Vec<char> = word.chars().chain(graft).collect();
            text.splice(from..to, new);
        }
        check(*kind, &text.into_iter().collect::<String>());
    }
}

#[test]
fn what_grows_without_end_is_cut() {
    for text in [
        "$A=$B\n$B=$A\n$A".to_owned(),
        "$A= \\\n $B \\\n $B\n$B= \\\n $C \\\n $C\n$C= \\\n $A \\\n $A\n$A".to_owned(),
        format!("$A=x{}\n$A", "${A}".repeat(1000)),
        "~SEQ(A,1,1000) ~SEQ(B,1,1000) ~SEQ(C,1,1000) x".to_owned(),
        "~SEQ(A,1,9223372036854775807) x".to_owned(),
        "~SEQ(A,-9223372036854775808,-9223372036854775808,0) x".to_owned(),
        "{".repeat(100_000),
        "a { ".repeat(100_000),
        "}\n".repeat(50_000),
        "virtual_server_group g { 0.0.0.0/0 80\n::/0 80 }\nvirtual_server group g { real_server 1.1.1.1 80 }"
            .to_owned(),
    ] {
        check(Kind::Keepalived, &text);
        check(Kind::Piranha, &text);
        check(Kind::Nft, &text);
    }
    let calls: String = (0..30)
        .map(|n| format!("-A C{n} -j C{}\n-A C{n} -j C{}\n", n + 1, n + 1))
        .collect();
    check(
        Kind::Iptables,
        &format!("*mangle\n-A PREROUTING -j C0\n{calls}-A C30 -j MARK --set-mark 1\nCOMMIT\n"),
    );
    check(
        Kind::Iptables,
        "*mangle\n-A PREROUTING -j A\n-A A -j A\n-A A -j MARK --set-mark 1\nCOMMIT\n",
    );
}
