//! DISCONNECT (section 3.14).

use super::error::WireError;
use super::primitive::{Cursor, Sink};
use super::property::{self, Carrier, Properties, Property};
use super::{reasons, user};
use crate::packet::{Disconnect, PacketType, Version};
use crate::reason::ReasonCode;
use crate::text::Text;
use bytes::Bytes;

pub(crate) fn decode(frame: &Bytes, version: Version) -> Result<Disconnect, WireError> {
    let mut cursor = Cursor::new(frame);
    let mut disconnect = Disconnect::new(ReasonCode::SUCCESS);
    // Section 3.14.2: an empty body means a normal disconnection, a lone reason code no properties.
    if version == Version::V5 && !cursor.is_empty() {
        disconnect.reason = reasons::take(PacketType::Disconnect, version, cursor.take_u8()?)?;
        if !cursor.is_empty() {
            take_properties(&mut cursor, frame, &mut disconnect)?;
        }
    }
    cursor.end()?;
    Ok(disconnect)
}

fn take_properties(
    cursor: &mut Cursor<'_>,
    frame: &Bytes,
    disconnect: &mut Disconnect,
) -> Result<(), WireError> {
    let mut properties = Properties::take(cursor, Carrier::DISCONNECT)?;
    while let Some(property) = properties.next()? {
        match property {
            Property::SessionExpiry(seconds) => disconnect.session_expiry_seconds = Some(seconds),
            Property::ReasonString(text) => disconnect.reason_string = Some(Text::part_of(frame, text)),
            Property::ServerReference(text) => {
                disconnect.server_reference = Some(Text::part_of(frame, text));
            }
            Property::User(pair) => user::push(&mut disconnect.user_properties, frame, pair)?,
            other => return Err(other.misplaced()),
        }
    }
    Ok(())
}

pub(crate) fn put<S: Sink>(disconnect: &Disconnect, version: Version, sink: &mut S) {
    let bare = disconnect.session_expiry_seconds.is_none()
        && disconnect.reason_string.is_none()
        && disconnect.server_reference.is_none()
        && disconnect.user_properties.is_empty();
    if version < Version::V5 || (bare && disconnect.reason == ReasonCode::SUCCESS) {
        return;
    }
    sink.put_u8(disconnect.reason.code());
    if bare {
        return;
    }
    property::put_block(sink, &[], &|put| {
        if let Some(seconds) = disconnect.session_expiry_seconds {
            put(Property::SessionExpiry(seconds));
        }
        if let Some(text) = &disconnect.server_reference {
            put(Property::ServerReference(text));
        }
        user::each(
            disconnect.reason_string.as_ref(),
            &disconnect.user_properties,
            put,
        );
    });
}
