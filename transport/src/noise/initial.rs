//! The keys of Initial packets, and a look into a first datagram before QUIC sees it.
//!
//! A responder does not know at first which of its pre-shared keys was used: it tries them all, a hash and
//! a tag for each, and answers under the one that fits.

use super::cipher::Cipher;
use super::packet::{PacketKey, TAG_LEN};
use super::secret::{Level, Secret, Secrets};
use bytes::BytesMut;
use quinn_proto::crypto::{self, CryptoError, KeyPair, Keys};
use quinn_proto::{ConnectionId, Side};
use std::sync::{Arc, OnceLock};
use zeroize::Zeroizing;

const CIPHER: Cipher = Cipher::ChaCha;

/// The keys of one connection's Initial packets under any of `psks`; `matched` is set by the first packet
/// that opens.
pub(crate) fn initial_keys<'a>(
    psks: impl Iterator<Item = &'a [u8; 32]>,
    cid: &ConnectionId,
    side: Side,
    matched: &Arc<OnceLock<usize>>,
) -> Keys {
    let secrets: Vec<Secrets> = psks
        .map(|psk| Zeroizing::new([&psk[..], &cid[..]].concat()))
        .map(|material| Secrets::new(Level::Initial, &material, side))
        .collect();
    let key = |of: fn(&Secrets) -> &Secret| -> Box<dyn crypto::PacketKey> {
        let keys = secrets.iter().map(|secrets| of(secrets).packet_key(CIPHER)).collect();
        Box::new(InitialKey { keys, matched: matched.clone() })
    };
    let packet = KeyPair { local: key(|s| &s.local), remote: key(|s| &s.remote) };
    Keys { header: Secrets::new(Level::InitialHeader, cid, side).header_keys(CIPHER), packet }
}

struct InitialKey {
    keys: Vec<PacketKey>,
    matched: Arc<OnceLock<usize>>,
}

impl crypto::PacketKey for InitialKey {
    fn encrypt(&self, number: u64, packet: &mut [u8], header_len: usize) {
        // Before a match there is only an acknowledgement to say, to somebody who has one of the keys.
        if let Some(key) = self.keys.get(self.matched.get().copied().unwrap_or_default()) {
            key.encrypt(number, packet, header_len);
        }
    }

    fn decrypt(&self, number: u64, header: &[u8], payload: &mut BytesMut) -> Result<(), CryptoError> {
        if let Some(at) = self.matched.get() {
            return self.keys.get(*at).ok_or(CryptoError)?.decrypt(number, header, payload);
        }
        for (at, key) in self.keys.iter().enumerate() {
            let mut attempt = payload.clone();
            if key.decrypt(number, header, &mut attempt).is_ok() {
                // Another thread's answer would be the same.
                let _ = self.matched.set(at);
                *payload = attempt;
                return Ok(());
            }
        }
        Err(CryptoError)
    }

    fn tag_len(&self) -> usize {
        TAG_LEN
    }

    fn confidentiality_limit(&self) -> u64 {
        CIPHER.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        CIPHER.integrity_limit()
    }
}

/// True for an Initial packet by its first byte.
pub(crate) fn is_initial(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0xf0 == 0xc0)
}

/// The ephemeral key of the m1 in a first datagram that one of `psks` opens.
///
/// A second reading of what quinn-proto parses too, since it shows nobody a payload before it has made a
/// connection of it. Anything that our own initiator does not send is `None`.
pub(crate) fn ephemeral_of<'a>(
    datagram: &[u8],
    psks: impl Iterator<Item = &'a [u8; 32]>,
) -> Option<[u8; 32]> {
    let (cid, number_at, end) = layout(datagram)?;
    let keys = initial_keys(psks, &cid, Side::Server, &Arc::default());
    let mut packet = datagram.get(..end)?.to_vec();
    if packet.len() < number_at + 4 + keys.header.remote.sample_size() {
        return None;
    }
    keys.header.remote.decrypt(number_at, &mut packet);
    let number_len = usize::from(packet[0] & 0x03) + 1;
    let (header, payload) = packet.split_at(number_at + number_len);
    let number = header[number_at..].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let mut payload = BytesMut::from(payload);
    keys.packet.remote.decrypt(number, header, &mut payload).ok()?;
    first_crypto(&payload)?.get(2..34)?.try_into().ok()
}

/// Destination connection id, offset of the packet number, end of the packet.
fn layout(datagram: &[u8]) -> Option<(ConnectionId, usize, usize)> {
    let mut rest = datagram.get(5..)?;
    let cid = ConnectionId::new(take_short(&mut rest).filter(|cid| cid.len() <= 20)?);
    take_short(&mut rest)?;
    let token_len = take_varint(&mut rest)?;
    rest = rest.get(token_len..)?;
    let len = take_varint(&mut rest)?;
    let number_at = datagram.len() - rest.len();
    Some((cid, number_at, number_at.checked_add(len)?))
}

/// The contents of the first CRYPTO frame, if it begins the stream.
fn first_crypto(mut payload: &[u8]) -> Option<&[u8]> {
    const PADDING: u8 = 0;
    const PING: u8 = 1;
    const CRYPTO: u8 = 6;
    loop {
        let (kind, rest) = payload.split_first()?;
        payload = rest;
        match *kind {
            PADDING | PING => {}
            CRYPTO if take_varint(&mut payload)? == 0 => {
                let len = take_varint(&mut payload)?;
                return payload.get(..len);
            }
            _ => return None,
        }
    }
}

/// Bytes behind their length of one byte.
fn take_short<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, tail) = rest.split_first()?;
    let (bytes, tail) = tail.split_at_checked(usize::from(*len))?;
    *rest = tail;
    Some(bytes)
}

/// A variable-length integer (RFC 9000 §16).
fn take_varint(rest: &mut &[u8]) -> Option<usize> {
    let len = 1 << (rest.first()? >> 6);
    let (bytes, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    let first = usize::from(bytes[0] & 0x3f);
    Some(bytes[1..].iter().fold(first, |value, byte| value << 8 | usize::from(*byte)))
}
