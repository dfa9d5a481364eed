//! Every bound of the codec, with the relations between them.

/// The largest value of a Variable Byte Integer (section 1.5.5), thus of a Remaining Length.
pub const VARINT_MAX: u32 = 268_435_455;

/// Bytes of the longest fixed header: one byte of type and flags, four of Remaining Length.
pub const FIXED_HEADER_BYTES_MAX: usize = 5;

/// Bytes of the largest packet the protocol can express, fixed header included.
pub const PACKET_BYTES_MAX: u32 = VARINT_MAX + 5;

/// Bytes of the longest string, binary value or topic.
pub const FIELD_BYTES_MAX: usize = 65_535;

/// Whole packet, when nobody has set a limit: 1 MiB.
pub const PACKET_BYTES_MAX_DEFAULT: u32 = 1024 * 1024;

/// Whole packet of PUBACK, PUBREC, PUBREL, PUBCOMP and DISCONNECT of 5.0: room for a reason string and user
/// properties of 64 KiB in all. A larger one is refused on its fixed header with 0x95.
pub const ACK_BYTES_MAX: u32 = 64 * 1024;

/// User properties that are taken out of one packet (a PUBLISH keeps its own encoded, uncounted). One costs the sender
/// five bytes and us 64: more are refused with 0x97.
pub const USER_PROPERTIES_MAX: usize = 4096;

/// Topic filters of one SUBSCRIBE or UNSUBSCRIBE. More are refused with 0x97.
pub const FILTERS_MAX: usize = 16_384;

/// A payload of this size and above is queued for writing as a shared slice, a smaller one is copied behind its header.
pub const VECTORED_PAYLOAD_BYTES_MIN: usize = 4096;

/// Capacity that an empty [`crate::wire::Output`] keeps for good; more is kept only while it is needed.
pub const OUTPUT_KEPT_BYTES_MAX: usize = 4096;

/// Length of a client identifier of MQTT 3.1, in characters: at least one, at most this.
pub const CLIENT_ID_CHARS_MAX_V31: usize = 23;

const _: () = assert!(ACK_BYTES_MAX <= PACKET_BYTES_MAX_DEFAULT);
const _: () = assert!(PACKET_BYTES_MAX_DEFAULT <= PACKET_BYTES_MAX);
const _: () = assert!(FIELD_BYTES_MAX == u16::MAX as usize);
