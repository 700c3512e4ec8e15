//! Rules that set marks, from a firewall where the last one that matches counts, to Weir's list,
//! where the first one does.
//!
//! A rule that sets a mark does not end the walk through a chain; what ends it is a rule of its own
//! (`-j ACCEPT`, `return`). A mark whose rule is followed by an end for the very same packets is
//! therefore final, and the first of those counts; of the others it is the last. So Weir's order is
//! the final ones as they stand, and then the others turned round.

use std::collections::HashMap;

use ipnet::IpNet;

use crate::draft::{Draft, Mark};
use crate::line::Line;

/// Chains that chains lead to.
const DEPTH_MAX: usize = 8;
/// Rules that come of it.
const RULES_MAX: usize = 20_000;

/// What packets a rule is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Matches {
    pub(crate) source: Option<IpNet>,
    pub(crate) destination: Option<IpNet>,
    pub(crate) protocol: Option<String>,
    pub(crate) source_ports: Vec<String>,
    pub(crate) destination_ports: Vec<String>,
    pub(crate) interface: Option<String>,
    /// Where the rule says so itself.
    pub(crate) is_ipv6: Option<bool>,
}

/// What becomes of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// They get a mark.
    Mark(u32),
    /// The walk through this chain ends.
    End,
    /// Another chain is walked through; the walk comes back here if the second is true.
    Chain(String, bool),
}

/// One rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) line: Line,
    pub(crate) matches: Matches,
    pub(crate) target: Target,
}

/// Rules by their chains' names.
pub(crate) type Chains = HashMap<String, Vec<Rule>>;

/// Carries what `base` and the chains it leads to set. Marks of later calls are set later, and go
/// before those of earlier ones.
pub(crate) fn carry(draft: &mut Draft, chains: &Chains, base: &str, is_ipv6: bool) {
    let mut walk = Walk {
        draft,
        chains,
        steps: Vec::new(),
        rules: 0,
    };
    walk.chain(base, &Matches::default(), 0, true);
    let steps = walk.steps;
    let (last, others): (Vec<_>, Vec<_>) = steps.into_iter().partition(|step| step.is_final);
    let ordered = last.into_iter().chain(others.into_iter().rev());
    let mut marks: Vec<Mark> = ordered.map(|step| step.into_mark(is_ipv6)).collect();
    marks.append(&mut draft.marks);
    draft.marks = marks;
}

struct Step {
    line: Line,
    mark: u32,
    matches: Matches,
    is_final: bool,
}

impl Step {
    fn into_mark(self, is_ipv6: bool) -> Mark {
        let Matches {
            source,
            destination,
            protocol,
            source_ports,
            destination_ports,
            interface,
            is_ipv6: own,
        } = self.matches;
        Mark {
            line: Some(self.line),
            mark: self.mark,
            is_ipv6: own.unwrap_or(is_ipv6),
            protocol,
            source,
            destination,
            source_ports,
            destination_ports,
            interface,
        }
    }
}

struct Walk<'d, 'c> {
    draft: &'d mut Draft,
    chains: &'c Chains,
    steps: Vec<Step>,
    rules: usize,
}

impl Walk<'_, '_> {
    /// Walks through a chain with packets that match `outer`. `is_last` says that nothing is done
    /// after it, so that its end is the end of all.
    fn chain(&mut self, name: &str, outer: &Matches, depth: usize, is_last: bool) {
        let Some(rules) = self.chains.get(name) else {
            return;
        };
        let mut at = 0;
        while let Some(rule) = rules.get(at) {
            self.rules += 1;
            if self.rules > RULES_MAX || depth > DEPTH_MAX {
                let reason = "chains lead to chains more often than is followed here";
                return self.draft.remarks.not_carried(&rule.line, reason);
            }
            at += 1;
            let rest = &rules[at..];
            match &rule.target {
                Target::Mark(mark) => {
                    let end = rest.first().is_some_and(|next| {
                        next.target == Target::End && next.matches == rule.matches
                    });
                    at += usize::from(end);
                    if end && !is_last {
                        self.early_end(&rest[0].line);
                    }
                    match narrowed(outer, &rule.matches) {
                        Ok(Some(matches)) => self.steps.push(Step {
                            line: rule.line.clone(),
                            mark: *mark,
                            matches,
                            is_final: end && is_last,
                        }),
                        Ok(None) => self
                            .draft
                            .remarks
                            .carried(&rule.line, "no packet reaches it: its chain is for others"),
                        Err(reason) => self.draft.remarks.not_carried(&rule.line, reason),
                    }
                }
                Target::End if rule.matches == Matches::default() => {
                    for rule in rest {
                        let reason = "no packet reaches it: all end before";
                        self.draft.remarks.carried(&rule.line, reason);
                    }
                    return;
                }
                // Behind it nothing sets a mark.
                Target::End if !rest.iter().any(may_mark) && is_last => {}
                Target::End => self.early_end(&rule.line),
                Target::Chain(to, comes_back) => match narrowed(outer, &rule.matches) {
                    Ok(Some(matches)) => {
                        let is_end = is_last && (!comes_back || !rest.iter().any(may_mark));
                        self.chain(to, &matches, depth + 1, is_end);
                        if !comes_back && rest.iter().any(may_mark) {
                            self.early_end(&rule.line);
                        }
                    }
                    Ok(None) => {}
                    Err(reason) => self.draft.remarks.not_carried(&rule.line, reason),
                },
            }
        }
    }

