#!/usr/bin/env bash
# Creates the virtual environment: the packages of requirements.lock, Horovod built for them, and the project.
#
#   PYTHON=python3.12 GPU=1 VENV=.venv cluster/setup/environment.sh
#
# All are optional, and the environment remembers them. PYTHON: the interpreter (default: the last one used, or the first
# supported one of python3, python3.13, python3.12, python3.11). GPU=1: with the CUDA libraries, and Horovod built for
# NCCL, for the compute capabilities in HOROVOD_BUILD_CUDA_CC_LIST. CLOUD=aws or gcp: with that cloud's SDK, for Ray's
# autoscaler and for buckets. VENV: folder of the environment. A checkout, which has a folder `tests`, also gets what the
# tests need. Safe to repeat and to interrupt: if nothing has changed, it exits at once.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here=cluster/setup
cd "$root"
venv=$(realpath -m "${VENV:-.venv}")
logs=$root/build/setup
choices=$venv/made-by-regionstack   # marks a folder that this script may recreate; holds its checkout and the options
packages_stamp=$venv/packages.stamp
ready_stamp=$venv/ready.stamp

# Keep the caller's Python settings out of the environment.
unset PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX
export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PROGRESS_BAR=off PIP_NO_INPUT=1 TF_CPP_MIN_LOG_LEVEL=3

fail() { echo "error: $*" >&2; exit 2; }

# --- checks: one line each, before anything is downloaded -------------------------------------------------------------

remembered() { sed -n "s/^$1=//p" "$choices" 2>/dev/null || true; }

supported() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

choose_python() {
    local wanted=${PYTHON:-} candidate found
    for candidate in ${wanted:-"$(remembered python)" python3 python3.13 python3.12 python3.11}; do
        if supported "$candidate"; then
            python=$("$candidate" -c 'import os, sys; print(os.path.join(sys.base_prefix, "bin", "python%d.%d" % sys.version_info[:2]))')
            if [ ! -x "$python" ]; then python=$(command -v "$candidate"); fi
            return
        fi
    done
    candidate=${wanted:-python3}
    found=$("$candidate" -c 'import sys; print("is Python %d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || found="cannot be run"
    fail "Python 3.11, 3.12 or 3.13 is needed and $candidate $found; install one and name it: PYTHON=python3.12 make env"
}

check_venv() {
    "$python" -c 'import venv, ensurepip; ensurepip.version()' 2>/dev/null && return
    fail "$python cannot make virtual environments; on Debian and Ubuntu: apt install python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
}

check_compiler() {
    local tool status=0
    wheel=$(horovod_wheel --cached) || status=$?
    case $status in
        0) return ;;
        2) exit 2 ;;  # it has said why: no CUDA toolkit, or one of another major release than TensorFlow's
    esac
    for tool in gcc g++ make; do
        command -v "$tool" >/dev/null || fail "$tool is missing and Horovod must be compiled; on Debian and Ubuntu: apt install gcc g++ make"
    done
    echo '#include <vector>' | g++ -std=c++17 -x c++ -fsyntax-only - 2>/dev/null ||
        fail "g++ cannot compile a C++17 program; on Debian and Ubuntu: apt install g++ libc6-dev"
}

check_disk() {  # check_disk FOLDER GIB WHAT
    local folder=$1 free
    while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
    free=$(df -Pk "$folder" | awk 'NR == 2 { print $4 }')
    [ "$free" -ge $(($2 * 1024 * 1024)) ] || fail "$3 needs $2 GiB and $folder has $((free / 1024 / 1024)) GiB free"
}

check_folder() {
    if [ -e "$venv" ] && [ ! -e "$choices" ]; then
        fail "$venv exists and was not made by this script; move it away, or choose another folder with VENV"
    fi
}

