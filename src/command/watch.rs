//! `status --watch`: asks again and again, and shows what comes whenever it is another answer. Who is asked is not kept
//! busy by it: the longer an answer takes to be made, the longer is the pause after it.

use crate::answer::Line;
use crate::command::ask_with;
use crate::control::request::Request;
use crate::error::{CommandError, Exit};
use crate::home::Home;
use crate::run::Interrupt;
use crate::show::{Screen, is_reader_gone};
use dunlin_pipeline::wiring::bell;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// From an answer to the next question, at least.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause is so many times what the answer took, if that is longer: one core is asked for a twentieth at most.
const PAUSE_TIMES: u32 = 20;
/// How facts end that say how long ago something was: they differ each time, and are no news.
const AGE: &str = "_ago_s";

/// Asks until somebody ends it; that is how it ends well.
pub fn watch(home: &Home, request: &Request, screen: &Screen) -> Result<Exit, CommandError> {
    let stop = bell();
    let _interrupt = Interrupt::rings(vec![stop.to], None)?;
    let mut shown = Shown::default();
    loop {
        let began = Instant::now();
        let mut lines = Vec::new();
        match ask_with(home, request, |line| lines.push(line)) {
            Ok(_) => {}
            // The folder that is asked about may be there at the beginning alone, or its store be in use for a moment.
            Err(error) if shown.is_begun => lines.push(trouble(&error)),
            Err(error) => return Err(error),
        }
        shown.show(lines, screen);
        let pause = PAUSE.max(began.elapsed() * PAUSE_TIMES);
        if is_reader_gone() || stop.from.recv_timeout(pause).is_ok() {
            return Ok(Exit::Done);
        }
    }
}

fn trouble(error: &CommandError) -> Line {
    let value =
        json!({ "event": "error", "exit": error.exit as u8, "error": error.text, "hint": error.hint });
    Line::Say { text: error.to_string(), value }
}

/// What was shown last.
#[derive(Default)]
struct Shown {
    is_begun: bool,
    values: Vec<Value>,
}

impl Shown {
    /// Shows an answer if it is another one: people all of it, programs those of its lines that are.
    fn show(&mut self, lines: Vec<Line>, screen: &Screen) {
        let Some(news) = self.news(&lines) else { return };
        if screen.is_for_programs() {
            return news.iter().for_each(|line| line.show(screen));
        }
        screen.clear();
        lines.iter().for_each(|line| line.show(screen));
    }

    /// The lines that were not in the last answer; `None`: it is the same.
    fn news<'l>(&mut self, lines: &'l [Line]) -> Option<Vec<&'l Line>> {
        let values: Vec<Value> = lines.iter().map(timeless).collect();
        if self.is_begun && values == self.values {
            return None;
        }
        let before = std::mem::replace(&mut self.values, values);
        self.is_begun = true;
        let now = lines.iter().zip(&self.values);
        Some(now.filter(|(_, value)| !before.contains(value)).map(|(line, _)| line).collect())
    }
}

/// What a line says but for how long ago something was.
fn timeless(line: &Line) -> Value {
    let mut value = match line {
        Line::Say { value, .. } => value.clone(),
        Line::Warn(text) => json!(text),
    };
    forget_ages(&mut value);
    value
}

fn forget_ages(value: &mut Value) {
    match value {
        Value::Object(facts) => {
            facts.retain(|name, _| !name.ends_with(AGE));
            facts.values_mut().for_each(forget_ages);
        }
        Value::Array(values) => values.iter_mut().for_each(forget_ages),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(value: Value) -> Line {
        Line::Say { text: value.to_string(), value }
    }

    fn folder(root: &str, needed: u64, age: u64) -> Line {
        let scrub = json!({ "files": 1, "ended_ago_s": age });
        line(json!({ "root": root, "needed": needed, "full_pass_ago_s": age, "scrub": scrub }))
    }

    #[test]
    fn only_another_answer_is_news_and_age_is_none() {
        let mut shown = Shown::default();
        let first = [line(json!({ "event": "device" })), folder("a", 0, 1), folder("b", 0, 1)];
        assert_eq!(shown.news(&first).unwrap().len(), 3, "at first all is");
        let older = [line(json!({ "event": "device" })), folder("a", 0, 2), folder("b", 0, 2)];
        assert_eq!(shown.news(&older), None);
        let other = [line(json!({ "event": "device" })), folder("a", 0, 3), folder("b", 5, 3)];
        assert_eq!(shown.news(&other).unwrap(), [&other[2]]);
        assert_eq!(shown.news(&other[..2]).unwrap(), [&other[0]; 0], "one less is another answer");
        assert_eq!(shown.news(&other[..2]), None);
    }

    #[test]
    fn an_empty_answer_is_shown_once() {
        let mut shown = Shown::default();
        assert!(shown.news(&[]).is_some_and(|news| news.is_empty()));
        assert_eq!(shown.news(&[]), None);
    }
}
