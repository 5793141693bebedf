//! Codes as they are drawn and typed, and the exchange: who has the words gets the invite, and nobody else has a second
//! try.

use super::exchange::{Asking, Delivered, ExchangeError, Offering, burned};
use super::*;
use crate::id::{FolderId, PeerId};
use crate::invite::Invite;
use crate::limits::{CODE_PAYLOAD_BYTES_MAX, INVITE_ADDRS_MAX, LABEL_BYTES_MAX};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

fn seed(number: u8) -> Zeroizing<[u8; 32]> {
    Zeroizing::new([number; 32])
}

fn code(text: &str) -> Code {
    Code::parse(text).unwrap()
}

fn invite() -> Invite {
    Invite {
        folder: FolderId([1; 32]),
        issuer: PeerId([2; 32]),
        seed: seed(3),
        not_after_ms: 1_764_000_000_000,
        label: "heron garden".to_owned(),
        addrs: vec!["10.0.0.7:27272".parse().unwrap()],
    }
}

/// Offer and answer of two who typed these codes.
fn begin(ours: &str, theirs: &str) -> (Offering, Asking, Vec<u8>, Vec<u8>) {
    let (offering, offer) = Offering::new(&code(ours), &seed(11));
    let (asking, answer) = Asking::new(&code(theirs), &offer, &seed(12)).unwrap();
    (offering, asking, offer, answer)
}

fn fail<T>(result: Result<T, ExchangeError>) -> ExchangeError {
    result.err().expect("no invite")
}

#[test]
fn the_words_are_those_of_the_standard() {
    // Of the file whose SHA-256 is 2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda.
    assert_eq!(
        blake3::hash(ENGLISH.as_bytes()).to_hex().as_str(),
        "43afe08c75f902534cfd2a694bef11db381f4804cd3ef76cd05a8ad0d7199122"
    );
    let words: Vec<&str> = ENGLISH.lines().collect();
    assert_eq!(words.len(), WORDS);
    let beginnings: BTreeSet<&str> =
        words.iter().map(|word| &word[..word.len().min(LETTERS_ENOUGH)]).collect();
    assert_eq!(beginnings.len(), WORDS, "four letters tell a word from all others");
}

#[test]
fn a_code_is_read_as_people_type_it() {
    let meant = code("7-eagle-candy");
    for text in ["7-Eagle-CANDY", " 7 eagle candy\n", "7--eagle - candy", "7-eagl-cand", "007-eagle-candy"] {
        assert_eq!(code(text), meant, "{text}");
    }
    assert_eq!(meant.to_string(), "7-eagle-candy");
    assert_eq!(meant.nameplate(), 7);
    for text in
        ["", "7", "7-eagle", "7-eagle-candy-act", "0-eagle-candy", "1000000-eagle-candy", "+7-eagle-candy"]
    {
        assert_eq!(Code::parse(text), Err(CodeError::NotACode), "{text}");
    }
    assert_eq!(Code::parse("7-eagel-candy"), Err(CodeError::NotAWord("eagel".to_owned())));
    assert_eq!(
        Code::parse("7-eag-candy"),
        Err(CodeError::NotAWord("eag".to_owned())),
        "three letters may be two words"
    );
    assert_eq!(code("7-act-candy").to_string(), "7-act-candy", "but a word of three letters is one");
}

#[test]
fn words_are_not_shown_by_the_way() {
    assert_eq!(format!("{:?}", code("7-eagle-candy")), "Code(7, words hidden)");
}

proptest! {
    /// G7: the nameplate tells nothing of the words, nor they of it.
    #[test]
    fn nameplate_and_words_come_from_different_bytes(one: [u8; 8], other: [u8; 8], attempt in 0usize..9) {
        let mixed = [&one[..4], &other[4..]].concat().try_into().unwrap();
        let (one, other, mixed) =
            (Code::draw(attempt, &one), Code::draw(attempt, &other), Code::draw(attempt, &mixed));
        prop_assert_eq!(mixed.nameplate, one.nameplate);
        prop_assert_eq!(mixed.words, other.words);
        prop_assert!((1..=NAMEPLATE_RANGES[attempt.min(3)]).contains(&one.nameplate));
        prop_assert_eq!(Code::parse(&one.to_string()), Ok(one));
    }

    /// Whatever comes: no panic, and no invite for who does not know the words.
    #[test]
    fn strange_payloads_end_the_exchange(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..7) {
        let payload = [&[kind][..], &bytes].concat();
        let (offering, asking, ..) = begin("7-eagle-candy", "7-eagle-candy");
        prop_assert!(deliver(offering, &payload).is_err());
        prop_assert!(asking.open(&payload).is_err());
        let _ = Asking::new(&code("7-eagle-candy"), &payload, &seed(1));
    }
}

