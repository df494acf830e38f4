//! What is wrong with a scenario file, and where.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// Bytes of a source line that a rendered diagnostic shows at most.
const LINE_BYTES_MAX: usize = 400;

/// An error in a scenario file. Displays as `FILE:LINE:COLUMN: message`; lines and columns count
/// from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub message: String,
    /// Bytes of the file's text.
    pub span: Range<usize>,
    /// What stands beside the marked text; may be empty.
    pub label: String,
    pub help: Option<String>,
    pub notes: Vec<String>,
}

impl Diagnostic {
    /// A diagnostic at `span` of `text`, which is the content of `file`. A span outside of the text
    /// is moved to its nearest end.
    pub fn new(file: &str, text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        let start = text.floor_char_boundary(span.start);
        let end = text.ceil_char_boundary(span.end).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        Diagnostic {
            file: file.to_owned(),
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            message: message.into(),
            span: start..end,
            label: String::new(),
            help: None,
            notes: Vec::new(),
        }
    }

    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Shows the line of `text` (the file's content) with the span marked, then help and notes.
    /// `styled` adds ANSI colours.
    pub fn render(&self, text: &str, styled: bool) -> String {
        let start = text.floor_char_boundary(self.span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find(['\r', '\n']).map_or(text.len(), |end| start + end);
        // A span over several lines is marked on its first.
        let end = text.ceil_char_boundary(self.span.end).clamp(start, line_end);

        let annotation = |span: Range<usize>| {
            let annotation = AnnotationKind::Primary.span(span);
            if self.label.is_empty() { annotation } else { annotation.label(self.label.as_str()) }
        };
        let title = Level::ERROR.primary_title(self.message.as_str());
        let mut group = if line_end - line_start <= LINE_BYTES_MAX {
            title.element(
                Snippet::source(&text[line_start..line_end])
                    .line_start(self.line)
                    .path(self.file.as_str())
                    .annotation(annotation(start - line_start..end - line_start)),
            )
        } else {
            // Too long to show whole: the part around the span, its place named by hand.
            let from = text.ceil_char_boundary(start.saturating_sub(60).max(line_start));
            let to = text.floor_char_boundary((from + LINE_BYTES_MAX / 2).min(line_end));
            title
                .element(
                    annotate_snippets::Origin::path(self.file.as_str())
                        .line(self.line)
                        .char_column(self.column),
                )
                .element(
                    Snippet::source(&text[from..to])
                        .line_start(self.line)
                        .annotation(annotation(start - from..end.min(to) - from)),
                )
        };
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(plain(help)));
        }
        for note in &self.notes {
            group = group.element(Level::NOTE.message(plain(note)));
        }
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let groups: [Group<'_>; 1] = [group];
        renderer.render(&groups)
    }
}

/// Text of a file may hold control characters; help and notes quote it.
fn plain(text: &str) -> String {
    annotate_snippets::normalize_untrusted_str(text)
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = plain(&self.message);
        write!(f, "{}:{}:{}: {message}", self.file, self.line, self.column)
    }
}

impl std::error::Error for Diagnostic {}

/// The valid word nearest to `word`, if one is near enough to be meant.
pub fn nearest<'a>(word: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase().replace('_', "-");
    let word = word.get(..word.floor_char_boundary(80)).unwrap_or_default();
    valid
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(word, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| {
            *distance <= (candidate.len().max(word.len()) / 3).max(1)
                || (word.len() >= 3 && candidate.contains(word))
                || (candidate.len() >= 4 && word.contains(*candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
