//! `src/text.rs`: what is not ours is escaped, and a text that does not fit is counted.

use crate::text::Writer;

fn written(write: impl FnOnce(&mut Writer<'_>)) -> String {
    let mut room = [0; 200];
    let mut writer = Writer::new(&mut room);
    write(&mut writer);
    String::from_utf8(writer.written().to_vec()).unwrap()
}

#[test]
fn numbers() {
    assert_eq!(
        written(|w| {
            w.number(0);
        }),
        "0"
    );
    assert_eq!(
        written(|w| {
            w.number(u64::MAX);
        }),
        u64::MAX.to_string()
    );
    assert_eq!(
        written(|w| {
            w.seconds(62).text(" ").seconds(1_118);
        }),
        "0.062s 1.118s"
    );
    assert_eq!(
        written(|w| {
            w.digits(0x1267, 16, 1);
        }),
        "1267"
    );
}

#[test]
fn escapes() {
    let all: Vec<u8> = (0..=255).collect();
    let mut room = [0; 2000];
    let mut writer = Writer::new(&mut room);
    writer.word(&all);
    assert!(
        writer
            .written()
            .iter()
            .all(|byte| (b'!'..=b'~').contains(byte) && *byte != b'"')
    );
    assert_eq!(
        written(|w| {
            w.escaped(b"a\"b\\c\nd e\xff");
        }),
        "a\\x22b\\x5Cc\\x0Ad e\\xFF"
    );
    assert_eq!(
        written(|w| {
            w.word(b"[string \"x\"]");
        }),
        "[string\\x20\\x22x\\x22]"
    );
    assert_eq!(
        written(|w| {
            w.quoted(b"a\\x22\"");
        }),
        "a\\\\x22\\\""
    );
    assert_eq!(
        written(|w| {
            w.html(b"<a href=\"&\">");
        }),
        "&lt;a href=&quot;&amp;&quot;&gt;"
    );
}

#[test]
fn what_does_not_fit_is_counted() {
    let mut room = [0; 4];
    let mut writer = Writer::new(&mut room);
    writer.text("abc").number(123);
    assert_eq!(writer.written(), b"abc1");
    assert_eq!(writer.len(), 6);
}
