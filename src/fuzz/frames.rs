use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::Choices;
use crate::relay::fuzz::{boundary, tapped};
use crate::ws::frame::{FrameError, encode};
use crate::ws::scan::Sender;
use crate::ws::{Header, Item, Opcode, Scanner};

/// Frames of either side: what is found does not depend on how they are cut, agrees with another implementation of
/// RFC 6455, and costs no byte.
pub fn frames(data: &[u8]) {
    let mut choices = Choices(data);
    let sender = choices.one_of(&[Sender::Client, Sender::Gateway]);
    let limit = choices.one_of(&[1024, 16, 0, usize::MAX]);
    let step = usize::from(choices.byte()) + 1;
    let bytes = choices.0;

    let whole = scanned(bytes, sender, limit, usize::MAX);
    assert_eq!(whole, scanned(bytes, sender, limit, step));
    assert_eq!(whole, scanned(bytes, sender, limit, 1));
    assert_headers(bytes);

    let mut at = 0;
    for item in &whole.0 {
        let (raw, controls) = match item {
            Item::Control { raw, .. } => (*raw, [].as_slice()),
            Item::Message {
                payload,
                raw,
                controls,
                opcode,
            } => {
                assert!(payload.len() <= limit && *opcode != Opcode::Continuation);
                assert!(payload.len() + controls.len() < *raw);
                (*raw, controls.as_slice())
            }
        };
        assert_controls(controls, sender);
        at += raw;
    }
    assert!(at <= bytes.len());

    assert_eq!(boundary(bytes, usize::MAX), boundary(bytes, step));
    let passed = tapped(bytes, step);
    assert_eq!(passed, tapped(bytes, usize::MAX));
    if !bytes.windows(13).any(|window| window == b"missing scope") {
        assert_eq!(passed, bytes, "the tap of a degraded session changed bytes");
    }
}

type Scanned = (Vec<Item>, Option<FrameError>);

/// Everything that is found in bytes that come in pieces of this size, and what ended it.
fn scanned(bytes: &[u8], sender: Sender, limit: usize, step: usize) -> Scanned {
    let mut scanner = Scanner::new(sender, limit);
    let (mut items, mut start, mut end) = (Vec::new(), 0, 0);
    loop {
        match scanner.next(&bytes[start..end]) {
            Err(error) => return (items, Some(error)),
            Ok(None) if end == bytes.len() => return (items, None),
            Ok(None) => end = end.saturating_add(step).min(bytes.len()),
            Ok(Some(item)) => {
                let (Item::Control { raw, .. } | Item::Message { raw, .. }) = &item;
                assert!(*raw > 0 && start + raw <= end);
                start += raw;
                items.push(item);
            }
        }
    }
}

/// Control frames that stood inside a message are whole.
fn assert_controls(controls: &[u8], sender: Sender) {
    let (items, error) = scanned(controls, sender, 0, usize::MAX);
    let total: usize = items
        .iter()
        .map(|item| match item {
            Item::Control { raw, .. } => *raw,
            Item::Message { .. } => unreachable!("no message inside a message"),
        })
        .sum();
    assert_eq!((total, error), (controls.len(), None));
}

/// A header that is understood is the one that another implementation reads; one that is written is the same bytes.
fn assert_headers(bytes: &[u8]) {
    let Ok(Some(header)) = Header::parse(bytes) else {
        return;
    };
    let mut theirs = std::io::Cursor::new(bytes);
    let (other, length) = FrameHeader::parse(&mut theirs).unwrap().unwrap();
    assert_eq!(theirs.position(), header.header_len as u64);
    assert_eq!(length, header.payload_len);
    assert_eq!(
        (other.is_final, other.opcode, other.mask),
        (header.fin, theirs_of(header.opcode), header.mask)
    );
    let whole = usize::try_from(length)
        .ok()
        .and_then(|length| bytes.get(..header.header_len.checked_add(length)?));
    if let (true, Some(frame)) = (header.fin, whole) {
        let mut payload = frame[header.header_len..].to_vec();
        crate::ws::frame::apply_mask(&mut payload, header.mask.unwrap_or_default());
        assert_eq!(encode(header.opcode, &payload, header.mask), frame);
    }
}

fn theirs_of(opcode: Opcode) -> OpCode {
    match opcode {
        Opcode::Continuation => OpCode::Data(Data::Continue),
        Opcode::Text => OpCode::Data(Data::Text),
        Opcode::Binary => OpCode::Data(Data::Binary),
        Opcode::Close => OpCode::Control(Control::Close),
        Opcode::Ping => OpCode::Control(Control::Ping),
        Opcode::Pong => OpCode::Control(Control::Pong),
    }
}
