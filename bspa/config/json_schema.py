"""Print the JSON schema of the config, for editors: python -m bspa.config.json_schema."""

from __future__ import annotations

import json
from typing import Any

from bspa.config.schema import Config


def json_schema() -> dict[str, Any]:
    """Return the schema of config.yaml and its overlays; a recipe may have `extends` in place of values."""
    schema = Config.model_json_schema()
    schema["title"] = "bspa config"
    method = schema["$defs"]["Method"]
    method["properties"]["extends"] = {
        "type": "string",
        "description": "Start from the values of this recipe; nested sections merge, null removes one.",
    }
    method["required"] = []
    return schema


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))
