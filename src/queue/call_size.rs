//! Bounds the size of one call in bytes. A batch bounded in lines alone could be so large that a slow link exceeds the time-out and delays
//! every other call.

/// Bytes of lines and results that one call carries, about, at most: a second of a link of 1 MB/s. A single larger one goes alone.
pub const CALL_BYTES: usize = 1 << 20;

/// The first part of `items`: at most `most` of them and at most `bytes`, but at least one.
#[must_use]
pub fn first<T>(items: &[T], most: usize, bytes: usize, size: impl Fn(&T) -> usize) -> &[T] {
    let mut sum = 0;
    let fits = items.iter().take(most).take_while(|item| {
        let is_first = sum == 0;
        sum += size(item).max(1);
        is_first || sum <= bytes
    });
    &items[..fits.count()]
}

/// All of `items` in such parts.
pub fn parts<T>(items: &[T], most: usize, size: impl Fn(&T) -> usize) -> impl Iterator<Item = &[T]> {
    let mut rest = items;
    std::iter::from_fn(move || {
        let part = first(rest, most, CALL_BYTES, &size);
        rest = &rest[part.len()..];
        (!part.is_empty()).then_some(part)
    })
}

/// How many entries one step of a scan looks at, about: the least, where it begins, and the most. Entries may be a megabyte each, so a step follows the
/// size of the page before it.
pub(super) const STEPS: [usize; 3] = [1, 4, 512];

/// The step that follows one of this size which gave this many bytes.
pub(super) fn step_after(step: usize, bytes: usize) -> usize {
    let [least, _, most] = STEPS;
    match bytes {
        bytes if bytes > CALL_BYTES => (step / 4).max(least),
        bytes if bytes < CALL_BYTES / 4 => (step * 2).min(most),
        _ => step,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_bounded_in_number_and_bytes_and_leave_nothing_out() {
        let lengths = |sizes: &[usize], most| parts(sizes, most, |size| *size).map(<[_]>::len).collect::<Vec<_>>();
        assert_eq!(lengths(&[10; 250], 100), [100, 100, 50]);
        let large = CALL_BYTES / 2;
        assert_eq!(lengths(&[large, large, large, 10, 10], 100), [2, 3]);
        assert_eq!(lengths(&[2 * CALL_BYTES, 10, 2 * CALL_BYTES], 100), [1, 1, 1], "a larger one goes alone");
        assert_eq!(lengths(&[], 100), [0; 0]);
    }

    #[test]
    fn scan_pages_shrink_for_large_results_and_grow_for_small() {
        let [least, first, most] = STEPS;
        let after = |entry: usize| (0..20).fold(first, |step, _| step_after(step, step * entry));
        assert_eq!(after(100), most);
        assert_eq!(after(2 * 1024 * 1024), least);
        let middle = after(16 * 1024);
        assert!(middle * 16 * 1024 <= CALL_BYTES && middle > least, "{middle}");
    }
}
