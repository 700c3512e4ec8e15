//! What `nft list ruleset` prints: the marks that are set in chains of the hook prerouting.

use std::collections::HashMap;

use ipnet::IpNet;

use crate::draft::Draft;
use crate::line::{Line, lines_of};
use crate::marks::{Chains, Matches, Rule, Target, carry, is_port_name, unreached};
use crate::shared::NO_MARK;
use crate::value::network;

/// Rules that one line with lists may come to.
const PRODUCT_MAX: usize = 1024;

/// Whether a text is a ruleset of nft and not of iptables.
pub(crate) fn looks_like(text: &str) -> bool {
    let words = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .find(|line| !line.trim().starts_with('#'))
        .and_then(words)
        .is_some_and(|word| word == "table")
}

/// A word, or one of `{ } ; ,`, or the end of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Sign(char),
    End,
}

/// A statement: everything up to the end of a line or `;` outside of braces.
struct Statement {
    line: Line,
    tokens: Vec<Token>,
    /// The block that follows it.
    block: Option<Vec<Statement>>,
}

impl Statement {
    fn word(&self, at: usize) -> &str {
        match self.tokens.get(at) {
            Some(Token::Word(word)) => word,
            _ => "",
        }
    }
}

pub(crate) fn read(file: &str, text: &str) -> Draft {
    let mut draft = Draft::default();
    let statements = parse(&mut draft, file, text);
    for table in &statements {
        match (table.word(0), &table.block) {
            ("table", Some(block)) => read_table(&mut draft, table, block),
            ("define" | "include" | "flush", _) => {
                let reason = "give what `nft list ruleset` prints, where it is put in already";
                draft.remarks.not_carried(&table.line, reason);
            }
            _ => draft.remarks.refused(&table.line, "nft knows tables here"),
        }
    }
    draft
}

/// Blocks: a table, and in it chains and sets.
const DEPTH_MAX: usize = 3;

fn parse(draft: &mut Draft, file: &str, text: &str) -> Vec<Statement> {
    let mut open: Vec<Vec<Statement>> = vec![Vec::new()];
    let mut heads: Vec<Statement> = Vec::new();
    let mut now: Option<Statement> = None;
    // Braces of a list within a statement.
    let mut lists = 0_usize;
    for line in lines_of(file, 0, text) {
        for token in tokens(line.text()) {
            let is_head = lists == 0
                && heads.len() < DEPTH_MAX
                && now.as_ref().is_some_and(|s| {
                    matches!(
                        s.word(0),
                        "table" | "chain" | "set" | "map" | "flowtable" | "ct"
                    ) && heads.len() < 2
                });
            match token {
                Token::Sign('{') if is_head => {
                    heads.extend(now.take());
                    open.push(Vec::new());
                    continue;
                }
                Token::Sign('}') if lists == 0 => {
                    push(&mut open, now.take());
                    match (heads.pop(), open.len() > 1) {
                        (Some(mut head), true) => {
                            head.block = open.pop();
                            push(&mut open, Some(head));
                        }
                        _ => draft.remarks.refused(&line, "a brace too many"),
                    }
                    continue;
                }
                Token::End | Token::Sign(';') if lists == 0 => {
                    push(&mut open, now.take());
                    continue;
                }
                Token::End => continue,
                Token::Sign('{') => lists += 1,
                Token::Sign('}') => lists -= 1,
                _ => {}
            }
            now.get_or_insert_with(|| Statement {
                line: line.clone(),
                tokens: Vec::new(),
                block: None,
            })
            .tokens
            .push(token);
        }
    }
    push(&mut open, now.take());
    while let Some(mut head) = heads.pop() {
        draft.remarks.refused(&head.line, "its } is missing");
        head.block = open.pop();
        push(&mut open, Some(head));
    }
    open.pop().unwrap_or_default()
}

fn push(open: &mut [Vec<Statement>], statement: Option<Statement>) {
    if let (Some(block), Some(statement)) = (open.last_mut(), statement) {
        block.push(statement);
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut word = String::new();
    let mut is_quoted = false;
    for c in text.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            c if is_quoted => word.push(c),
            '#' => break,
            '{' | '}' | ';' | ',' => {
                end_word(&mut word, &mut tokens);
                tokens.push(Token::Sign(c));
            }
            c if c.is_whitespace() => end_word(&mut word, &mut tokens),
            c => word.push(c),
        }
    }
    end_word(&mut word, &mut tokens);
    tokens.push(Token::End);
    tokens
}

