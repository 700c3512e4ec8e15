//! A restore changes everything or nothing.

use crate::support::Machine;

const BEFORE: &str = "--set 800 110 290
-A -t 192.0.2.100:80 -s sh -p 60 -b sh-port
-a -t 192.0.2.100:80 -r 10.0.0.1:80 -m -w 1 -x 10 -y 5
-a -t 192.0.2.100:80 -r 10.0.0.2:80 -m -w 2
-A -u 192.0.2.100:53 -s rr
-a -u 192.0.2.100:53 -r 10.0.0.3:53 -g -w 1
-A -f 7 -6 -s wlc
";

fn filled() -> Machine {
    let mut machine = Machine::default();
    let ended = machine.run_with("ipvsadm -R", BEFORE);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    assert_eq!(machine.run("ipvsadm -Sn").stdout, BEFORE);
    machine
}

#[test]
fn a_failed_restore_leaves_everything_as_it_was() {
    for (input, message, code) in [
        (
            "-A -t 1.2.3.4:80 -s rr\n-A -t 192.0.2.100:80 -s rr\n",
            "line 2",
            255,
        ),
        ("-A -t 1.2.3.4:80 -s rr\n\n# text\n-Q\n", "line 4", 255),
        (
            "-D -t 192.0.2.100:80\n-a -t 192.0.2.100:80 -r 10.0.0.1 -m\n",
            "line 2",
            255,
        ),
        (
            "-D -u 192.0.2.100:53\n-A -t 1.2.3.4:80 -s bogus\n",
            "line 2",
            255,
        ),
        // The last of many.
        (
            "-C\n--set 1 2 3\n-A -t 192.0.2.100:80 -s lc\n-a -t 192.0.2.100:80 -r 10.0.0.1:80 -m -w 9\n\
             -A -t 1.2.3.4:80 -s rr\n-a -t 1.2.3.4:80 -r 10.0.0.9 -m\n\
             -a -t 1.2.3.4:80 -r 224.0.0.1 -m\n",
            "line 7",
            255,
        ),
        (
            "-E -t 192.0.2.100:80 -s rr\n-e -t 192.0.2.100:80 -r 10.0.0.2:80 -w 5 -m\n-A -f 1 -s no\n",
            "line 3",
            255,
        ),
        ("-d -t 192.0.2.100:80 -r 10.0.0.7:80\n", "line 1", 255),
        ("-A -t 1.2.3.4:0 -s rr\n", "line 1", 2),
        ("-L\n", "line 1", 255),
    ] {
        for command in ["ipvsadm -R", "ipvsadm-restore"] {
            let mut machine = filled();
            let ended = machine.run_with(command, input);
            if command == "ipvsadm-restore" && ended.code == 0 {
                // After a clear there is no service that could be in the way.
                continue;
            }
            assert_eq!(ended.stdout, "", "{input}");
            assert_eq!(ended.code, code, "{input}: {}", ended.stderr);
            let told = ended.stderr.trim_end();
            assert!(
                told.ends_with(&format!("{message}: nothing was changed"))
                    || command == "ipvsadm-restore",
                "{input}: {told}"
            );
            assert_eq!(machine.run("ipvsadm -Sn").stdout, BEFORE, "{input}");
        }
    }
}

#[test]
fn a_restore_replaces_the_table() {
    let mut machine = filled();
    let after = "-A -t 192.0.2.100:80 -s sh -p 60 -b sh-port
-a -t 192.0.2.100:80 -r 10.0.0.2:80 -m -w 2
-a -t 192.0.2.100:80 -r 10.0.0.4:80 -m -w 1
-A -t 192.0.2.101:80 -s wlc
-a -t 192.0.2.101:80 -r 10.0.0.1:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum
";
    assert_eq!(machine.run_with("ipvsadm-restore", after).code, 0);
    // Its timeouts are not a matter of the table.
    let saved = machine.run("ipvsadm -Sn").stdout;
    assert_eq!(saved, format!("--set 800 110 290\n{after}"));
}

#[test]
fn a_table_of_many_datagrams_is_one_restore() {
    let mut machine = filled();
    let mut lines = String::new();
    for service in 0..40 {
        lines += &format!("-A -t 192.0.2.{service}:80 -s rr\n");
        for server in 0..50 {
            lines += &format!("-a -t 192.0.2.{service}:80 -r 10.1.{service}.{server}:80 -m -w 1\n");
        }
    }
    let wrong = format!("{lines}-a -t 192.0.2.7:80 -r 10.1.7.9:80 -m\n");
    let ended = machine.run_with("ipvsadm-restore", &wrong);
    assert_eq!(ended.code, 255);
    assert_eq!(
        ended.stderr,
        "Destination already exists\nline 2041: nothing was changed\n"
    );
    assert_eq!(machine.run("ipvsadm -Sn").stdout, BEFORE);
    let ended = machine.run_with("ipvsadm-restore", &lines);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let saved = machine.run("ipvsadm -Sn").stdout;
    assert_eq!(saved.lines().count(), 1 + 40 * 51);
}

#[test]
fn what_is_saved_is_restored_from_nothing() {
    let mut machine = filled();
    let saved = machine.run("ipvsadm-save -n").stdout;
    let mut other = Machine::default();
    assert_eq!(other.run_with("ipvsadm-restore", &saved).code, 0);
    assert_eq!(other.run("ipvsadm-save -n").stdout, saved);
    // Quotes, comments and blank lines.
    let text = format!(
        "# saved\n\n{}",
        saved.replace("192.0.2.100:80", "\"192.0.2.100:80\"")
    );
    let mut other = Machine::default();
    assert_eq!(other.run_with("ipvsadm-restore", &text).code, 0);
    assert_eq!(other.run("ipvsadm-save -n").stdout, saved);
}
