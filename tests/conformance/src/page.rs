//! The conformance page: what was compared, by feature, and every wanted difference with its reason.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::differences;
use crate::{Row, group};

/// The page as Markdown.
pub(crate) fn page(
    rows: &BTreeMap<String, Row>,
    seed: u64,
    workers: &[usize],
    except: &[String],
) -> String {
    let mut text = String::new();
    write(&mut text, rows, seed, workers).expect("a string takes all text");
    if !except.is_empty() {
        text +=
            "\nLeft out as long as differences there are open (`tests/conformance/open.txt`):\n\n";
        text.extend(except.iter().map(|name| format!("- {name}\n")));
    }
    text
}

fn write(
    to: &mut String,
    rows: &BTreeMap<String, Row>,
    seed: u64,
    workers: &[usize],
) -> std::fmt::Result {
    let operations: usize = rows.values().map(|row| row.operations).sum();
    let words: Vec<String> = workers.iter().map(usize::to_string).collect();
    writeln!(
        to,
        "# Weir beside the kernel's own IPVS\n\n\
         Made by `./x conformance --seed {seed} --page docs/conformance.md`; every `./x test` compares as much.\n\n\
         The same service commands, packets and time go through IPVS of Debian's user-mode Linux and through\n\
         Weir with {} workers. Compared are every frame that leaves, byte for byte; which commands are refused;\n\
         connection entries with server, state and remaining seconds; connections, packets and bytes of each\n\
         service and server. {} operations were compared.\n",
        words.join(" and with "),
        group(operations)
    )?;
    writeln!(
        to,
        "| feature | scenarios | operations | differences |\n|---|---:|---:|---|"
    )?;
    for (feature, row) in rows {
        let mut told: Vec<String> = Vec::new();
        if row.failed > 0 {
            told.push(format!("**{} without a name**", row.failed));
        }
        for name in row.named.keys() {
            let number = differences::ALL
                .iter()
                .position(|named| named.name == *name);
            told.push(format!("({})", number.map_or(0, |at| at + 1)));
        }
        let told = if told.is_empty() {
            "0".to_owned()
        } else {
            told.join(" ")
        };
        let (scenarios, operations) = (row.scenarios, group(row.operations));
        writeln!(to, "| {feature} | {scenarios} | {operations} | {told} |")?;
    }
    writeln!(to, "\n## The differences that are wanted\n")?;
    for (number, named) in (1..).zip(differences::ALL) {
        let seen: usize = rows
            .values()
            .filter_map(|row| row.named.get(named.name))
            .sum();
        writeln!(
            to,
            "{number}. *{}* (seen {} times). {}",
            named.name,
            group(seen),
            named.reason
        )?;
    }
    writeln!(
        to,
        "\nBlanked before frames are compared, for the kernel draws it at random: the IP identification,\n\
         flow label and fragment identification of packets that the director makes itself, and the source\n\
         port of GUE."
    )
}
