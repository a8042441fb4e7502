//! Lists of shared values.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What one list has and another has not.
#[derive(Debug)]
pub(crate) struct Difference<T> {
    /// What only the old list has.
    pub(crate) gone: Vec<Arc<T>>,
    /// What only the new list has.
    pub(crate) come: Vec<Arc<T>>,
}

/// Compares two lists by what they share. Of lists in this order it costs what differs, and next to nothing for the rest. Of
/// others, or where equal values are not shared, it may name values that both have: as gone and as come.
pub(crate) fn difference<T>(old: &[Arc<T>], new: &[Arc<T>], order: impl Fn(&T, &T) -> Ordering) -> Difference<T> {
    let mut difference = Difference::default();
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let first = match (old.peek(), new.peek()) {
            (None, None) => return difference,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) if Arc::ptr_eq(one, other) => {
                old.next();
                new.next();
                continue;
            }
            (Some(one), Some(other)) => order(one, other),
        };
        if first.is_le() {
            difference.gone.extend(old.next().cloned());
        }
        if first.is_ge() {
            difference.come.extend(new.next().cloned());
        }
    }
}

impl<T> Default for Difference<T> {
    fn default() -> Self {
        Self { gone: Vec::new(), come: Vec::new() }
    }
}

impl<T> Difference<T> {
    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.come.is_empty()
    }

    /// Makes the new list of the old one, sorted.
    pub(crate) fn apply(&self, list: &mut Vec<Arc<T>>, order: impl Fn(&T, &T) -> Ordering) {
        const FEW: usize = 64;
        if self.gone.len() + self.come.len() <= FEW {
            for gone in &self.gone {
                let place = list.iter().position(|other| Arc::ptr_eq(other, gone));
                place.map(|place| list.remove(place));
            }
            for come in &self.come {
                let place = list.partition_point(|other| order(other, come).is_le());
                list.insert(place, Arc::clone(come));
            }
            return;
        }
        let gone: BTreeSet<_> = self.gone.iter().map(Arc::as_ptr).collect();
        list.retain(|other| !gone.contains(&Arc::as_ptr(other)));
        list.extend(self.come.iter().cloned());
        list.sort_by(|one, other| order(one, other));
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
        let shared: Vec<_> = (0..6_usize).map(Arc::new).collect();
        let list = |places: &[usize]| places.iter().map(|place| Arc::clone(&shared[*place])).collect::<Vec<_>>();
        let differ = |old: &[Arc<usize>], new: &[Arc<usize>]| {
            let Difference { gone, come } = difference(old, new, usize::cmp);
            let values = |list: Vec<Arc<usize>>| list.into_iter().map(|it| *it).collect::<Vec<_>>();
            (values(gone), values(come))
        };
        assert_eq!(differ(&list(&[0, 1, 2, 4]), &list(&[1, 2, 3, 4, 5])), (vec![0], vec![3, 5]));
        assert_eq!(differ(&list(&[]), &list(&[1])), (vec![], vec![1]));
        assert_eq!(differ(&list(&[1, 2]), &[Arc::new(1), Arc::clone(&shared[2])]), (vec![1], vec![1]));
        // Nothing is lost where lists are not sorted.
        assert_eq!(differ(&list(&[2, 0, 1]), &list(&[1, 2])), (vec![0, 1], vec![1]));
        for (old, new) in [(vec![0, 1, 2, 4], vec![1, 2, 3, 4, 5]), (vec![], vec![1]), (vec![2, 0, 1], vec![1, 2])] {
            let mut made = list(&old);
            difference(&made.clone(), &list(&new), usize::cmp).apply(&mut made, usize::cmp);
            assert!(are_same(&made, &list(&new)), "{old:?} to {new:?}: {made:?}");
        }
    }
}
