//! What is answered: lines of JSON. The first says who answers, the last how the command ends.

use super::PROTOCOL;
use crate::answer::Line;
use crate::error::{CommandError, Exit};
use serde_json::{Value, json};

/// One line of a reply.
#[derive(Debug)]
pub enum Reply {
    /// The first line: the program's version and the number of its process.
    Greeting { program: String, pid: u64 },
    /// A line of the answer.
    Line(Line),
    /// Nothing has happened for a while; whoever serves sees by it whether the client is still there.
    Alive,
    /// The last line.
    End(Result<Exit, CommandError>),
}

impl Reply {
    /// As one line, without its end.
    pub fn encode(&self) -> String {
        let value = match self {
            Reply::Greeting { program, pid } => {
                json!({ "dunlin": PROTOCOL, "program": program, "pid": pid })
            }
            Reply::Line(Line::Say { text, value }) => json!({ "value": value, "text": text }),
            Reply::Line(Line::Warn(text)) => json!({ "warning": text }),
            Reply::Alive => json!({ "alive": true }),
            Reply::End(Ok(exit)) => json!({ "exit": *exit as u8 }),
            Reply::End(Err(error)) => {
                json!({ "exit": error.exit as u8, "error": error.text, "hint": error.hint })
            }
        };
        value.to_string()
    }

    /// Reads a line; `None` if it is none that this version knows.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(line).ok()?;
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        if value["dunlin"] == json!(PROTOCOL) {
            return Some(Reply::Greeting { program: text("program")?, pid: value["pid"].as_u64()? });
        }
        if let Some(said) = value.get("value") {
            return Some(Reply::Line(Line::Say { text: text("text")?, value: said.clone() }));
        }
        if let Some(warning) = text("warning") {
            return Some(Reply::Line(Line::Warn(warning)));
        }
        if value["alive"] == json!(true) {
            return Some(Reply::Alive);
        }
        let exit = Exit::from_number(value["exit"].as_u64()?)?;
        Some(Reply::End(match text("error") {
            Some(error) => Err(CommandError { hint: text("hint"), ..CommandError::new(exit, error) }),
            None => Ok(exit),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reply_comes_back() {
        let hinted = CommandError::usage("no such \"folder\"\n").hint("look");
        for reply in [
            Reply::Greeting { program: "0.1.0".to_owned(), pid: 77 },
            Reply::Line(Line::Say { text: "two\nlines".to_owned(), value: json!({ "exit": 9 }) }),
            Reply::Line(Line::Say { text: String::new(), value: json!(null) }),
            Reply::Line(Line::Warn("mind".to_owned())),
            Reply::Alive,
            Reply::End(Ok(Exit::Done)),
            Reply::End(Ok(Exit::Conflicts)),
            Reply::End(Err(CommandError::attention("why"))),
            Reply::End(Err(hinted)),
        ] {
            let line = reply.encode();
            assert!(!line.contains('\n'), "{line}");
            let again = Reply::parse(line.as_bytes()).expect(&line);
            assert_eq!(format!("{again:?}"), format!("{reply:?}"));
        }
    }

    #[test]
    fn every_exit_has_its_number() {
        for number in 0..=255 {
            if let Some(exit) = Exit::from_number(number) {
                assert_eq!(exit as u64, number);
            }
        }
        assert_eq!(Exit::from_number(7), Some(Exit::Attention));
        assert_eq!(Exit::from_number(99), None);
    }

    #[test]
    fn what_is_no_reply_is_nothing() {
        for line in ["", "{}", "[]", r#"{"dunlin":2,"program":"1","pid":1}"#, r#"{"exit":300}"#] {
            assert!(Reply::parse(line.as_bytes()).is_none(), "{line}");
        }
    }
}
