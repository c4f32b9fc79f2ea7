//! Reader for the file format of SQLite's write-ahead log.
//!
//! SQLite recovers a log up to the first frame whose checksum is wrong and silently discards the rest. After a power
//! cut that is right. After a flipped bit it loses every later commit. This module distinguishes the two cases. Each
//! checksum covers all frames before it, and SQLite starts a transaction only after the previous one was synced. A bad
//! frame is therefore damage if a later frame continues the checksum of a *commit* frame. A torn transaction ends with
//! its own commit frame, and nothing continues that frame. The remains of several torn transactions at the same place
//! do not continue it either, because a leftover frame continues the checksum of a frame that was overwritten.
//!
//! Nothing here opens the database or writes. The format: <https://sqlite.org/fileformat2.html#walformat>.

use std::io::{self, Read};

const MAGIC: u32 = 0x377f_0682;
const VERSION: u32 = 3_007_000;
const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// The two salts of a log. SQLite draws new ones each time it restarts the log.
pub(super) type Generation = [u8; 8];

/// Result of reading a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Log {
    /// The salts. `None` if the header is invalid, in which case SQLite ignores the log.
    pub(super) generation: Option<Generation>,
    /// Number of frames that SQLite recovers.
    pub(super) frames: u64,
    /// Offset at which these frames end.
    pub(super) length: u64,
    /// Number of transactions that SQLite recovers. If one bit of the header is wrong, the number that it would recover
    /// without the error.
    pub(super) transactions: u64,
    /// Number of transactions after the first bad frame that end with a commit frame.
    pub(super) unreachable: u64,
    /// `true` if the first bad frame is in a transaction that was synced.
    pub(super) is_broken: bool,
}

impl Log {
    /// Reads a log to its end, one frame at a time.
    pub(super) fn read(mut file: impl Read) -> io::Result<Self> {
        let mut bytes = [0; HEADER_BYTES];
        if !fill(&mut file, &mut bytes)? {
            return Ok(Self::default());
        }
        if let Some(header) = Header::parse(&bytes) {
            return Ok(Self { generation: Some(header.generation), ..Self::read_frames(file, &header)? });
        }
        let mut first = [0; FRAME_HEADER_BYTES];
        if !fill(&mut file, &mut first)? {
            return Ok(Self::default());
        }
        match Header::without_one_flip(&bytes, &first) {
            Some(header) => Self::read_frames(first.chain(file), &header),
            None => Ok(Self::default()),
        }
    }

    fn read_frames(mut file: impl Read, header: &Header) -> io::Result<Self> {
        let mut log = Self { length: HEADER_BYTES as u64, ..Self::default() };
        let mut links = vec![Link { checksum: header.checksum, is_commit: false }];
        let mut bytes = vec![0; FRAME_HEADER_BYTES + header.page_bytes];
        let mut frames = 0;
        let mut is_sound = true;
        while fill(&mut file, &mut bytes)? {
            frames += 1;
            let Some(frame) = Frame::parse(&bytes) else { break };
            let continues =
                |link: &&Link| frame.generation == header.generation && frame.continues(header.order, **link);
            match links.iter().filter(continues).map(|link| link.is_commit).reduce(|one, other| one || other) {
                Some(after_commit) => {
                    log.is_broken |= !is_sound && after_commit;
                    if frame.is_commit && is_sound {
                        log.transactions += 1;
                        log.frames = frames;
                        log.length = HEADER_BYTES as u64 + frames * bytes.len() as u64;
                    } else if frame.is_commit {
                        log.unreachable += 1;
                    }
                    links = vec![Link { checksum: frame.stored, is_commit: frame.is_commit }];
                }
                None if is_sound => {
                    is_sound = false;
                    let Some(before) = links.first().copied() else { break };
                    // The next frame continues the stored checksum or, if the stored checksum is what changed, the
                    // checksum of the content.
                    let was_commit = frame.was_commit(header.order, before).unwrap_or(false);
                    links = vec![
                        Link { checksum: frame.stored, is_commit: was_commit },
                        Link { checksum: frame.checksum(header.order, before), is_commit: frame.is_commit },
                    ];
                }
                // It is unknown if an unverified frame ends a transaction.
                None => links = vec![Link { checksum: frame.stored, is_commit: false }],
            }
        }
        Ok(log)
    }
}

/// A frame that the next one can continue.
#[derive(Debug, Clone, Copy)]
struct Link {
    checksum: Checksum,
    /// `true` if the frame is known to end a transaction.
    is_commit: bool,
}

/// Byte order of the words that a checksum adds up.
#[derive(Debug, Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn word(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    fn pairs(self, bytes: &[u8]) -> impl DoubleEndedIterator<Item = [u32; 2]> {
        bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(move |[a, b, c, d, e, f, g, h]| [self.word([*a, *b, *c, *d]), self.word([*e, *f, *g, *h])])
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Checksum(u32, u32);

