//! What happens in folders, in words and as values: the lines of `events`.

use crate::answer::Line;
use crate::replica::shown;
use crate::show::{as_json, as_text, clean, ended_word};
use dunlin_core::path::RelPath;
use dunlin_pipeline::failure::Failure;
use dunlin_pipeline::service::{Change, Deed, Ended, Happening, Notice, Told};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

/// The line of an event; `None` for what is none.
pub fn line_of(told: &Told) -> Option<Line> {
    let name = shown(&told.root);
    let (text, mut value) = match &told.notice {
        Notice::Happened(happening) => (text_of(&name, happening), json_of(happening)),
        Notice::Ended(ended) => {
            let text = match ended {
                Ended::Failed(Failure { text: why, .. }) | Ended::Refused(why) => {
                    format!("{name}: stopped: {}", clean(why))
                }
                _ => format!("{name}: served no longer"),
            };
            (text, json!({ "event": "ended", "ended": ended_word(ended) }))
        }
        notice => {
            let value = as_json(&name, notice)?;
            let text = as_text(&name, notice);
            (
                text.unwrap_or_else(|| format!("{name}: {}", value["event"].as_str().unwrap_or_default())),
                value,
            )
        }
    };
    value["folder"] = json!(name);
    value["number"] = json!(told.number);
    value["time_ms"] = json!(told.wall_ms);
    Some(Line::Say { text: format!("{} {text}", clock_of(told.wall_ms)), value })
}

/// The line that stands for events which are gone.
pub fn gap(lost: u64) -> Line {
    let text = format!("({lost} events before these are not kept any more)");
    Line::Say { text, value: json!({ "event": "gap", "lost": lost }) }
}

/// The time of the day here, to the second.
fn clock_of(wall_ms: i64) -> String {
    let time = Timestamp::from_millisecond(wall_ms).unwrap_or_default();
    time.to_zoned_datetime(TimeZone::system()).strftime("%H:%M:%S").to_string()
}

/// A moment here: date and time to the minute.
pub fn moment_of(wall_ms: i64) -> String {
    let time = Timestamp::from_millisecond(wall_ms).unwrap_or_default();
    time.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

fn text_of(name: &str, happening: &Happening) -> String {
    let at = |path: &RelPath| format!("{name}/{path}");
    match happening {
        Happening::Changed(change) => format!("{} {}", at(&change.path), deed_text(&change.deed, "here")),
        Happening::Placed(change) => {
            format!("{} {}", at(&change.path), deed_text(&change.deed, "by another device"))
        }
        Happening::Conflict { winner, copy } => format!("{} is a conflict copy of {winner}", at(copy)),
        Happening::Mended { path } => format!("{name}/{path}: well again"),
        Happening::Agreed { peer } => format!("{name}: in sync with {}", peer.short()),
        Happening::Served => format!("{name}: served"),
        Happening::Paused { until_ms: None } => format!("{name}: paused until it is resumed"),
        Happening::Paused { until_ms: Some(until) } => format!("{name}: paused until {}", moment_of(*until)),
        Happening::Resumed => format!("{name}: resumed"),
    }
}

/// What was done, and by whom or where, in words.
pub fn deed_text(deed: &Deed, by: &str) -> String {
    match deed {
        Deed::Created => format!("created {by}"),
        Deed::Written => format!("changed {by}"),
        Deed::Moved { from } => format!("moved {by}, from {from}"),
        Deed::Deleted => format!("deleted {by}"),
    }
}

fn json_of(happening: &Happening) -> Value {
    match happening {
        Happening::Changed(change) => change_json("changed", change),
        Happening::Placed(change) => change_json("placed", change),
        Happening::Conflict { winner, copy } => {
            json!({ "event": "conflict", "path": winner.to_string(), "copy": copy.to_string() })
        }
        Happening::Mended { path } => json!({ "event": "mended", "path": path }),
        Happening::Agreed { peer } => json!({ "event": "in-sync", "peer": peer.to_string() }),
        Happening::Served => json!({ "event": "served" }),
        Happening::Paused { until_ms } => json!({ "event": "paused", "until_ms": until_ms }),
        Happening::Resumed => json!({ "event": "resumed" }),
    }
}

/// The same for programs.
pub fn change_json(event: &str, Change { path, deed }: &Change) -> Value {
    let mut value = json!({ "event": event, "path": path.to_string() });
    value["deed"] = json!(match deed {
        Deed::Created => "created",
        Deed::Written => "written",
        Deed::Moved { .. } => "moved",
        Deed::Deleted => "deleted",
    });
    if let Deed::Moved { from } = deed {
        value["from"] = json!(from.to_string());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::sync::Arc;

    fn line(notice: Notice) -> (String, Value) {
        let told = Told { number: 7, wall_ms: 0, root: Arc::from(Path::new("/f")), notice };
        match line_of(&told) {
            Some(Line::Say { text, value }) => (text, value),
            _ => (String::new(), Value::Null),
        }
    }

    #[test]
    fn an_event_has_its_number_its_folder_and_its_time() {
        let path = |text: &str| RelPath::parse(text.as_bytes()).unwrap();
        let deed = Deed::Moved { from: path("a") };
        let (text, value) = line(Notice::Happened(Happening::Placed(Change { path: path("d/b"), deed })));
        assert!(text.ends_with("/f/d/b moved by another device, from a"), "{text}");
        let wanted = json!({
            "event": "placed", "deed": "moved", "path": "d/b", "from": "a", "folder": "/f", "number": 7, "time_ms": 0,
        });
        assert_eq!(value, wanted);
    }

    #[test]
    fn every_notice_that_is_an_event_has_a_line() {
        let failed = Notice::Ended(Ended::Failed(Failure::other("the disk is gone")));
        assert_eq!(line(failed).1["ended"], "failed");
        assert_eq!(line(Notice::Watching { directories: 2, watched: 2 }).1["event"], "watching");
        assert!(
            line(Notice::Happened(Happening::Paused { until_ms: Some(0) })).0.contains("paused until 19")
        );
    }
}
