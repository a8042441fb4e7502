//! What follows from the tables of keys: the reference, the file that `interlock init` prints, and the JSON schema.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::keys::{EXTENSION, GLOBAL, Key, KeyDoc, Shape, Status};
use super::nginx;

/// Every key, in the order of the file that `interlock init` prints.
pub fn reference() -> Vec<KeyDoc> {
    fn docs<T>(section: &'static str, keys: &'static [Key<T>]) -> impl Iterator<Item = KeyDoc> {
        keys.iter().map(move |Key { name, kind, default, doc, status, set: _ }| KeyDoc {
            section,
            name,
            shape: *kind,
            default,
            doc,
            status: *status,
        })
    }
    docs("", GLOBAL)
        .chain(docs("Extensions.<name>", EXTENSION))
        .chain(docs("Extensions.<name>.Config", nginx::KEYS))
        .collect()
}

/// A settings file with every key that does something, commented: what it means and its default.
pub fn template() -> String {
    let mut text = String::from(
        "# Settings of interlock. A line that begins with # says what holds without it.\n\
         # Keys are matched without regard to case; an unknown key is an error.\n\n",
    );
    write_keys(&mut text, GLOBAL, &[]);
    text += "# A service cluster: proxies of their own for the services that choose it. The table's name is only a name.\n[Extensions.default]\n\n";
    let image = concat!("\"interlock-proxy-nginx:", env!("CARGO_PKG_VERSION"), "\"");
    write_keys(&mut text, EXTENSION, &[("HitlessServiceUpdate", "true"), ("ProxyImage", image)]);
    text += "# Options of NGINX.\n[Extensions.default.Config]\n\n";
    write_keys(&mut text, nginx::KEYS, &[]);
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn write_keys<T>(text: &mut String, keys: &[Key<T>], set_to: &[(&str, &str)]) {
    for Key { name, kind, default, doc, status, set: _ } in keys {
        if *status != Status::Works {
            continue;
        }
        let value = match (*default, kind) {
            ("", Shape::List) => "[]",
            ("", Shape::Map) => "{ }",
            ("", Shape::Integer) => "0",
            ("", _) => "\"\"",
            (default, _) => default,
        };
        // Writing to a String cannot fail.
        let _ = match set_to.iter().find(|(set, _)| set == name) {
            Some((_, value)) => writeln!(text, "# {doc}\n{name} = {value}\n"),
            None => writeln!(text, "# {doc}\n#{name} = {value}\n"),
        };
    }
}

/// The JSON schema of the settings file, for editors. Keys stand in their documented case.
pub fn json_schema() -> Value {
    let config = object(nginx::KEYS, Map::new());
    let extension = object(EXTENSION, Map::from_iter([("Config".to_owned(), config)]));
    let extensions = json!({ "type": "object", "additionalProperties": extension, "minProperties": 1 });
    let mut schema = object(GLOBAL, Map::from_iter([("Extensions".to_owned(), extensions)]));
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Settings of interlock");
    schema["required"] = json!(["Extensions"]);
    schema
}

fn object<T>(keys: &[Key<T>], mut properties: Map<String, Value>) -> Value {
    for key in keys {
        let mut property = shape(key.kind);
        property["description"] = json!(key.doc);
        if let Ok(default) = serde_json::from_str::<Value>(key.default) {
            property["default"] = default;
        }
        properties.insert(key.name.to_owned(), property);
    }
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn shape(shape: Shape) -> Value {
    match shape {
        Shape::Text => json!({ "type": "string" }),
        Shape::Boolean => json!({ "type": "boolean" }),
        Shape::Integer => json!({ "type": "integer" }),
        Shape::Seconds | Shape::IntegerOrText => json!({ "type": ["integer", "string"] }),
        Shape::List => json!({ "type": "array", "items": { "type": "string" } }),
        Shape::Map => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Shape::OneOf(words) => json!({ "enum": words }),
    }
}
