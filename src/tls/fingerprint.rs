//! The SHA-256 of a certificate, by which the gateway's own clients pin it.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};

/// The SHA-256 of a certificate's DER form.
///
/// Shown as `openssl x509 -fingerprint -sha256` does, read as every client of the gateway reads it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate in DER form.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, certificate).as_ref());
        Self(bytes)
    }

    /// Reads 64 hexadecimal digits in either case, with or without colons and `sha256:` in front.
    ///
    /// Clients from 2026.8 read exactly these forms (`normalizeTlsFingerprint`); earlier ones also `sha256 AB…` and
    /// `sha-256`, which are read here, too. The `sha256 Fingerprint=` that openssl prints is taken along.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let rest = ["sha256", "sha-256"]
            .into_iter()
            .find_map(|name| text.strip_prefix(name))
            .map_or(text.as_str(), |rest| {
                let rest = rest.trim_start();
                let rest = rest.strip_prefix("fingerprint").unwrap_or(rest);
                rest.trim_start_matches([':', '=', ' '])
            });
        let digits: Vec<u8> = rest.bytes().filter(|byte| *byte != b':').collect();
        if digits.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            if !pair.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ":" };
            write!(f, "{separator}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_a_client_reads_is_the_same_fingerprint() {
        let fingerprint = Fingerprint::of(b"a certificate");
        let shown = fingerprint.to_string();
        let plain = shown.replace(':', "").to_ascii_lowercase();
        for text in [
            shown.clone(),
            plain.clone(),
            plain.to_ascii_uppercase(),
            format!(" sha256:{shown} "),
            format!("SHA256:{plain}"),
            format!("sha-256 {plain}"),
            format!("sha256 Fingerprint={shown}"),
        ] {
            assert_eq!(Fingerprint::parse(&text), Some(fingerprint), "{text}");
        }
    }

    #[test]
    fn what_is_no_sha_256_is_none() {
        let plain = Fingerprint::of(b"").to_string().replace(':', "");
        for text in [
            "",
            "sha256:",
            &plain[1..],
            &format!("{plain}0"),
            &format!("g{}", &plain[1..]),
            &format!("sha1:{plain}"),
            &format!("é{}", &plain[2..]),
        ] {
            assert_eq!(Fingerprint::parse(text), None, "{text}");
        }
    }
}
