//! Header protection (RFC 9001 §5.4) with `ring`: hides packet numbers and key phases.

use quinn_proto::crypto;
use ring::aead::quic::HeaderProtectionKey;

const SAMPLE_LEN: usize = 16;

/// A header protection key of one direction.
pub(crate) struct HeaderKey(pub HeaderProtectionKey);

impl HeaderKey {
    fn mask(&self, number_at: usize, packet: &[u8]) -> [u8; 5] {
        // The sample begins where a packet number of four bytes would end.
        let sample = &packet[number_at + 4..number_at + 4 + SAMPLE_LEN];
        // Fails only for a sample of another length.
        self.0.new_mask(sample).expect("a sample of 16 bytes")
    }
}

impl crypto::HeaderKey for HeaderKey {
    fn decrypt(&self, number_at: usize, packet: &mut [u8]) {
        let mask = self.mask(number_at, packet);
        packet[0] ^= mask[0] & masked_bits(packet[0]);
        mask_number(packet, number_at, &mask);
    }

    fn encrypt(&self, number_at: usize, packet: &mut [u8]) {
        let mask = self.mask(number_at, packet);
        mask_number(packet, number_at, &mask);
        packet[0] ^= mask[0] & masked_bits(packet[0]);
    }

    fn sample_size(&self) -> usize {
        SAMPLE_LEN
    }
}

/// Masks the packet number, whose length stands in the unmasked first byte.
fn mask_number(packet: &mut [u8], number_at: usize, mask: &[u8; 5]) {
    let number_len = usize::from(packet[0] & 0x03) + 1;
    for (byte, mask) in packet[number_at..number_at + number_len].iter_mut().zip(&mask[1..]) {
        *byte ^= mask;
    }
}

/// The bits of a first byte that are masked: four in a long header, five in a short one.
fn masked_bits(first: u8) -> u8 {
    if first & 0x80 != 0 { 0x0f } else { 0x1f }
}
