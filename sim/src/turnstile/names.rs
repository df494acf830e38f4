//! Interned names: actors, subjects, paths.
//!
//! A [`Symbol`] is an index into a table that one thread keeps for all its runs, so that a moment is
//! a few words that can be copied and compared. Indices depend on what ran before and therefore
//! never enter a digest: a symbol's text, by its hash, does.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64;

/// An interned text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Symbol(u32);

struct Text {
    text: Rc<str>,
    hash: u64,
    /// See [`Symbol::place`].
    head: u64,
    /// See [`Symbol::is_inside`].
    inside: bool,
}

impl Text {
    fn new(text: Rc<str>) -> Self {
        let mut head = [0; 8];
        let len = text.len().min(8);
        head[..len].copy_from_slice(&text.as_bytes()[..len]);
        let (hash, inside) = (xxh3_64(text.as_bytes()), text.contains('/'));
        Text { hash, head: u64::from_be_bytes(head), inside, text }
    }
}

/// The hashes of all texts.
#[derive(Clone, Copy)]
pub struct Hashes<'a>(&'a [Text]);

impl Hashes<'_> {
    pub fn of(self, symbol: Symbol) -> u64 {
        self.0[symbol.0 as usize].hash
    }
}

struct Table {
    texts: Vec<Text>,
    printed: FxHashMap<Rc<str>, Symbol>,
    /// Texts and aliases (container ids, paths) to the symbol they are printed as.
    aliases: FxHashMap<Rc<str>, Symbol>,
}

thread_local! {
    static TABLE: RefCell<Table> = RefCell::new(Table {
        texts: vec![Text::new(Rc::from(""))],
        printed: [(Rc::from(""), Symbol(0))].into_iter().collect(),
        aliases: FxHashMap::default(),
    });
}

impl Symbol {
    /// The empty text.
    pub const EMPTY: Symbol = Symbol(0);

    /// The symbol of a text, or of the text that it is an alias of.
    pub fn of(text: &str) -> Symbol {
        Self::of_or(text, str::to_owned)
    }

    /// As [`Symbol::of`]; a text that was never seen becomes an alias of what `print` makes of it.
    pub fn of_or(text: &str, print: impl FnOnce(&str) -> String) -> Symbol {
        if text.is_empty() {
            return Symbol::EMPTY;
        }
        let known = TABLE.with_borrow(|table| table.aliases.get(text).copied());
        known.unwrap_or_else(|| {
            let printed = print(text);
            let symbol = TABLE.with_borrow_mut(|table| table.insert(&printed));
            Self::alias(text, symbol);
            symbol
        })
    }

    /// As [`Symbol::of`], with a text that can be kept without being copied.
    pub fn with_text(text: &str) -> (Symbol, Rc<str>) {
        Self::with_text_or(text, str::to_owned)
    }

    /// As [`Symbol::of_or`], likewise.
    pub fn with_text_or(text: &str, print: impl FnOnce(&str) -> String) -> (Symbol, Rc<str>) {
        let find = |table: &Table| {
            let (own, symbol) = table.aliases.get_key_value(text)?;
            Some((*symbol, own.clone()))
        };
        TABLE.with_borrow(find).unwrap_or_else(|| (Self::of_or(text, print), Rc::from(text)))
    }

    /// From now on `text` means `symbol`.
    pub fn alias(text: &str, symbol: Symbol) {
        TABLE.with_borrow_mut(|table| table.aliases.insert(Rc::from(text), symbol));
    }

    pub fn text(self) -> Rc<str> {
        TABLE.with_borrow(|table| table.texts[self.0 as usize].text.clone())
    }

    /// Has hashes of the texts used, which are the same in every process.
    pub fn with_hashes<R>(use_them: impl FnOnce(Hashes<'_>) -> R) -> R {
        TABLE.with_borrow(|table| use_them(Hashes(&table.texts)))
    }

    /// Cheaper to hash. Differs from thread to thread.
    pub fn number(self) -> u32 {
        self.0
    }

    /// Its first eight bytes, as a number: of two texts with different ones, that with the smaller comes first.
    pub fn place(self) -> u64 {
        TABLE.with_borrow(|table| table.texts[self.0 as usize].head)
    }

    /// The order of the texts.
    pub fn cmp_text(self, other: Symbol) -> Ordering {
        if self == other {
            return Ordering::Equal;
        }
        TABLE.with_borrow(|table| {
            let (a, b) = (&table.texts[self.0 as usize], &table.texts[other.0 as usize]);
            a.head.cmp(&b.head).then_with(|| a.text.cmp(&b.text))
        })
    }

    pub fn is_empty(self) -> bool {
        self == Symbol::EMPTY
    }

    /// Of an actor: whether it serves a call of another, by whose site it is named.
    pub fn is_inside(self) -> bool {
        TABLE.with_borrow(|table| table.texts[self.0 as usize].inside)
    }
}

impl Table {
    fn insert(&mut self, text: &str) -> Symbol {
        if let Some(symbol) = self.printed.get(text) {
            return *symbol;
        }
        let symbol = Symbol(u32::try_from(self.texts.len()).expect("fewer than 2^32 names"));
        let text: Rc<str> = Rc::from(text);
        self.texts.push(Text::new(text.clone()));
        self.printed.insert(text, symbol);
        symbol
    }
}

/// That of the text, so that it is the same in every process.
impl Hash for Symbol {
    fn hash<H: Hasher>(&self, state: &mut H) {
        TABLE.with_borrow(|table| table.texts[self.0 as usize].hash).hash(state);
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.text())
    }
}
