//! AUTH (section 3.15).

use super::error::{Violation, WireError};
use super::primitive::{Cursor, Sink};
use super::property::{self, Carrier, Properties, Property};
use super::{reasons, user};
use crate::packet::{Auth, PacketType, Version};
use crate::reason::ReasonCode;
use crate::text::Text;
use bytes::Bytes;

pub(crate) fn decode(frame: &Bytes) -> Result<Auth, WireError> {
    let mut auth = Auth {
        reason: ReasonCode::SUCCESS,
        method: None,
        data: None,
        reason_string: None,
        user_properties: Vec::new(),
    };
    let mut cursor = Cursor::new(frame);
    // Section 3.15.2.1: success without properties may leave out everything, the method too.
    if cursor.is_empty() {
        return Ok(auth);
    }
    auth.reason = reasons::take(PacketType::Auth, Version::V5, cursor.take_u8()?)?;
    if !cursor.is_empty() {
        let mut properties = Properties::take(&mut cursor, Carrier::AUTH)?;
        while let Some(property) = properties.next()? {
            match property {
                Property::AuthMethod(text) => auth.method = Some(Text::part_of(frame, text)),
                Property::AuthData(data) => auth.data = Some(frame.slice_ref(data)),
                Property::ReasonString(text) => auth.reason_string = Some(Text::part_of(frame, text)),
                Property::User(pair) => user::push(&mut auth.user_properties, frame, pair)?,
                other => return Err(other.misplaced()),
            }
        }
    }
    cursor.end()?;
    if auth.method.is_none() {
        return Err(Violation::AuthWithoutMethod.into());
    }
    Ok(auth)
}

pub(crate) fn put<S: Sink>(auth: &Auth, sink: &mut S) {
    let bare = auth.method.is_none()
        && auth.data.is_none()
        && auth.reason_string.is_none()
        && auth.user_properties.is_empty();
    if bare && auth.reason == ReasonCode::SUCCESS {
        return;
    }
    sink.put_u8(auth.reason.code());
    property::put_block(sink, &[], &|put| {
        if let Some(method) = &auth.method {
            put(Property::AuthMethod(method));
        }
        if let Some(data) = &auth.data {
            put(Property::AuthData(data));
        }
        user::each(auth.reason_string.as_ref(), &auth.user_properties, put);
    });
}
