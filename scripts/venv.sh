# Sourced by the other scripts: makes .venv at the top of the source tree with this project and its tools in it.

# make_venv [PIP-ARGUMENT...]: installs what it is told to, once for each state of pyproject.toml.
make_venv() {
  local python wanted stamp=.venv/.installed-$1
  if [ ! -x .venv/bin/python ]; then
    for python in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
      [ -n "$python" ] && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break
      python=
    done
    [ -n "$python" ] || { echo "No Python 3.11 or newer found. Install one, or name it: PYTHON=... $0" >&2; exit 3; }
    echo "Making .venv with $("$python" --version)" >&2
    # Debian ships python3 without ensurepip; say which package it is in rather than let venv guess.
    "$python" -m venv .venv || { rm -rf .venv; echo "Install python3-venv and run this again." >&2; exit 3; }
  fi
  wanted=$(sha256sum pyproject.toml)
  shift
  if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    echo "Installing into .venv (pip install $*)" >&2
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1" || exit 3
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@" || exit 3
    echo "$wanted" >"$stamp"
  fi
}
