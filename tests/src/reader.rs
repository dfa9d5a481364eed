//! Reads the primitive data types of section 1.5 from a packet that has arrived whole.

/// A cursor over bytes; each error says what was wrong with them.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| format!("{length} bytes expected, {} left", self.rest.len()))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, String> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, String> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A variable byte integer, refused unless it is in its shortest form.
    pub(crate) fn varint(&mut self) -> Result<u32, String> {
        let mut value = 0u32;
        for position in 0..4 {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7F) << (7 * position);
            if byte & 0x80 == 0 {
                if position > 0 && byte == 0 {
                    return Err("a variable byte integer is longer than necessary".to_owned());
                }
                return Ok(value);
            }
        }
        Err("a variable byte integer has more than four bytes".to_owned())
    }

    pub(crate) fn binary(&mut self) -> Result<Vec<u8>, String> {
        let length = self.u16()?;
        Ok(self.take(usize::from(length))?.to_vec())
    }

    pub(crate) fn string(&mut self) -> Result<String, String> {
        let text = String::from_utf8(self.binary()?).map_err(|error| format!("not UTF-8: {error}"))?;
        if text.contains('\0') {
            return Err("a string contains U+0000".to_owned());
        }
        Ok(text)
    }
}
