//! A machine: a director in memory that answers as the recorded kernel, and what a shell would do
//! of the few pipes that the recordings have.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::rc::Rc;

use weir_ipvs::batch::{Gathered, Gathering};
use weir_ipvs::client::{Channel, Client};
use weir_ipvs::testing::Memory;
use weir_ipvs::{Counts, ServerKey};
use weir_ipvsadm::restore::words_of;
use weir_ipvsadm::{Ended, Names, World, run};

/// The names that the recorded machine knew.
const SERVICES: &str = "ftp 21/tcp\nfinger 79/tcp\ndomain 53/udp\nhttp 80/tcp\nhttps 443/tcp\nsip 5060/udp\nhttp-alt 8080/tcp\n";

/// A file of the tree's `tests/data`.
pub(crate) fn data(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
    std::fs::read_to_string(path.join(name)).expect("the recordings are there")
}

/// Answers from a table in memory.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    table: Rc<RefCell<Memory>>,
    gathering: Gathering,
    replies: VecDeque<Vec<u8>>,
}

impl Channel for Kernel {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let table = &mut *self.table.borrow_mut();
        match self.gathering.take(datagram) {
            Gathered::Part => {}
            Gathered::Whole(batch) => self.replies.extend(table.answer_batch(&batch)),
            Gathered::Else => self.replies.extend(weir_ipvs::answer(datagram, table)),
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        let reply = self.replies.pop_front();
        reply.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// The machine.
pub(crate) struct Machine {
    director: Client<Kernel>,
    table: Rc<RefCell<Memory>>,
    names: Names,
    /// What `ip_vs_conn` has.
    pub(crate) connections: String,
    input: String,
    /// What was written to files.
    files: HashMap<String, String>,
}

impl Default for Machine {
    fn default() -> Self {
        let head =
            "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n";
        let kernel = Kernel::default();
        Machine {
            table: kernel.table.clone(),
            director: Client::new(kernel),
            names: Names::new(SERVICES, "127.0.0.1 localhost\n"),
            connections: head.to_owned(),
            input: String::new(),
            files: HashMap::new(),
        }
    }
}

impl World for Machine {
    type Channel = Kernel;

    fn director(&mut self) -> &mut Client<Kernel> {
        &mut self.director
    }

    fn connections(&mut self) -> io::Result<String> {
        Ok(self.connections.clone())
    }

    fn input(&mut self) -> io::Result<String> {
        Ok(std::mem::take(&mut self.input))
    }

    fn names(&self) -> &Names {
        &self.names
    }
}

impl Machine {
    /// Runs a command line, and of a shell what the recordings need.
    pub(crate) fn run(&mut self, command: &str) -> Ended {
        if let Some((first, second)) = command.split_once("; ")
            && !command.starts_with('{')
        {
            let first = self.run(first);
            let second = self.run(second);
            return joined(first, second);
        }
        if let Some((program, file)) = command.split_once(" > ") {
            let ended = self.run(program);
            self.files.insert(file.to_owned(), ended.stdout);
            return Ended::default();
        }
        if let Some((program, file)) = command.split_once(" < ") {
            let text = self.files.get(file).cloned().expect("it was written");
            return self.run_with(program, &text);
        }
        if let Some((from, to)) = command.rsplit_once(" | ") {
            let text = self.printed(from);
            return self.piped(to, &text);
        }
        let words = words_of(command);
        let (program, words) = words.split_first().expect("a program");
        run(program, words, self)
    }

    /// Gives a server connections: active ones and persistence templates.
    pub(crate) fn count(&mut self, server: &str, active: u32, persistent: u32) {
        let at: std::net::SocketAddr = server.parse().expect("an address");
        let key = ServerKey {
            address: at.ip(),
            port: at.port(),
        };
        let counts = Counts {
            active,
            inactive: 0,
            persistent,
        };
        self.table.borrow_mut().counts.push((key, counts));
    }

    /// Runs a command line with something on standard input.
    pub(crate) fn run_with(&mut self, command: &str, input: &str) -> Ended {
        input.clone_into(&mut self.input);
        self.run(command)
    }

    /// The left side of a pipe.
    fn printed(&mut self, command: &str) -> String {
        if let Some(file) = command.strip_prefix("cat ") {
            return self.files.get(file).cloned().expect("it was written");
        }
        if let Some(lines) = command.strip_prefix("printf '%s\\n' ") {
            let lines = lines.trim_matches('\'').split("' '");
            return lines.map(|line| format!("{line}\n")).collect();
        }
        if command.starts_with('{') {
            return many_services();
        }
        self.run(command).stdout
    }

    /// The right side of a pipe.
    fn piped(&mut self, command: &str, text: &str) -> Ended {
        let stdout = match command {
            "wc -l" => format!("{}\n", text.lines().count()),
            "tail -3" => {
                let lines: Vec<&str> = text.lines().collect();
                lines[lines.len() - 3..].join("\n") + "\n"
            }
            "diff - ipvs.save && echo SAME" => {
                assert_eq!(text, self.files["ipvs.save"]);
                "SAME\n".to_owned()
            }
            program => return self.run_with(program, text),
        };
        Ended {
            stdout,
            ..Ended::default()
        }
    }
}

fn joined(first: Ended, second: Ended) -> Ended {
    Ended {
        stdout: first.stdout + &second.stdout,
        stderr: first.stderr + &second.stderr,
        code: second.code,
    }
}

/// What the loops of one recording print.
fn many_services() -> String {
    let mut text = String::from("-A -t 10.1.0.1:80 -s rr\n");
    for i in 0..300 {
        let (high, low) = (i / 200, i % 200 + 1);
        text += &format!("-a -t 10.1.0.1:80 -r 192.168.{high}.{low}:80 -m -w 1\n");
    }
    for i in 1..=150 {
        text += &format!("-A -u 10.2.0.{i}:53 -s rr\n");
    }
    text
}
