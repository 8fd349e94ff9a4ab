//! Text that is written into a buffer of fixed size, and the escapes of what is not ours.

#![forbid(unsafe_code)]

/// A text in a buffer. What does not fit is cut off, and counted.
pub struct Writer<'a> {
    room: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// An empty text.
    pub fn new(room: &'a mut [u8]) -> Self {
        Writer { room, len: 0 }
    }

    /// What fits of the text.
    pub fn written(&self) -> &[u8] {
        self.room.get(..self.len).unwrap_or(self.room)
    }

    /// What fits of the text, for as long as the buffer lives.
    pub fn finish(self) -> &'a [u8] {
        let len = self.len.min(self.room.len());
        self.room.get(..len).unwrap_or_default()
    }

    /// The length of the whole text.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.room.get_mut(self.len) {
            *place = byte;
        }
        self.len = self.len.saturating_add(1);
    }

    /// Writes a text as it is.
    pub fn text(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        text.as_ref().iter().for_each(|byte| self.byte(*byte));
        self
    }

    /// Writes a number in decimal.
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.digits(number, 10, 1)
    }

    /// Writes a number with a base up to 16, with at least `width` digits.
    pub fn digits(&mut self, mut number: u64, base: u64, width: usize) -> &mut Self {
        let mut digits = [b'0'; 20];
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
        let first = digits.len().saturating_sub(used);
        self.text(digits.get(first..).unwrap_or_default())
    }

    /// Writes milliseconds as seconds, such as `0.062s`.
    pub fn seconds(&mut self, ms: u64) -> &mut Self {
        self.number(ms / 1000)
            .text(".")
            .digits(ms % 1000, 10, 3)
            .text("s")
    }

    /// Writes a text from Lua or a client, escaped as in nginx's access log: printable ASCII
    /// without quotation marks remains.
    pub fn escaped(&mut self, text: &[u8]) -> &mut Self {
        self.hex(text, |byte| {
            !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\')
        })
    }

    /// The same without spaces, so that the text is one word.
    pub fn word(&mut self, text: &[u8]) -> &mut Self {
        self.hex(text, |byte| {
            !matches!(byte, b'!'..=b'~') || matches!(byte, b'"' | b'\\')
        })
    }

    fn hex(&mut self, text: &[u8], is_escaped: fn(u8) -> bool) -> &mut Self {
        for byte in text {
            if is_escaped(*byte) {
                self.text("\\x").digits(u64::from(*byte), 16, 2);
            } else {
                self.byte(*byte);
            }
        }
        self
    }

    /// Writes printable text for a string of JSON or a label of Prometheus.
    pub fn quoted(&mut self, text: &[u8]) -> &mut Self {
        for byte in text {
            if matches!(byte, b'"' | b'\\') {
                self.byte(b'\\');
            }
            self.byte(*byte);
        }
        self
    }

    /// Writes printable text for HTML.
    pub fn html(&mut self, text: &[u8]) -> &mut Self {
        for byte in text {
            match byte {
                b'<' => self.text("&lt;"),
                b'>' => self.text("&gt;"),
                b'&' => self.text("&amp;"),
                b'"' => self.text("&quot;"),
                _ => self.text([*byte]),
            };
        }
        self
    }
}

/// The text up to its first zero.
pub fn until_zero(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}
