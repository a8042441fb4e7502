//! Lists of shared values.

use std::cmp::Ordering;
use std::sync::Arc;

/// What one list has and another has not.
#[derive(Debug)]
pub(crate) struct Difference<'a, T> {
    /// What only the old list has.
    pub(crate) gone: Vec<&'a Arc<T>>,
    /// What only the new list has.
    pub(crate) come: Vec<&'a Arc<T>>,
}

/// Compares two lists by what they share. Of lists that are sorted by the key it costs what differs, and next to nothing for the rest. Of
/// others, or where equal values are not shared, it may name values that both have: as gone and as come.
pub(crate) fn difference<'a, T, K: Ord>(
    old: &'a [Arc<T>],
    new: &'a [Arc<T>],
    key: impl Fn(&'a T) -> K,
) -> Difference<'a, T> {
    let mut difference = Difference { gone: Vec::new(), come: Vec::new() };
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return difference,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) if Arc::ptr_eq(one, other) => {
                (old.next(), new.next());
                continue;
            }
            (Some(one), Some(other)) => key(one).cmp(&key(other)),
        };
        if order.is_le() {
            difference.gone.extend(old.next());
        }
        if order.is_ge() {
            difference.come.extend(new.next());
        }
    }
}

/// Whether two lists share all that they have, in the same order.
pub(crate) fn are_same<T>(one: &[Arc<T>], other: &[Arc<T>]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| Arc::ptr_eq(one, other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_is_no_difference() {
        let shared: Vec<_> = (0..6).map(Arc::new).collect();
        let list = |places: &[usize]| places.iter().map(|place| Arc::clone(&shared[*place])).collect::<Vec<_>>();
        let differ = |old: &[Arc<usize>], new: &[Arc<usize>]| {
            let Difference { gone, come } = difference(old, new, |it| *it);
            let values = |list: Vec<&Arc<usize>>| list.into_iter().map(|it| **it).collect::<Vec<_>>();
            (values(gone), values(come))
        };
        assert_eq!(differ(&list(&[0, 1, 2, 4]), &list(&[1, 2, 3, 4, 5])), (vec![0], vec![3, 5]));
        assert_eq!(differ(&list(&[]), &list(&[1])), (vec![], vec![1]));
        assert_eq!(differ(&list(&[1, 2]), &[Arc::new(1), Arc::clone(&shared[2])]), (vec![1], vec![1]));
        // Nothing is lost where lists are not sorted.
        assert_eq!(differ(&list(&[2, 0, 1]), &list(&[1, 2])), (vec![0, 1], vec![1]));
    }
}
