//! Readers of `/proc/net/ip_vs` that are not `ipvsadm`, led to the director by the library; and what the
//! library keeps from the host's kernel.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Output;

use weir_ipvs::client::Request;

use crate::Door;
use crate::clients::{client, server, service};

/// Serves a service with two servers.
fn door() -> Door {
    let door = Door::open();
    let mut client = client(&door);
    let one = service(80);
    for request in [
        Request::add_service(&one),
        Request::add_server(&one.key, &server(1)),
        Request::add_server(&one.key, &server(2)),
    ] {
        client.order(&request).expect("it is not there");
    }
    door
}

fn text(door: &Door, name: &str) -> String {
    let mut socket = UnixStream::connect(door.proc_socket()).expect("it listens");
    writeln!(socket, "{name}").expect("it reads");
    let mut text = String::new();
    socket.read_to_string(&mut text).expect("it answers");
    text
}

fn run(door: &Door, line: &str) -> Output {
    door.shell(line).output().expect("there is a shell")
}

/// What it prints; it may complain of nothing.
fn printed(door: &Door, line: &str) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = run(door, line);
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    assert!(
        status.success() && stderr.is_empty(),
        "{line}: {status} {stderr}"
    );
    String::from_utf8(stdout).expect("plain text")
}

/// A line that has Python run `program`.
fn python(program: &str) -> String {
    format!("python3 - <<'END'\nimport ctypes, errno, fcntl, mmap, os, socket\n{program}\nEND\n")
}

#[test]
fn whoever_opens_a_text_reads_the_directors() {
    let door = door();
    for name in [
        "ip_vs",
        "ip_vs_conn",
        "ip_vs_conn_sync",
        "ip_vs_stats",
        "ip_vs_stats_percpu",
    ] {
        let wanted = text(&door, name);
        for directory in ["/proc/net", "/proc/self/net", "/proc/thread-self/net"] {
            assert_eq!(printed(&door, &format!("cat {directory}/{name}")), wanted);
        }
    }
    let wanted = text(&door, "ip_vs");
    let first = wanted.lines().next().expect("it has lines");
    for (line, wanted) in [
        ("head -n 1 /proc/net/ip_vs", format!("{first}\n")),
        ("grep -c '  -> 0A00000' /proc/net/ip_vs", "2\n".to_owned()),
        ("tail -c +1 /proc/net/ip_vs", wanted.clone()),
        ("dd status=none if=/proc/net/ip_vs bs=7", wanted.clone()),
        ("cat < /proc/net/ip_vs", wanted.clone()),
        ("awk 1 /proc/net/ip_vs", wanted.clone()),
        ("perl -pe 1 /proc/net/ip_vs", wanted.clone()),
        (
            "cat /proc/net/ip_vs /proc/net/ip_vs | tail -n 6",
            wanted.clone(),
        ),
    ] {
        assert_eq!(printed(&door, line), wanted, "{line}");
    }
    for program in [
        "print(open('/proc/net/ip_vs').read(), end='')",
        "print(open('/proc/net/ip_vs', 'rb', 0).readall().decode(), end='')",
        "f = os.open('/proc/net/ip_vs', os.O_RDONLY)\nos.read(f, 100)\nos.lseek(f, 0, 0)\n\
         print(os.read(f, 9999).decode(), end='')",
        "f = open('/proc/net/ip_vs')\n\
         print(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[:].decode(), end='')",
        "d = os.open('/tmp', os.O_RDONLY)\nf = os.open('/proc/net/ip_vs', os.O_RDONLY, dir_fd=d)\n\
         print(os.read(f, 9999).decode(), end='')",
    ] {
        assert_eq!(printed(&door, &python(program)), wanted, "{program}");
    }
}

/// OpenStack Octavia's amphora finds out which members are there by `cat /proc/net/ip_vs`: it looks for the lines
/// of its listeners, UDP and SCTP by IPv4 and IPv6, and takes address, port, weight and connections from those that
/// follow. Its own reader was run over this, too (docs/ipvs.md).
#[test]
fn octavia_finds_its_listeners_and_members() {
    let door = Door::open();
    let rules = "-A -u 10.0.0.37:7777 -s rr\n-a -u 10.0.0.37:7777 -r 10.0.0.25:2222 -m -w 3\n\
        -a -u 10.0.0.37:7777 -r 10.0.0.35:3333 -m -w 2\n\
        -A -u [fd79:35e2:9963:0:f816:3eff:fe6d:7a2a]:7777 -s wrr\n\
        -a -u [fd79:35e2:9963:0:f816:3eff:fe6d:7a2a]:7777 -r [fd79::94df]:3333 -m -w 0\n\
        -A --sctp-service 10.0.0.37:8888 -s lc\n\
        -a --sctp-service 10.0.0.37:8888 -r 10.0.0.25:2222 -m -w 1\n";
    std::fs::write(door.dir().path().join("rules"), rules).expect("written");
    assert_eq!(printed(&door, "ipvsadm-restore < rules"), "");
    let text = printed(&door, "cat /proc/net/ip_vs");
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    assert_eq!(
        lines,
        [
            "IP Virtual Server version 1.2.1 (size=4096)",
            "Prot LocalAddress:Port Scheduler Flags",
            "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn",
            "UDP  0A000025:1E61 rr",
            "  -> 0A000023:0D05      Masq    2      0          0",
            "  -> 0A000019:08AE      Masq    3      0          0",
            "UDP  [fd79:35e2:9963:0000:f816:3eff:fe6d:7a2a]:1E61 wrr",
            "  -> [fd79:0000:0000:0000:0000:0000:0000:94df]:0D05      Masq    0      0          0",
            "SCTP  0A000025:22B8 lc",
            "  -> 0A000019:08AE      Masq    1      0          0",
        ]
    );
}

