#!/bin/bash
# A Ray cluster inside one SLURM job, and a run on it: `sbatch slurm.sh mine.yaml`. See docs/cluster.md.
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --time=04:00:00
set -euo pipefail

# Sockets of Ray lie in here, and their paths must be short; so must the job's number be part of it, as machines are shared.
export RAY_TMPDIR=$(dirname "$(mktemp -u)")/ray-$SLURM_JOB_ID
export BENCH_HOME=${BENCH_HOME:-$HOME/.cache/iqpir-bench}   # on a disk that all nodes see: `bench fetch` once, before
# What the machines of this cluster know each other by: a Ray without does what anybody on the network says.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=${RAY_AUTH_TOKEN:-$(openssl rand -hex 32)}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((10000 + SLURM_JOB_ID % 20000))
each="--num-cpus=$SLURM_CPUS_PER_TASK --num-gpus=$SLURM_GPUS_ON_NODE --block"

# mkdir first: ray makes its own folder, not the one it lies in.
srun --nodes=1 --ntasks=1 --overlap -w "$head" bash -c \
  "mkdir -p $RAY_TMPDIR && ray start --head --port=$port --include-dashboard=false $each" &
sleep 20
srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --overlap --exclude="$head" bash -c \
  "mkdir -p $RAY_TMPDIR && ray start --address=$head:$port $each" &
sleep 20

# The batch script itself runs on the head. The store lies on its own disk: SQLite must not be on a network file system.
results=$RAY_TMPDIR/results
bench run "$1" --device cuda --engine ray --address "$head:$port" --gpus-per-worker 0.5 --cpus-per-worker 2 \
  --results "$results" || code=$?
cp -r "$results" "$SLURM_SUBMIT_DIR/results-$SLURM_JOB_ID"
exit "${code:-0}"
