#!/usr/bin/env bash
# Checks example/kubernetes: lints and renders the Helm chart with several sets of values, validates all resources against the schemas of Kubernetes and
# KEDA, and compares the plain manifests with what the chart renders.
#   tests/kubernetes.sh              all checks
#   tests/kubernetes.sh --update     write the plain manifests anew from the chart, after all other checks
# Needs python3, node and npm; a package index of Python and one of npm must be reachable. It installs into a directory of its own, which it removes.
# Exit codes: 0 all checks passed; 1 a check failed; 2 the checks cannot run here.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/.."

cannot() {
    echo "tests/kubernetes.sh cannot be run here: $*" >&2
    exit 2
}
case "${1:-}" in '' | --update) ;; *) cannot "there is no argument $1" ;; esac
for tool in python3 node npm; do
    command -v "$tool" >/dev/null 2>&1 || cannot "there is no $tool"
done
work=$(mktemp -d "${TMPDIR:-/tmp}/distcomp-kubernetes.XXXXXX")
trap 'rm -rf "$work"' EXIT

echo "== tools"
python3 -m venv "$work/venv" || cannot "python3 has no venv (apt-get install python3-venv)"
# Helm as a library: its rules and its templates, without its program.
"$work/venv/bin/pip" install --quiet --disable-pip-version-check helm-python-sdk==0.2.2 kubernetes-validate==1.37.0 pyyaml ||
    cannot "helm-python-sdk or kubernetes-validate cannot be installed"
mkdir "$work/npm"
echo '{"private": true, "type": "module"}' >"$work/npm/package.json"
npm install --prefix "$work/npm" --silent --no-audit --no-fund @kubernetes-models/keda@2.0.0 typescript@5 ||
    cannot "@kubernetes-models/keda or typescript cannot be installed"

echo "== chart"
"$work/venv/bin/python" tests/kubernetes/render.py example/kubernetes/chart "$work/rendered"

echo "== schemas"
mkdir "$work/json"
"$work/venv/bin/python" tests/kubernetes/split.py "$work/json" "$work"/rendered/*.yaml "$work"/rendered/more/*.yaml
for version in 1.30 1.37; do
    "$work/venv/bin/kubernetes-validate" --strict --quiet -k "$version" "$work"/json/native/*.json
done
echo "Kubernetes: $(find "$work/json/native" -name '*.json' | wc -l) resources"
# The checks can fail: a key that does not exist must be found.
sed 's/"terminationGracePeriodSeconds"/"terminationGraceSeconds"/' "$work/json/native/deployment-0-Deployment.json" >"$work/wrong.json"
if "$work/venv/bin/kubernetes-validate" --strict --quiet "$work/wrong.json" >/dev/null 2>&1; then
    echo "the validation accepts an unknown key of a pod" >&2
    exit 1
fi
node tests/kubernetes/keda.mjs "$work/npm" "$work"/json/keda/*.json
sed 's/"pollingInterval"/"pollInterval"/' "$work/json/keda/scaledjob-0-ScaledJob.json" >"$work/wrong.json"
if node tests/kubernetes/keda.mjs "$work/npm" "$work/wrong.json" >/dev/null 2>&1; then
    echo "the validation accepts an unknown key of a ScaledJob" >&2
    exit 1
fi
if command -v kubeconform >/dev/null 2>&1; then
    kubeconform -strict -summary -skip ScaledJob,TriggerAuthentication "$work"/rendered/*.yaml
fi

echo "== plain manifests"
if [ "${1:-}" = --update ]; then
    rm -f example/kubernetes/manifests/*.yaml
    cp "$work"/rendered/*.yaml example/kubernetes/manifests/
fi
diff -ru --exclude=more example/kubernetes/manifests "$work/rendered" || {
    echo "example/kubernetes/manifests differs from the chart: run tests/kubernetes.sh --update" >&2
    exit 1
}
echo "all checks of example/kubernetes passed"