/// G6: three in any ten minutes.
#[test]
fn a_share_gives_out_few_codes() {
    let (mut given, began) = (CodesGiven::default(), Instant::now());
    let taken: Vec<u64> =
        (0..1800).filter(|second| given.take(began + Duration::from_secs(*second))).collect();
    assert_eq!(taken, [0, 1, 2, 600, 601, 602, 1200, 1201, 1202]);
}

/// Who had the words spent no guess.
#[test]
fn a_code_that_was_used_is_none_of_the_few() {
    let (mut given, now) = (CodesGiven::default(), Instant::now());
    for _ in 0..9 {
        assert!(given.take(now));
        given.give_back();
    }
    assert_eq!([(); 4].map(|()| given.take(now)), [true, true, true, false]);
    given.give_back();
    assert_eq!([(); 2].map(|()| given.take(now)), [true, false]);
}

#[test]
fn who_has_the_code_gets_the_invite() {
    let (offering, asking, offer, answer) = begin("7-eagle-candy", "7-eagle-candy");
    let (delivered, proof) = deliver(offering, &answer).unwrap();
    let (got, receipt) = asking.open(&proof).unwrap();
    assert_eq!(got, invite());
    assert_eq!(delivered.check(&receipt), Ok(()));
    for payload in [offer, answer, proof, receipt] {
        let text = String::from_utf8_lossy(&payload).to_lowercase();
        assert!(!text.contains("eagle") && !text.contains("heron") && !text.contains("dunlin"));
        for secret in [[1; 32], [2; 32], [3; 32]] {
            assert!(!payload.windows(32).any(|w| w == secret), "sealed");
        }
    }
}

#[test]
fn a_wrong_word_nameplate_or_role_burns_it() {
    for theirs in ["7-eagle-cannon", "7-candy-eagle", "8-eagle-candy"] {
        let (offering, asking, _, answer) = begin("7-eagle-candy", theirs);
        assert_eq!(fail(deliver(offering, &answer)), ExchangeError::Impostor, "{theirs}");
        assert_eq!(fail(asking.open(&burned())), ExchangeError::WrongWords);
    }
    // An answer that is the sharer's own offer again.
    let (offering, offer) = Offering::new(&code("7-eagle-candy"), &seed(1));
    let mirrored = [&[2][..], &offer[1..], &[0; 32]].concat();
    assert_eq!(fail(deliver(offering, &mirrored)), ExchangeError::Malformed);
}

/// Who answers in the sharer's place with a guess learns whether it was right, and no invite is taken from it.
#[test]
fn a_false_sharer_is_found_out() {
    let (_, asking, ..) = begin("7-eagle-cannon", "7-eagle-candy");
    let (other, _, _, answer) = begin("7-eagle-cannon", "7-eagle-cannon");
    let (_, proof) = deliver(other, &answer).unwrap();
    assert_eq!(fail(asking.open(&proof)), ExchangeError::Impostor);
}

#[test]
fn what_is_changed_on_the_way_is_noticed() {
    let (_, _, offer, answer) = begin("7-eagle-candy", "7-eagle-candy");
    for at in 1..answer.len() {
        let mut bent = answer.clone();
        bent[at] ^= 1;
        let (offering, same) = Offering::new(&code("7-eagle-candy"), &seed(11));
        assert_eq!(same, offer);
        assert!(deliver(offering, &bent).is_err(), "byte {at}");
    }
    let deliver = || deliver(begin("7-eagle-candy", "7-eagle-candy").0, &answer).unwrap();
    let (_, proof) = deliver();
    for at in 1..proof.len() {
        let mut bent = proof.clone();
        bent[at] ^= 1;
        assert_eq!(
            fail(begin("7-eagle-candy", "7-eagle-candy").1.open(&bent)),
            ExchangeError::Impostor,
            "{at}"
        );
    }
    // A confirmation is good for one thing: the sharer's comes back as a receipt.
    let (delivered, proof): (Delivered, Vec<u8>) = deliver();
    let echoed = [&[5][..], &proof[1..33]].concat();
    assert_eq!(delivered.check(&echoed), Err(ExchangeError::Impostor));
}

#[test]
fn lengths_tell_little_and_the_longest_invite_fits() {
    let length = |invite: &Invite| {
        let (offering, _, _, answer) = begin("7-eagle-candy", "7-eagle-candy");
        offering.judge(&answer).unwrap().deliver(invite).1.len()
    };
    let other = Invite { label: "a much longer name".to_owned(), ..invite() };
    assert_eq!(length(&invite()), length(&other));
    let addr = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535".parse().unwrap();
    let (label, addrs) = ("x".repeat(LABEL_BYTES_MAX), vec![addr; INVITE_ADDRS_MAX]);
    assert!(length(&Invite { label, addrs, ..invite() }) <= CODE_PAYLOAD_BYTES_MAX);
}

fn deliver(offering: Offering, answer: &[u8]) -> Result<(Delivered, Vec<u8>), ExchangeError> {
    offering.judge(answer).map(|proven| proven.deliver(&invite()))
}
