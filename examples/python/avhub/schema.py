"""The part of JSON Schema that a connector's configuration needs."""
import re

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
KEYWORDS = {"$schema", "type", "description", "properties", "required", "additionalProperties", "items", "enum",
            "pattern", "minimum", "maximum", "default", "writeOnly"}


def check_schema(schema):
    """Refuses what check_config would not look at."""
    if schema.get("type") not in TYPES or not schema.keys() <= KEYWORDS:
        raise ValueError(f"the schema needs one of the types {', '.join(TYPES)} and no other keyword than "
                         f"{', '.join(sorted(KEYWORDS))}: {schema}")
    for inner in [*schema.get("properties", {}).values(), *filter(None, [schema.get("items")])]:
        check_schema(inner)


def check_config(schema, value, secrets, path=""):
    """Yields (path, problem), fills in defaults, and adds what is secret to a set."""
    kind = schema["type"]
    if schema.get("writeOnly") and isinstance(value, str) and value:
        secrets.add(value)
    if not isinstance(value, TYPES[kind]) or isinstance(value, bool) and kind != "boolean":
        yield path, f"must be of type {kind}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield path, "is not allowed; it takes one of " + ", ".join(map(str, schema["enum"]))
    # Python's $ also matches before a newline at the end; \Z does not.
    if "pattern" in schema and not re.search(schema["pattern"].replace("$", r"\Z"), value):
        yield path, f"does not match {schema['pattern']}"
    if kind in ("integer", "number") and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield path, f"must be from {schema.get('minimum', 'any')} to {schema.get('maximum', 'any')}"
    if kind == "array" and "items" in schema:
        for i, item in enumerate(value):
            yield from check_config(schema["items"], item, secrets, f"{path}[{i}]")
    if kind == "object":
        inside = schema.get("properties", {})
        for name, member in inside.items():
            at = f"{path}.{name}".lstrip(".")
            if name not in value and "default" in member:
                value[name] = member["default"]
            if name in value:
                yield from check_config(member, value[name], secrets, at)
            elif name in schema.get("required", ()):
                yield at, "is missing"
        for name in value.keys() - inside.keys() if schema.get("additionalProperties") is False else ():
            yield f"{path}.{name}".lstrip("."), "is not known; it takes " + ", ".join(inside)
