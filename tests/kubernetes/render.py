"""Lints the chart and renders it as the plain manifests, with Helm's own library.

render.py CHART OUT: writes OUT/conf.yaml, serve.yaml, scaledjob.yaml, deployment.yaml and hpa.yaml, as they belong to example/kubernetes/manifests,
and OUT/more/*.yaml: renderings with other values, to validate.
"""

import pathlib
import sys

import helm_python
from helm_python.chart import Chart, lint

# What the plain manifests show.
MODES = {
    "scaledjob": {"mode": "scaledJob"},
    "deployment": {"mode": "deployment", "worker": {"minCount": 2}},
    "hpa": {"mode": "hpa"},
}
# Everything that can be set, set.
MORE = {
    "full": {
        "mode": "scaledJob",
        "image": {"repository": "registry.example.org/distcomp", "tag": "1.2.3", "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "pull"}],
        "redis": {"host": "10.0.0.5", "port": 6380, "db": 3, "keyPrefix": "site-a:", "tls": False},
        "worker": {
            "minCount": 1,
            "maxCount": 7,
            "shape": {"cpus": 7.5, "mem": 60, "resource": ["gpus=1", "lic=2"], "label": ["ssd", "region=eu"]},
            "resources": {"limits": {"nvidia.com/gpu": 1, "cpu": "8", "memory": "64Gi"}},
            "conf": {"max_task_per_worker": 8},
            "drainTimeoutSeconds": 1200,
            "publicKeys": {"ann.pub": "key\n"},
            "extraArgs": ["--slots=4"],
            "env": [{"name": "RUST_LOG", "value": "debug"}],
            "workClaim": "work",
            "extraVolumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
            "extraVolumeMounts": [{"name": "data", "mountPath": "/data"}],
            "podAnnotations": {"example.org/team": "sim"},
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "affinity": {"podAntiAffinity": {}},
        },
        "serve": {"allowedHosts": ["queue.example.org"], "nodeSelector": {"disk": "hdd"}, "tolerations": []},
    },
    "full-deployment": {"mode": "deployment", "worker": {"minCount": 3, "workClaim": "work"}},
}
# Must be refused, with these words.
WRONG = [
    ({"mode": "both"}, "mode"),
    ({"worker": {"shape": {"cpus": 0, "mem": 1}}}, "cpus"),
    ({"worker": {"shap": {}}}, "shap"),
    ({"redis": {"port": "x"}}, "port"),
    # It has a value of its own, from which the grace period follows.
    ({"worker": {"conf": {"drain_timeout_seconds": 20}}}, "drain_timeout_seconds"),
]


def render(chart: Chart, values: dict) -> dict[str, str]:
    """The files of a rendering that are not empty, by the name of their template."""
    found = chart.render(values, name="distcomp", namespace="distcomp")
    return {pathlib.Path(path).stem: text.strip() + "\n" for path, text in found.items() if path.endswith(".yaml") and text.strip()}


def main() -> int:
    chart_dir, out = sys.argv[1], pathlib.Path(sys.argv[2])
    (out / "more").mkdir(parents=True, exist_ok=True)
    faults = 0
    for name, values in {**MODES, **MORE}.items():
        report = lint(chart_dir, values, strict=True, namespace="distcomp")
        for message in report["messages"]:
            if message["severity"] >= 2:
                print(f"lint with the values {name}: {message['path']}: {message['error']}", file=sys.stderr)
                faults += 1
        faults += len(report["errors"])
    chart = Chart.load(chart_dir)
    for values, word in WRONG:
        try:
            chart.render(values, name="distcomp", namespace="distcomp")
        except helm_python.HelmError as error:
            if word in str(error):
                continue
            print(f"the error about {values} does not name {word}: {error}", file=sys.stderr)
        else:
            print(f"these values were accepted: {values}", file=sys.stderr)
        faults += 1
    for name, values in MODES.items():
        for stem, text in render(chart, values).items():
            # With the autoscaler comes a Deployment without a number of replicas: both are in one file.
            if name == "hpa" and stem == "deployment":
                continue
            if name == "hpa" and stem == "hpa":
                text += "---\n" + render(chart, values)["deployment"]
            (out / f"{stem}.yaml").write_text(text)
    for name, values in MORE.items():
        (out / "more" / f"{name}.yaml").write_text("---\n".join(render(chart, values).values()))
    print(f"Helm {helm_python.helm_sdk_version()}: {len(MODES) + len(MORE)} sets of values, {len(WRONG)} wrong ones refused, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
