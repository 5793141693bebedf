//! The command's end of the control socket.

use super::reply::Reply;
use super::request::Request;
use crate::answer::Line;
use crate::error::{CommandError, Exit};
use crate::home::Home;
use crate::show::{Screen, is_reader_gone};
use dunlin_core::limits::ANSWER_BYTES_MAX;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

/// Has the program that serves this home answer, and shows what it says. `None`: nobody serves it, or who
/// serves a folder of it has nothing to do with the request.
pub fn ask(home: &Home, request: &Request, screen: &Screen) -> Result<Option<Exit>, CommandError> {
    ask_with(home, request, |line| line.show(screen))
}

/// The same; `take` gets each line.
pub fn ask_with(
    home: &Home,
    request: &Request,
    mut take: impl FnMut(Line),
) -> Result<Option<Exit>, CommandError> {
    let Some(stream) = connect(home)? else { return Ok(None) };
    let line = request.encode() + "\n";
    let mut reader = BufReader::new(&stream);
    // One that is being killed has not looked at the request if it greets no more.
    let is_asked = (&stream).write_all(line.as_bytes()).is_ok();
    let Some(greeting) = next_line(&mut reader).ok().filter(|line| is_asked && !line.is_empty()) else {
        return Ok(None);
    };
    if !matches!(Reply::parse(&greeting), Some(Reply::Greeting { .. })) {
        return Err(other_version());
    }
    loop {
        let line = next_line(&mut reader)
            .map_err(|e| CommandError::attention(format!("the running dunlin cannot be heard: {e}")))?;
        if line.is_empty() {
            let text = "the running dunlin has ended before it gave its answer".to_owned();
            return Err(CommandError::new(Exit::NoDaemon, text));
        }
        match Reply::parse(&line).ok_or_else(other_version)? {
            Reply::Line(line) => take(line),
            Reply::Alive => {}
            // It has nothing to do with that.
            Reply::End(Err(error)) if error.exit == Exit::NoDaemon => return Ok(None),
            Reply::End(result) => return result.map(Some),
            Reply::Greeting { .. } => return Err(other_version()),
        }
        if is_reader_gone() {
            return Ok(Some(Exit::Done));
        }
    }
}

/// A line with its end; an empty one: there are no more.
fn next_line(reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut line = Vec::new();
    // JSON writes a byte as six at most.
    reader.take(6 * ANSWER_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
    Ok(line)
}

fn other_version() -> CommandError {
    CommandError::attention("the running dunlin is of another version")
        .hint("after an update stop it and start it again")
}

fn connect(home: &Home) -> Result<Option<UnixStream>, CommandError> {
    let socket = home.socket()?;
    match UnixStream::connect(&socket.path) {
        Ok(stream) => Ok(Some(stream)),
        // Nothing is there, or what somebody left who was killed.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(CommandError::attention(format!(
            "the dunlin that serves {} cannot be asked: {error}",
            home.path().display()
        ))
        .hint("does it belong to another user?")),
    }
}
