//! The codecs that a header can name. What they do is known one layer up.

/// Stands in the [`Shape`](crate::Shape) of an opener that takes whatever codec the object was created with.
pub const ANY_CODEC: u32 = u32::MAX;

/// The codecs that a header can name: the number in it, and the name for people.
pub const CODECS: [(u32, &str); 5] = [
    (0x0b1c_0203, "Bincode"),
    (0x6a73_6f6e, "Json"),
    (0x6d73_6770, "MsgPack"),
    (0x6279_7465, "Bytes"),
    (0x7069_636b, "Pickle"),
];

/// The name of the codec with this number, for people.
#[must_use]
pub fn codec_name(id: u32) -> String {
    let known = CODECS.iter().find(|(known, _)| *known == id);
    known.map_or_else(|| format!("{id:#010x}"), |(_, name)| (*name).to_owned())
}
