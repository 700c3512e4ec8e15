//! What weir does without asking for JSON, by the program itself: imports, and ipvsadm against a
//! small IPVS door.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType, accept, bind, listen, recv,
    send, socket,
};
use tempfile::TempDir;
use weir_ipvs::batch::{Gathered, Gathering};
use weir_ipvs::testing::Memory;

const WEIR: &str = env!("CARGO_BIN_EXE_weir");

/// Runs a program with something on its standard input.
fn run(mut command: Command, input: &str) -> Output {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A program that does not read may end before.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn weir(words: &[&str], input: &str) -> Output {
    let mut command = Command::new(WEIR);
    command.args(words);
    run(command, input)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn an_import_tells_by_its_exit_code_how_it_went() {
    let service = "-A -t 192.0.2.100:80 -s rr\n";
    let server = "-a -t 192.0.2.100:80 -r 10.0.0.1:80 -m -w 1\n";
    let local = "-a -t 192.0.2.100:80 -r 127.0.0.1:80 -m -w 1\n";
    for (input, code) in [
        (format!("{service}{server}"), 0),
        (format!("{service}{local}"), 1),
        (server.to_owned(), 2),
    ] {
        let output = weir(&["import", "ipvsadm", "-"], &input);
        assert_eq!(output.status.code(), Some(code), "{input}");
        let told = text(&output.stdout);
        assert!(told.starts_with("# Weir's configuration"), "{told}");
        let has_service =
            told.contains("[[service]]\nprotocol = \"tcp\"\naddress = \"192.0.2.100\"");
        assert_eq!(has_service, code != 2, "{told}");
    }
    let output = weir(&["import", "keepalived", "/nowhere"], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("/nowhere cannot be read"));
    assert_eq!(weir(&["import", "haproxy", "-"], "").status.code(), Some(2));
}

#[test]
fn files_that_are_included_are_found_beside_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        std::fs::write(directory.path().join(name), text).expect("it is written");
    };
    write(
        "a.conf",
        "include b*.conf\nvirtual_server 192.0.2.$X 80 { protocol TCP }\n",
    );
    write("b1.conf", "$X=7\n");
    write("b2.conf", "@one $X=8\n");
    let file = directory.path().join("a.conf");
    let file = file.to_str().expect("a path");
    let printed = |words: &[&str]| text(&weir(words, "").stdout);
    assert!(printed(&["import", "keepalived", file]).contains("\"192.0.2.7\""));
    let with_id = printed(&["import", "keepalived", file, "--id", "one"]);
    assert!(with_id.contains("\"192.0.2.8\""), "{with_id}");
}

#[test]
fn completions_and_man_pages_are_made() {
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&weir(&["completions", shell], "").stdout);
        assert!(script.contains("import"), "{shell}");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_str().expect("a path");
    assert!(weir(&["man-pages", path], "").status.success());
    for page in [
        "weir.1",
        "weir-import.1",
        "weir-ipvsadm.1",
        "weir-services.1",
    ] {
        let page = std::fs::read_to_string(directory.path().join(page)).expect(page);
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
}

/// An IPVS door over a table in memory, and weir under ipvsadm's names.
struct Door(TempDir);

impl Door {
    fn open() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let listener = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).expect("a socket");
        let path = SocketAddrUnix::new(directory.path().join("ipvs.sock")).expect("an address");
        bind(&listener, &path).expect("it is free");
        listen(&listener, 16).expect("it listens");
        thread::spawn(move || {
            let mut table = Memory::default();
            while let Ok(client) = accept(&listener) {
                serve(&client, &mut table);
            }
        });
        let texts = UnixListener::bind(directory.path().join("proc.sock")).expect("a socket");
        thread::spawn(move || {
            for stream in texts.incoming() {
                let mut stream = stream.expect("a client");
                let mut asked = [0; 11];
                stream.read_exact(&mut asked).expect("a name");
                assert_eq!(&asked, b"ip_vs_conn\n");
                let line = "TCP C6336407 0400 C0000264 0050 0A000001 0050 ESTABLISHED     899\n";
                write!(stream, "Pro FromIP ...\n{line}").expect("it is read");
            }
        });
        for name in ["ipvsadm", "ipvsadm-save", "ipvsadm-restore"] {
            symlink(WEIR, directory.path().join(name)).expect("a link");
        }
        Door(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, program: &Path, words: &str, input: &str) -> (i32, String, String) {
        let mut command = Command::new(program);
        command
            .args(words.split_whitespace())
            .env("WEIR_IPVS_SOCKET", self.path("ipvs.sock"))
            .env("WEIR_IPVS_PROC_SOCKET", self.path("proc.sock"));
        let output = run(command, input);
        let code = output.status.code().expect("it ends by itself");
        (code, text(&output.stdout), text(&output.stderr))
    }

    /// Runs one of ipvsadm's names. Nothing may be complained of.
    fn good(&self, line: &str, input: &str) -> String {
        let (name, words) = line.split_once(' ').unwrap_or((line, ""));
        let (code, stdout, stderr) = self.run(&self.path(name), words, input);
        assert_eq!((code, stderr.as_str()), (0, ""), "{line}");
        stdout
    }
}

