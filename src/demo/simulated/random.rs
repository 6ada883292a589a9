//! Nonces, request ids and tokens.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// `N` random bytes.
pub(super) fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut out = [0; N];
    aws_lc_rs::rand::fill(&mut out).map_err(|_| io::Error::other("no randomness"))?;
    Ok(out)
}

/// A random UUID, the form of nonces, connection ids and request ids.
pub(super) fn uuid() -> io::Result<String> {
    let mut raw = bytes::<16>()?;
    raw[6] = raw[6] & 0x0f | 0x40;
    raw[8] = raw[8] & 0x3f | 0x80;
    let hex = hex(&raw);
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32];
    Ok(groups.map(|range| hex[range].to_owned()).join("-"))
}

/// A device token: 32 random bytes.
pub(super) fn token() -> io::Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(bytes::<32>()?))
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
