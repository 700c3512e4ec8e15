//! Operations on the rules for marks.

use serde_json::Value;
use weir_model::api::{BodyFault, OperationMethod, Problem};
use weir_model::{MarkRule, change};

use super::{Asked, Done, Draft, merge, to_value};

impl Draft {
    pub(super) fn marks(&mut self, asked: &Asked<'_>) -> Result<Done, Problem> {
        match asked.method {
            OperationMethod::Post => {
                let rule = read(asked.body()?, asked)?;
                self.config.marks.push(rule);
                self.told_marks = asked.base.to_owned();
                let path = format!("/v1/marks/{}", self.config.marks.len() - 1);
                Ok(Done::Created(path))
            }
            OperationMethod::Put => {
                let body = asked.body()?;
                let only_marks =
                    |body: &Value| body.as_object().map(|o| o.keys().all(|k| k == "marks"));
                if only_marks(body) != Some(true) {
                    let cure = "give {\"marks\": […]}";
                    return Err(asked.fault("", "is not an object of marks".to_owned(), cure));
                }
                self.config.marks = read_list(&body["marks"], &format!("{}/marks", asked.base))?;
                Ok(Done::Changed)
            }
            OperationMethod::Patch | OperationMethod::Delete => {
                Err(asked.not_this("the list of marks"))
            }
        }
    }

    pub(super) fn mark(&mut self, index: usize, asked: &Asked<'_>) -> Result<Done, Problem> {
        let Some(held) = self.config.marks.get(index) else {
            let count = self.config.marks.len();
            let detail = format!("there is no rule {index}; there are {count}, counted from 0");
            return Err(Problem::new(404, "There is no such rule", detail));
        };
        let wanted = match asked.method {
            OperationMethod::Post => return Err(asked.not_this("a rule")),
            OperationMethod::Delete => {
                self.config.marks.remove(index);
                return Ok(Done::Changed);
            }
            OperationMethod::Put => asked.body()?.clone(),
            OperationMethod::Patch => {
                let mut held = to_value(held);
                merge(&mut held, asked.body()?);
                held
            }
        };
        self.config.marks[index] = read(&wanted, asked)?;
        self.told_marks = asked.base.to_owned();
        Ok(Done::Changed)
    }
}

fn read(value: &Value, asked: &Asked<'_>) -> Result<MarkRule, Problem> {
    change::mark(value).map_err(|faults| asked.faulty(faults))
}

/// Reads a whole list and tells every fault of it.
pub(super) fn read_list(value: &Value, base: &str) -> Result<Vec<MarkRule>, Problem> {
    super::read_all(value, base, |value, base| {
        change::mark(value).map_err(|faults| {
            let faults = faults.into_iter();
            faults.map(|fault| BodyFault::at(base, fault)).collect()
        })
    })
}
