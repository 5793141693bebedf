//! Tests of invites: the link survives its journey or says what happened to it, and leaks nothing.

use super::*;

fn invite() -> Invite {
    Invite {
        folder: FolderId([1; 32]),
        issuer: PeerId([2; 32]),
        seed: Zeroizing::new([7; 32]),
        not_after_ms: 1_800_000_000_000,
        label: "holiday pictures".to_owned(),
        addrs: vec!["192.168.1.7:27272".parse().unwrap(), "[fe80::1%3]:27272".parse().unwrap()],
    }
}

/// A stored or sent format is a promise: this link must be readable for ever.
const GOLDEN: &str = "dunlin://join#\
    aeaknbsyeaaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcwbaaibaeaqcaibaeaqcaibaeaqcaibaeaqc\
    aibaeaqcaibaeaqcaibfqiaha4dqobyha4dqobyha4dqobyha4dqobyha4dqobyha4dqobyha4nqaaabummfyuaaobug63dj\
    mrqxsidqnfrxi5lsmvzye4jrhezc4mjwhaxdclrxhizdomrxgjyvwztfhayduorreuzv2orsg4zdomxcauh66";

#[test]
fn a_link_is_what_it_was() {
    assert_eq!(invite().to_link(), GOLDEN);
    assert_eq!(Invite::parse(GOLDEN), Ok(invite()));
}

#[test]
fn a_link_survives_mail() {
    let link = invite().to_link();
    let (start, end) = link.split_at(60);
    for text in [format!("  {link}\n"), format!("{start}\r\n {end}"), link.to_uppercase()] {
        assert_eq!(Invite::parse(&text), Ok(invite()), "{text}");
    }
}

#[test]
fn every_cut_is_told() {
    let link = invite().to_link();
    for len in 0..link.len() {
        let wanted = if len < PREFIX.len() { InviteError::NotAnInvite } else { InviteError::Truncated };
        assert_eq!(Invite::parse(&link[..len]), Err(wanted), "the first {len} characters");
    }
}

#[test]
fn every_mistyped_character_is_told() {
    let link = invite().to_link();
    for at in PREFIX.len()..link.len() {
        let mut typed = link.clone().into_bytes();
        typed[at] = if typed[at] == b'a' { b'b' } else { b'a' };
        let parsed = Invite::parse(&String::from_utf8(typed).unwrap());
        let error = parsed.expect_err("a mistyped link was taken");
        // The first characters hold version and length, so they can claim anything.
        if at >= PREFIX.len() + 5 {
            assert_eq!(error, InviteError::Damaged, "character {at}");
        }
    }
    assert_eq!(Invite::parse(&format!("{link}aa")), Err(InviteError::Damaged));
    assert_eq!(Invite::parse(&format!("{link}!")), Err(InviteError::Damaged));
    assert_eq!(Invite::parse(&link.replace("join", "jöin")), Err(InviteError::NotAnInvite));
}

fn body(invite: &Invite) -> Vec<u8> {
    let mut e = Encoder::new(Vec::new());
    invite.write(&mut e).unwrap();
    e.into_writer()
}

#[test]
fn versions_and_limits_are_told() {
    let sound = body(&invite());
    assert_eq!(Invite::parse(&LINK.write_as(1, &sound)), Ok(invite()));
    assert_eq!(Invite::parse(&LINK.write_as(2, &sound)), Err(InviteError::Newer));
    assert_eq!(Invite::parse(&LINK.write_as(0, &sound)), Err(InviteError::Damaged));
    assert_eq!(Invite::parse(&LINK.write_as(1, &[&sound[..], &[0]].concat())), Err(InviteError::Damaged));
    let long = Invite { label: "x".repeat(LABEL_BYTES_MAX + 1), ..invite() };
    assert_eq!(Invite::parse(&long.to_link()), Err(InviteError::Damaged));
    let mut many = invite();
    many.addrs = vec![many.addrs[0]; INVITE_ADDRS_MAX + 1];
    let kept = Invite::parse(&many.to_link()).unwrap();
    assert_eq!(kept.addrs.len(), INVITE_ADDRS_MAX, "a link takes the first addresses");
    let mut claims = vec![0x86];
    claims.extend_from_slice(&sound[1..sound.len() - 38]);
    claims.extend_from_slice(&[0x9a, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(Invite::parse(&LINK.write_as(1, &claims)), Err(InviteError::Damaged));
}

#[test]
fn the_longest_invite_fits() {
    let addr = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535";
    let longest = Invite {
        not_after_ms: i64::MAX,
        label: "x".repeat(LABEL_BYTES_MAX),
        addrs: vec![addr.parse().unwrap(); INVITE_ADDRS_MAX],
        ..invite()
    };
    assert_eq!(Invite::parse(&longest.to_link()), Ok(longest));
    assert_eq!(Invite::parse(&format!("{PREFIX}{}", "a".repeat(1 << 20))), Err(InviteError::Damaged));
}

#[test]
fn time_is_an_argument() {
    let invite = invite();
    assert_eq!(invite.check_time(invite.not_after_ms), Ok(()));
    assert_eq!(invite.check_time(invite.not_after_ms + 1), Err(InviteError::Expired));
}

/// G5, G8: neither the words for people nor what goes over the wire holds the secret.
#[test]
fn the_seed_stays_hidden() {
    let invite = invite();
    assert!(!format!("{invite:?}").contains("07"), "{invite:?}");
    let seed = *invite.seed;
    let keys = [*invite.psk(), invite.key().peer_id().0, *folder_psk(&seed)];
    assert!(keys.iter().all(|key| *key != seed));
    assert_eq!(std::collections::BTreeSet::from(keys).len(), 3, "each key has its own context");
}

#[test]
fn a_proof_is_good_for_one_joiner_folder_and_session() {
    let invite = invite();
    let (joiner, binding) = (PeerId([3; 32]), [4; 32]);
    let proof = JoinProof::sign(&invite, &joiner, &binding);
    let key = invite.key().peer_id();
    assert_eq!(JoinProof::verify(&key, &invite.folder, &joiner, &binding, &proof), Ok(()));
    let other_key = invite_key(&[8; 32]).peer_id();
    let wrong = [
        JoinProof::verify(&other_key, &invite.folder, &joiner, &binding, &proof),
        JoinProof::verify(&key, &FolderId([9; 32]), &joiner, &binding, &proof),
        JoinProof::verify(&key, &invite.folder, &PeerId([9; 32]), &binding, &proof),
        JoinProof::verify(&key, &invite.folder, &joiner, &[9; 32], &proof),
    ];
    for (row, result) in wrong.into_iter().enumerate() {
        assert_eq!(result, Err(VerifyError::BadSignature), "row {row}");
    }
    let message = join_message(&invite.folder, &joiner, &binding);
    let elsewhere = verify(&key, Domain::NoiseIdentity, &message, &proof);
    assert_eq!(elsewhere, Err(VerifyError::BadSignature), "H15: one domain is not another");
}