check_owner() {  # an environment of another checkout may be used, but is not this one's to remake
    local owner
    case $venv in "$(pwd -P)"/*) return ;; esac
    owner=$(remembered root)
    owner=${owner:-$(dirname "$venv")}
    if [ ! -e "$choices" ] || [ ! -e "$owner/$here/environment.sh" ] || [ "$owner" -ef . ]; then return; fi
    fail "${VENV:-.venv} is $venv, the environment of the checkout $owner; remove the link, or choose another folder with VENV"
}

# --- stamps -----------------------------------------------------------------------------------------------------------

lock_files() {  # of all that is installed
    echo "$here/requirements.lock"
    if [ -n "$gpu" ]; then echo "$here/requirements-gpu.lock"; fi
    if [ -n "$cloud" ]; then echo "$here/requirements-$cloud.lock"; fi
    if [ -n "$tests" ]; then echo "$here/requirements-test.lock"; fi
}

packages_key() {
    # shellcheck disable=SC2046
    { "$python" -c 'import sys; print(sys.version, sys.base_prefix)'; echo "$venv $gpu $cloud"; cat $(lock_files); } | sha256sum
}

ready_key() {  # of setup.cfg, only what an installation reads: settings of tools begin at [mypy]
    { packages_key; echo "$capabilities"; cat $here/environment.sh $here/horovod_*.py; sed '/^\[mypy\]/,$d' setup.cfg; } | sha256sum
}

is_ready() {
    [ "$(cat "$ready_stamp" 2>/dev/null)" = "$(ready_key)" ] && "$venv/bin/python" -c 'import horovod' 2>/dev/null
}

# --- steps ------------------------------------------------------------------------------------------------------------
# Bash ignores `set -e` inside a function whose status is tested, so the commands of a step are chained with &&.

horovod_wheel() {
    local interpreter=$python
    if [ -x "$venv/bin/python" ]; then interpreter=$venv/bin/python; fi
    "$interpreter" -m cluster.setup.horovod_wheel ${gpu:+--gpu} "$@"
}

remember() {
    printf 'root=%s\npython=%s\ngpu=%s\ncloud=%s\ncapabilities=%s\ntests=%s\n' \
        "$root" "$python" "$gpu" "$cloud" "$capabilities" "$tests" >"$choices"
}

make_venv() {
    rm -rf "$venv" && mkdir -p "$venv" && remember && "$python" -m venv "$venv"
}

install_packages() {
    local file options=()
    for file in $(lock_files); do options+=(-r "$file"); done
    "$venv/bin/python" -m pip install --no-deps --no-compile --only-binary :all: --require-hashes "${options[@]}" &&
        compile_packages &&
        packages_key >"$packages_stamp"
}

compile_packages() {
    # On all cores. If Python cannot write bytecode (PYTHONDONTWRITEBYTECODE, a folder owned by root), every worker
    # would compile TensorFlow at every start, which takes 7 s. Some packages ship files for other Pythons.
    "$venv/bin/python" -m compileall -q -j 0 "$venv"/lib/python*/site-packages || true
}

install_project() {
    # pip cannot uninstall what an interrupted installation leaves behind, so remove both first.
    rm -rf "$venv"/lib/python*/site-packages/{horovod,regionstack,__editable__*regionstack}* &&
        wheel=$(horovod_wheel --cached) &&
        "$venv/bin/python" -m pip install --no-deps --no-index "$wheel" &&
        "$venv/bin/python" -m pip install --no-deps --no-index --no-build-isolation --editable .
}

check_environment() {
    "$venv/bin/python" -m pip check &&
        "$venv/bin/python" -c "import horovod.tensorflow as hvd; assert hvd.gloo_built() and (hvd.nccl_built() or not '$gpu')"
}

step() {  # step NAME COMMAND: run a step with its output in a log; if it fails, print its name, the reason and the log's path
    local name=$1 status=0 began=$SECONDS log
    number=$((number + 1))
    log=$logs/$number-${name// /-}.log
    printf '[%d/5] %s ... ' "$number" "$name"
    "$2" >"$log" 2>&1 </dev/null || status=$?
    if [ "$status" = 0 ]; then printf '%d s\n' $((SECONDS - began)); return; fi
    echo failed
    printf 'error: set-up step %d of 5, "%s", failed with status %d:\n' "$number" "$name" "$status" >&2
    reasons "$log" | sed 's/^/    /' >&2
    echo "the whole log: $log" >&2
    exit "$status"
}

reasons() {  # the lines of a log that look like the cause, or its last lines
    grep -E '(^|[^a-zA-Z])([Ee]rror|ERROR|fatal|FATAL|Killed|No space left|cannot find)([^a-zA-Z]|$)' "$1" | tail -n 6 || tail -n 8 "$1"
}

set_up() {
    mkdir -p "$logs"
    number=0
    rm -f "$ready_stamp"
    if [ "$(cat "$packages_stamp" 2>/dev/null)" = "$(packages_key)" ]; then
        number=2
        remember
    else
        step "make the virtual environment" make_venv
        step "install the locked packages" install_packages
    fi
    step "build Horovod" horovod_wheel
    step "install Horovod and the project" install_project
    step "check the environment" check_environment
    ready_key >"$ready_stamp"
}

gpu=${GPU-$(remembered gpu)}
gpu=${gpu#0}
cloud=${CLOUD-$(remembered cloud)}
# An environment with what the tests need also serves a copy of the project without them, such as a host's.
if [ -d tests ]; then tests=1; else tests=$(remembered tests); fi
case $cloud in "" | aws | gcp) ;; *) fail "CLOUD=$cloud: must be aws or gcp" ;; esac
capabilities=${HOROVOD_BUILD_CUDA_CC_LIST-$(remembered capabilities)}
if [ -n "$capabilities" ]; then export HOROVOD_BUILD_CUDA_CC_LIST=$capabilities; fi
choose_python
if is_ready; then exit 0; fi
check_owner
check_venv
check_compiler
check_folder
check_disk "$venv" 4 "the environment"
check_disk "${TMPDIR:-/tmp}" 2 "installing and building"

exec 9>"$root/.setup.lock"
if ! flock --nonblock 9; then
    echo "another set-up of this folder is running; waiting for it"
    flock 9
fi
if is_ready; then exit 0; fi
echo "setting up $venv with $("$python" --version); logs are in $logs"
exec 8>&2  # the trap may run during a step, when stderr is the step's log
trap 'echo >&8; echo "interrupted; run the same command again to resume" >&8; exit 130' INT TERM
set_up
echo "ready: $venv"
