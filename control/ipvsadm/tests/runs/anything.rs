//! Whatever the arguments and the input are, it ends, and says why.

use proptest::prelude::*;
use proptest::sample::select;

use crate::support::Machine;

fn word() -> impl Strategy<Value = String> {
    let words = "-A -E -D -a -e -d -C -R -S -L -l -Z --set --start-daemon --stop-daemon master -t -u -f -6 \
        -s -p -M -r -g -i -m -w -x -y -b -n -c -o --pe --tun-type --tun-port gue 192.0.2.1:80 \
        [2001:db8::1]:80 [ ] []: : :: 1 0 -1 99999999999999999999 0x 0x1.2.3 010.1:1 a=b --s= -- - \
        -w= \u{fc} sh-port, ,";
    let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    prop_oneof![
        select(words),
        any::<String>().prop_filter("the test's shell", |text| !text
            .contains(['|', '>', '<', ';'])),
    ]
}

proptest! {
    #[test]
    fn any_arguments_end(words in proptest::collection::vec(word(), 0..9)) {
        let ended = Machine::default().run(&format!("ipvsadm {}", words.join(" ")));
        prop_assert_eq!(ended.code == 0, ended.stderr.is_empty());
    }

    #[test]
    fn any_input_is_restored_or_refused(lines in proptest::collection::vec(
        proptest::collection::vec(word(), 0..8), 0..8)) {
        let lines: Vec<String> = lines.iter().map(|words| words.join(" ")).collect();
        let ended = Machine::default().run_with("ipvsadm-restore", &lines.join("\n"));
        prop_assert_eq!(ended.code == 0, ended.stderr.is_empty());
        prop_assert_eq!(ended.stdout, "");
    }
}
