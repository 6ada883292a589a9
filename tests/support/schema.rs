//! Holds what is printed to the schema that documents it, as far as that schema uses JSON Schema.

use serde_json::Value;

/// What of a document a definition of its schema does not allow, or demands and does not find.
pub(crate) fn violations(schema: &str, definition: &str, document: &Value) -> Vec<String> {
    let root: Value = serde_json::from_str(schema).unwrap();
    let mut wrong = Vec::new();
    check(
        &root,
        &root["$defs"][definition],
        document,
        definition,
        &mut wrong,
    );
    wrong
}

fn check(root: &Value, schema: &Value, value: &Value, place: &str, wrong: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#')).unwrap();
        return check(root, target, value, place, wrong);
    }
    if let Some(expected) = schema.get("const")
        && expected != value
    {
        wrong.push(format!("{place}: {value} is not {expected}"));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        wrong.push(format!("{place}: {value} is none of the allowed values"));
    }
    if !schema["type"].is_null() && !is_of_type(&schema["type"], value) {
        wrong.push(format!("{place}: {value} is not {}", schema["type"]));
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(
            root,
            &schema["items"],
            item,
            &format!("{place}[{index}]"),
            wrong,
        );
    }
    let Some(object) = value.as_object() else {
        return;
    };
    for required in schema["required"].as_array().into_iter().flatten() {
        if !object.contains_key(required.as_str().unwrap()) {
            wrong.push(format!("{place}: {required} is missing"));
        }
    }
    for (key, value) in object {
        match schema["properties"].get(key) {
            Some(property) => check(root, property, value, &format!("{place}.{key}"), wrong),
            None => wrong.push(format!("{place}: {key} is not documented")),
        }
    }
}

fn is_of_type(expected: &Value, value: &Value) -> bool {
    match expected {
        Value::Array(several) => several.iter().any(|one| is_of_type(one, value)),
        _ => match expected.as_str().unwrap() {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "number" => value.is_number(),
            "integer" => value.is_i64() || value.is_u64(),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            other => unreachable!("the schema uses the type {other}"),
        },
    }
}
