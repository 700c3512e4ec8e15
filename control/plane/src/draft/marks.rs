//! Requests about the rules for marks.

use weir_model::api::{OperationMethod, Problem, path};
use weir_model::{MarkRule, Operation, body};

use super::{Draft, Prepared, merge, read_all, to_value};

impl Draft<'_> {
    /// The rules as they are by now.
    fn rules(&self) -> &[MarkRule] {
        self.marks.as_deref().unwrap_or(&self.config().marks)
    }

    pub(super) fn set_marks(&mut self, rules: Vec<MarkRule>, base: String) {
        self.operations.push(Operation::SetMarks(rules.clone()));
        self.marks = Some(rules);
        self.places.marks = base;
    }

    pub(super) fn all_marks(&mut self, request: &Prepared) -> Result<Option<String>, Problem> {
        match request.method {
            OperationMethod::Post => {
                let rule = read(request, request.body()?)?;
                let mut rules = self.rules().to_vec();
                rules.push(rule);
                let path = path::mark(rules.len() - 1);
                self.set_marks(rules, request.base.clone());
                Ok(Some(path))
            }
            OperationMethod::Put => {
                let base = format!("{}/marks", request.base);
                let Some(list) = request.object(&["marks"])?.get("marks") else {
                    let cure = "give {\"marks\": […]}";
                    return Err(request.fault("/marks", "is missing".to_owned(), cure));
                };
                self.set_marks(read_all(list, &base, body::mark)?, base);
                Ok(None)
            }
            OperationMethod::Patch | OperationMethod::Delete => {
                Err(request.not_this("the list of marks"))
            }
        }
    }

    pub(super) fn mark(
        &mut self,
        index: usize,
        request: &Prepared,
    ) -> Result<Option<String>, Problem> {
        let mut rules = self.rules().to_vec();
        let Some(held) = rules.get_mut(index) else {
            let count = rules.len();
            let detail = format!("there is no rule {index}; there are {count}, counted from 0");
            return Err(Problem::new(404, "There is no such rule", detail));
        };
        match request.method {
            OperationMethod::Post => return Err(request.not_this("a rule")),
            OperationMethod::Delete => {
                rules.remove(index);
            }
            OperationMethod::Put => *held = read(request, request.body()?)?,
            OperationMethod::Patch => {
                let mut merged = to_value(&*held);
                merge(&mut merged, request.body()?);
                *held = read(request, &merged)?;
            }
        }
        self.set_marks(rules, request.base.clone());
        Ok(None)
    }
}

fn read(request: &Prepared, value: &serde_json::Value) -> Result<MarkRule, Problem> {
    body::mark(value).map_err(|faults| request.faulty(faults))
}