fn end_word(word: &mut String, tokens: &mut Vec<Token>) {
    if !word.is_empty() {
        tokens.push(Token::Word(std::mem::take(word)));
    }
}

/// The elements of the sets of a table.
type Sets = HashMap<String, Vec<String>>;

fn read_table(draft: &mut Draft, table: &Statement, block: &[Statement]) {
    let family = table.word(1);
    let mut sets = Sets::new();
    for set in block.iter().filter(|s| s.word(0) == "set") {
        let elements = set.block.iter().flatten().find(|s| s.word(0) == "elements");
        let words = elements
            .map(|s| words_of(&s.tokens[1..]))
            .unwrap_or_default();
        sets.insert(set.word(1).to_owned(), words);
    }
    let mut chains = Chains::new();
    let mut bases: Vec<(i64, String)> = Vec::new();
    for item in block {
        match (item.word(0), &item.block) {
            ("chain", Some(rules)) => {
                let name = item.word(1).to_owned();
                let base = rules.iter().find(|s| s.word(0) == "type");
                if let Some(base) = base
                    && base.word(3) == "prerouting"
                {
                    bases.push((priority(base), name.clone()));
                }
                let is_elsewhere = base.is_some_and(|base| base.word(3) != "prerouting");
                let rules = read_chain(draft, rules, &sets, is_elsewhere);
                if !is_elsewhere {
                    chains.insert(name, rules);
                }
            }
            ("set" | "type" | "comment", _) => {}
            _ => tell_all(draft, item, NO_MARK),
        }
    }
    bases.sort();
    let names: Vec<&str> = bases.iter().map(|(_, name)| name.as_str()).collect();
    for rule in unreached(&chains, &names) {
        let reason = "no chain of the hook prerouting leads to it";
        draft.remarks.not_carried(&rule.line, reason);
    }
    for (_, base) in &bases {
        // A chain of family inet sees both.
        let families: &[bool] = match family {
            "ip" => &[false],
            "ip6" => &[true],
            "inet" => &[false, true],
            _ => {
                let reason = format!("packets of a table of family {family} do not reach IPVS");
                draft.remarks.not_carried(&table.line, reason);
                &[]
            }
        };
        carry_families(draft, &chains, base, families);
    }
}

/// A rule that names addresses or a family is for one family, and any other for both.
fn carry_families(draft: &mut Draft, chains: &Chains, base: &str, families: &[bool]) {
    let mut of_chain = Draft::default();
    for (at, &is_ipv6) in families.iter().enumerate() {
        let mut own = Draft::default();
        carry(&mut own, chains, base, is_ipv6);
        let fits = |mark: &crate::draft::Mark| {
            let by_address = mark.source.or(mark.destination);
            by_address.map_or(mark.is_ipv6 == is_ipv6, |net| {
                matches!(net, IpNet::V6(_)) == is_ipv6
            })
        };
        let kept = own.marks.into_iter().filter(fits);
        of_chain.marks.extend(kept.filter(|mark| {
            // What says that it is for one family came with the first already.
            at == 0 || mark.is_ipv6 == is_ipv6
        }));
        if at == 0 {
            of_chain.remarks = own.remarks;
        }
    }
    for remark in of_chain.remarks.into_sorted() {
        draft.remarks.add(&remark.line, remark.fate, remark.reason);
    }
    of_chain.marks.append(&mut draft.marks);
    draft.marks = of_chain.marks;
}

fn tell_all(draft: &mut Draft, statement: &Statement, reason: &str) {
    draft.remarks.not_carried(&statement.line, reason);
    for inner in statement.block.iter().flatten() {
        tell_all(draft, inner, reason);
    }
}

/// `type filter hook prerouting priority mangle + 5`
fn priority(base: &Statement) -> i64 {
    let named = match base.word(5) {
        "raw" => -300,
        "mangle" => -150,
        "dstnat" => -100,
        "security" => 50,
        "srcnat" => 100,
        number => number.parse::<i32>().map_or(0, i64::from),
    };
    let offset = base.word(7).parse::<i32>().map_or(0, i64::from);
    match base.word(6) {
        "+" => named + offset,
        "-" => named - offset,
        _ => named,
    }
}

