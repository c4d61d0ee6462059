//! Classes, and what is intended for whom.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use model::wire::{Assignment, ClassView, Scope};

use super::nodes::may_touch;
use super::{Access, Caller, Master, Named, Refused, Route, Taken};
use crate::audit::Note;
use crate::engine::records::scope_of;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/v1/classes",
            Access::Read,
            "Every class with its software",
            classes,
        )
        .gives::<Vec<ClassView>>(),
        Route::get(
            "/v1/assign/{*scope}",
            Access::Read,
            "What is intended: fleet, type/X, class/X, location/X, node/X",
            assignment,
        )
        .gives::<Assignment>(),
        Route::put(
            "/v1/assign/{*scope}",
            Access::Operate,
            "Changes what is intended; no node is touched",
            assign,
        )
        .body(1 << 20)
        .takes::<Assignment>()
        .gives::<Assignment>(),
    ]
}

fn scope(text: &str) -> Result<Scope, Refused> {
    let hint = "fleet, type/NAME, class/NAME, location/NAME, node/NAME";
    scope_of(text).ok_or_else(|| Refused::invalid(format!("{text} is no scope")).hint(hint))
}

async fn classes(State(master): State<Arc<Master>>) -> Result<Json<Vec<ClassView>>, Refused> {
    Ok(Json(master.engine.classes().await?))
}

async fn assignment(
    State(master): State<Arc<Master>>,
    Named(text): Named<String>,
) -> Result<Json<Assignment>, Refused> {
    Ok(Json(master.engine.assignment(scope(&text)?).await?))
}

async fn assign(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
    Named(text): Named<String>,
    Taken(assignment): Taken<Assignment>,
) -> Result<Json<Assignment>, Refused> {
    let scope = scope(&text)?;
    let may = match &scope {
        Scope::Class(class) => caller.covers(std::slice::from_ref(class)),
        Scope::Node(name) => {
            may_touch(&master, &caller, name).await?;
            true
        }
        Scope::Fleet | Scope::Type(_) | Scope::Location(_) => caller.covers_all(),
    };
    if !may {
        return Err(Refused::not_allowed(format!(
            "{text} is more than your classes"
        )));
    }
    let note = Note::new(caller.label(), "assign").on(text);
    Ok(Json(master.engine.assign(scope, assignment, note).await?))
}