impl Checksum {
    fn add(self, pair: [u32; 2]) -> Self {
        let first = self.0.wrapping_add(pair[0]).wrapping_add(self.1);
        Self(first, self.1.wrapping_add(pair[1]).wrapping_add(first))
    }
}

struct Header {
    order: Order,
    page_bytes: usize,
    generation: Generation,
    checksum: Checksum,
}

impl Header {
    fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (covered, _) = bytes.split_first_chunk::<24>()?;
        let (words, _) = bytes.as_chunks::<4>();
        let [magic, version, page_bytes, _, salt_1, salt_2, first, second] = words else { return None };
        let number = |word: &[u8; 4]| u32::from_be_bytes(*word);
        let order = match number(magic) {
            MAGIC => Order::Little,
            magic if magic == MAGIC + 1 => Order::Big,
            _ => return None,
        };
        let page_bytes = number(page_bytes);
        let checksum = Checksum(number(first), number(second));
        let is_valid = number(version) == VERSION
            && page_bytes.is_power_of_two()
            && (512..=65536).contains(&page_bytes)
            && order.pairs(covered).fold(Checksum(0, 0), Checksum::add) == checksum;
        let generation = [*salt_1, *salt_2].as_flattened().try_into().ok()?;
        is_valid.then_some(Self { order, page_bytes: page_bytes as usize, generation, checksum })
    }

    /// Returns the header as it was before one bit changed, if that explains the wrong checksum and the first frame has
    /// the same salts.
    fn without_one_flip(bytes: &[u8; HEADER_BYTES], first: &[u8; FRAME_HEADER_BYTES]) -> Option<Self> {
        let ([_, salts, _], []) = first.as_chunks::<8>() else { return None };
        let mut flipped = (0..HEADER_BYTES * 8).filter_map(|bit| {
            let mut bytes = *bytes;
            *bytes.get_mut(bit / 8)? ^= 1 << (bit % 8);
            Self::parse(&bytes)
        });
        flipped.find(|header| header.generation == *salts)
    }
}

struct Frame<'a> {
    /// The part of the frame header that the checksum covers: page number, and size of the database after a commit.
    covered: &'a [u8; 8],
    page: &'a [u8],
    generation: Generation,
    is_commit: bool,
    stored: Checksum,
}

impl<'a> Frame<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (head, page) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>()?;
        let ([covered, generation, _], []) = head.as_chunks::<8>() else { return None };
        let ([_, after, _, _, first, second], []) = head.as_chunks::<4>() else { return None };
        let stored = Checksum(u32::from_be_bytes(*first), u32::from_be_bytes(*second));
        Some(Self { covered, page, generation: *generation, is_commit: *after != [0; 4], stored })
    }

    fn pairs(&self, order: Order) -> impl DoubleEndedIterator<Item = [u32; 2]> {
        order.pairs(self.covered).chain(order.pairs(self.page))
    }

    fn checksum(&self, order: Order, before: Link) -> Checksum {
        self.pairs(order).fold(before.checksum, Checksum::add)
    }

    fn continues(&self, order: Order, before: Link) -> bool {
        self.checksum(order, before) == self.stored
    }

    /// `true` if the frame was a commit frame before one bit changed. `None` if one bit does not explain the checksum.
    ///
    /// The checksum is linear in every word modulo 2^32. The loop goes through the words from the last to the first and
    /// keeps the factor that a change of the word has in both sums. Without this check, a flip in the last frame of a
    /// transaction would stay undetected together with the transaction after it.
    fn was_commit(&self, order: Order, before: Link) -> Option<bool> {
        let found = self.checksum(order, before);
        let missing = Checksum(self.stored.0.wrapping_sub(found.0), self.stored.1.wrapping_sub(found.1));
        if missing == Checksum(0, 0) {
            // The salts changed, which no checksum covers.
            return Some(self.is_commit);
        }
        let mut factors = [Checksum(1, 1), Checksum(0, 1)];
        let explains = |word: u32, bit: u32, factor: Checksum| {
            let change = (word ^ (1 << bit)).wrapping_sub(word);
            missing == Checksum(change.wrapping_mul(factor.0), change.wrapping_mul(factor.1))
        };
        let covered = order.pairs(self.covered).next()?;
        for pair in order.pairs(self.page).rev() {
            let is_it = |(word, factor): (&u32, &Checksum)| (0..32).any(|bit| explains(*word, bit, *factor));
            if pair.iter().zip(&factors).any(is_it) {
                return Some(self.is_commit);
            }
            factors = factors.map(|factor| factor.add([0, 0]));
        }
        let [number, after] = covered;
        if (0..32).any(|bit| explains(number, bit, factors[0])) {
            return Some(self.is_commit);
        }
        (0..32).find(|bit| explains(after, *bit, factors[1])).map(|bit| after != 1 << bit)
    }
}

