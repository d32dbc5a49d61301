//! Tiles (c2sp.org/tlog-tiles): the portions in which a log's hashes and entries are published.

use super::{decimal, merkle::Subtree};

/// How many hashes or entries a full tile has.
pub const WIDTH: u64 = 256;

/// How many levels of the tree a tile spans.
pub const HEIGHT: u8 = 8;

/// The highest level of a tile: no tree with fewer than 2^63 leaves has one above.
const LEVEL_MAX: u64 = 63;

/// What a tile's path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Content {
    /// Hashes, of the tile level.
    Hashes(u8),
    /// The entries themselves.
    Entries,
}

/// A tile: what, which one, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// What is in it.
    pub content: Content,
    /// Its place among those of its level.
    pub index: u64,
    /// How many hashes or entries: [`WIDTH`] if it is full.
    pub width: u64,
}

impl Tile {
    /// Reads what comes behind `tile/` in a path: `0/x001/067` or `entries/000.p/17`.
    pub fn parse(path: &str) -> Option<Self> {
        let (what, rest) = path.split_once('/')?;
        let content = match what {
            "entries" => Content::Entries,
            level => Content::Hashes(decimal(level).filter(|level| *level <= LEVEL_MAX)? as u8),
        };
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, decimal(width).filter(|width| (1..WIDTH).contains(width))?),
            None => (rest, WIDTH),
        };
        let index = parse_index(index)?;
        Some(Self { content, index, width })
    }

    /// Tells whether a tree of some size has the tile, as it is or as the beginning of a fuller one.
    pub fn is_in(&self, size: u64) -> bool {
        let level = match self.content {
            Content::Hashes(level) => level,
            Content::Entries => 0,
        };
        let hashes = hashes_at(level, size);
        let wanted = self
            .index
            .checked_mul(WIDTH)
            .and_then(|first| first.checked_add(self.width));
        wanted.is_some_and(|wanted| wanted <= hashes)
    }
}

/// Returns how many hashes the tiles of a level hold in a tree of some size.
pub fn hashes_at(level: u8, size: u64) -> u64 {
    size.checked_shr(u32::from(level) * u32::from(HEIGHT)).unwrap_or(0)
}

/// Tells in which tile a subtree is: the tile's level and place, and which of its hashes the subtree is the root of.
pub fn of_subtree(subtree: Subtree) -> (u8, u64, std::ops::Range<usize>) {
    let (level, above) = (subtree.level / HEIGHT, subtree.level % HEIGHT);
    let first = subtree.index << above;
    let start = (first % WIDTH) as usize;
    (level, first / WIDTH, start..start + (1 << above))
}

/// Three digits to an element, all but the last with an x before them; no more elements than are needed.
fn parse_index(text: &str) -> Option<u64> {
    let mut index: u64 = 0;
    let mut elements = text.split('/').peekable();
    let mut first = true;
    while let Some(element) = elements.next() {
        let last = elements.peek().is_none();
        let digits = if last { element } else { element.strip_prefix('x')? };
        if digits.len() != 3 || !digits.bytes().all(|octet| octet.is_ascii_digit()) {
            return None;
        }
        // A zero in front would be a second name of the same tile.
        if first && !last && digits == "000" {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
        first = false;
    }
    Some(index)
}

/// Writes a tile's place as it stands in paths.
pub fn index_path(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_format() {
        assert_eq!(index_path(1_234_067), "x001/x234/067");
        assert_eq!(index_path(0), "000");
        let tile = |content, index, width| Some(Tile { content, index, width });
        assert_eq!(Tile::parse("0/x001/x234/067"), tile(Content::Hashes(0), 1_234_067, 256));
        assert_eq!(Tile::parse("2/000.p/17"), tile(Content::Hashes(2), 0, 17));
        assert_eq!(Tile::parse("entries/273.p/112"), tile(Content::Entries, 273, 112));
        for index in [0, 999, 1000, 999_999, 1_000_000] {
            let path = format!("0/{}", index_path(index));
            assert_eq!(Tile::parse(&path), tile(Content::Hashes(0), index, 256), "{path}");
        }
        for path in [
            "",
            "0",
            "0/",
            "00/000",
            "64/000",
            "0/0",
            "0/0000",
            "0/x000/001",
            "0/001/002",
            "0/x001",
            "0/000.p/0",
            "0/000.p/256",
            "0/000.p/01",
            "entries",
            "leaves/000",
            "0/000/",
            "0/-01",
            "0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(Tile::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_tree_has_the_tiles_that_its_size_says() {
        let has = |path: &str, size| Tile::parse(path).unwrap().is_in(size);
        assert!(has("0/272", 70_000) && !has("0/273", 70_000));
        assert!(has("0/273.p/112", 70_000) && !has("0/273.p/113", 70_000));
        assert!(has("1/000", 70_000) && has("1/001.p/17", 70_000) && !has("1/001.p/18", 70_000));
        assert!(has("2/000.p/1", 70_000) && !has("2/000.p/2", 70_000));
        assert!(has("entries/273.p/112", 70_000) && !has("63/000.p/1", u64::MAX));
    }

    #[test]
    fn subtrees_are_found_in_their_tiles() {
        let at = |level, index| of_subtree(Subtree { level, index });
        assert_eq!(at(0, 300), (0, 1, 44..45));
        assert_eq!(at(3, 33), (0, 1, 8..16));
        assert_eq!(at(8, 300), (1, 1, 44..45));
        assert_eq!(at(15, 1), (1, 0, 128..256));
        assert_eq!(at(16, 1), (2, 0, 1..2));
    }
}