    fn early_end(&mut self, line: &Line) {
        let reason = "for its packets the walk ends here, and Weir knows no rule without a mark: the \
                      rules below apply to them too";
        self.draft.remarks.not_carried(line, reason);
    }
}

fn may_mark(rule: &Rule) -> bool {
    rule.target != Target::End
}

/// What matches both. `None`: nothing does.
fn narrowed(a: &Matches, b: &Matches) -> Result<Option<Matches>, &'static str> {
    let (Some(source), Some(destination)) =
        (net(a.source, b.source), net(a.destination, b.destination))
    else {
        return Ok(None);
    };
    let (Some(protocol), Some(interface), Some(is_ipv6)) = (
        equal(a.protocol.as_ref(), b.protocol.as_ref()),
        equal(a.interface.as_ref(), b.interface.as_ref()),
        equal(a.is_ipv6.as_ref(), b.is_ipv6.as_ref()),
    ) else {
        return Ok(None);
    };
    let ports = |a: &Vec<String>, b: &Vec<String>| match (a.is_empty(), b.is_empty()) {
        (true, _) => Ok(b.clone()),
        (_, true) => Ok(a.clone()),
        _ if a == b => Ok(a.clone()),
        _ => Err("both this rule and the one that leads to its chain name ports"),
    };
    Ok(Some(Matches {
        source,
        destination,
        protocol: protocol.cloned(),
        interface: interface.cloned(),
        is_ipv6: is_ipv6.copied(),
        source_ports: ports(&a.source_ports, &b.source_ports)?,
        destination_ports: ports(&a.destination_ports, &b.destination_ports)?,
    }))
}

/// The narrower of two networks; `None` when they are apart.
fn net(a: Option<IpNet>, b: Option<IpNet>) -> Option<Option<IpNet>> {
    match (a, b) {
        (Some(a), Some(b)) if a.contains(&b) => Some(Some(b)),
        (Some(a), Some(b)) if b.contains(&a) => Some(Some(a)),
        (Some(_), Some(_)) => None,
        (one, other) => Some(one.or(other)),
    }
}

fn equal<T: PartialEq>(a: Option<T>, b: Option<T>) -> Option<Option<T>> {
    match (a, b) {
        (Some(a), Some(b)) if a != b => None,
        (one, other) => Some(one.or(other)),
    }
}

/// Rules of chains to which nothing leads from the bases, but for those that end a walk.
pub(crate) fn unreached<'c>(chains: &'c Chains, bases: &[&'c str]) -> Vec<&'c Rule> {
    let mut reached = bases.to_vec();
    let mut at = 0;
    while let Some(chain) = reached.get(at) {
        at += 1;
        for rule in chains.get(*chain).into_iter().flatten() {
            if let Target::Chain(to, _) = &rule.target
                && !reached.contains(&to.as_str())
            {
                reached.push(to);
            }
        }
    }
    let others = chains
        .iter()
        .filter(|(name, _)| !reached.contains(&name.as_str()));
    let rules = others.flat_map(|(_, rules)| rules);
    rules.filter(|rule| rule.target != Target::End).collect()
}

/// Whether an interface's name can be the name of a port.
pub(crate) fn is_port_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (1..=15).contains(&name.len()) && name.chars().all(is_plain)
}