/// The words of a list, without braces and commas.
fn words_of(tokens: &[Token]) -> Vec<String> {
    let words = tokens.iter().filter_map(|token| match token {
        Token::Word(word) if word != "=" => Some(word.clone()),
        _ => None,
    });
    words.collect()
}

fn read_chain(
    draft: &mut Draft,
    statements: &[Statement],
    sets: &Sets,
    is_elsewhere: bool,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    for statement in statements {
        if matches!(statement.word(0), "type" | "policy" | "comment") {
            continue;
        }
        let line = &statement.line;
        let mut reading = Reading::new(sets);
        reading.read(&statement.tokens);
        match reading.finish() {
            Ok(Some(made)) if is_elsewhere && made.iter().any(|(_, t)| is_mark(t)) => {
                let reason = "only marks that are set in the hook prerouting are set before IPVS \
                              looks";
                draft.remarks.not_carried(line, reason);
            }
            Ok(None) => draft.remarks.not_carried(line, NO_MARK),
            _ if is_elsewhere => draft.remarks.not_carried(line, NO_MARK),
            Ok(Some(made)) => rules.extend(made.into_iter().map(|(matches, target)| Rule {
                line: line.clone(),
                matches,
                target,
            })),
            Err(reason) => draft.remarks.not_carried(line, reason),
        }
    }
    rules
}

fn is_mark(target: &Target) -> bool {
    matches!(target, Target::Mark(_))
}

/// What is known of a rule while its words are read. Lists make several rules of one.
struct Reading<'s> {
    sets: &'s Sets,
    sources: Vec<IpNet>,
    destinations: Vec<IpNet>,
    protocols: Vec<String>,
    interfaces: Vec<String>,
    ports: Matches,
    targets: Vec<Target>,
    problem: Option<String>,
}

impl<'s> Reading<'s> {
    fn new(sets: &'s Sets) -> Self {
        Reading {
            sets,
            sources: Vec::new(),
            destinations: Vec::new(),
            protocols: Vec::new(),
            interfaces: Vec::new(),
            ports: Matches::default(),
            targets: Vec::new(),
            problem: None,
        }
    }

    fn complain(&mut self, problem: impl Into<String>) {
        self.problem.get_or_insert(problem.into());
    }

    fn read(&mut self, tokens: &[Token]) {
        let mut rest = tokens;
        while let [Token::Word(word), after @ ..] = rest {
            let second = match after {
                [Token::Word(second), ..] => second.as_str(),
                _ => "",
            };
            rest = match (word.as_str(), second) {
                ("ip" | "ip6", "saddr" | "daddr") => {
                    let (values, rest) = self.values(&after[1..]);
                    self.take_nets(second == "saddr", &values);
                    rest
                }
                ("ip", "protocol") | ("ip6", "nexthdr") | ("meta", "l4proto") => {
                    let (values, rest) = self.values(&after[1..]);
                    self.protocols = values;
                    if word != "meta" {
                        self.ports.is_ipv6 = Some(word == "ip6");
                    }
                    rest
                }
                ("meta", "nfproto") => {
                    let (values, rest) = self.values(&after[1..]);
                    self.ports.is_ipv6 = Some(values.iter().any(|v| v == "ipv6"));
                    rest
                }
                ("tcp" | "udp" | "sctp" | "th", "dport" | "sport") => {
                    let (values, rest) = self.values(&after[1..]);
                    if word != "th" {
                        self.protocols = vec![word.clone()];
                    }
                    match second {
                        "sport" => self.ports.source_ports = values,
                        _ => self.ports.destination_ports = values,
                    }
                    rest
                }
                ("iif" | "iifname", _) => self.take_interfaces(after),
                ("meta", "iif" | "iifname") => self.take_interfaces(&after[1..]),
                ("counter", "packets") => after.get(4..).unwrap_or_default(),
                ("counter", _) => after,
                ("comment", _) => after.get(1..).unwrap_or_default(),
                ("meta", "mark") => self.take_mark(&after[1..]),
                ("mark", _) => self.take_mark(after),
                ("accept" | "return", _) => {
                    self.targets.push(Target::End);
                    after
                }
                ("jump", chain) => {
                    self.targets.push(Target::Chain(chain.to_owned(), true));
                    after.get(1..).unwrap_or_default()
                }
                ("goto", chain) => {
                    self.targets.push(Target::Chain(chain.to_owned(), false));
                    after.get(1..).unwrap_or_default()
                }
                (other, _) => {
                    self.complain(format!("Weir's rules have nothing like {other:?}"));
                    after
                }
            };
        }
        if !rest.is_empty() {
            self.complain("Weir's rules have nothing like this");
        }
    }

