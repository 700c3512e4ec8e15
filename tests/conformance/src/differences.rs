//! Every difference between Weir and the kernel's IPVS that is wanted, with its reason. There is no
//! other place for one: what is not named here fails the tests.

use weir_conformance::operation::Operation;
use weir_conformance::seen::Seen;

/// A difference that is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named {
    /// In a few words.
    pub(crate) name: &'static str,
    /// Why it is wanted.
    pub(crate) reason: &'static str,
    /// True when it explains what was seen at the last of some operations.
    explains: fn(&Case<'_>) -> bool,
}

/// An operation at which both sides differ.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "not every difference looks at all of it")]
struct Case<'c> {
    before: &'c [Operation],
    operation: &'c Operation,
    kernel: &'c Seen,
    weir: &'c Seen,
}

/// All of them.
pub(crate) const ALL: &[Named] = &[];

/// The wanted difference that explains what was seen, if any does.
pub(crate) fn name_of(
    before: &[Operation],
    operation: &Operation,
    kernel: &Seen,
    weir: &Seen,
) -> Option<Named> {
    let case = Case {
        before,
        operation,
        kernel,
        weir,
    };
    ALL.iter().find(|named| (named.explains)(&case)).copied()
}