fn serve(client: &OwnedFd, table: &mut Memory) {
    let mut buffer = vec![0; 65536];
    let mut gathering = Gathering::default();
    while let Ok((length, _)) = recv(client, &mut buffer[..], RecvFlags::empty()) {
        if length == 0 {
            return;
        }
        let replies = match gathering.take(&buffer[..length]) {
            Gathered::Part => continue,
            Gathered::Whole(batch) => table.answer_batch(&batch),
            Gathered::Else => weir_ipvs::answer(&buffer[..length], table),
        };
        for reply in replies {
            send(client, &reply, SendFlags::NOSIGNAL).expect("it is read");
        }
    }
}

#[test]
fn weir_is_ipvsadm_under_its_names_and_as_a_command() {
    let door = Door::open();
    door.good("ipvsadm -A -t 192.0.2.100:80 -s rr", "");
    door.good("ipvsadm -a -t 192.0.2.100:80 -r 10.0.0.1 -m -x 10 -y 5", "");
    door.good("ipvsadm --set 7200 0 0", "");
    let wanted = "IP Virtual Server version 1.2.1 (size=4096)\n\
        Prot LocalAddress:Port Scheduler Flags\n  \
        -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n\
        TCP  192.0.2.100:80 rr\n  \
        -> 10.0.0.1:80                  Masq    1      0          0         \n";
    assert_eq!(door.good("ipvsadm -Ln", ""), wanted);
    let as_command = door.run(Path::new(WEIR), "ipvsadm -Ln", "");
    assert_eq!(as_command, (0, wanted.to_owned(), String::new()));
    let help = door.run(Path::new(WEIR), "ipvsadm -h", "");
    assert!(help.1.starts_with("ipvsadm v1.31 "), "{help:?}");
    let connections = door.good("ipvsadm -Lnc", "");
    assert!(
        connections.ends_with(
            "TCP 14:59  ESTABLISHED 198.51.100.7:1024  192.0.2.100:80     10.0.0.1:80\n"
        )
    );

    let saved = door.good("ipvsadm-save -n", "");
    assert_eq!(
        saved,
        "--set 7200 120 300\n-A -t 192.0.2.100:80 -s rr\n\
         -a -t 192.0.2.100:80 -r 10.0.0.1:80 -m -w 1 -x 10 -y 5\n"
    );
    door.good("ipvsadm -C", "");
    door.good("ipvsadm --set 900 120 300", "");
    door.good("ipvsadm-restore", &saved);
    assert_eq!(door.good("ipvsadm-save -n", ""), saved);

    let (code, stdout, stderr) =
        door.run(&door.path("ipvsadm"), "-R", "-D -t 192.0.2.100:80\n-A -x\n");
    assert_eq!((code, stdout.as_str()), (255, ""));
    assert!(
        stderr.ends_with("line 2: nothing was changed\n"),
        "{stderr}"
    );
    assert_eq!(door.good("ipvsadm-save -n", ""), saved);
}

#[test]
fn a_daemon_that_is_not_there_is_told_of() {
    let mut command = Command::new(WEIR);
    command
        .args(["ipvsadm", "-Ln"])
        .env("WEIR_IPVS_SOCKET", "/nowhere/ipvs.sock");
    let output = run(command, "");
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    assert!(
        told.contains("nobody answers at /nowhere/ipvs.sock"),
        "{told}"
    );
    assert!(
        told.contains("Can't initialize ipvs: No such file or directory"),
        "{told}"
    );
}
