//! keepalived's syntax as a tree of words and blocks.

use std::str::FromStr;

use super::expand::{Expander, Logical};
use crate::Options;
use crate::draft::Draft;
use crate::line::Line;

/// Blocks that stand in each other. keepalived has four.
const DEPTH_MAX: usize = 32;

/// A statement: words, and a block if braces follow.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) line: Line,
    pub(super) words: Vec<String>,
    block: Option<Vec<Node>>,
    /// Where the block ends, if that is a line of its own.
    pub(super) close: Option<Line>,
}

impl Node {
    fn new(line: Line) -> Self {
        Node {
            line,
            words: Vec::new(),
            block: None,
            close: None,
        }
    }

    /// The word at a place; nothing beyond the last.
    pub(super) fn word(&self, at: usize) -> &str {
        self.words.get(at).map_or("", String::as_str)
    }

    /// The number at a place.
    pub(super) fn number<T: FromStr>(&self, at: usize) -> Option<T> {
        self.word(at).parse().ok()
    }

    /// The statements of its block.
    pub(super) fn inner(&self) -> &[Node] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// Reads a text with everything that it includes.
pub(super) fn tree(draft: &mut Draft, file: &str, text: &str, options: Options<'_>) -> Vec<Node> {
    let mut expander = Expander::new(draft, options);
    expander.read(file, text);
    let logical = expander.finish();
    let mut builder = Builder {
        draft,
        open: vec![Vec::new()],
        heads: Vec::new(),
        too_deep: 0,
    };
    for line in &logical {
        builder.line(line);
    }
    builder.finish()
}

/// Puts statements together. `open` has the statements of each block that is open, outermost first,
/// and `heads` the statement that each inner one belongs to.
struct Builder<'d> {
    draft: &'d mut Draft,
    open: Vec<Vec<Node>>,
    heads: Vec<Node>,
    /// Braces beyond the depth that is read.
    too_deep: usize,
}

impl Builder<'_> {
    fn line(&mut self, logical: &Logical) {
        let mut node = Node::new(logical.line.clone());
        for token in tokens(&logical.text) {
            match token {
                Token::Word(word) => node.words.push(word),
                Token::Open => {
                    let head = std::mem::replace(&mut node, Node::new(logical.line.clone()));
                    self.open_block(head);
                }
                Token::Close => {
                    let last = std::mem::replace(&mut node, Node::new(logical.line.clone()));
                    self.add(last);
                    self.close_block(&logical.line);
                }
            }
        }
        self.add(node);
    }

    fn add(&mut self, node: Node) {
        if !node.words.is_empty()
            && let Some(block) = self.open.last_mut()
        {
            block.push(node);
        }
    }

    fn open_block(&mut self, head: Node) {
        if self.heads.len() >= DEPTH_MAX {
            self.too_deep += 1;
            let reason = "keepalived says: Unexpected '{' - ignoring";
            self.draft.remarks.refused(&head.line, reason);
            return self.add(head);
        }
        let head = if head.words.is_empty() {
            // The brace stands on a line of its own, behind its statement.
            match self.open.last_mut().and_then(Vec::pop) {
                Some(before) if before.block.is_none() => before,
                other => {
                    if let (Some(before), Some(block)) = (other, self.open.last_mut()) {
                        block.push(before);
                    }
                    let reason = "keepalived says: Unexpected '{' - ignoring";
                    self.draft.remarks.refused(&head.line, reason);
                    head
                }
            }
        } else {
            head
        };
        self.heads.push(head);
        self.open.push(Vec::new());
    }

    fn close_block(&mut self, line: &Line) {
        if self.too_deep > 0 {
            self.too_deep -= 1;
            return;
        }
        let Some(mut head) = self.heads.pop() else {
            let reason = "keepalived says: Unknown keyword '}' (a brace too many)";
            return self.draft.remarks.refused(line, reason);
        };
        head.block = self.open.pop();
        if *line != head.line {
            head.close = Some(line.clone());
        }
        if head.words.is_empty() {
            return;
        }
        if let Some(block) = self.open.last_mut() {
            block.push(head);
        }
    }

    fn finish(mut self) -> Vec<Node> {
        while let Some(mut head) = self.heads.pop() {
            let reason = "the } of this block is missing";
            self.draft.remarks.refused(&head.line, reason);
            head.block = self.open.pop();
            if let Some(block) = self.open.last_mut() {
                block.push(head);
            }
        }
        self.open.pop().unwrap_or_default()
    }
}

enum Token {
    Word(String),
    Open,
    Close,
}

/// Words are parted by blanks, quotes keep blanks in a word, and braces at the ends of a word are
/// braces.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut is_quoted = false;
    let mut chars = text.chars().peekable();
    let end = |word: &mut Option<String>, tokens: &mut Vec<Token>| {
        tokens.extend(word.take().map(Token::Word));
    };
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            '\\' if is_quoted => {
                if let Some(escaped) = chars.next() {
                    word.get_or_insert_default().push(escaped);
                }
            }
            c if is_quoted => word.get_or_insert_default().push(c),
            c if c.is_whitespace() => end(&mut word, &mut tokens),
            '{' if word.is_none() || chars.peek().is_none_or(|next| next.is_whitespace()) => {
                end(&mut word, &mut tokens);
                tokens.push(Token::Open);
            }
            '}' if word.is_none() || chars.peek().is_none_or(|next| next.is_whitespace()) => {
                end(&mut word, &mut tokens);
                tokens.push(Token::Close);
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    end(&mut word, &mut tokens);
    tokens
}
