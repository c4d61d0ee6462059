//! What a certificate is worth at a moment.

use super::{Peer, State};

/// What a certificate is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its subject is who it says.
    Good,
    /// It is out of date, but not by more than the grace: it may get itself a new one.
    Lapsed,
    /// It is out of date by more than the grace.
    Expired,
    /// It was revoked, or another has taken its place.
    Revoked,
    /// Its node was retired.
    Retired,
    /// The fleet knows nobody of that name.
    Unknown,
}

/// What the certificate `peer` is worth at `now`, to an identity of this state and generation.
pub(super) fn standing(
    peer: &Peer,
    identity: Option<(State, u64)>,
    now: u64,
    grace: u64,
) -> Standing {
    match identity {
        None => Standing::Unknown,
        Some((State::Retired, _)) => Standing::Retired,
        Some((State::Revoked | State::Open, _)) => Standing::Revoked,
        Some((State::Active, generation)) if generation != peer.generation => Standing::Revoked,
        Some((State::Active, _)) if now <= peer.until => Standing::Good,
        Some((State::Active, _)) if now <= peer.until.saturating_add(grace) => Standing::Lapsed,
        Some((State::Active, _)) => Standing::Expired,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Subject;
    use super::*;

    #[test]
    fn a_certificate_is_worth_what_its_identity_and_the_clock_say() {
        let peer = Peer {
            subject: Subject::Node("a".parse().unwrap()),
            generation: 2,
            serial: "40".to_owned(),
            until: 100,
        };
        let active = Some((State::Active, 2));
        for (identity, now, expected) in [
            (active, 0, Standing::Good),
            (active, 100, Standing::Good),
            (active, 101, Standing::Lapsed),
            (active, 110, Standing::Lapsed),
            (active, 111, Standing::Expired),
            (Some((State::Active, 3)), 50, Standing::Revoked),
            (Some((State::Active, 1)), 50, Standing::Revoked),
            (Some((State::Active, 3)), 105, Standing::Revoked),
            (Some((State::Revoked, 2)), 50, Standing::Revoked),
            (Some((State::Open, 2)), 50, Standing::Revoked),
            (Some((State::Retired, 2)), 50, Standing::Retired),
            (None, 50, Standing::Unknown),
        ] {
            assert_eq!(
                standing(&peer, identity, now, 10),
                expected,
                "{identity:?} at {now}"
            );
        }
    }
}
