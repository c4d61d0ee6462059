//! Values that are made when they are first read.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

type Make<T> = Box<dyn FnOnce() -> T + Send>;

/// A value that is made when it is first read, then kept; clones share it. It reads, compares and is
/// written as the value itself: text for people must not slow down a decision that needs none.
pub struct Later<T>(Arc<LazyLock<T, Make<T>>>);

impl<T> Later<T> {
    /// The value that `make` answers.
    pub fn new(make: impl FnOnce() -> T + Send + 'static) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(make))))
    }
}

impl<T: Send + 'static> From<T> for Later<T> {
    fn from(value: T) -> Self {
        Self::new(move || value)
    }
}

impl<A, T: FromIterator<A> + Send + 'static> FromIterator<A> for Later<T> {
    fn from_iter<I: IntoIterator<Item = A>>(values: I) -> Self {
        values.into_iter().collect::<T>().into()
    }
}

impl<T> Deref for Later<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Clone for Later<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Default + 'static> Default for Later<T> {
    fn default() -> Self {
        Self::new(T::default)
    }
}

impl<T: fmt::Debug> fmt::Debug for Later<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

impl<T: PartialEq> PartialEq for Later<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || **self == **other
    }
}

impl<T: Eq> Eq for Later<T> {}

impl<T: PartialEq<U>, U, const N: usize> PartialEq<[U; N]> for Later<Vec<T>> {
    fn eq(&self, other: &[U; N]) -> bool {
        **self == *other
    }
}

#[expect(
    clippy::into_iter_without_iter,
    reason = "`iter` is that of the value, which this derefs to"
)]
impl<'a, T> IntoIterator for &'a Later<T>
where
    &'a T: IntoIterator,
{
    type Item = <&'a T as IntoIterator>::Item;
    type IntoIter = <&'a T as IntoIterator>::IntoIter;
    fn into_iter(self) -> Self::IntoIter {
        (**self).into_iter()
    }
}

impl<T: Serialize> Serialize for Later<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        T::serialize(self, serializer)
    }
}

impl<'de, T: Deserialize<'de> + Send + 'static> Deserialize<'de> for Later<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn it_is_made_once_when_it_is_read_and_written_as_the_value_itself() {
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let later = Later::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
            vec![1, 2]
        });
        let other = later.clone();
        assert_eq!(made.load(Ordering::SeqCst), 0);
        assert_eq!(serde_json::to_string(&later).unwrap(), "[1,2]");
        assert_eq!(other, [1, 2]);
        assert_eq!(made.load(Ordering::SeqCst), 1);
        assert_eq!(
            serde_json::from_str::<Later<Vec<i32>>>("[1,2]").unwrap(),
            later
        );
    }
}
