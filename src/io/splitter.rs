//! How a stream is cut into records of the log (spec section 6.5).

/// Size of the reader's buffer in bytes, unless lines are shorter.
const BUFFER_SIZE: usize = 4096;
/// A reader never uses a smaller buffer.
const MIN_BUFFER_SIZE: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tag {
    /// A whole line, or the end of one that was split.
    Full,
    /// A part of a line that goes on, or that the stream's end cut off.
    Partial,
}

impl Tag {
    pub const fn letter(self) -> &'static str {
        match self {
            Tag::Full => "F",
            Tag::Partial => "P",
        }
    }
}

/// What stands in one line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogRecord {
    pub tag: Tag,
    pub content: Vec<u8>,
}

/// One read of the buffered reader.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Chunk {
    /// Bytes of content, line ends left out.
    pub len: usize,
    pub records: Vec<LogRecord>,
    /// How many of the records were cut off because of their length.
    pub splits: u64,
}

/// Cuts a stream into records: lines without their LF or CRLF, in pieces of at most the maximal length.
///
/// Bytes go through a buffer of limited size, so that its consumer can hold the producer back. A
/// line that does not fit into the buffer is read in several chunks.
#[derive(Clone, Debug)]
pub struct LineSplitter {
    /// `None`: unlimited.
    max_len: Option<usize>,
    capacity: usize,
    buffer: Vec<u8>,
    /// What was read of the current line and not emitted.
    line: Vec<u8>,
    ended: bool,
}

enum End {
    /// The line goes on behind the buffer.
    None,
    Line,
    Stream,
}

impl LineSplitter {
    /// `max_len`: most bytes of content in a record; unlimited when it is not positive. Below 16, where
    /// upstream crashes on long lines, a chunk can be cut more than once.
    pub fn new(max_len: i64) -> Self {
        let max_len = usize::try_from(max_len).ok().filter(|max| *max > 0);
        let capacity = max_len.map_or(BUFFER_SIZE, |max| max.clamp(MIN_BUFFER_SIZE, BUFFER_SIZE));
        LineSplitter { max_len, capacity, buffer: Vec::new(), line: Vec::new(), ended: false }
    }

