//! A failing scenario made small: operations are left out as long as it still fails.

use anyhow::Result;
use weir_conformance::operation::Scenario;

use crate::compare::{self, Outcome};
use crate::kernel::Kernel;
use crate::weir;

/// A guest plays that many tries at most, and there are that many guests at most.
const TRIES: usize = 64;
const ROUNDS: usize = 24;

/// A small scenario that still shows a difference with so many workers, and the difference.
pub(crate) fn shrink(
    kernel: &Kernel,
    failing: &Scenario,
    workers: usize,
) -> Result<(Scenario, Outcome)> {
    let (mut best, mut outcome) = try_all(kernel, vec![failing.clone()], workers)?
        .ok_or_else(|| anyhow::anyhow!("{} does not fail again", failing.name))?;
    let mut pieces = 2;
    for _ in 0..ROUNDS {
        // What comes after the difference has no part in it.
        let len = outcome.difference.as_ref().map_or(0, |(at, _)| at + 1);
        best.operations.truncate(len);
        pieces = pieces.min(len);
        let size = len.div_ceil(pieces.max(1)).max(1);
        let starts = (0..len).step_by(size).rev();
        let without = starts.map(|start| {
            let mut fewer = best.clone();
            fewer.operations.drain(start..(start + size).min(len));
            fewer
        });
        match try_all(kernel, without.take(TRIES).collect(), workers)? {
            Some(smaller) => {
                (best, outcome) = smaller;
                pieces = pieces.saturating_sub(1).max(2);
            }
            None if size == 1 => break,
            None => pieces *= 2,
        }
    }
    Ok((best, outcome))
}

/// The smallest of the scenarios that fail, all of which one guest plays.
fn try_all(
    kernel: &Kernel,
    tries: Vec<Scenario>,
    workers: usize,
) -> Result<Option<(Scenario, Outcome)>> {
    let seen = kernel.play(&tries)?;
    let mut failing = Vec::new();
    for (scenario, kernel) in tries.into_iter().zip(&seen) {
        let weir = weir::play(&scenario, kernel, workers)?;
        let outcome = compare::compare(&scenario, kernel, &weir);
        if outcome.difference.is_some() {
            failing.push((scenario, outcome));
        }
    }
    let length = |(_, outcome): &(Scenario, Outcome)| outcome.compared;
    Ok(failing.into_iter().min_by_key(length))
}
