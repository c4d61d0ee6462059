//! What a master and its nodes, and a master and people's programs, say to each other.
//!
//! ```text
//! node ──(one WebSocket that it opened, mutual TLS)──► master     FromNode, ToNode
//! node ──(plain GET, no credentials)──► master, mirror, cache      objects by hash
//! people, programs ──(HTTPS, JSON)──► master                       fleet, rollout
//! ```
//!
//! Three states of a node: *assigned* is what people intend, *wanted* what an update has decided and
//! the master has signed, *installed* what the node says that it runs. Only *wanted* is enforced.
//!
//! Invariant: no message that lets a node act is sent before its decision is in the master's store;
//! it names the (epoch, counter) of that decision, and nodes refuse lower ones.

mod enrol;
mod facts;
mod fleet;
mod goback;
mod image;
mod link;
mod member;
mod names;
mod people;
mod plan;
mod release;
mod rollout;
mod views;
mod vote;
mod wanted;

pub use enrol::{Enrol, EnrolAnswer, Enrolled, Renewed, TokenText};
pub use facts::Facts;
pub use fleet::{
    Assigned, Assignment, ClassView, FleetView, ImportedFile, ImportedPackage, ModuleVerdict,
    NodeView, Origin, PackageView, Presence, Scope, Selector, StoredTrial,
};
pub use goback::{GoBack, GoBackAnswer, GoBackNode, GoBackQuestion};
pub use image::{Collected, ImageView};
pub use link::{
    Ask, Check, Checked, FromNode, Have, Hello, Hold, Installed, LinkSettings, NodeEnd,
    NodeProgress, ToNode, Verdict,
};
pub use member::{FleetChange, Join, MemberState, Membership};
pub use names::{ClassName, FleetName, NodeName};
pub use people::{
    AuditEntry, IssuedOperator, IssuedToken, NewOperator, NewToken, OperatorView, Profile, Refusal,
    Role, TokenView,
};
pub use plan::{FleetPlan, PlannedNode};
pub use release::{OperatorOrder, Release, Released};
pub use rollout::{
    Absent, Choice, Decision, NodePhase, NodeRollout, Phase, RolloutId, RolloutView, Strategy,
    Update, Waves,
};
pub use views::{FleetEvent, NodeEdit, NodeWhy};
pub use vote::{Ballot, Objection, Tally, TallyReason, Vote};
pub use wanted::{BootGate, Counter, Epoch, Listed, Orders, SoftwareList, StorePolicy, Wanted};

/// The version of the link that this program speaks; a master takes this one and the one before.
pub const PROTOCOL: u32 = 1;

/// Bytes that one message of the link may have; a longer one ends the link.
pub const MOST_MESSAGE: usize = 1 << 20;
