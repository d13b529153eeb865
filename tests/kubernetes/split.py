"""Writes each resource of some manifests as a JSON file: split.py OUT FILE..., into OUT/keda and OUT/native. Fails if a file has none."""

import json
import pathlib
import sys

import yaml

out = pathlib.Path(sys.argv[1])
for name in sys.argv[2:]:
    found = [document for document in yaml.safe_load_all(pathlib.Path(name).read_text()) if document]
    if not found:
        sys.exit(f"{name} has no resource")
    for index, document in enumerate(found):
        place = out / ("keda" if document["apiVersion"].startswith("keda.sh/") else "native")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{pathlib.Path(name).stem}-{index}-{document['kind']}.json").write_text(json.dumps(document, indent=1))
