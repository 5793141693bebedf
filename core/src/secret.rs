//! A secret of 32 bytes: what opens a handshake, or what such keys are made of. It does not show itself, and is zeroized on drop.

use minicbor::bytes::{DecodeBytes, EncodeBytes};
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use std::fmt;
use std::ops::Deref;
use zeroize::Zeroizing;

/// See the module's doc. In CBOR it is a byte string of 32 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl From<[u8; 32]> for Secret {
    fn from(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl From<Zeroizing<[u8; 32]>> for Secret {
    fn from(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }
}

impl Deref for Secret {
    type Target = [u8; 32];

    fn deref(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl<C> Encode<C> for Secret {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        self.0.encode_bytes(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for Secret {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        <[u8; 32]>::decode_bytes(d, ctx).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{FolderId, PeerId};
    use crate::invite::Invite;
    use crate::message::{Message, Welcome};
    use crate::recovery::Kit;

    #[test]
    fn it_is_a_string_of_32_bytes() {
        let secret = Secret::from([0xab; 32]);
        let bytes = minicbor::to_vec(&secret).unwrap();
        assert_eq!(bytes, [&[0x58, 32][..], &[0xab; 32]].concat());
        assert_eq!(minicbor::decode::<Secret>(&bytes).unwrap(), secret);
        assert!(minicbor::decode::<Secret>(&bytes[..32]).is_err());
    }

    /// G12: whoever prints one of these prints no secret.
    #[test]
    fn nothing_that_holds_one_shows_it() {
        let bytes = [0xab; 32];
        let invite = Invite {
            folder: FolderId([1; 32]),
            issuer: PeerId([2; 32]),
            seed: Zeroizing::new(bytes),
            not_after_ms: 0,
            label: String::new(),
            addrs: Vec::new(),
        };
        let (kit, secret) =
            (Kit { folder: FolderId([1; 32]), seed: Zeroizing::new(bytes) }, Secret::from(bytes));
        for shown in [
            format!("{secret:?} {secret:#?}"),
            format!("{invite:?} {:?}", invite.psk()),
            format!("{kit:?}"),
            format!("{:#?}", Message::Welcome(Welcome { secret: secret.clone() })),
        ] {
            let lower = shown.to_lowercase();
            assert!(!lower.contains("171") && !lower.contains("abab"), "{shown}");
            assert!(lower.contains("hidden"), "{shown}");
        }
    }
}
