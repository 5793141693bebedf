//! What counts as signed: by this key, for this purpose, in one encoding.

use super::*;

const DOMAINS: [Domain; 3] = [Domain::Entry, Domain::NoiseIdentity, Domain::Join];

/// H15: what is signed as one thing is nothing else.
#[test]
fn a_signature_counts_for_its_purpose_alone() {
    let identity = Identity::from_seed(&[1; 32]);
    for signed in DOMAINS {
        let signature = identity.sign(signed, b"message");
        for asked in DOMAINS {
            let verdict = verify(&identity.peer_id(), asked, b"message", &signature);
            assert_eq!(verdict.is_ok(), asked == signed, "{signed:?} as {asked:?}");
        }
        assert!(verify(&identity.peer_id(), signed, b"massage", &signature).is_err());
    }
    // No tag is the beginning of another with what follows it.
    let [one, other] = [tagged(Domain::Entry, b"x"), tagged(Domain::Join, b"x")];
    assert!(!one.starts_with(&other) && !other.starts_with(&one));
}

/// F11: points of small order, for which one signature verifies any message, and encodings that are not canonical.
#[test]
fn weak_keys_and_bent_signatures_are_refused() {
    let mut small: Vec<[u8; 32]> = vec![[0; 32], [0; 32], [0xff; 32], [0; 32]];
    // The neutral element, the point of order two (y = -1), those of order four (y = 0), in both signs of x.
    small[0][0] = 1;
    (small[2][0], small[2][31]) = (0xec, 0x7f);
    small[3][31] = 0x80;
    // One of order eight.
    small.push([
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ]);
    for key in small {
        // R is the same point and S is zero: a lenient verifier takes it for many messages.
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&key);
        for message in 0..32u8 {
            let verdict = verify(&PeerId(key), Domain::Entry, &[message], &signature);
            assert_eq!(verdict, Err(VerifyError::BadKey), "{key:02x?}");
        }
    }
    let identity = Identity::from_seed(&[2; 32]);
    let good = identity.sign(Domain::Entry, b"message");
    let bent = plus_order(&good);
    assert_ne!(bent, good);
    assert_eq!(verify(&identity.peer_id(), Domain::Entry, b"message", &good), Ok(()));
    let verdict = verify(&identity.peer_id(), Domain::Entry, b"message", &bent);
    assert_eq!(verdict, Err(VerifyError::BadSignature), "S + L is the same number to a lenient verifier");
}

/// The same signature with the order of the group added to its scalar.
fn plus_order(signature: &[u8; 64]) -> [u8; 64] {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut bent = *signature;
    let mut carry = 0;
    for (byte, order) in bent[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    bent
}
