//! The messages of a client (RFC 5802 section 7).

/// `n,,n=user,r=nonce`
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClientFirst {
    /// `n,,` or `y,,`: channel binding is not offered here. Comes back in the last message.
    pub(crate) header: String,
    /// What is behind it.
    pub(crate) bare: String,
    pub(crate) user: String,
    pub(crate) nonce: String,
}

impl ClientFirst {
    /// `None`: it is no such message, asks for channel binding, or names an extension that would have to be understood.
    pub(crate) fn read(data: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(data).ok()?;
        let bare = text.strip_prefix("n,,").or_else(|| text.strip_prefix("y,,"))?;
        let mut attributes = bare.split(',');
        let user = unescape(attributes.next()?.strip_prefix("n=")?)?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        let is_printable = nonce.bytes().all(|byte| byte.is_ascii_graphic());
        if user.is_empty() || nonce.is_empty() || !is_printable {
            return None;
        }
        Some(Self {
            header: text.get(..3)?.to_owned(),
            bare: bare.to_owned(),
            user,
            nonce: nonce.to_owned(),
        })
    }
}

/// `=2C` is a comma and `=3D` an equals sign; no other may stand there.
fn unescape(name: &str) -> Option<String> {
    let mut parts = name.split('=');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let (sign, rest) = match part.strip_prefix("2C") {
            Some(rest) => (',', rest),
            None => ('=', part.strip_prefix("3D")?),
        };
        out.push(sign);
        out.push_str(rest);
    }
    Some(out)
}

/// `c=biws,r=nonce,p=proof`
pub(crate) struct ClientFinal<'a> {
    pub(crate) channel: &'a str,
    pub(crate) nonce: &'a str,
    /// Everything before the proof: what the proof is about.
    pub(crate) without_proof: &'a str,
    pub(crate) proof: &'a str,
}

impl<'a> ClientFinal<'a> {
    pub(crate) fn read(data: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(data).ok()?;
        let (without_proof, proof) = text.rsplit_once(",p=")?;
        let mut attributes = without_proof.split(',');
        Some(Self {
            channel: attributes.next()?.strip_prefix("c=")?,
            nonce: attributes.next()?.strip_prefix("r=")?,
            without_proof,
            proof,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_a_comma_and_an_equals_sign() {
        let first = ClientFirst::read(b"n,,n=a=2Cb=3Dc,r=nonce").unwrap();
        assert_eq!(first.user, "a,b=c");
        assert_eq!(
            (first.header.as_str(), first.bare.as_str()),
            ("n,,", "n=a=2Cb=3Dc,r=nonce")
        );
    }

    #[test]
    fn what_is_no_first_message_is_not_read() {
        for text in [
            "",
            "n,,",
            "n=user,r=nonce",
            "n,,n=user",
            "n,,n=user,r=",
            "n,,n=,r=nonce",
            "n,,n=us=2cer,r=nonce",
            "n,,n=us=er,r=nonce",
            "n,,r=nonce,n=user",
            "n,,m=must,n=user,r=nonce",
            "n,a=admin,n=user,r=nonce",
            "p=tls-exporter,,n=user,r=nonce",
            "n,,n=user,r=no nce",
        ] {
            assert_eq!(ClientFirst::read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(ClientFirst::read(&[0xff]), None);
    }
}
