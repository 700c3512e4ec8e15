//! Where something stands in the file.

use std::fmt::{self, Display};
use std::rc::Rc;

/// Where a table or an element stands, such as `service[2].server[0]`. It is put in words only when
/// something is wrong there: a file may have a million keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Path(Option<Rc<Step>>);

#[derive(Debug)]
struct Step {
    within: Path,
    name: &'static str,
    index: Option<usize>,
}

impl Path {
    pub(crate) fn to(&self, name: &'static str, index: Option<usize>) -> Self {
        let within = self.clone();
        Path(Some(Rc::new(Step {
            within,
            name,
            index,
        })))
    }

    /// The path of a key of this table.
    pub(crate) fn key(&self, name: &str) -> String {
        match self.0 {
            None => name.to_owned(),
            Some(_) => format!("{self}.{name}"),
        }
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(step) = &self.0 else { return Ok(()) };
        if step.within.0.is_some() {
            write!(f, "{}.", step.within)?;
        }
        f.write_str(step.name)?;
        match step.index {
            Some(index) => write!(f, "[{index}]"),
            None => Ok(()),
        }
    }
}

/// A value together with the path of the table it was read from, for checks across tables.
#[derive(Clone, Debug)]
pub(crate) struct Placed<T> {
    pub(crate) path: Path,
    pub(crate) value: T,
}

impl<T> Placed<T> {
    /// The path of one of the table's keys.
    pub(crate) fn key(&self, name: &str) -> String {
        self.path.key(name)
    }
}
