//! The views of the generations that something runs in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use model::report::Chain;
use model::transition::Tree;
use model::{Generation, fault};

use crate::sys::places::Places;
use crate::sys::view::View;

/// Made when first asked for, dropped when nothing runs in them.
#[derive(Debug, Clone, Default)]
pub(super) struct Views {
    made: Arc<Mutex<BTreeMap<Generation, View>>>,
}

impl Views {
    /// The view of `tree`. Mounts, and so waits: for blocking threads.
    pub(super) fn get(&self, tree: &Tree, places: &Places) -> Result<View, String> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = made.get(&tree.generation).filter(|view| view.tree == *tree) {
            return Ok(view.clone());
        }
        fault::before("make a view").map_err(|error| error.to_string())?;
        let view = View::make(tree, places).map_err(|error| Chain(&error).to_string())?;
        fault::after("make a view");
        made.insert(tree.generation, view.clone());
        Ok(view)
    }

    /// Drops the views that are not `used`.
    pub(super) fn keep(&self, used: &BTreeSet<Generation>) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|generation, _| used.contains(generation));
    }
}