/// Fills a buffer. Returns `false` if the file ends before that.
fn fill(file: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(bytes) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rusqlite::Connection;

    use super::*;

    const FRAME_BYTES: usize = FRAME_HEADER_BYTES + 4096;

    /// A database that SQLite has open, and its log.
    struct WrittenLog {
        folder: tempfile::TempDir,
        connection: Connection,
        rows: usize,
    }

    impl WrittenLog {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let connection = Connection::open(folder.path().join("db")).expect("a database");
            let begin = "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = -1; CREATE TABLE t (bytes BLOB)";
            connection.execute_batch(begin).expect("a table");
            Self { folder, connection, rows: 0 }
        }

        /// Commits a transaction of about this number of frames.
        fn commit(&mut self, frames: usize) {
            let bytes = vec![self.rows as u8; frames.saturating_sub(1) * 4000 + 10];
            self.connection.execute("INSERT INTO t VALUES (?1)", [bytes]).expect("inserted");
            self.rows += 1;
        }

        fn log(&self) -> Vec<u8> {
            std::fs::read(self.folder.path().join("db-wal")).expect("a log")
        }

        /// Returns the number of rows that SQLite recovers with another log.
        fn recovered(&self, log: &[u8]) -> usize {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("db");
            std::fs::copy(self.folder.path().join("db"), &path).expect("copied");
            std::fs::write(folder.path().join("db-wal"), log).expect("written");
            count(&path)
        }
    }

    fn count(path: &Path) -> usize {
        let connection = Connection::open(path).expect("opened");
        let count = connection.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0));
        count.map_or(0, |count| count as usize)
    }

    fn read(log: &[u8]) -> Log {
        Log::read(log).expect("read")
    }

    /// Commits a transaction of each of these sizes in frames. The first transaction of the log creates the table.
    fn written(frames: &[usize]) -> WrittenLog {
        let mut written = WrittenLog::new();
        frames.iter().for_each(|frames| written.commit(*frames));
        written
    }

    fn set_checksums(log: &mut [u8], order: Order) {
        let checksum = |checksum: Checksum| [checksum.0.to_be_bytes(), checksum.1.to_be_bytes()].concat();
        let magic = MAGIC + u32::from(matches!(order, Order::Big));
        log[..4].copy_from_slice(&magic.to_be_bytes());
        let mut sum = order.pairs(&log[..24]).fold(Checksum(0, 0), Checksum::add);
        log[24..32].copy_from_slice(&checksum(sum));
        for frame in log[HEADER_BYTES..].chunks_exact_mut(FRAME_BYTES) {
            sum = order.pairs(&frame[..8]).chain(order.pairs(&frame[24..])).fold(sum, Checksum::add);
            frame[16..24].copy_from_slice(&checksum(sum));
        }
    }

    #[test]
    fn whole_log_of_sqlite_is_read_to_its_end() {
        let written = written(&[1, 3, 7, 1]);
        let bytes = written.log();
        let log = read(&bytes);
        assert_eq!((log.transactions, log.unreachable, log.is_broken), (5, 0, false));
        assert_eq!(log.length, bytes.len() as u64);
        assert_eq!(log.frames, ((bytes.len() - HEADER_BYTES) / FRAME_BYTES) as u64);
        assert_eq!(log.generation.expect("salts"), bytes[16..24]);
        assert_eq!(written.recovered(&bytes), 4);
    }

    #[test]
    fn both_byte_orders_are_read() {
        let written = written(&[1, 3, 2]);
        for order in [Order::Little, Order::Big] {
            let mut bytes = written.log();
            set_checksums(&mut bytes, order);
            assert_eq!(read(&bytes).transactions, 4, "{order:?}");
            assert_eq!(written.recovered(&bytes), 3, "{order:?}");
            bytes[HEADER_BYTES + FRAME_BYTES + 100] ^= 1;
            assert!(read(&bytes).is_broken, "{order:?}");
        }
    }

    #[test]
    fn log_cut_anywhere_is_read_as_far_as_sqlite_reads_it() {
        let written = written(&[1, 2, 3]);
        let bytes = written.log();
        for length in (0..bytes.len()).step_by(517).chain([31, 32, 33, HEADER_BYTES + FRAME_BYTES]) {
            let log = read(&bytes[..length]);
            assert!(!log.is_broken && log.length <= length.max(HEADER_BYTES) as u64, "{length}: {log:?}");
            assert_eq!(log.transactions.saturating_sub(1) as usize, written.recovered(&bytes[..length]), "{length}");
        }
    }

    /// A single flipped bit never loses more than the last transaction undetected. `YOI_EVERY_BYTE=1` flips every bit.
    #[test]
    fn flipped_bit_is_found_unless_only_the_last_transaction_has_it() {
        let written = written(&[2, 1, 1, 3, 1, 2]);
        let right = written.log();
        let whole = read(&right);
        let step = if std::env::var_os("YOI_EVERY_BYTE").is_some() { 1 } else { 61 };
        let headers =
            (0..right.len()).filter(|index| *index < HEADER_BYTES || (index - HEADER_BYTES) % FRAME_BYTES < 28);
        let bits = headers.flat_map(|index| index * 8..index * 8 + 8).chain((0..right.len() * 8).step_by(step));
        let mut found = 0;
        for bit in bits {
            let mut bytes = right.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let log = read(&bytes);
            let is_header = log.generation.is_none() && log.transactions == whole.transactions;
            assert!(log.is_broken || is_header || log.transactions + 1 >= whole.transactions, "bit {bit}: {log:?}");
            found += usize::from(log.is_broken || is_header);
        }
        assert!(found > right.len() / step, "{found}");
    }

    #[test]
    fn destroyed_frame_is_found_where_a_whole_transaction_comes_behind() {
        let written = written(&[2, 3, 3, 2, 2]);
        let right = written.log();
        for frame in 0..6 {
            for fill in [0, 0x5a] {
                let mut bytes = right.clone();
                let begin = HEADER_BYTES + frame * FRAME_BYTES;
                bytes[begin..begin + FRAME_BYTES].fill(fill);
                let log = read(&bytes);
                assert!(log.is_broken && log.unreachable > 0 && log.frames <= frame as u64, "{frame}: {log:?}");
            }
        }
    }

    /// One transaction, torn in many ways, over the remains of an earlier transaction at the same offset.
    #[test]
    fn remains_of_two_torn_transactions_are_no_damage() {
        let mut written = WrittenLog::new();
        written.commit(2);
        let before = written.log();
        // Both follow the same commit, as after a power cut.
        let mut torn = Vec::new();
        for frames in [9, 4] {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("db");
            std::fs::copy(written.folder.path().join("db"), &path).expect("copied");
            std::fs::write(folder.path().join("db-wal"), &before).expect("written");
            let connection = Connection::open(&path).expect("opened");
            connection.execute("INSERT INTO t VALUES (?1)", [vec![frames as u8; frames * 4000]]).expect("inserted");
            torn.push(std::fs::read(folder.path().join("db-wal")).expect("a log"));
        }
        let [first, second] = &torn[..] else { panic!("two") };
        assert_eq!(first[..before.len()], second[..before.len()]);
        assert!(second.len() < first.len());
        // A sample of the ways in which each frame of the second transaction is present, missing or partly written.
        let frames = (second.len() - before.len()) / FRAME_BYTES;
        assert!((4..8).contains(&frames));
        for fates in (0..6_usize.pow(frames as u32)).step_by(23) {
            let mut bytes = first.clone();
            for frame in 0..frames {
                let begin = before.len() + frame * FRAME_BYTES;
                let (header, all) = (begin..begin + FRAME_HEADER_BYTES, begin..begin + FRAME_BYTES);
                let written = match fates / 6_usize.pow(frame as u32) % 6 {
                    0 => all,
                    1 => begin..begin,
                    2 => header,
                    3 => header.end..all.end,
                    4 => begin..begin + 12,
                    _ => begin + 8..header.end,
                };
                bytes[written.clone()].copy_from_slice(&second[written]);
            }
            let log = read(&bytes);
            assert!(!log.is_broken, "{fates}: {log:?}");
            assert!(log.transactions >= 2, "{fates}: {log:?}");
        }
    }

    #[test]
    fn frames_of_an_earlier_generation_are_no_damage() {
        let mut written = written(&[4, 3, 5]);
        let earlier = written.log();
        let fold =
            |written: &WrittenLog| written.connection.execute_batch("PRAGMA wal_checkpoint(RESTART)").expect("folded");
        fold(&written);
        written.commit(1);
        let bytes = written.log();
        assert_eq!(bytes.len(), earlier.len(), "the log is written over");
        let log = read(&bytes);
        assert_eq!((log.transactions, log.unreachable, log.is_broken), (1, 0, false));
        assert_ne!(log.generation, read(&earlier).generation);
    }

    #[test]
    fn other_files_are_read_as_empty_logs() {
        for bytes in
            [&[][..], &[0; 31], &[0; 32], &[0; 50_000], &[0xff; 50_000], b"SQLite format 3\0 and more of it, no log"]
        {
            let log = read(bytes);
            assert_eq!((log.generation, log.transactions, log.frames), (None, 0, 0));
        }
    }
}