/// All forms, those too that only programs use that were built with `_FORTIFY_SOURCE`.
#[test]
fn every_form_of_open_finds_the_text_and_passes_on_the_rest() {
    let door = door();
    let program = "
c = ctypes.CDLL(None, use_errno=True)
def check(name, *at):
    fd = getattr(c, name)(*at, b'/proc/net/ip_vs', os.O_RDONLY)
    assert os.read(fd, 17) == b'IP Virtual Server', name
    assert not fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC, name
    os.close(fd)
    fd = getattr(c, name)(*at, b'/proc/net/ip_vs', os.O_RDONLY | os.O_CLOEXEC)
    assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC, name
    os.close(fd)
    for path, flags, error in [
        (b'/proc/net/ip_vs', os.O_WRONLY, errno.ENOENT),
        (b'/proc/net/ip_vs', os.O_RDWR, errno.ENOENT),
        (b'/proc/net/ip_vs_nothing', os.O_RDONLY, errno.ENOENT),
        (b'/proc/net/ip_vs/', os.O_RDONLY, errno.ENOENT),
        (b'/nowhere', os.O_RDONLY, errno.ENOENT),
        (b'/proc', os.O_WRONLY, errno.EISDIR),
        (None, os.O_RDONLY, errno.EFAULT),
    ]:
        ctypes.set_errno(0)
        assert getattr(c, name)(*at, path, flags) == -1, (name, path)
        assert ctypes.get_errno() == error, (name, path, ctypes.get_errno())
    # errno is as it was after what succeeds.
    ctypes.set_errno(7)
    os.close(getattr(c, name)(*at, b'/proc/net/ip_vs', os.O_RDONLY))
    assert ctypes.get_errno() == 7, name
    fd = getattr(c, name)(*at, b'/etc/passwd', os.O_RDONLY)
    assert os.read(fd, 4) == b'root', name
    os.close(fd)
def check_mode(name, *at):
    path = os.getcwd().encode() + b'/made-by-' + name.encode()
    os.umask(0o022)
    os.close(getattr(c, name)(*at, path, os.O_CREAT | os.O_WRONLY, 0o646))
    assert os.stat(path).st_mode & 0o777 == 0o644, name
for name in 'open', 'open64', '__open_2', '__open64_2':
    check(name)
for name in 'openat', 'openat64', '__openat_2', '__openat64_2':
    check(name, -100)
for name in 'open', 'open64':
    check_mode(name)
for name in 'openat', 'openat64':
    check_mode(name, -100)
# What is relative is so to the directory.
d = os.open('/etc', os.O_RDONLY)
fd = c.openat(d, b'passwd', os.O_RDONLY)
assert os.read(fd, 4) == b'root'
print('done')";
    assert_eq!(printed(&door, &python(program)), "done\n");
}

#[test]
fn without_a_director_a_text_is_not_there_and_one_line_tells_why() {
    let door = door();
    let none = format!("{}/none.sock", door.dir().path().display());
    let line =
        "cat /proc/net/ip_vs /proc/net/ip_vs_stats; cat /proc/net/dev > /dev/null && echo others";
    let Output { stdout, stderr, .. } = run(
        &door,
        &format!("export WEIR_IPVS_PROC_SOCKET={none}; {line}"),
    );
    let stderr = String::from_utf8(stderr).expect("plain text");
    assert_eq!(stdout, b"others\n");
    let told = format!("libweir-ipvs: weird does not answer at {none}");
    assert_eq!(stderr.matches(&told).count(), 1, "{stderr}");
    for name in ["ip_vs", "ip_vs_stats"] {
        let told = format!("cat: /proc/net/{name}: No such file or directory\n");
        assert!(stderr.contains(&told), "{stderr}");
    }
    assert_eq!(stderr.lines().count(), 3, "{stderr}");
}

/// The old interface of IPVS is a kernel's socket options. The kernel would say of no file at all that it is
/// none (`EBADF`), whether or not it has IPVS: so the answer is the library's.
#[test]
fn the_old_interface_of_ipvs_is_kept_from_the_kernel() {
    let door = door();
    let program = "
c = ctypes.CDLL(None, use_errno=True)
def ask(call, level, option):
    ctypes.set_errno(0)
    length = ctypes.c_uint32(64)
    value = ctypes.create_string_buffer(64)
    given = ctypes.byref(length) if call is c.getsockopt else 64
    assert call(-1, level, option, value, given) == -1
    return errno.errorcode[ctypes.get_errno()]
for call in c.getsockopt, c.setsockopt:
    for option in range(1152, 1168):
        assert ask(call, socket.SOL_IP, option) == 'ENOPROTOOPT', option
    for level, option in (socket.SOL_IP, 1151), (socket.SOL_IP, 1168), (socket.SOL_SOCKET, 1153):
        assert ask(call, level, option) == 'EBADF', (level, option)
# As a program would: one to add a service (IP_VS_SO_SET_ADD), one to ask for the version (IP_VS_SO_GET_VERSION).
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for call in (lambda: s.setsockopt(socket.SOL_IP, 1154, bytes(36))), (lambda: s.getsockopt(socket.SOL_IP, 1152, 64)):
    try:
        call()
        raise SystemExit('it went through')
    except OSError as error:
        assert error.errno == errno.ENOPROTOOPT
# All else goes on.
s.setsockopt(socket.SOL_IP, socket.IP_TTL, 9)
assert s.getsockopt(socket.SOL_IP, socket.IP_TTL) == 9
print('done')";
    assert_eq!(printed(&door, &python(program)), "done\n");
}
