//! Text that is written into a buffer of fixed size, and the escapes of what is not ours.

#![forbid(unsafe_code)]

use core::ffi::CStr;

/// A text in a buffer. What does not fit is cut off, and counted.
pub(crate) struct Writer<'a> {
    room: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(room: &'a mut [u8]) -> Self {
        Writer { room, len: 0 }
    }

    /// The length of the whole text.
    pub(crate) fn whole(&self) -> usize {
        self.len
    }

    /// What fits of the text, for as long as the buffer lives.
    pub(crate) fn finish(self) -> &'a [u8] {
        let len = self.len.min(self.room.len());
        self.room.get(..len).unwrap_or_default()
    }

    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.room.get_mut(self.len) {
            *place = byte;
        }
        self.len = self.len.saturating_add(1);
    }

    fn digits(&mut self, mut number: u64, base: u64, width: usize) {
        let mut digits = [0; 20];
        let mut used = 0;
        for place in digits.iter_mut().rev() {
            if number == 0 && used >= width {
                break;
            }
            let digit = number.checked_rem(base).unwrap_or(0) as usize;
            *place = *b"0123456789ABCDEF".get(digit).unwrap_or(&b'0');
            number = number.checked_div(base).unwrap_or(0);
            used = used.saturating_add(1);
        }
        let unused = digits.len().saturating_sub(used);
        digits.iter().skip(unused).for_each(|digit| self.byte(*digit));
    }
}

/// What `write` writes, as much of it as fits.
pub(crate) fn written(room: &mut [u8], write: impl FnOnce(&mut Writer<'_>)) -> &[u8] {
    let mut writer = Writer::new(room);
    write(&mut writer);
    writer.finish()
}

/// The longest `source:line`.
pub(crate) const PLACE: usize = 80;

/// Writes `source:line` as one word. A long source is cut, so that the line remains.
pub(crate) fn place<'a>(room: &'a mut [u8; PLACE], source: &[u8], line: i32) -> &'a [u8] {
    let mut source_room = [0; 68];
    let source = written(&mut source_room, |w| put!(w; Word(source)));
    written(room, |w| put!(w; source, ":", u64::from(line.unsigned_abs())))
}

pub(crate) fn escaped<'a>(room: &'a mut [u8], text: &[u8]) -> &'a [u8] {
    written(room, |w| put!(w; Escaped(text)))
}

/// The text up to its first zero.
pub(crate) fn until_zero(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Writes each [`Part`] to a [`Writer`]: `put!(w; "worker ", pid)`.
macro_rules! put {
    ($writer:expr; $($part:expr),+) => {{
        let writer: &mut $crate::text::Writer<'_> = $writer;
        $($crate::text::Part::write($part, writer);)+
    }};
}
pub(crate) use put;

/// A part of a text: bytes as they are, a number in decimal, or one of the types below.
pub(crate) trait Part {
    fn write(self, writer: &mut Writer<'_>);
}

impl Part for &[u8] {
    fn write(self, writer: &mut Writer<'_>) {
        let room = writer.room.iter_mut().skip(writer.len);
        room.zip(self).for_each(|(place, byte)| *place = *byte);
        writer.len = writer.len.saturating_add(self.len());
    }
}

impl Part for &str {
    fn write(self, writer: &mut Writer<'_>) {
        self.as_bytes().write(writer);
    }
}

impl Part for u64 {
    fn write(self, writer: &mut Writer<'_>) {
        writer.digits(self, 10, 1);
    }
}

impl Part for u32 {
    fn write(self, writer: &mut Writer<'_>) {
        u64::from(self).write(writer);
    }
}

impl Part for &CStr {
    fn write(self, writer: &mut Writer<'_>) {
        self.to_bytes().write(writer);
    }
}

pub(crate) struct Hex(pub(crate) u64);

impl Part for Hex {
    fn write(self, writer: &mut Writer<'_>) {
        writer.digits(self.0, 16, 1);
    }
}

/// Milliseconds, as seconds with three decimals, never negative
/// (`ngx_http_variable_request_time`: `"%T.%03M"`).
pub(crate) struct Seconds(pub(crate) i64);

impl Part for Seconds {
    fn write(self, writer: &mut Writer<'_>) {
        let ms = self.0.max(0).unsigned_abs();
        put!(writer; ms / 1000, ".");
        writer.digits(ms % 1000, 10, 3);
    }
}

/// Text from Lua or a client, escaped as in nginx's access log: printable ASCII without
/// quotation marks remains.
pub(crate) struct Escaped<'a>(pub(crate) &'a [u8]);

impl Part for Escaped<'_> {
    fn write(self, writer: &mut Writer<'_>) {
        escape(writer, self.0, b' ');
    }
}

/// The same without spaces, so that it is one word.
pub(crate) struct Word<'a>(pub(crate) &'a [u8]);

impl Part for Word<'_> {
    fn write(self, writer: &mut Writer<'_>) {
        escape(writer, self.0, b'!');
    }
}

fn escape(writer: &mut Writer<'_>, text: &[u8], first: u8) {
    for byte in text {
        if !(first..=b'~').contains(byte) || matches!(byte, b'"' | b'\\') {
            put!(writer; "\\x");
            writer.digits(u64::from(*byte), 16, 2);
        } else {
            writer.byte(*byte);
        }
    }
}

/// Printable text, as a string of JSON or the value of one of Prometheus' labels.
pub(crate) struct Quoted<'a>(pub(crate) &'a [u8]);

impl Part for Quoted<'_> {
    fn write(self, writer: &mut Writer<'_>) {
        writer.byte(b'"');
        for byte in self.0 {
            if matches!(byte, b'"' | b'\\') {
                writer.byte(b'\\');
            }
            writer.byte(*byte);
        }
        writer.byte(b'"');
    }
}

/// Printable text in HTML.
pub(crate) struct Html<'a>(pub(crate) &'a [u8]);

impl Part for Html<'_> {
    fn write(self, writer: &mut Writer<'_>) {
        for byte in self.0 {
            match byte {
                b'<' => put!(writer; "&lt;"),
                b'&' => put!(writer; "&amp;"),
                b'\'' => put!(writer; "&#39;"),
                _ => writer.byte(*byte),
            }
        }
    }
}