    /// Takes bytes as far as there is room; returns how many. There is room whenever
    /// [`LineSplitter::next_chunk`] has answered `None`.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let room = self.capacity.saturating_sub(self.buffer.len()).min(bytes.len());
        self.buffer.extend_from_slice(&bytes[..room]);
        room
    }

    /// The stream has ended: the next chunks are the last ones.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The next chunk; `None` when more bytes are needed, or nothing is left of an ended stream.
    pub fn next_chunk(&mut self) -> Option<Chunk> {
        let (content, end) = self.read()?;
        let mut chunk = Chunk { len: content.len(), ..Chunk::default() };
        self.line.extend_from_slice(&content);
        if let Some(max) = self.max_len {
            while self.line.len() > max {
                let rest = self.line.split_off(max);
                let content = std::mem::replace(&mut self.line, rest);
                chunk.records.push(LogRecord { tag: Tag::Partial, content });
                chunk.splits += 1;
            }
        }
        let tag = match end {
            End::None => return Some(chunk),
            End::Line => Tag::Full,
            End::Stream if self.line.is_empty() => return Some(chunk),
            End::Stream => Tag::Partial,
        };
        chunk.records.push(LogRecord { tag, content: std::mem::take(&mut self.line) });
        Some(chunk)
    }

    fn read(&mut self) -> Option<(Vec<u8>, End)> {
        if let Some(at) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let mut content: Vec<u8> = self.buffer.drain(..=at).collect();
            content.pop();
            if content.last() == Some(&b'\r') {
                content.pop();
            }
            return Some((content, End::Line));
        }
        if self.buffer.len() >= self.capacity {
            let mut content = std::mem::take(&mut self.buffer);
            // An LF may follow.
            if content.last() == Some(&b'\r') {
                self.buffer.extend(content.pop());
            }
            return Some((content, End::None));
        }
        let rest = self.ended && !(self.buffer.is_empty() && self.line.is_empty());
        rest.then(|| (std::mem::take(&mut self.buffer), End::Stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records as `tag content`, from pieces of the stream.
    fn split(max_len: i64, pieces: &[&[u8]]) -> Vec<String> {
        let mut splitter = LineSplitter::new(max_len);
        let mut records = Vec::new();
        let mut take = |splitter: &mut LineSplitter| {
            while let Some(chunk) = splitter.next_chunk() {
                for LogRecord { tag, content } in chunk.records {
                    records.push(format!("{} {}", tag.letter(), String::from_utf8_lossy(&content)));
                }
            }
        };
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                rest = &rest[splitter.push(rest)..];
                take(&mut splitter);
            }
        }
        splitter.end();
        take(&mut splitter);
        assert_eq!(splitter.next_chunk(), None);
        records
    }

    #[test]
    fn lines() {
        for (stream, records) in [
            ("", &[][..]),
            ("\n", &["F "]),
            ("\r\n", &["F "]),
            ("\r\r\n", &["F \r"]),
            ("a\nb\r\n\nc", &["F a", "F b", "F ", "P c"]),
            ("a\rb\n", &["F a\rb"]),
            ("a\r", &["P a\r"]),
            ("a\n", &["F a"]),
        ] {
            assert_eq!(split(16384, &[stream.as_bytes()]), records, "{stream:?}");
            let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
            assert_eq!(split(16384, &bytes), records, "{stream:?} byte by byte");
        }
    }

    #[test]
    fn lines_at_the_limit() {
        let line = |tag: &str, byte: &str, len| format!("{tag} {}", byte.repeat(len));
        for (max, stream, records) in [
            (20, "x".repeat(20) + "\n", vec![line("F", "x", 20)]),
            (20, "x".repeat(21) + "\n", vec![line("P", "x", 20), line("F", "x", 1)]),
            (20, "x".repeat(40) + "\n", vec![line("P", "x", 20), line("F", "x", 20)]),
            (20, "x".repeat(40), vec![line("P", "x", 20), line("P", "x", 20)]),
            (20, "x".repeat(19) + "\r\n", vec![line("F", "x", 19)]),
            (20, "x".repeat(20) + "\r\n", vec![line("F", "x", 20)]),
            (20, "x".repeat(20) + "\r", vec![line("P", "x", 20), "P \r".into()]),
            (8192, "x".repeat(8192) + "\n", vec![line("F", "x", 8192)]),
            (8192, "x".repeat(8193) + "\n", vec![line("P", "x", 8192), line("F", "x", 1)]),
            (0, "x".repeat(100_000) + "\n", vec![line("F", "x", 100_000)]),
            (-1, "x".repeat(5000) + "\ny\n", vec![line("F", "x", 5000), "F y".into()]),
            (3, "abcdefgh\n".into(), vec!["P abc".into(), "P def".into(), "F gh".into()]),
            (1, "ab\n".into(), vec!["P a".into(), "F b".into()]),
        ] {
            assert_eq!(split(max, &[stream.as_bytes()]), records, "{max} {}", stream.len());
        }
    }

    #[test]
    fn a_carriage_return_at_the_buffers_end_waits_for_its_line_feed() {
        let stream = "x".repeat(BUFFER_SIZE - 1) + "\r\ny\n";
        let records = vec![format!("F {}", "x".repeat(BUFFER_SIZE - 1)), "F y".into()];
        assert_eq!(split(0, &[stream.as_bytes()]), records);
        let stream = "x".repeat(BUFFER_SIZE - 1) + "\ry\n";
        let records = vec![format!("F {}\ry", "x".repeat(BUFFER_SIZE - 1))];
        assert_eq!(split(0, &[stream.as_bytes()]), records);
    }

    #[test]
    fn counts_chunks_and_splits() {
        let mut splitter = LineSplitter::new(16);
        assert_eq!(splitter.push(&[b'x'; 40]), 16);
        let full = Chunk { len: 16, ..Chunk::default() };
        assert_eq!(splitter.next_chunk(), Some(full));
        assert_eq!(splitter.next_chunk(), None);
        assert_eq!(splitter.push(b"y\n"), 2);
        let part = LogRecord { tag: Tag::Partial, content: vec![b'x'; 16] };
        let end = LogRecord { tag: Tag::Full, content: b"y".to_vec() };
        let last = Chunk { len: 1, records: vec![part, end], splits: 1 };
        assert_eq!(splitter.next_chunk(), Some(last));
    }
}
