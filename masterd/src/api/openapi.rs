//! The table, as programs read it: an `OpenAPI` 3.1 document.

use serde_json::{Map, Value, json};

use super::{Access, Route};

/// The document of these rows.
pub(super) fn document(routes: &[Route]) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let path = route.path.replace("{*", "{");
        let of_path = paths.entry(path).or_insert_with(|| json!({}));
        let method = route.method.as_str().to_ascii_lowercase();
        if let Some(of_path) = of_path.as_object_mut() {
            of_path.insert(method, operation(route));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Changeover master",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A fleet's master. Errors are JSON: error, message, hint."
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "operator": { "type": "http", "scheme": "bearer" },
                "certificate": { "type": "mutualTLS" }
            },
            "schemas": {
                "Refusal": {
                    "type": "object",
                    "required": ["error", "message"],
                    "properties": {
                        "error": { "type": "string" },
                        "message": { "type": "string" },
                        "hint": { "type": "string" }
                    }
                }
            }
        }
    })
}

fn operation(route: &Route) -> Value {
    let mut operation = json!({
        "summary": route.about,
        "security": security(route.access),
        "x-access": format!("{:?}", route.access).to_ascii_lowercase(),
        "x-most-bytes": route.body,
        "responses": {
            "200": answer(route),
            "default": {
                "description": "It was refused, and why",
                "content": {
                    "application/json": { "schema": { "$ref": "#/components/schemas/Refusal" } }
                }
            }
        }
    });
    let parameters: Vec<Value> = names(route.path)
        .map(|name| {
            json!({
                "name": name, "in": "path", "required": true, "schema": { "type": "string" }
            })
        })
        .collect();
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    if let Some(takes) = route.takes {
        operation["requestBody"] = json!({
            "content": { "application/json": { "schema": { "title": short(takes) } } }
        });
    }
    operation
}

fn answer(route: &Route) -> Value {
    match route.gives {
        Some(gives) => json!({
            "description": "Done",
            "content": { "application/json": { "schema": { "title": short(gives) } } }
        }),
        None => json!({ "description": "Done" }),
    }
}

fn security(access: Access) -> Value {
    match access {
        Access::Public | Access::Enrol => json!([]),
        Access::Node | Access::Renew => json!([{ "certificate": [] }]),
        Access::Read | Access::Operate | Access::Admin => {
            json!([{ "operator": [] }, { "certificate": [] }])
        }
    }
}

/// The names in braces.
fn names(path: &str) -> impl Iterator<Item = &str> {
    let parts = path.split('/').filter(|part| part.starts_with('{'));
    parts.map(|part| part.trim_matches(['{', '}', '*']))
}

/// `Vec<OperatorView>` of `alloc::vec::Vec<model::wire::people::OperatorView>`.
fn short(name: &str) -> String {
    let words = name.split_inclusive(['<', '>', ',', ' ', '(', ')']);
    words
        .map(|word| word.rsplit("::").next().unwrap_or(word))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    #[test]
    fn each_row_of_the_table_is_in_the_document_with_its_names_and_its_rights() {
        let document = document(&table::all());
        for route in table::all() {
            let path = route.path.replace("{*", "{");
            let method = route.method.as_str().to_ascii_lowercase();
            let operation = &document["paths"][&path][&method];
            assert_eq!(operation["summary"], route.about, "{path}");
            let count = operation["parameters"].as_array().map_or(0, Vec::len);
            assert_eq!(count, path.matches('{').count(), "{path}");
        }
        let token = &document["paths"]["/v1/tokens"]["get"];
        let schema = &token["responses"]["200"]["content"]["application/json"]["schema"];
        assert_eq!(schema["title"], "Vec<TokenView>");
    }
}
