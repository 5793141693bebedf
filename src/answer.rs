//! What a command answers: lines for people with the same facts as values for programs, kept together until
//! they are shown here or sent to who asked. Bounded; knows neither terminal nor socket.

use crate::error::CommandError;
use crate::show::Screen;
use dunlin_core::limits::ANSWER_BYTES_MAX;
use serde_json::Value;

/// One line.
#[derive(Clone, PartialEq, Debug)]
pub enum Line {
    /// A result.
    Say {
        /// For people; may have several lines.
        text: String,
        /// For programs.
        value: Value,
    },
    /// What people should know besides; programs are told nothing.
    Warn(String),
}

/// An answer as far as it is made.
#[derive(Default)]
pub struct Answer {
    lines: Vec<Line>,
    bytes: usize,
}

impl Answer {
    /// Adds a result. An answer that grows too long is an error.
    pub fn say(&mut self, text: &str, value: &Value) -> Result<(), CommandError> {
        self.add(Line::Say { text: text.to_owned(), value: value.clone() })
    }

    /// Adds a line, see [`Answer::say`].
    pub fn add(&mut self, line: Line) -> Result<(), CommandError> {
        self.bytes += match &line {
            Line::Say { text, value } => text.len() + value.to_string().len(),
            Line::Warn(text) => text.len(),
        };
        if self.bytes > ANSWER_BYTES_MAX {
            return Err(CommandError::usage(format!("the answer is longer than {ANSWER_BYTES_MAX} bytes"))
                .hint("ask for less: for one folder or path, or with a smaller --limit"));
        }
        self.lines.push(line);
        Ok(())
    }

    /// Adds a remark.
    pub fn warn(&mut self, text: &str) -> Result<(), CommandError> {
        self.add(Line::Warn(text.to_owned()))
    }

    /// The lines, in their order.
    pub fn into_lines(self) -> Vec<Line> {
        self.lines
    }
}

impl Line {
    /// Shows it.
    pub fn show(&self, screen: &Screen) {
        match self {
            Line::Say { text, value } => screen.say(text, value),
            Line::Warn(text) => screen.warn(text),
        }
    }
}