    /// One value, a list of them, or those of a set.
    fn values<'t>(&mut self, tokens: &'t [Token]) -> (Vec<String>, &'t [Token]) {
        match tokens {
            [Token::Word(word), rest @ ..] if word == "!=" => {
                self.complain("Weir's rules have no \"not\"");
                self.values(rest)
            }
            [Token::Word(word), rest @ ..] => match word.strip_prefix('@') {
                None => (vec![word.clone()], rest),
                Some(name) => match self.sets.get(name) {
                    Some(elements) => (elements.clone(), rest),
                    None => {
                        self.complain(format!("there is no set {name}"));
                        (Vec::new(), rest)
                    }
                },
            },
            [Token::Sign('{'), rest @ ..] => {
                let end = rest.iter().position(|token| *token == Token::Sign('}'));
                let end = end.unwrap_or(rest.len());
                let after = rest.get(end + 1..).unwrap_or_default();
                (words_of(&rest[..end]), after)
            }
            _ => {
                self.complain("a value is missing");
                (Vec::new(), tokens.get(1..).unwrap_or_default())
            }
        }
    }

    fn take_nets(&mut self, is_source: bool, values: &[String]) {
        let mut nets = Vec::new();
        for value in values {
            match network(value) {
                Some(net) => nets.push(net),
                None => self.complain(format!("{value:?} is no address and no network")),
            }
        }
        match is_source {
            true => self.sources = nets,
            false => self.destinations = nets,
        }
    }

    fn take_interfaces<'t>(&mut self, tokens: &'t [Token]) -> &'t [Token] {
        let (values, rest) = self.values(tokens);
        for value in &values {
            if !is_port_name(value) {
                self.complain(format!("{value:?} is not the name of one interface"));
            }
        }
        self.interfaces = values;
        rest
    }

    /// `set VALUE`
    fn take_mark<'t>(&mut self, tokens: &'t [Token]) -> &'t [Token] {
        let [Token::Word(set), Token::Word(value), rest @ ..] = tokens else {
            self.complain("Weir's rules do not look at marks");
            return tokens.get(1..).unwrap_or_default();
        };
        if set != "set" {
            self.complain("Weir's rules do not look at marks");
            return rest;
        }
        let number = match value.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => value.parse().ok(),
        };
        match number {
            Some(0) => self.complain("a mark of 0 is none, which Weir's rules cannot set"),
            Some(mark) => self.targets.push(Target::Mark(mark)),
            None => self.complain("it changes the mark instead of setting it"),
        }
        rest
    }

    /// The rules that it comes to. `None`: it is of no matter to marks.
    fn finish(self) -> Result<Option<Vec<(Matches, Target)>>, String> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        if self.targets.is_empty() {
            return Ok(None);
        }
        let some = |nets: &[IpNet]| match nets {
            [] => vec![None],
            nets => nets.iter().copied().map(Some).collect(),
        };
        let words = |words: &[String]| match words {
            [] => vec![None],
            words => words.iter().cloned().map(Some).collect::<Vec<_>>(),
        };
        let (sources, destinations) = (some(&self.sources), some(&self.destinations));
        let (protocols, interfaces) = (words(&self.protocols), words(&self.interfaces));
        let product = [
            sources.len(),
            destinations.len(),
            protocols.len(),
            interfaces.len(),
        ];
        if product.iter().product::<usize>() > PRODUCT_MAX {
            return Err(format!("its lists make more than {PRODUCT_MAX} rules"));
        }
        let mut made = Vec::new();
        for source in &sources {
            for destination in &destinations {
                for protocol in &protocols {
                    for interface in &interfaces {
                        let matches = Matches {
                            source: *source,
                            destination: *destination,
                            protocol: protocol.clone(),
                            interface: interface.clone(),
                            ..self.ports.clone()
                        };
                        let targets = self.targets.iter().cloned();
                        made.extend(targets.map(|target| (matches.clone(), target)));
                    }
                }
            }
        }
        Ok(Some(made))
    }
}
