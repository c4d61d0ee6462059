//! Secrets: made, and compared without telling how far they agree.

use super::Error;

/// `count` random bytes, in base 16.
pub(super) fn random_hex(count: usize) -> Result<String, Error> {
    let mut bytes = vec![0; count];
    getrandom::fill(&mut bytes).map_err(Error::Random)?;
    Ok(hex(&bytes))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    let both = |byte: &u8| [digit(byte >> 4), digit(byte & 15)];
    bytes.iter().flat_map(both).collect()
}

/// What is kept of a secret.
pub(super) fn hash(secret: &str) -> String {
    blake3::hash(secret.as_bytes()).to_hex().to_string()
}

/// Whether this is the secret that `kept` is the hash of; takes as long whatever it is.
pub(super) fn is(secret: &str, kept: &str) -> bool {
    let said = blake3::hash(secret.as_bytes());
    // Comparing two `Hash` takes the same time wherever they differ.
    blake3::Hash::from_hex(kept).is_ok_and(|kept| kept == said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_by_its_hash_and_nothing_else_is() {
        let secret = random_hex(32).unwrap();
        assert_eq!(secret.len(), 64);
        let kept = hash(&secret);
        assert!(is(&secret, &kept));
        assert!(!is(&secret, &secret));
        assert!(!is(&kept, &kept));
        assert!(!is("", ""));
    }
}
