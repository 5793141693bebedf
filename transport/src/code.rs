//! The numbers with which this layer closes a connection (`docs/wire.md`); the layer above has those below.

/// The program ends.
pub const ENDS: u32 = 0x101;
/// A frame beyond its lane's bound, or a lane that was cut off.
pub const BAD_LANE: u32 = 0x102;
/// The handshake took too long.
pub const HANDSHAKE_TIMEOUT: u32 = 0x103;
/// Too many connections; the device's oldest gives way.
pub const TOO_MANY: u32 = 0x104;
