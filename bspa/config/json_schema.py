"""Print the JSON schema of the config, for editors: python -m bspa.config.json_schema."""

from __future__ import annotations

import json
import sys
from typing import Any

from bspa.config.schema import Config


def json_schema() -> dict[str, Any]:
    """Return the schema of config.yaml and its overlays.

    A recipe that extends another need not repeat its `sampling`, and `extends` is known to the loader only.
    """
    schema = Config.model_json_schema()
    schema["title"] = "bspa config"
    method = schema["$defs"]["Method"]
    method["properties"]["extends"] = {
        "type": "string",
        "description": "Start from the values of this recipe; nested sections merge, null removes one.",
    }
    method["required"] = []
    return schema


def main() -> None:
    """Print it."""
    json.dump(json_schema(), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
