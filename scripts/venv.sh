# shellcheck shell=bash
# Sourced by the other scripts: finds Python interpreters and makes virtual environments with this project in them.

# usable PYTHON: whether this is Python 3.11 or newer that can make a virtual environment.
usable() {
  # Debian ships python3 without ensurepip.
  "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# minor PYTHON: its version as people say it, such as 3.11.
minor() {
  "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'
}

# pythons: one interpreter of each version that this machine has, the oldest first.
pythons() {
  local version path
  for version in 11 12 13 14 15 16 17; do
    # pyenv puts a python3.X on the PATH that refuses to run unless the user chose this version; the real ones lie
    # beneath its root.
    while read -r path; do
      if [ -x "$path" ] && usable "$path"; then
        echo "$path"
        break
      fi
    done < <(type -ap "python3.$version"
      printf '%s\n' "/usr/local/bin/python3.$version" "/usr/bin/python3.$version" \
        "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$version".*/bin/python"3.$version")
  done
}

# default_python: the one that .venv is made with.
default_python() {
  local python
  for python in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
    if [ -n "$python" ] && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$python"
      return
    fi
  done
  echo "No Python 3.11 or newer found. Install one, or name it: PYTHON=... $0" >&2
  return 3
}

# pip_install VENV PIP-ARGUMENT...
pip_install() {
  local venv=$1
  shift
  # The constraints are for what tests install. The lock file needs none, and pip refuses those of building beside
  # --no-build-isolation.
  env -u PIP_CONSTRAINT -u PIP_BUILD_CONSTRAINT \
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" || exit 3
}

# make_venv VENV HOW [PYTHON]: installs the project into VENV, once for each state of the files that say what with.
# HOW is `use` (the newest releases of what it needs), `test` (with its tools, each as in requirements-dev.txt) or
# `latest` (with its tools, the newest releases).
make_venv() {
  local venv=$1 how=$2 python=${3:-} wanted stamp found
  stamp=$venv/.installed
  if [ ! -x "$venv/bin/python" ]; then
    [ -n "$python" ] || python=$(default_python) || exit 3
    echo "Making $venv with $("$python" --version)" >&2
    # Debian ships python3 without ensurepip; say which package it is in rather than let venv guess.
    "$python" -m venv "$venv" || { rm -rf "$venv"; echo "Install python3-venv and run this again." >&2; exit 3; }
  fi
  wanted="$how $(cat pyproject.toml requirements-dev.txt | sha256sum)"
  # What the tests need holds for use too; and what is newest is known only by asking.
  if [ "$how" != latest ] && grep -qxF -e "$wanted" -e "test ${wanted#* }" "$stamp" 2>/dev/null; then
    return
  fi
  rm -f "$stamp"
  echo "Installing into $venv" >&2
  case $how in
    use) pip_install "$venv" --editable . ;;
    test)
      pip_install "$venv" --require-hashes --requirement requirements-dev.txt
      # What builds the project is in the lock file as well, and so nothing is left to fetch.
      pip_install "$venv" --no-deps --no-build-isolation --editable .
      found=$("$venv/bin/python" -m pip check) || {
        printf '%s\nIf pyproject.toml was changed, run scripts/lock.\n' "$found" >&2
        exit 3
      }
      ;;
    latest)
      # Older ones know no --group.
      pip_install "$venv" --upgrade "pip>=25.1"
      pip_install "$venv" --upgrade --upgrade-strategy eager --editable . --group dev
      ;;
  esac
  echo "$wanted" >"$stamp"
}
