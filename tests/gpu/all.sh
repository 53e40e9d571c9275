#!/usr/bin/env bash
# Every check that a GPU is needed for, within eight minutes: what fails, what it took, as JSON under results/gpu.
# Without a GPU the same checks run small on the CPU: `tests/gpu/all.sh --device cpu` is a step of .ci/run.
# Only torch is needed; what the machine lacks beyond it is skipped, and said.
set -uo pipefail
cd "$(dirname "$0")/../.."
PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python}" tests/gpu/checks.py "$@"
