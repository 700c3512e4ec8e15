//! What a program logs and what is done meanwhile, side by side, as a page of the documentation.

// With --nocapture it is printed, too.
#![allow(clippy::print_stdout)]

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Result, ensure};

/// Where what is not the log begins.
const COLUMN: usize = 9;

/// The transcript so far.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    text: String,
    /// Bytes of the log that are in it.
    logged: usize,
    /// What is the same in every run: the lines that are not the log's.
    steps: Vec<String>,
}

impl Transcript {
    /// Adds what is new in `log`, and then a line of one's own.
    pub(crate) fn line(&mut self, log: &str, line: &str) {
        let before = self.text.len();
        let new = log.get(self.logged..).unwrap_or_default();
        // The last line may not be whole.
        let new = &new[..new.rfind('\n').map_or(0, |end| end + 1)];
        self.logged += new.len();
        for logged in new.lines() {
            let _ = writeln!(self.text, "{}", without_date(logged));
        }
        let _ = writeln!(self.text, "{:COLUMN$}{line}", "");
        self.steps.push(line.to_owned());
        print!("{}", &self.text[before..]);
    }

    /// Adds what a command printed.
    pub(crate) fn block(&mut self, command: &str, printed: &str) {
        let before = self.text.len();
        let _ = writeln!(self.text, "{:COLUMN$}{command}:", "");
        for line in printed.lines() {
            let _ = writeln!(self.text, "{:COLUMN$}{}", "", line.trim_end());
        }
        print!("{}", &self.text[before..]);
    }

    /// Holds it against a page of the tree: the steps have to be there in their order; times and the order of
    /// the log's lines are another run's. With WEIR_WRITE_PAGES in the environment it is written anew.
    pub(crate) fn is_page(&self, name: &str, head: &str, config: &str) -> Result<()> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
        if std::env::var_os("WEIR_WRITE_PAGES").is_some() {
            let Self { text, .. } = self;
            let page = format!(
                "{head}```text\n{config}```\n\nWhat it logged, and beside it what was done and who answered. \
                 This page is made by a test, after `./x test e2e`\n(`WEIR_WRITE_PAGES=1 cargo test --profile lab \
                 -p weir-tests --test e2e keepalived_fails`):\n\n```text\n{text}```\n"
            );
            std::fs::write(&path, page)?;
        }
        let page = std::fs::read_to_string(&path)?;
        let mut rest = page.lines();
        for step in &self.steps {
            let is_there = rest.any(|line| line.trim_start() == step);
            let path = path.display();
            ensure!(
                is_there,
                "{path} is old, it lacks {step:?}: run this test with WEIR_WRITE_PAGES=1"
            );
        }
        Ok(())
    }
}

/// `Mon Nov 30 19:40:10 2026: text` as `19:40:10 text`.
fn without_date(line: &str) -> String {
    let Some((date, text)) = line.split_once(": ") else {
        return line.to_owned();
    };
    match date.split_whitespace().nth(3) {
        Some(time) if time.len() == 8 && date.len() == 24 => format!("{time} {}", text.trim_end()),
        _ => line.to_owned(),
    }
}
