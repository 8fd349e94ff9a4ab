//! `src/text.rs`: what is not ours is escaped, and a text that does not fit is counted.

use crate::text::{Escaped, Hex, Html, Part, Quoted, Seconds, Word, Writer, until_zero, written};

fn text(part: impl Part) -> String {
    let mut room = [0; 2000];
    let text = written(&mut room, |writer| part.write(writer));
    String::from_utf8(text.to_vec()).unwrap()
}

#[test]
fn numbers() {
    assert_eq!(text(0_u64), "0");
    assert_eq!(text(u64::MAX), u64::MAX.to_string());
    assert_eq!(text(Seconds(62)), "0.062");
    assert_eq!(text(Seconds(1118)), "1.118");
    assert_eq!(text(Hex(0x1267)), "1267");
}

#[test]
fn escapes() {
    let all: Vec<u8> = (0..=255).collect();
    assert!(text(Word(&all)).bytes().all(|byte| (b'!'..=b'~').contains(&byte) && byte != b'"'));
    assert_eq!(text(Escaped(b"a\"b\\c\nd e\xff")), "a\\x22b\\x5Cc\\x0Ad e\\xFF");
    assert_eq!(text(Word(b"[string \"x\"]")), "[string\\x20\\x22x\\x22]");
    assert_eq!(text(Quoted(b"a\\x22\"")), "\"a\\\\x22\\\"\"");
    assert_eq!(text(Html(b"<a href='&'>")), "&lt;a href=&#39;&amp;&#39;>");
    assert_eq!(until_zero(b"a\0b"), b"a");
}

#[test]
fn what_does_not_fit_is_counted() {
    let mut room = [0; 4];
    let mut writer = Writer::new(&mut room);
    "abc".write(&mut writer);
    123_u64.write(&mut writer);
    assert_eq!(writer.whole(), 6);
    assert_eq!(writer.finish(), b"abc1");
}
