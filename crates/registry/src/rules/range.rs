//! `Range` of a download and `Content-Range` of a part of an upload.

use std::ops::Range;

use omgservers_api::Problem;

use crate::problems;

/// What of a content with a known size is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All of it.
    All,
    /// These bytes: 206.
    Part(Range<u64>),
    /// Bytes that it doesn't have: 416.
    Nothing,
}

/// Reads a `Range` header. One that isn't understood, or has several ranges, is ignored, as HTTP
/// allows.
pub fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let one = header.and_then(|it| it.trim().strip_prefix("bytes=")).and_then(|it| it.trim().split_once('-'));
    let Some((first, last)) = one else { return Wanted::All };
    match (number(first), number(last)) {
        (Some(first), _) if last.is_empty() => part(first, size, size),
        (Some(first), Some(last)) if first <= last => part(first, last.saturating_add(1), size),
        (None, Some(count)) if first.is_empty() => part(size.saturating_sub(count), size, size),
        _ => Wanted::All,
    }
}

fn part(first: u64, end: u64, size: u64) -> Wanted {
    let end = end.min(size);
    if first < end { Wanted::Part(first..end) } else { Wanted::Nothing }
}

/// Reads the `Content-Range` of a part of an upload: `first-last`, both inclusive. `bytes ` before
/// it and `/total` after it are taken too, for HTTP writes it so. Problems:
/// `registry.upload_invalid`.
pub fn chunk(header: &str) -> Result<Range<u64>, Problem> {
    let text = header.trim();
    let text = text.strip_prefix("bytes").map_or(text, |it| it.trim_start_matches([' ', '=']));
    let text = text.split_once('/').map_or(text, |(range, _total)| range);
    let read = || {
        let (first, last) = text.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        (first <= last).then_some(first..last.checked_add(1)?)
    };
    read()
        .ok_or_else(|| problems::UPLOAD_INVALID.detail("`Content-Range` must be `<first byte>-<last byte>`"))
}

fn number(text: &str) -> Option<u64> {
    // `u64::from_str` would take a leading `+`.
    text.bytes().all(|it| it.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_read_as_http_has_them() {
        for (header, expected) in [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=2-", Wanted::Part(2..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-30", Wanted::Part(0..10)),
            ("bytes=5-100", Wanted::Part(5..10)),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=10-12", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=5-2", Wanted::All),
            ("bytes=a-b", Wanted::All),
            ("bytes=0-1,3-4", Wanted::All),
            ("lines=0-1", Wanted::All),
        ] {
            assert_eq!(wanted(Some(header), 10), expected, "{header}");
        }
        assert_eq!(wanted(None, 10), Wanted::All);
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Nothing);
    }

    #[test]
    fn the_range_of_a_chunk_is_read_in_both_forms() {
        assert_eq!(chunk("0-9").unwrap(), 0..10);
        assert_eq!(chunk("bytes 5-5/100").unwrap(), 5..6);
        assert_eq!(chunk("bytes=5-5/*").unwrap(), 5..6);
        for bad in ["", "-", "1", "5-4", "-5", "a-b", "+1-2", "0-18446744073709551615"] {
            assert!(chunk(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_never_outside_of_the_content(text in "(bytes=)?[0-9-]{0,12}", size in 0u64..100) {
            if let Wanted::Part(part) = wanted(Some(&text), size) {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }

        #[test]
        fn a_chunk_is_read_as_it_was_written(first in 0u64..u64::MAX / 2, more in 0u64..u64::MAX / 4) {
            let header = format!("{first}-{}", first + more);
            prop_assert_eq!(chunk(&header).unwrap(), first..first + more + 1);
        }

        #[test]
        fn no_header_makes_it_panic(text in "\\PC{0,60}", size: u64) {
            let _ = wanted(Some(&text), size);
            let _ = chunk(&text);
        }
    }
}
