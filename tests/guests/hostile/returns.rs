//! Components that return malformed or too large values.

use super::{
    Expect, Hostile, add,
    answer::{Answer, Authority, Failure, OPTIONAL},
    component::Code,
    does, main, resolving, source,
};

pub(super) fn returns(all: &mut Vec<Hostile>) {
    for (name, address) in [
        ("result_beyond_memory", u32::MAX - 3),
        ("result_at_the_end_of_memory", (4 << 16) - 8),
        ("result_misaligned", 513),
    ] {
        add(all, name, Code::returns(address, &[]), Expect::Trap);
    }
    let trap = Expect::Trap;
    // Offsets of words in the record: the lineage is at 4 and its length at 8; the settings are at 76 and 80.
    add(all, "list_of_all_lengths", returning(&[(4, 1024), (8, u32::MAX)], &[]), trap);
    add(all, "list_beyond_memory", returning(&[(4, 0xffff_fff8), (8, 1)], &[]), trap);
    add(all, "list_that_wraps_around", returning(&[(4, 0x8000_0000), (8, 0x1000_0001)], &[]), trap);
    add(all, "list_misaligned", returning(&[(4, 1026), (8, 1)], &[]), trap);
    add(all, "text_of_all_lengths", returning(&[(76, 1024), (80, u32::MAX)], &[]), trap);
    add(all, "text_beyond_memory", returning(&[(76, u32::MAX), (80, 2)], &[]), trap);
    add(all, "text_not_utf8", returning(&[(76, 1024), (80, 4)], &[(1024, vec![0xf0, 0x28, 0x8c, 0x28])]), trap);
    add(all, "text_with_half_a_surrogate", returning(&[(76, 1024), (80, 3)], &[(1024, vec![0xed, 0xa0, 0x80])]), trap);
    add(all, "option_of_a_third_kind", returning(&[(12, 2)], &[]), trap);
    add(all, "result_of_a_third_kind", Code::answers(&Answer::Case(2)), trap);
    add(all, "result_of_the_last_kind", Code::answers(&Answer::Case(255)), trap);
    add(all, "failure_of_no_kind", Code::answers(&Answer::Failed(Failure::Case(7))), trap);
    let kind = Failure::DanglingReference(5, "hello".to_owned());
    add(all, "dangling_reference_of_no_kind", Code::answers(&Answer::Failed(kind)), trap);
    let wish = |authority, need| resolving(|answer| answer.wishes = vec![(authority, need)]);
    add(all, "authority_of_no_kind", wish(Authority::Case(5), OPTIONAL), trap);
    add(all, "need_of_no_kind", wish(Authority::Shell, 2), trap);
    add(all, "access_of_no_kind", wish(Authority::Git(2), OPTIONAL), trap);

    // More than the host copies in one call: one text of sixteen megabytes, a million elements, and overlapping
    // lists of a few kilobytes that expand to a hundred megabytes.
    let bytes = Expect::Limit("hostcall_bytes");
    let text = "(drop (memory.grow (i32.const 300)))
        (i32.store (i32.const 588) (i32.const 65536)) (i32.store (i32.const 592) (i32.const 16777216)) (i32.const 512)";
    add(all, "text_of_sixteen_megabytes", does(text), bytes);
    let overlapping = |each: u32, count: u32| {
        let places = [("{each}", each), ("{count}", count), ("{end}", 262_144 + 8 * count)];
        let source = source!("overlapping_result").to_owned();
        main(&places.iter().fold(source, |text, (place, number)| text.replace(place, &number.to_string())))
    };
    add(all, "million_elements", overlapping(0, 1_000_000), bytes);
    add(all, "overlapping_texts", overlapping(1024, 131_072), bytes);
    add(all, "overlapping_large_texts", overlapping(65_536, 2048), bytes);
}

/// Returns an answer with a record at address 512. Its words from the second on and other memory are given.
fn returning(words: &[(usize, u32)], data: &[(u32, Vec<u8>)]) -> Code {
    let mut record = vec![0u8; 92];
    for (at, word) in words {
        record[*at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    let data: Vec<_> = [(512, record)].into_iter().chain(data.iter().cloned()).collect();
    Code::returns(512, &data)
}
