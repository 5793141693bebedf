//! Hostile bytes at what this program reads itself: requests and replies of the control socket, the configuration, the
//! identity's file. Played as `tests/fuzz` plays (docs/testing.md), here, since nobody outside of a program can call it.

#[path = "../../tests/fuzz/play.rs"]
mod play;

use crate::config::Config;
use crate::control::reply::Reply;
use crate::control::request::Request;
use crate::keys::document::{Document, Kept, Stretch};

#[test]
fn a_request_that_is_taken_means_the_same_once_it_is_said_again() {
    let texts = [
        r#"{"dunlin":1,"ask":"status","dirs":["/a","/b c"]}"#,
        r#"{"dunlin":1,"ask":"events","dirs":[],"since":7,"follow":true}"#,
        r#"{"dunlin":1,"ask":"share","dir":"/a","role":"reader","expires_s":60,"uses":2,"listen":["[::1]:7"]}"#,
        r#"{"dunlin":1,"ask":"join","invite":"dunlin://join#a","dir":"/a","listen":null,"peer":["10.0.0.1:2"]}"#,
        r#"{"dunlin":1,"ask":"sync","dirs":["/a"],"peer":[],"listen":[],"wait_s":null}"#,
        r#"{"dunlin":1,"ask":"conflicts resolve","path":"/a/\u0000\n","keep":"both"}"#,
        r#"{"dunlin":1,"ask":"folder pause","dir":"/a","span_s":18446744073709551615}"#,
        r#"{"dunlin":1,"ask":"log","path":"/a","limit":1e3}"#,
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    ];
    play("control_request", control_request, &texts.map(|text| text.as_bytes().to_vec()));
}

#[test]
fn a_reply_that_is_understood_means_the_same_once_it_is_said_again() {
    let texts = [
        r#"{"dunlin":1,"program":"0.1.0","pid":77}"#,
        r#"{"value":{"exit":9},"text":"two\nlines"}"#,
        r#"{"warning":"mind"}"#,
        r#"{"alive":true}"#,
        r#"{"exit":0}"#,
        r#"{"exit":2,"error":"no","hint":"look"}"#,
    ];
    play("control_reply", control_reply, &texts.map(|text| text.as_bytes().to_vec()));
}

#[test]
fn a_configuration_that_is_taken_says_what_holds_at_each_minute() {
    let texts = [
        "[log]\nlevel = \"warn,dunlin_transport=debug\"\nformat = \"json\"\n",
        "[bandwidth]\nlimit = \"Mon-08:00,512k:off Fri-19:00,off\"\nlan = true\n",
        "[bandwidth]\nlimit = \"08:00,1.5G:2b 19:00,off\"\n[scrub]\nevery = \"30d\"\nrate = \"16M\"\n",
        "[hold]\non = true\nshare = 25\nfiles = 100\nnoise = 50\n",
        "[hold]\nshare = 0\n",
    ];
    play("config", config, &texts.map(|text| text.as_bytes().to_vec()));
}

#[test]
fn an_identity_that_is_taken_is_written_as_it_was_read() {
    let stretch = Stretch { salt: [5; 16], memory_kib: 32_768, passes: 2 };
    let kept = [Kept::Keyring, Kept::Credential, Kept::Passphrase(stretch)];
    let sealed = kept.map(|kept| Document::sealed(&[7; 32], kept, &[9; 32], [3; 24]));
    let mut seeds: Vec<Vec<u8>> = sealed.iter().map(|d| d.to_text().as_bytes().to_vec()).collect();
    seeds.push(Document::plain(&[7; 32]).to_text().as_bytes().to_vec());
    seeds.push(vec![7; 32]);
    // Written by hand: what the program leaves out when it writes would be missing in what it reads, too.
    let text = |stretch: &str| {
        let peer = Document::plain(&[7; 32]).peer();
        let (nonce, sealed) = ("03".repeat(24), "09".repeat(48));
        format!(
            r#"{{"dunlin":"identity","version":1,"peer":"{peer}","kept":"passphrase","argon2id":{stretch},"nonce":"{nonce}","sealed":"{sealed}"}}"#
        )
    };
    for stretch in [(8, 1), (4_096, 2), (1 << 20, 16)] {
        let (memory, passes) = stretch;
        let salt = "05".repeat(16);
        seeds.push(
            text(&format!(r#"{{"salt":"{salt}","memory_kib":{memory},"passes":{passes}}}"#)).into_bytes(),
        );
    }
    play("identity", identity, &seeds);
}

fn play(name: &str, target: fn(&[u8]), seeds: &[Vec<u8>]) {
    play::play(name, target, seeds, play::runs(), play::seed()).unwrap();
}

fn control_request(data: &[u8]) {
    let Ok(request) = Request::parse(data) else { return };
    let line = request.encode();
    assert!(!line.contains('\n'), "a request is one line");
    assert_eq!(Request::parse(line.as_bytes()), Ok(request));
}

fn control_reply(data: &[u8]) {
    let Some(reply) = Reply::parse(data) else { return };
    let line = reply.encode();
    assert!(!line.contains('\n'), "a reply's line is one line");
    let again = Reply::parse(line.as_bytes()).expect("what we say is understood");
    assert_eq!(format!("{again:?}"), format!("{reply:?}"));
}

fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(config) = Config::parse(text) else { return };
    assert!((1..=100).contains(&config.limits.hold.share));
    for minute in (0..7 * 24 * 60).step_by(601) {
        let (rates, minutes) = config.rates(minute);
        // A bound that is looked at again in no time would keep the machine awake.
        assert!(minutes.is_none_or(|minutes| (1..=7 * 24 * 60).contains(&minutes)));
        assert!(rates.up != Some(0) && rates.down != Some(0));
    }
}

fn identity(data: &[u8]) {
    let Ok(document) = Document::parse(data) else { return };
    let text = document.to_text();
    let again = Document::parse(text.as_bytes()).expect("what we write is read");
    assert!(*again.to_text() == *text && again.peer() == document.peer());
    assert_eq!(again.kept(), document.kept());
    if let Ok(seed) = document.open(Some(&[9; 32])) {
        assert_eq!(dunlin_core::identity::Identity::from_seed(&seed).peer_id(), document.peer());
    }
}
