#!/bin/sh
# make_venv.sh PYTHON DIRECTORY: a virtual environment, also where Python came without its venv module (Debian, Ubuntu).
set -eu
python=$1 directory=$2
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
    echo "Farthing needs Python 3.10 or newer; $python is $("$python" --version 2>&1). Set PYTHON=python3.12, for example." >&2
    exit 1
}
[ -x "$directory/bin/python" ] && "$directory/bin/python" -m pip --version >/dev/null 2>&1 && exit 0
"$python" -m venv "$directory" 2>/dev/null && exit 0
bootstrap=$(mktemp -d)
trap 'rm -rf "$bootstrap"' EXIT
"$python" -m pip install --quiet --target "$bootstrap" virtualenv
PYTHONPATH="$bootstrap" "$python" -m virtualenv --quiet "$directory"
